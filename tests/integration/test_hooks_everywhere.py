"""The hooks of `instrument()` are called for events and callbacks as for calls, and cannot raise into
them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from integration.support import System
from receiver import ReceivedSpan

FOLLOWER = Path(__file__).parent / "follower.py"
HOOKS = """
def request(span, subject, operation):
    span.set_attribute("hook.request", f"{type(subject).__name__} {operation}")
    raise RuntimeError("a defect of the user's")

def response(span, subject, operation, error):
    span.set_attribute("hook.response", type(error).__name__ if error else "good")
    raise RuntimeError("another one")
"""
SERVER = (
    HOOKS
    + """
from tango_telemetry_server import TangoServerInstrumentor
TangoServerInstrumentor().instrument(request_hook=request, response_hook=response)
"""
    + FOLLOWER.read_text()
)
CLIENT = (
    HOOKS
    + """
import sys, threading, time
import tango
from tango_telemetry_client import TangoClientInstrumentor
TangoClientInstrumentor().instrument(request_hook=request, response_hook=response)

proxy = tango.DeviceProxy(sys.argv[1])
CHANGE = tango.EventType.CHANGE_EVENT

class Arrivals:
    def __init__(self):
        self.changed, self.count = threading.Condition(), 0
    def add(self, event):
        with self.changed:
            self.count += 1
            self.changed.notify_all()
        if self.fail:
            raise ValueError("the user's own")
    fail = False
    def wait(self, count, again=lambda: None):
        for _ in range(15):
            with self.changed:
                if self.changed.wait_for(lambda: self.count >= count, 1):
                    return
            again()
        raise AssertionError(self.count)

def push():
    proxy.command_inout("Push")

push()
pushed = Arrivals()
number = proxy.subscribe_event("position", CHANGE, pushed.add)
pushed.wait(1)
pushed.fail = True
push()
pushed.wait(2, push)
proxy.unsubscribe_event(number)

number = proxy.subscribe_event("position", CHANGE, 10)
while not proxy.get_events(number):
    pass
proxy.unsubscribe_event(number)

class Ended:
    "Both names of 9.5 and 10, and each is the end of one call."
    def __init__(self):
        self.arrivals = Arrivals()
    def cmd_ended(self, event):
        self.arrivals.add(event)
    def attr_read(self, event):
        self.arrivals.add(event)

ended = Ended()
for method, name in (("command_inout_asynch", "Go"), ("command_inout_asynch", "Fail"), ("read_attribute_asynch", "isOn")):
    ended.arrivals.count = 0
    getattr(proxy, method)(name, ended)
    deadline = time.monotonic() + 15
    while not ended.arrivals.count and time.monotonic() < deadline:
        proxy.get_asynch_replies(100)
    assert ended.arrivals.count == 1
"""  # noqa: E501
)


@pytest.fixture(scope="module")
def spans() -> list[ReceivedSpan]:
    with System() as system:
        server = system.start_server(SERVER, "Follower/test", "test/follower/1", TANGO_TELEMETRY_ENABLE="")
        system.clear()
        system.run_client(CLIENT, server.proxy_name("test/follower/1"), TANGO_TELEMETRY_ENABLE="")
        return system.collect()


def hooked(spans: list[ReceivedSpan], name: str) -> set[tuple[str, str]]:
    """What the hooks said on the spans of this name, in the order of request and response."""
    found = [span for span in spans if span.name == name]
    assert found, sorted(span.name for span in spans)
    return {
        (span.attributes.get("hook.request", "none"), span.attributes.get("hook.response", "none"))
        for span in found
    }


def test_an_event_that_is_sent(spans: list[ReceivedSpan]) -> None:
    assert hooked(spans, "Follower.push_change_event position") == {("Follower push_change_event", "good")}


def test_an_event_that_is_pushed(spans: list[ReceivedSpan]) -> None:
    """The callback of the second one raises, and the hook is told of it."""
    assert hooked(spans, "push_event position") == {
        ("DeviceProxy push_event", "good"),
        ("DeviceProxy push_event", "ValueError"),
    }


def test_events_that_are_pulled(spans: list[ReceivedSpan]) -> None:
    assert hooked(spans, "get_events position") == {("DeviceProxy get_events", "good")}


def test_callbacks_of_asynchronous_calls(spans: list[ReceivedSpan]) -> None:
    assert hooked(spans, "cmd_ended Go") == {("DeviceProxy cmd_ended", "good")}
    assert hooked(spans, "cmd_ended Fail") == {("DeviceProxy cmd_ended", "DevFailed")}
    assert hooked(spans, "attr_read isOn") == {("DeviceProxy attr_read", "good")}


def test_each_recorded_span_of_either_side_was_hooked(spans: list[ReceivedSpan]) -> None:
    """``read position`` of the first subscription comes from cppTango, and is a request like others."""
    assert {span.name for span in spans if "hook.response" not in span.attributes} == set()
