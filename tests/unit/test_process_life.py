"""Whatever a program does with its threads, signals, exit handlers and warnings, telemetry keeps out of its
way.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from receiver import Receiver

ENDPOINTS = "TANGO_TELEMETRY_TRACES_ENDPOINT"


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    with Receiver(getattr(request, "param", "http")) as made:
        yield made


@pytest.fixture(params=["on", "off"], ids=["native", "sdk"])
def spans(request: pytest.FixtureRequest) -> str:
    """Who makes the spans."""
    return str(request.param)


def run(
    body: str, receiver: Receiver | None, spans: str, *options: str, **more: str
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "TANGO_TELEMETRY_ENABLE": "on",
        "TANGO_TELEMETRY_TRACES_EXPORTER": receiver.protocol if receiver else "console",
        ENDPOINTS: receiver.endpoint if receiver else "cout",
        "PYTANGO_TELEMETRY_NATIVE_SPANS": spans,
        **more,
    }
    return subprocess.run(
        [sys.executable, *options, "-c", body],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- monkey patching

PATCHED = """
import sys
tool, when = sys.argv[1:] if len(sys.argv) > 1 else (TOOL, WHEN)
def patch():
    from gevent import monkey
    monkey.patch_all(**tool)
if when == "before":
    patch()
import tango_telemetry_client
from tango_telemetry import get_tracer, pipeline, pipeline_stats
if when == "after":
    patch()
import gevent, time
begin = time.monotonic()
get_tracer("sequencer").start_span("x").end()
assert time.monotonic() - begin < 4, "the SDK's detectors stood still"
turns = []
def other():
    while True:
        turns.append(1)
        gevent.sleep(0.001)
gevent.spawn(other)
assert pipeline.flush(20) and pipeline_stats().delivered == 1
"""


@pytest.mark.parametrize("receiver", ["http", "grpc"], indirect=True)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "form", [{}, {"thread": False}, {"thread": False, "socket": False, "queue": True}], ids=str
)
def test_spans_are_delivered_under_every_form_of_monkey_patching(
    receiver: Receiver, when: str, form: dict[str, bool]
) -> None:
    pytest.importorskip("gevent")
    done = run(f"TOOL, WHEN = {form!r}, {when!r}" + PATCHED, receiver, "off")
    assert done.returncode == 0, done.stderr
    assert [span.name for span in receiver.spans] == ["x"]


def test_a_thread_whose_body_ends_begins_anew_and_says_so(receiver: Receiver, spans: str) -> None:
    body = """
import tango_telemetry_client, tango_telemetry.pipeline.sender as sender
from tango_telemetry import get_tracer, pipeline
wake, broken = sender.Sender.send_all, []
def ended(self):
    if not broken:
        broken.append(1)
        raise KeyboardInterrupt
    wake(self)
run, sender.Sender.run = sender.Sender.run, lambda self: ended(self) or run(self)
get_tracer("s").start_span("x").end()
assert pipeline.flush(20)
"""
    done = run(body, receiver, spans)
    assert done.returncode == 0, done.stderr
    assert "started anew" in done.stderr
    assert [span.name for span in receiver.spans] == ["x"]


# --- the end

OPEN = """
import os, signal, sys, tango_telemetry_client
signal.signal(signal.SIGINT, signal.SIG_DFL)  # as programs with a graphical window have it
from tango_telemetry import get_tracer
tracer = get_tracer("scan")
root = tracer.start_span("root")
from opentelemetry import trace
with trace.use_span(root, end_on_exit=False), tracer.start_as_current_span("step"):
    pass
"""


@pytest.mark.parametrize(
    ("end", "reason", "status"),
    [
        ("os.kill(os.getpid(), signal.SIGTERM)", "SIGTERM", -signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGHUP)", "SIGHUP", -signal.SIGHUP),
        ("os.kill(os.getpid(), signal.SIGINT)", "SIGINT", -signal.SIGINT),
        ("os._exit(4)", "os._exit", 4),
        ("os.execv(sys.executable, [sys.executable, '-c', 'raise SystemExit(5)'])", "os.execv", 5),
        ("os.execvpe('true', ['true'], {**os.environ, 'PATH': '/nowhere:/usr/bin:/bin'})", "os.execve", 0),
        ("os.execlp('true', 'true')", "os.execv", 0),
        ("sys.exit(3)", "exit", 3),
        ("raise ValueError", "exit", 1),
    ],
)
def test_a_span_that_is_open_at_the_end_is_sent_and_marked(
    receiver: Receiver, spans: str, end: str, reason: str, status: int
) -> None:
    done = run(OPEN + end, receiver, spans)
    assert done.returncode == status, done.stderr
    found = {span.name: span for span in receiver.spans}
    assert sorted(found) == ["root", "step"]
    assert found["root"].attributes["tango.span.ended_by"] == reason
    assert "tango.span.ended_by" not in found["step"].attributes


def test_a_span_that_the_program_ends_afterwards_is_no_news(receiver: Receiver, spans: str) -> None:
    body = "import atexit\natexit.register(lambda: (root.set_attribute('late', 1), root.end()))\n" + OPEN
    done = run(body, receiver, spans)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_forked_child_ends_its_own_open_spans_only(receiver: Receiver, spans: str) -> None:
    body = OPEN + (
        "\npid = os.fork()\nif pid == 0:\n    own = tracer.start_span('own')\n    "
        "os._exit(0)\nos.waitpid(pid, 0)\nroot.end()\n"
    )
    done = run(body, receiver, spans)
    assert done.returncode == 0, done.stderr
    assert sorted(span.name for span in receiver.spans) == ["own", "root", "step"]
    (root,) = [span for span in receiver.spans if span.name == "root"]
    assert "tango.span.ended_by" not in root.attributes


@pytest.mark.parametrize(
    "survived",
    [
        "atexit._run_exitfuncs()",
        "try: sys.exit(1)\nexcept SystemExit: pass",
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); signal.raise_signal(signal.SIGTERM)",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.raise_signal(signal.SIGTERM)",
    ],
)
def test_telemetry_goes_on_in_a_process_that_survives(receiver: Receiver, spans: str, survived: str) -> None:
    body = f"""
