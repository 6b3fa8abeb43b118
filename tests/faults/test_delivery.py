"""What arrives: through outages, bursts, restarts and kills; and what is counted when it does not."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import receiver as receivers
from receiver import CERTIFICATE, Receiver

from .conftest import Program

OUTAGE = float(os.environ.get("TANGO_TELEMETRY_TEST_OUTAGE", "4"))
"""Seconds; 60 for the figure in docs/reliability.md."""

SAY_STATS = """
stats = pipeline.pipeline_stats()
say("stats", json.dumps([stats.made, stats.delivered, stats.queued, stats.spooled, stats.dropped]))
"""


def account(line: str) -> dict[str, int]:
    """The figures of a "stats" line; they add up."""
    made, delivered, queued, spooled, dropped = json.loads(line.removeprefix("stats "))
    assert made == delivered + queued + spooled + dropped
    return {"made": made, "delivered": delivered, "queued": queued, "spooled": spooled, "dropped": dropped}


@pytest.mark.parametrize("spool", [False, True], ids=["memory", "spool"])
@pytest.mark.parametrize(
    "fault",
    [receivers.REFUSE, receivers.status(500), receivers.CLOSE],
    ids=lambda fault: f"{fault.kind}{fault.code or ''}",
)
def test_every_span_arrives_after_an_outage(
    receiver: Receiver, program: Callable[..., Program], fault: receivers.Fault, spool: bool, tmp_path: Path
) -> None:
    body = """
    end, number = time.monotonic() + float(OUTAGE), 0
    while time.monotonic() < end:
        tracer.start_span(str(number)).end()
        number += 1
        time.sleep(0.005)
    say("made", number)
    sys.stdin.readline()
    deadline = time.monotonic() + 20
    while pipeline.pipeline_stats().delivered < number and time.monotonic() < deadline:
        time.sleep(0.05)
    """.replace("OUTAGE", str(OUTAGE))
    receiver.fault = fault
    settings = {"spool_dir": str(tmp_path)} if spool else {}
    running = program(
        body + _dedent(SAY_STATS),
        receiver.protocol,
        receiver.endpoint,
        schedule_delay=0.2,
        retry_max=1.0,
        **settings,
    )
    made = int(running.wait_for("made").split()[1])
    receiver.fault = None
    receiver.wait_for(made, 25)
    ended = running.end()
    figures = account(next(line for line in ended.output if line.startswith("stats")))
    assert figures == {"made": made, "delivered": made, "queued": 0, "spooled": 0, "dropped": 0}
    assert Counter(span.name for span in receiver.spans) == Counter(map(str, range(made)))
    assert ended.errors.count("cannot deliver") == 1
    assert ended.errors.count("works again") == 1
    assert not list(tmp_path.rglob("*.otlp"))


def _dedent(text: str) -> str:
    return "\n".join("    " + line if line else "" for line in text.splitlines())


@pytest.mark.parametrize("end", ["exit", "SIGKILL", "os._exit"])
def test_the_next_process_delivers_the_spool(
    receiver: Receiver, program: Callable[..., Program], end: str, tmp_path: Path
) -> None:
    receiver.fault = receivers.HANG
    finish = {"exit": "", "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)", "os._exit": "os._exit(0)"}[end]
    body = f"""
