"""What goes wrong on the client side: the span says so, and the user gets the very exception that PyTango
raised.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.support import BRIDGES, CLIENT, System, assert_trace, find_span
from receiver import ReceivedSpan

FOLLOWER = Path(__file__).parent / "follower.py"

# PyTango's methods are spied upon below ours: `raised` is what comes out of C++ and PyTango, before any code
# of ours.
SCRIPT = """
import sys
import tango
raised = []

from tango_telemetry.pytango.patching import green_cell, without_builtin_tracing

def spy(owner, name):
    cell = green_cell(vars(owner)[name])
    original = without_builtin_tracing(cell.cell_contents)
    def spied(self, *args, **kwargs):
        try:
            return original(self, *args, **kwargs)
        except BaseException as error:
            raised.append(error)
            raise
    cell.cell_contents = spied

spy(tango.DeviceProxy, "read_attribute")
spy(tango.Connection, "command_inout")
import tango_telemetry_client
from tango_telemetry import get_tracer
start = get_tracer("my.app").start_as_current_span
proxy = tango.DeviceProxy(sys.argv[1])

def expect(kind, reason, function, *args):
    raised.clear()
    try:
        function(*args)
    except BaseException as error:
        assert type(error) is kind, repr(error)
        assert error is raised[0]
        if reason:
            assert error.args[0].reason == reason, error
    else:
        raise AssertionError("no exception")

with start("failed"):
    expect(tango.DevFailed, "FollowerIsOff", proxy.command_inout, "Fail")
with start("broken"):
    expect(tango.DevFailed, "SensorBroken", proxy.read_attribute, "broken")
with start("unknown"):
    expect(tango.DevFailed, "API_AttrNotFound", proxy.read_attribute, "nonsense")
with start("wrong type"):
    try:
        proxy.command_inout("Sleep", "not a number")
    except Exception as error:
        print(type(error).__module__, type(error).__qualname__)
with start("timeout"):
    proxy.set_timeout_millis(200)
    expect(tango.CommunicationFailed, "API_CorbaException", proxy.command_inout, "Sleep", 600)
    proxy.set_timeout_millis(3000)
with start("no such device"):
    try:
        tango.DeviceProxy(sys.argv[2])
    except tango.DevFailed as error:
        assert error.args[0].reason, error
with start("nobody there"):
    try:
        tango.DeviceProxy("tango://127.0.0.1:1/a/b/c#dbase=no").ping()
    except tango.DevFailed as error:
        assert error.args[0].reason, error
print("ready", flush=True)
if len(sys.argv) > 3:
    sys.stdin.readline()  # the server dies
    with start("dead server"):
        expect(tango.ConnectionFailed, None, proxy.command_inout, "Go")
"""


@pytest.fixture(scope="module", params=BRIDGES)
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    with System(request.param) as system:
        yield system


@pytest.fixture(scope="module")
def spans(system: System) -> list[ReceivedSpan]:
    follower = system.start_server(FOLLOWER, "Follower/test", "test/follower/1")
    system.clear()
    client = system.start_client(
        SCRIPT, follower.proxy_name("test/follower/1"), follower.proxy_name("test/nobody/1"), "dies"
    )
    client.wait_for("ready")
    system.wait_for(lambda spans: any(span.name == "Follower.Sleep" for span in spans))
    system.stop_server(follower, signal.SIGKILL)
    client.send("")
    client.wait_for_end()
    return system.collect()


@pytest.mark.parametrize(
    ("root", "call", "handler", "error"),
    [
        ("failed", "command_inout Fail", "Follower.Fail", "FollowerIsOff"),
        ("broken", "read_attribute broken", "Follower.read broken", "SensorBroken"),
    ],
)
def test_a_handler_that_fails(
    spans: list[ReceivedSpan], root: str, call: str, handler: str, error: str
) -> None:
    trace = assert_trace(
        spans,
        root,
        f"{call}  CLIENT  {CLIENT}  ! {error}\n  {handler}  SERVER  Follower  ! {error}",
    )
    for span in (find_span(trace, call), find_span(trace, handler)):
        (event,) = span.events
        assert event.name == "exception"
        assert event.attributes["exception.type"] == "tango.DevFailed"
        assert error in event.attributes["exception.stacktrace"]
        assert "\n" not in span.status_message


def test_an_attribute_that_does_not_exist(spans: list[ReceivedSpan]) -> None:
    assert_trace(spans, "unknown", f"read_attribute nonsense  CLIENT  {CLIENT}  ! API_AttrNotFound")


def test_an_argument_of_the_wrong_type(spans: list[ReceivedSpan]) -> None:
    (call,) = [span for span in trace_of(spans, "wrong type") if span.kind == "CLIENT"]
    assert (call.name, call.status) == ("command_inout Sleep", "ERROR")
    assert call.attributes["error.type"]


def test_a_timeout(spans: list[ReceivedSpan]) -> None:
    """The server has done its work: its span is no error."""
    assert_trace(
        spans,
        "timeout",
        f"command_inout Sleep  CLIENT  {CLIENT}  ! API_CorbaException\n  Follower.Sleep  SERVER  Follower",
    )


def test_a_device_that_does_not_exist(spans: list[ReceivedSpan]) -> None:
    (call,) = [span for span in trace_of(spans, "no such device") if span.kind == "CLIENT"]
    assert (call.name, call.status) == ("DeviceProxy", "ERROR")
    assert call.attributes["tango.device.name"] == "test/nobody/1"
    assert call.attributes["error.type"].startswith("API_")


def test_a_server_that_is_not_there(spans: list[ReceivedSpan]) -> None:
    failed = [span for span in trace_of(spans, "nobody there") if span.status == "ERROR"]
    assert failed
    assert all(span.kind == "CLIENT" and span.attributes["error.type"].startswith("API_") for span in failed)


def test_a_server_that_has_died(spans: list[ReceivedSpan]) -> None:
    (call,) = [span for span in trace_of(spans, "dead server") if span.kind == "CLIENT"]
    assert (call.name, call.status) == ("command_inout Go", "ERROR")
    assert call.attributes["error.type"].startswith("API_")


def trace_of(spans: list[ReceivedSpan], root: str) -> list[ReceivedSpan]:
    trace_id = find_span(spans, root).trace_id
    return [span for span in spans if span.trace_id == trace_id]
