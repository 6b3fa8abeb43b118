"""Forks: no hang, no duplicate, each process delivers its own spans, however the child ends."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest
import receiver as receivers
from receiver import Receiver

from .conftest import LEAVE, Program

HOW_CHILDREN_END = {
    "normal": "sys.exit(0)",
    "os._exit": "os._exit(0)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
}
WHEN = {
    "before use": ("", ""),
    "after use": ("spans(5, 'before')\nassert pipeline.flush(10)", "before"),
    "while spans wait": ("spans(5, 'before')", "before"),
}


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("end", HOW_CHILDREN_END)
def test_fork(receiver: Receiver, program: Callable[..., Program], when: str, end: str, spans: str) -> None:
    """Each span arrives once, also where the parent's wait in its queue when the child begins."""
    before, name = WHEN[when]
    body = f"""
{before}
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        spans(3, f"child {{number}}")
        assert pipeline.pipeline_stats().made == 3
        {HOW_CHILDREN_END[end]}
    children.append(child)
spans(4, "parent")
for child in children:
    os.waitpid(child, 0)
say("children are gone")
"""
    ended = program(body, receiver.protocol, receiver.endpoint, spans=spans).end(timeout=30)
    assert ended.returncode == 0, ended.errors
    expected = Counter({f"child {number} {span}": 1 for number in range(3) for span in range(3)})
    expected.update(f"parent {span}" for span in range(4))
    if name:
        expected.update(f"before {span}" for span in range(5))
    assert Counter(span.name for span in receiver.spans) == expected


@pytest.mark.parametrize("end", HOW_CHILDREN_END)
def test_a_child_leaves_the_spans_of_its_parent_alone(
    receiver: Receiver, program: Callable[..., Program], end: str, spans: str
) -> None:
    """They wait for a collector that is away, encoded and checked out, when the child begins; it has come
    back when the child ends; the parent delivers them only after that.
    """
    receiver.fault = receivers.status(503)
    body = f"""
    spans(20, "parent")
    pipeline.flush(10)
    spans(5, "late")
    go, gone = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.read(go[0], 1)
        spans(3, "child")
        pipeline.flush(10)
        {HOW_CHILDREN_END[end]}
    say("forked", child)
    sys.stdin.readline()
    os.write(go[1], b"x")
    os.waitpid(child, 0)
    say("child is gone")
    sys.stdin.readline()
    assert pipeline.flush(10)
    """
    running = program(body, receiver.protocol, receiver.endpoint, spans=spans, retry_initial=60, retry_max=60)
    running.wait_for("forked")
    receiver.fault = None
    running.say()
    running.wait_for("child is gone")
    assert Counter(span.name for span in receiver.spans) == Counter(f"child {n}" for n in range(3))
    running.say()
    ended = running.end(timeout=30)
    assert ended.returncode == 0, ended.errors
    expected = Counter([*(f"parent {n}" for n in range(20)), *(f"late {n}" for n in range(5))])
    expected.update(f"child {n}" for n in range(3))
    assert Counter(span.name for span in receiver.spans) == expected


@pytest.mark.parametrize(
    "fault", [receivers.HANG, receivers.REFUSE, receivers.slow(0.2)], ids=lambda fault: fault.kind
)
def test_forks_while_a_request_is_running(
    receiver: Receiver, program: Callable[..., Program], fault: receivers.Fault, spans: str
) -> None:
    """The threads of the parent are busy in the network libraries; the child has none of them, only their
    locks.
    """
    receiver.fault = fault
    body = """
    import threading
    stop = threading.Event()
    def load():
        while not stop.wait(0.002):
            spans(1, "load")
    thread = threading.Thread(target=load)
    thread.start()
    longest, children = 0.0, []
    for number in range(10):
        time.sleep(0.03)
        begin = time.monotonic()
        child = os.fork()
        if child == 0:
            spans(1, f"child {number}")
            os._exit(0) if number % 2 else sys.exit(0)
        longest = max(longest, time.monotonic() - begin)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    stop.set()
    thread.join()
    """
    # Ten children that connect at once on a busy machine: how long an exit may take is not the subject here.
    settings = {"shutdown_timeout": 10} if fault.kind == "slow" else {}
    ended = program(body, receiver.protocol, receiver.endpoint, spans=spans, **settings).end(timeout=40)
    assert ended.returncode == 0, ended.errors
    if fault.kind == "slow":
        receiver.wait_for(lambda spans: len({s.name for s in spans if s.name.startswith("child")}) == 10, 5)
    assert max(Counter(span.span_id for span in receiver.spans).values(), default=1) == 1


def test_multiprocessing(receiver: Receiver, program: Callable[..., Program]) -> None:
    body = """
    import multiprocessing
    spans(1, "parent")
    context = multiprocessing.get_context("fork")
    with context.Pool(3) as pool:
        pool.map(spans, [2, 2, 2])
        pool.close()
        pool.join()
    """
    ended = program(body, receiver.protocol, receiver.endpoint).end(timeout=30)
    assert ended.returncode == 0, ended.errors
    assert len(receiver.spans) == 7


def test_telemetry_that_begins_in_a_child_of_a_fork_server(
    receiver: Receiver, program: Callable[..., Program]
) -> None:
    """Its process ends by `os._exit`, and telemetry has seen no fork.

    Python 3.14 makes children so by default.
    """
    body = """
    import multiprocessing
    child = "\\n".join((
        "import tango_telemetry.pipeline as pipeline",
        "from opentelemetry.sdk.trace import TracerProvider",
        "provider = TracerProvider(shutdown_on_exit=False)",
        "pipe = pipeline.get_pipeline(pipeline.Endpoint(exporter, target))",
        "provider.add_span_processor(pipe.create_span_processor())",
        "provider.get_tracer('test').start_span('child').end()",
    ))
    names = {"exporter": sys.argv[1], "target": sys.argv[2]}
    process = multiprocessing.get_context("forkserver").Process(target=exec, args=(child, names))
    process.start()
    process.join()
    assert process.exitcode == 0
    """
    ended = program(body, receiver.protocol, receiver.endpoint).end(timeout=30)
    assert ended.returncode == 0, ended.errors
    assert [span.name for span in receiver.spans] == ["child"]


def test_a_child_that_becomes_another_program_inherits_no_connection(
    receiver: Receiver, program: Callable[..., Program]
) -> None:
    """Files opened for exec would keep the collector's connection, the spool's lock and the trace
    file alive.
    """
    body = """
    import subprocess
    spans(1)
    pipeline.flush(10)
    listing = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, close_fds=False)
    sockets = [line for line in listing.stdout.splitlines() if "socket:" in line]
    assert not sockets, listing.stdout
    """
    ended = program(body, receiver.protocol, receiver.endpoint).end()
    assert ended.returncode == 0, ended.errors


def test_a_file_per_process(
    program: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("traces")
    body = (
        """
    spans(2, "parent")
    pipeline.flush(10)
    if os.fork() == 0:
        spans(2, "child")
        os._exit(0)
    os.wait()
    spans(1, "parent")
    """
        + LEAVE
    )
    ended = program(body.replace("    ", "    "), "file", str(folder)).end()
    assert ended.returncode == 0, ended.errors
    deadline = time.monotonic() + 5
    while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
        pass
    counts = sorted(path.read_text().count('"spanId"') for path in folder.iterdir())
    assert counts == [2, 3]