import atexit, signal, sys, tango_telemetry_client
from tango_telemetry import get_tracer, pipeline, pipeline_stats
tracer = get_tracer("s")
tracer.start_span("before").end()
assert pipeline.flush(20)
{survived}
tracer.start_span("after").end()
assert pipeline.flush(20) and pipeline_stats().dropped == 0
tracer.start_span("last").end()
"""
    done = run(body, receiver, spans)
    assert done.returncode == 0, done.stderr
    assert sorted(span.name for span in receiver.spans) == ["after", "before", "last"]


LATE = """
import atexit, tango_telemetry_client
from tango_telemetry import configure, get_context_bridge, get_tracer, pipeline, pipeline_stats
def late():
    get_tracer("late").start_span("x").end()
    configure(); get_context_bridge(); pipeline.flush(0.1); pipeline_stats(); pipeline.shutdown(0.1)
    print("parked")
"""


@pytest.mark.parametrize(
    "when",
    [
        "atexit.register(late)",
        "class Late:\n    def __del__(self): late()\nkept = Late()",
        "import opentelemetry.sdk.resources as r\ndef refuse(*_, **__): raise MemoryError\n"
        "r.Resource.create = staticmethod(refuse)\nlate()",
        "import tango_telemetry.base.originals as o\ndef refuse(*_): raise RuntimeError(\"can't start new "
        'thread")\n'
        "o._thread.start_new_thread = refuse\nlate()",
    ],
    ids=["exit handler", "finaliser", "the SDK raises", "no more threads"],
)
def test_no_public_function_raises_for_the_sake_of_telemetry(
    receiver: Receiver, spans: str, when: str
) -> None:
    done = run(LATE + when, receiver, spans)
    assert (done.returncode, done.stdout) == (0, "parked\n"), done.stderr
    assert "Exception ignored" not in done.stderr


# --- messages


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYTANGO_TELEMETRY_RETRY_MAX", "soon"),
        ("TANGO_TELEMETRY_TRACES_EXPORTER", "pigeon"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "many"),
        ("PYTANGO_TELEMETRY_EXCLUDE", "["),
    ],
)
def test_no_message_becomes_an_exception(receiver: Receiver, spans: str, name: str, value: str) -> None:
    body = "import tango_telemetry_client; from tango_telemetry import get_tracer; get_tracer('s').start_span('x').end()"  # noqa: E501
    done = run(body, receiver, spans, "-W", "error", **{name: value})
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_CONFIG_FILE", "/etc/otel.yaml", True),
        ("OTEL_EXPERIMENTAL_CONFIG_FILE", "otel.yaml", True),
        ("OTEL_PYTHON_ID_GENERATOR", "xray", True),
        ("OTEL_PYTHON_ID_GENERATOR", "random", False),
        ("OTEL_CONFIG_FILE", "", False),
    ],
)
def test_a_setting_of_opentelemetry_that_is_not_followed_is_said(name: str, value: str, said: bool) -> None:
    from tango_telemetry import TelemetryConfig

    assert any(name in problem for problem in TelemetryConfig.from_env({name: value}).problems) == said


# --- a console that nobody reads


@pytest.mark.parametrize("target", ["cout", "cerr"])
@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_a_console_that_nobody_reads_holds_nothing_up(target: str, kind: str) -> None:
    reader, writer = os.pipe() if kind == "pipe" else os.openpty()
    body = "import tango_telemetry_client; from tango_telemetry import get_tracer\nfor _ in range(2000): get_tracer('s').start_span('x').end()"  # noqa: E501
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    streams["stdout" if target == "cout" else "stderr"] = writer
    environment = {
        **os.environ,
        "TANGO_TELEMETRY_ENABLE": "on",
        "TANGO_TELEMETRY_TRACES_EXPORTER": "console",
        ENDPOINTS: target,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-c", body], env=environment, timeout=60, check=False, **streams
        )  # type: ignore[call-overload]
        assert done.returncode == 0
    finally:
        os.close(reader)
        os.close(writer)


def test_a_stream_in_memory_gets_the_spans_of_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    from tango_telemetry.pipeline.delivery import Result
    from tango_telemetry.pipeline.exporters.console import ConsoleExporter

    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    assert ConsoleExporter("cout").send(b"{}\n", 1).result is Result.DELIVERED
    assert stream.getvalue() == "{}\n"
