"""Somebody sets the system clock while spans are open: how long they lasted stays right."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from receiver import Receiver

from .conftest import Program

BODY = """
import ctypes
set_clock_ahead = ctypes.CDLL(None).set_clock_ahead
set_clock_ahead.argtypes = [ctypes.c_longlong]

def report(name, began, started, ending, ended):
    say("lasted", json.dumps([name, ending - started, ended - began]))

def one(name, seconds_ahead):
    began = time.monotonic_ns()
    span = tracer.start_span(name)
    started = time.monotonic_ns()
    before = time.time()
    set_clock_ahead(int(seconds_ahead * 1e9))
    time.sleep(0.1)
    ending = time.monotonic_ns()
    span.end()
    report(name, began, started, ending, time.monotonic_ns())
    return time.time() - before

assert 3599 < one("an hour ahead", 3600) < 3610
assert -3610 < one("an hour back", 0) < -3599
one("a moment ahead", 0.05)
one("a moment back", 0)
one("not set", 0)

began = time.monotonic_ns()
with tracer.start_as_current_span("outer"):
    started = time.monotonic_ns()
    one("inner", -86400)
    ending = time.monotonic_ns()
report("outer", began, started, ending, time.monotonic_ns())

now = time.time_ns()
span = tracer.start_span("given times", start_time=now - 5_000_000_000)
set_clock_ahead(0)
span.end(end_time=now)
report("given times", 0, 0, 5_000_000_000, 5_000_000_000)
span = tracer.start_span("given end")
start = time.time_ns()
span.end(end_time=start + 7_000_000_000)
"""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library whose `clock_gettime` takes the place of the C library's, for Python and for our C++
    alike.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library


def test_spans_last_as_long_as_they_did(
    receiver: Receiver, program: Callable[..., Program], spans: str, clock: Path
) -> None:
    running = program(
        BODY,
        receiver.protocol,
        receiver.endpoint,
        spans=spans,
        environment={"LD_PRELOAD": str(clock)},
    )
    ended = running.end()
    assert ended.returncode == 0, ended.errors
    received = {span.name: span.end_ns - span.start_ns for span in receiver.spans}
    tolerance = 3_000_000
    reports = [json.loads(line.removeprefix("lasted ")) for line in ended.output if line.startswith("lasted")]
    assert len(reports) == 8
    for name, least, most in reports:
        assert least - tolerance <= received[name] <= most + tolerance, (name, received)
    assert abs(received["given end"] - 7_000_000_000) < 1_000_000_000
