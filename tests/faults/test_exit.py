"""Exit within the bound, whatever the collector does; exit status unchanged; spans delivered where they can
be.
"""

from __future__ import annotations

import signal
import socket
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import receiver as receivers
from receiver import Receiver

from .conftest import LEAVE, Ended, Program, within

BOUND = 1.0
"""PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT's default, in seconds."""

FAULTS = {
    "none": None,
    "refuses": receivers.REFUSE,
    "never answers": receivers.HANG,
    "answers 500": receivers.status(500),
    "answers 429": receivers.status(429, retry_after=30),
    "closes mid-body": receivers.CLOSE,
    "is slow": receivers.slow(5),
}


@contextmanager
def black_hole(protocol: str) -> Iterator[str]:
    """A port whose connections are accepted by the kernel and by nobody else."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        port = listener.getsockname()[1]
        yield f"grpc://127.0.0.1:{port}" if protocol == "grpc" else f"http://127.0.0.1:{port}/v1/traces"


@contextmanager
def bad_certificate(protocol: str) -> Iterator[str]:
    with Receiver(protocol, tls=True) as made:
        yield made.endpoint


@contextmanager
def unknown_name(protocol: str) -> Iterator[str]:
    yield (
        "grpc://no-such-host.invalid:4317"
        if protocol == "grpc"
        else "http://no-such-host.invalid:4318/v1/traces"
    )


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("processor", ["batch", "simple"])
def test_exit(receiver: Receiver, program: Callable[..., Program], fault: str, processor: str) -> None:
    receiver.fault = FAULTS[fault]

    def run() -> Ended:
        receiver.clear()
        body = "spans(200)\n" + LEAVE + "sys.exit(5)"
        return program(body, receiver.protocol, receiver.endpoint, processor).end()

    ended = within(BOUND, run)
    assert ended.returncode == 5, ended.errors
    if fault == "none":
        assert len(receiver.spans) == 200
        assert ended.errors == ""


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("place", [black_hole, bad_certificate, unknown_name])
def test_exit_where_no_receiver_is(
    program: Callable[..., Program], protocol: str, place: Callable[..., Iterator[str]]
) -> None:
    with place(protocol) as target:
        ended = within(BOUND, lambda: program("spans(200)\n" + LEAVE, protocol, target).end())
    assert ended.returncode == 0, ended.errors


@pytest.mark.parametrize("fault", ["refuses", "never answers"])
def test_exit_in_the_middle_of_an_outage(
    receiver: Receiver, program: Callable[..., Program], fault: str
) -> None:
    """The sender is blocked in a request, or waits for its next attempt, when the process ends."""
    receiver.fault = FAULTS[fault]
    body = "spans(200)\npipeline.flush(1.5)\nspans(200)\n" + LEAVE
    ended = within(BOUND, lambda: program(body, receiver.protocol, receiver.endpoint).end())
    assert ended.returncode == 0
    assert "400 spans" in ended.errors


def test_a_shorter_bound_is_kept_too(receiver: Receiver, program: Callable[..., Program]) -> None:
    receiver.fault = receivers.HANG
    body = "spans(10)\n" + LEAVE
    within(0.5, lambda: program(body, receiver.protocol, receiver.endpoint, shutdown_timeout=0.3).end())


def test_many_pipelines_share_the_bound(receiver: Receiver, program: Callable[..., Program]) -> None:
    receiver.fault = receivers.HANG
    body = """
    for number in range(5):
        other = pipeline.get_pipeline(pipeline.Endpoint(sys.argv[1], sys.argv[2] + "?" * (sys.argv[1] == "http") + "&" * number))
        made = TracerProvider(shutdown_on_exit=False)
        made.add_span_processor(other.create_span_processor())
        made.get_tracer("t").start_span("span").end()
    """  # noqa: E501
    within(BOUND, lambda: program(textwrap.dedent(body) + LEAVE, receiver.protocol, receiver.endpoint).end())


ENDS = {
    "unhandled exception": ('raise RuntimeError("user error")', None, 1),
    "SIGINT": ('say("up")\ntime.sleep(30)', signal.SIGINT, -signal.SIGINT),
    "SIGTERM while asleep": ('say("up")\ntime.sleep(30)', signal.SIGTERM, -signal.SIGTERM),
    "SIGTERM while busy": ('say("up")\nwhile True: pass', signal.SIGTERM, -signal.SIGTERM),
    "SIGTERM with other threads": (
        "import threading\nthreading.Thread(target=time.sleep, "
        'args=(30,)).start()\nsay("up")\nthreading.Event().wait()',
        signal.SIGTERM,
        -signal.SIGTERM,
    ),
    "SIGTERM, user's handler": (
        'signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nsay("up")\ntime.sleep(30)',
        signal.SIGTERM,
        7,
    ),
    "SIGTERM ignored by the user": (
        'signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsay("up")\ntime.sleep(0.5)\nsys.exit(3)',
        signal.SIGTERM,
        3,
    ),
}


@pytest.mark.parametrize("fault", ["none", "never answers", "refuses"])
@pytest.mark.parametrize("end", ENDS)
def test_other_ends(receiver: Receiver, program: Callable[..., Program], end: str, fault: str) -> None:
    receiver.fault = FAULTS[fault]
    body, number, status = ENDS[end]
    lead = "spans(100)\n" + (LEAVE if number is None else "")

    def run() -> Ended:
        receiver.clear()
        running = program(lead + body, receiver.protocol, receiver.endpoint)
        if number is not None:
            running.wait_for("up")
            running.signal(number)
        return running.end()

    ended = within(BOUND + (0.5 if status == 3 else 0), run)
    assert ended.returncode == status, ended.errors
    if fault == "none":
        assert len(receiver.spans) == 100


@pytest.mark.parametrize("fault", ["none", "never answers"])
def test_sigterm_ends_a_script_that_is_stuck_in_c(
    receiver: Receiver, program: Callable[..., Program], fault: str
) -> None:
    """Its main thread cannot run a Python handler; without telemetry it would die at once."""
    receiver.fault = FAULTS[fault]
    body = """
    spans(10)
    import ctypes
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(100)
    libc.pthread_mutex_lock(mutex)
    say("up")
    libc.pthread_mutex_lock(mutex)
    """

    def run() -> Ended:
        receiver.clear()
        running = program(body, receiver.protocol, receiver.endpoint)
        running.wait_for("up")
        running.signal(signal.SIGTERM)
        return running.end()

    ended = within(BOUND, run)
    assert ended.returncode == -signal.SIGTERM
    assert len(receiver.spans) == (10 if fault == "none" else 0)


def test_sigterm_ends_a_script_that_is_stuck_in_c_and_has_no_more_threads(
    receiver: Receiver, program: Callable[..., Program]
) -> None:
    body = """
    spans(10)
    assert pipeline.flush(10)
    import ctypes
    from tango_telemetry.pipeline.process import watchdog
    def refuse(*_): raise RuntimeError("can't start new thread")
    watchdog.start_thread = refuse
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(100)
    libc.pthread_mutex_lock(mutex)
    say("up")
    libc.pthread_mutex_lock(mutex)
    """
    running = program(body, receiver.protocol, receiver.endpoint)
    running.wait_for("up")
    running.signal(signal.SIGTERM)
    assert running.end(10).returncode == -signal.SIGTERM


def test_a_handler_that_was_there_first_stays(receiver: Receiver, program: Callable[..., Program]) -> None:
    body = """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    seen = []
    def mine(*_): seen.append(1)
    signal.signal(signal.SIGTERM, mine)
    from tango_telemetry.pipeline.process.exit import ExitHooks
    from tango_telemetry.pipeline.registry import registry
    ExitHooks(registry).install()
    assert signal.getsignal(signal.SIGTERM) is mine
    os.kill(os.getpid(), signal.SIGTERM)
    assert seen == [1]
    """
    assert program(body, receiver.protocol, receiver.endpoint).end().returncode == 0