spans(300, "early")
time.sleep(1.0)
spans(20, "late")
{finish}
"""
    first = program(body, receiver.protocol, receiver.endpoint, spool_dir=str(tmp_path)).end()
    assert first.returncode == (-signal.SIGKILL if end == "SIGKILL" else 0)
    assert receiver.spans == []
    receiver.fault = None
    second = program(
        "spans(1, 'second')\npipeline.flush(10)\ntime.sleep(0.2)\nsay('adopted', "
        "pipeline.pipeline_stats().adopted)",
        receiver.protocol, receiver.endpoint, spool_dir=str(tmp_path),
    ).end()  # fmt: skip
    assert second.returncode == 0, second.errors
    names = Counter(span.name.split()[0] for span in receiver.spans)
    assert names["early"] == 300
    assert names["late"] == 20 if end == "exit" else names["late"] <= 20
    assert f"adopted {300 + names['late']}" in second.output


def test_many_processes_share_a_spool(
    receiver: Receiver, program: Callable[..., Program], tmp_path: Path
) -> None:
    receiver.fault = receivers.REFUSE
    first = [
        program(f"spans(50, 'p{n}')", receiver.protocol, receiver.endpoint, spool_dir=str(tmp_path))
        for n in range(5)
    ]
    for one in first:
        assert one.end().returncode == 0
    receiver.fault = None
    body = "spans(1, 'heir')\npipeline.flush(10)\ntime.sleep(0.5)"
    heirs = [program(body, receiver.protocol, receiver.endpoint, spool_dir=str(tmp_path)) for _ in range(3)]
    for one in heirs:
        assert one.end().returncode == 0
    counts = Counter(span.name for span in receiver.spans)
    assert {name: count for name, count in counts.items() if count > 1 and name != "heir 0"} == {}
    assert sum(counts.values()) == 253


@pytest.mark.parametrize("obstacle", ["a file in its place", "no room"])
def test_without_a_usable_spool_tracing_goes_on(
    receiver: Receiver, program: Callable[..., Program], obstacle: str, tmp_path: Path
) -> None:
    folder = tmp_path / "spool"
    limit = ""
    if obstacle == "no room":
        # A limit on file sizes fails like a full disk does, for root too.
        limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
    else:
        folder.write_text("in the way")
    body = limit + "for _ in range(5):\n    spans(100)\n    pipeline.flush(10)\n"
    ended = program(body, receiver.protocol, receiver.endpoint, spool_dir=str(folder)).end()
    assert ended.returncode == 0, ended.errors
    assert len(receiver.spans) == 500
    assert ended.errors.count("PYTANGO_TELEMETRY_SPOOL_DIR") == 1


def test_a_burst_of_50_000_spans(receiver: Receiver, program: Callable[..., Program]) -> None:
    body = "spans(50_000)\npipeline.flush(50)\n" + SAY_STATS
    ended = program(body, receiver.protocol, receiver.endpoint, max_queue_bytes=1 << 30).end()
    figures = account(ended.output[-1])
    assert figures["made"] == figures["delivered"] == 50_000
    assert len(receiver.spans) == 50_000


def test_a_burst_beyond_the_bound_is_counted(receiver: Receiver, program: Callable[..., Program]) -> None:
    receiver.fault = receivers.HANG
    body = (
        "spans(50_000)\n"
        + SAY_STATS
        # A flush gives one attempt, and the one that is hanging fails when the collector comes back.
        + "sys.stdin.readline()\ndeadline = time.monotonic() + 30\n"
        + "while not pipeline.flush(10) and time.monotonic() < deadline:\n    pass\n"
        + SAY_STATS
    )
    running = program(body, receiver.protocol, receiver.endpoint, max_queue_spans=10_000)
    figures = account(running.wait_for("stats"))
    assert figures["made"] == 50_000
    assert figures["queued"] == 10_000
    assert figures["dropped"] == 40_000
    receiver.fault = None
    ended = running.end()
    figures = account(ended.output[-1])
    assert (figures["delivered"], figures["dropped"]) == (10_000, 40_000)
    assert len(receiver.spans) == 10_000
    assert ended.errors.count("are being dropped") == 1


def test_a_span_that_is_too_long_takes_no_other_with_it(
    receiver: Receiver, program: Callable[..., Program]
) -> None:
    """gRPC servers refuse 4 MiB by default, for ever; one span of that size must not end the delivery."""
    body = """
    for size in (300_000, 5_000_000, 300_000):
        for number in range(1 if size > 4_000_000 else 16):
            tracer.start_span("long", attributes={"text": "x" * size}).end()
    spans(100)
    pipeline.flush(10)
    """
    ended = program(body + _dedent(SAY_STATS), receiver.protocol, receiver.endpoint).end()
    figures = account(next(line for line in ended.output if line.startswith("stats")))
    refused = 1 if receiver.protocol == "grpc" else 0
    assert (figures["made"], figures["dropped"], figures["queued"]) == (133, refused, 0)
    assert len(receiver.spans) == 133 - refused


def test_memory_stays_bounded_with_huge_attributes(
    receiver: Receiver, program: Callable[..., Program]
) -> None:
    receiver.fault = receivers.HANG
    body = """
    import psutil
    process = psutil.Process()
    spans(10)
    time.sleep(0.5)
    before = process.memory_info().rss
    text = "x" * 100_000
    for number in range(3000):
        tracer.start_span("huge", attributes={"text": text + str(number)}).end()
    say("grown", (process.memory_info().rss - before) // 1_000_000)
    """ + _dedent(SAY_STATS)
    ended = program(body, receiver.protocol, receiver.endpoint, max_queue_bytes=20_000_000).end()
    grown = int(next(line for line in ended.output if line.startswith("grown")).split()[1])
    figures = account(ended.output[-1])
    assert figures["dropped"] > 2000
    # The bound, spans that are not weighed (256 of 0.1 MB), and what the encoder needs while it works.
    assert grown < 120


def test_retry_after_is_honoured(receiver: Receiver, program: Callable[..., Program]) -> None:
    receiver.fault = receivers.status(429, retry_after=1.5)
    running = program(
        "spans(1)\nsay('made')\ntime.sleep(4)",
        receiver.protocol,
        receiver.endpoint,
        schedule_delay=0.1,
        retry_initial=0.01,
    )
    receiver.wait_for_requests(1)
    running.wait_for("made")
    with pytest.raises(TimeoutError):
        receiver.wait_for_requests(2, timeout=1.2)
    receiver.fault = None
    receiver.wait_for(1, 3)
    assert running.end().returncode == 0


def test_what_a_collector_rejects_is_dropped_and_counted(
    receiver: Receiver, program: Callable[..., Program]
) -> None:
    receiver.fault = receivers.status(400)
    ended = program("spans(10)\npipeline.flush(10)\n" + SAY_STATS, receiver.protocol, receiver.endpoint).end()
    assert account(ended.output[-1])["dropped"] == 10
    assert receiver.requests == 2 * 10 - 1  # all ten, and in halves down to each


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_tls_headers_and_compression(program: Callable[..., Program], protocol: str) -> None:
    body = f"""
    wire = pipeline.WireSettings(
        headers=(("authorization", "Bearer secret"),), compression="gzip", certificate_file={str(CERTIFICATE)!r}
    )
    pipeline.configure_pipelines(pipeline.PipelineSettings(wire=wire))
    pipe = pipeline.get_pipeline(pipeline.Endpoint(sys.argv[1], sys.argv[2].replace("127.0.0.1", "localhost")))
    tracer = provider().get_tracer("test")
    spans(100)
    assert pipeline.flush(10)
    """  # noqa: E501
    with Receiver(protocol, tls=True) as made:
        ended = program(body, protocol, made.endpoint).end()
        assert ended.returncode == 0, ended.errors
        assert len(made.spans) == 100
        assert made.headers[0]["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    "fault", [None, receivers.REFUSE, receivers.status(500)], ids=["none", "refuse", "500"]
)
def test_secrets_stay_secret(
    receiver: Receiver, program: Callable[..., Program], fault: receivers.Fault | None
) -> None:
    """Whatever is logged at the finest level, by anybody, for a URL and headers that hold credentials."""
    body = """
    import logging
    logging.basicConfig(level=logging.DEBUG)
    wire = pipeline.WireSettings(headers=(("authorization", "Bearer hush-header"),))
    settings = pipeline.PipelineSettings(wire=wire)
    pipeline.configure_pipelines(settings)
    target = sys.argv[2].replace("://", "://user:hush-password@")
    if sys.argv[1] == "http":
        target += "?token=hush-query"
    endpoint = pipeline.Endpoint(sys.argv[1], target)
    pipe = pipeline.get_pipeline(endpoint)
    tracer = provider().get_tracer("test")
    spans(10)
    pipeline.flush(2)
    say(repr(endpoint), str(endpoint), repr(pipe), repr(settings), repr(wire), pipeline.pipeline_stats())
    pipeline.get_pipeline(pipeline.Endpoint("htp", target))
    pipeline.get_pipeline(pipeline.Endpoint("http", target.replace("http", "ftp")))
    """
    receiver.fault = fault
    ended = program(body, receiver.protocol, receiver.endpoint).end()
    assert ended.returncode == 0, ended.errors
    assert "hush" not in "".join(ended.output) + ended.errors
    if fault is None:
        assert len(receiver.spans) == 10


def test_no_more_threads(receiver: Receiver, program: Callable[..., Program]) -> None:
    """Calls go on; the spans wait for threads, and are counted as lost if there are none to the end."""
    body = """
    from tango_telemetry.base import originals
    class Refusing:
        def __getattr__(self, name): return getattr(real, name)
        def start_new_thread(self, *_): raise RuntimeError("can't start new thread")
    real, originals._thread = originals._thread, Refusing()
    spans(300)
    stats = pipeline.pipeline_stats()
    assert (stats.made, stats.queued) == (300, 300), stats
    if len(sys.argv) > 99:
        pass
    """
    ended = program(body, receiver.protocol, receiver.endpoint).end()
    assert ended.returncode == 0, ended.errors
    assert "300 spans" in ended.errors
    again = """
    originals._thread = real
    time.sleep(1.1)
    spans(1)
    assert pipeline.flush(10)
    """
    ended = program(body + again, receiver.protocol, receiver.endpoint).end()
    assert ended.returncode == 0, ended.errors
    assert len(receiver.spans) == 301


def test_a_thousand_providers_cost_two_threads(receiver: Receiver, program: Callable[..., Program]) -> None:
    body = """
    import threading
    before = threading.active_count()
    providers = [provider(f"device {number}") for number in range(1000)]
    assert threading.active_count() == before
    for number, made in enumerate(providers):
        made.get_tracer("t").start_span(str(number)).end()
    assert pipeline.flush(20)
    assert threading.active_count() - before <= 2
    begin = time.monotonic()
    for made in providers:
        made.shutdown()
    assert time.monotonic() - begin < 2
    """
    ended = program(body, receiver.protocol, receiver.endpoint).end()
    assert ended.returncode == 0, ended.errors
    assert len({span.service for span in receiver.spans}) == 1000
