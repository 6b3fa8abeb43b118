"""Asynchronous calls: the request, its reply, and the callback that gets it, in both of PyTango's models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.support import BRIDGES, PYTANGO, System, assert_trace, find_span
from receiver import ReceivedSpan

FOLLOWER = Path(__file__).parent / "follower.py"

# A server with another name, whose commands do asynchronous calls: the callback belongs to its device.
LEADER = """
import sys, threading
import tango, tango_telemetry_server
from tango.server import Device, command, run

NAME = sys.argv.pop()

class Leader(Device):
    def init_device(self):
        super().init_device()
        self.proxy = tango.DeviceProxy(NAME)
        tango.ApiUtil.instance().set_asynch_cb_sub_model(tango.cb_sub_model.PUSH_CALLBACK)

    @command
    def Ask(self):
        done = threading.Event()
        def ended(event):
            self.proxy.command_inout("Go")
            done.set()
        self.proxy.command_inout_asynch("Echo", "a", ended)
        assert done.wait(10)

run((Leader,))
"""

SCRIPT = """
import sys, threading
import tango_telemetry_client, tango
from tango_telemetry import get_tracer
start = get_tracer("my.app").start_as_current_span
proxy, leader = tango.DeviceProxy(sys.argv[1]), tango.DeviceProxy(sys.argv[2])
api = tango.ApiUtil.instance()

with start("polling"):
    number = proxy.command_inout_asynch("Echo", "a")
    assert proxy.command_inout_reply(number, 5000) == "a"
    number = proxy.read_attribute_asynch("position")
    assert proxy.read_attribute_reply(number, 5000).value == 0.0
    number = proxy.write_attribute_asynch("position", 2.0)
    proxy.write_attribute_reply(number, 5000)
    number = proxy.read_attributes_asynch(["isOn", "position"])
    assert len(proxy.read_attributes_reply(number, 5000)) == 2

with start("not there yet"):
    number = proxy.command_inout_asynch("Sleep", 300)
    try:
        proxy.command_inout_reply(number)
    except tango.AsynReplyNotArrived as error:
        print("not there yet")
    assert proxy.command_inout_reply(number, 5000) is None

with start("fails"):
    number = proxy.command_inout_asynch("Fail")
    try:
        proxy.command_inout_reply(number, 5000)
    except tango.DevFailed as error:
        assert error.args[0].reason == "FollowerIsOff"

class Ended:
    def __init__(self):
        self.events = []
    def cmd_ended(self, event):
        self.events.append(event)
        proxy.command_inout("Go")
    def attr_read(self, event):
        self.events.append(event)
    def attr_written(self, event):
        self.events.append(event)

def wait(condition):
    while not condition():
        api.get_asynch_replies(100)

with start("pull"):
    ended, called = Ended(), []
    before = dict(vars(ended))
    proxy.command_inout_asynch("Echo", "b", ended)
    wait(lambda: ended.events)
    assert ended.events.pop().argout == "b"
    assert vars(ended).keys() == before.keys() and type(ended).cmd_ended is Ended.cmd_ended
    proxy.command_inout_asynch("Go", called.append)
    wait(lambda: called)
    proxy.read_attribute_asynch("position", ended)
    wait(lambda: ended.events)
    assert ended.events.pop().argout[0].value == 2.0
    if tango.Release.version_info[0] >= 10:  # 9.5.1 crashes when a callback is to hear of a write
        proxy.write_attribute_asynch("position", 3.0, ended)
        wait(lambda: ended.events)
        ended.events.clear()
    proxy.read_attributes_asynch(["isOn", "position"], cb=ended)
    wait(lambda: ended.events)
    ended.events.clear()

with start("failed reply"):
    proxy.command_inout_asynch("Fail", called.append)
    called.clear()
    wait(lambda: called)
    assert called[0].err

api.set_asynch_cb_sub_model(tango.cb_sub_model.PUSH_CALLBACK)
with start("push"):
    done = threading.Event()
    def ended(event):
        proxy.command_inout("Go")
        done.set()
    proxy.command_inout_asynch("Echo", "c", ended)
    assert done.wait(10)

if tango.Release.version_info[0] >= 10:  # 9.5.1 ends the process when a callback raises
    with start("callback that raises"):
        done = threading.Event()
        def broken(event):
            done.set()
            raise ValueError("in the callback")
        proxy.command_inout_asynch("Go", broken)
        assert done.wait(10)

with start("in a device"):
    leader.command_inout("Ask")
"""


@pytest.fixture(scope="module", params=BRIDGES)
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    with System(request.param) as system:
        yield system


@pytest.fixture(scope="module")
def spans(system: System) -> list[ReceivedSpan]:
    follower = system.start_server(FOLLOWER, "Follower/test", "test/follower/1")
    name = follower.proxy_name("test/follower/1")
    leader = system.start_server(LEADER, "Leader/test", "test/leader/1", arguments=[name])
    system.clear()
    system.run_client(system.write(SCRIPT, "client.py"), name, leader.proxy_name("test/leader/1"))
    # The callback's span ends after its last statement, which lets the caller go on.
    return system.wait_for(
        lambda spans: any(span.kind == "INTERNAL" and span.service == "Leader" for span in spans)
    )


def test_requests_and_replies(spans: list[ReceivedSpan]) -> None:
    trace = assert_trace(
        spans,
        "polling",
        """
        command_inout_asynch Echo        CLIENT  pytango.client
          Follower.Echo                  SERVER  Follower
        command_inout_reply              CLIENT  pytango.client
        read_attribute_asynch position   CLIENT  pytango.client
          Follower.read position         SERVER  Follower
        read_attribute_reply             CLIENT  pytango.client
        write_attribute_asynch position  CLIENT  pytango.client
          Follower.write position        SERVER  Follower
        write_attribute_reply            CLIENT  pytango.client
        read_attributes_asynch           CLIENT  pytango.client
          Follower.read isOn             SERVER  Follower
          Follower.read position         SERVER  Follower
        read_attributes_reply            CLIENT  pytango.client
        """,
    )
    pairs = {
        "command_inout_asynch Echo": "command_inout_reply",
        "read_attribute_asynch position": "read_attribute_reply",
        "write_attribute_asynch position": "write_attribute_reply",
        "read_attributes_asynch": "read_attributes_reply",
    }
    for request, reply in pairs.items():
        assert [link.span_id for link in find_span(trace, reply).links] == [find_span(trace, request).span_id]


def test_a_reply_that_has_not_arrived_keeps_its_link(spans: list[ReceivedSpan]) -> None:
    trace = assert_trace(
        spans,
        "not there yet",
        """
        command_inout_asynch Sleep  CLIENT  pytango.client
          Follower.Sleep            SERVER  Follower
        command_inout_reply         CLIENT  pytango.client  ! API_AsynReplyNotArrived
        command_inout_reply         CLIENT  pytango.client
        """,
    )
    request = find_span(trace, "command_inout_asynch Sleep").span_id
    replies = [span for span in trace if span.name == "command_inout_reply"]
    assert [[link.span_id for link in reply.links] for reply in replies] == [[request], [request]]


def test_a_request_that_fails(spans: list[ReceivedSpan]) -> None:
    assert_trace(
        spans,
        "fails",
        """
        command_inout_asynch Fail  CLIENT  pytango.client
          Follower.Fail            SERVER  Follower        ! FollowerIsOff
        command_inout_reply        CLIENT  pytango.client  ! FollowerIsOff
        """,
    )


def test_callbacks_of_the_pull_model(spans: list[ReceivedSpan]) -> None:
    written = """
        write_attribute_asynch position  CLIENT    pytango.client
          Follower.write position        SERVER    Follower
          attr_written position          INTERNAL  pytango.client
        """
    trace = assert_trace(
        spans,
        "pull",
        """
        command_inout_asynch Echo        CLIENT    pytango.client
          Follower.Echo                  SERVER    Follower
          cmd_ended Echo                 INTERNAL  pytango.client
            command_inout Go             CLIENT    pytango.client
              Follower.Go                SERVER    Follower
        command_inout_asynch Go          CLIENT    pytango.client
          Follower.Go                    SERVER    Follower
          cmd_ended Go                   INTERNAL  pytango.client
        read_attribute_asynch position   CLIENT    pytango.client
          Follower.read position         SERVER    Follower
          attr_read position             INTERNAL  pytango.client
        WRITTEN
        read_attributes_asynch           CLIENT    pytango.client
          Follower.read isOn             SERVER    Follower
          Follower.read position         SERVER    Follower
          attr_read                      INTERNAL  pytango.client
        """.replace("        WRITTEN\n", written.lstrip("\n").rstrip(" ") if PYTANGO >= (10,) else ""),
    )
    callback = find_span(trace, "cmd_ended Echo")
    assert callback.attributes["tango.command.name"] == "Echo"
    assert callback.attributes["tango.device.name"] == "test/follower/1"
    function = callback.attributes["code.function.name"]
    assert function.endswith("cmd_ended"), function


def test_a_callback_that_is_told_of_a_failure(spans: list[ReceivedSpan]) -> None:
    trace = assert_trace(
        spans,
        "failed reply",
        """
        command_inout_asynch Fail  CLIENT    pytango.client
          Follower.Fail            SERVER    Follower        ! FollowerIsOff
          cmd_ended Fail           INTERNAL  pytango.client  ! FollowerIsOff
        """,
    )
    assert find_span(trace, "cmd_ended Fail").status_message == "FollowerIsOff: turn it on first"


def test_callbacks_of_the_push_model(spans: list[ReceivedSpan]) -> None:
    assert_trace(
        spans,
        "push",
        """
        command_inout_asynch Echo  CLIENT    pytango.client
          Follower.Echo            SERVER    Follower
          cmd_ended Echo           INTERNAL  pytango.client
            command_inout Go       CLIENT    pytango.client
              Follower.Go          SERVER    Follower
        """,
    )


@pytest.mark.skipif(PYTANGO < (10,), reason="PyTango 9.5.1 ends the process")
def test_a_callback_that_raises(spans: list[ReceivedSpan]) -> None:
    assert_trace(
        spans,
        "callback that raises",
        """
        command_inout_asynch Go  CLIENT    pytango.client
          Follower.Go            SERVER    Follower
          cmd_ended Go           INTERNAL  pytango.client  ! ValueError
        """,
    )


def test_a_callback_belongs_to_the_device_that_asked(spans: list[ReceivedSpan]) -> None:
    assert_trace(
        spans,
        "in a device",
        """
        command_inout Ask              CLIENT    pytango.client
          Leader.Ask                   SERVER    Leader
            command_inout_asynch Echo  CLIENT    Leader
              Follower.Echo            SERVER    Follower
              cmd_ended Echo           INTERNAL  Leader
                command_inout Go       CLIENT    Leader
                  Follower.Go          SERVER    Follower
        """,
    )
