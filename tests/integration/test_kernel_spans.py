"""``TANGO_TELEMETRY_KERNEL_ENABLE``: cppTango's own spans between those in Python, as their children and
their parents.

cppTango sends them itself, to the same receiver, and names them after its functions. Without the switch they
are not there, and the trace has no hole where they would be.
"""

from __future__ import annotations

import dataclasses
import re
import threading
import time

import pytest
from integration.support import PYTANGO, System, assert_trace, build_forest
from receiver import ReceivedSpan

pytestmark = pytest.mark.skipif(PYTANGO < (10,), reason="cppTango 9 has no spans")

SERVER = """
import tango, tango_telemetry_server
from tango.server import Device, attribute, command, run

class Follower(Device):
    on = False
    @attribute(dtype=bool)
    def isOn(self):
        return self.on
    @isOn.write
    def isOn(self, value):
        self.on = value

class Leader(Device):
    @command(dtype_in=str)
    def TurnFollowerOn(self, name):
        proxy = tango.DeviceProxy(name)
        proxy.write_attribute("isOn", True)
        proxy.read_attribute("isOn")

run((Leader, Follower))
"""
CLIENT = """
import sys
import tango, tango_telemetry_client
from tango_telemetry import get_tracer
leader, follower = sys.argv[1:]
with get_tracer("my.app").start_as_current_span("operation"):
    tango.DeviceProxy(leader).command_inout("TurnFollowerOn", follower)
"""
PYTHON_ONLY = """
DeviceProxy                     CLIENT    pytango.client
command_inout TurnFollowerOn    CLIENT    pytango.client
  Leader.TurnFollowerOn         SERVER    Leader
    DeviceProxy                 CLIENT    Leader
    write_attribute isOn        CLIENT    Leader
      Follower.write isOn       SERVER    Follower
    read_attribute isOn         CLIENT    Leader
      Follower.read isOn        SERVER    Follower
"""
# Those with `.` or `::` and no handler's name are cppTango's: one for our scope, one for the call, one for
# the request.
WITH_CPPTANGO = """
DeviceProxy                                             CLIENT    pytango.client
  DeviceProxy.__init__                                  CLIENT    pytango.client
    Tango::DeviceProxy::DeviceProxy                     INTERNAL  pytango.client
command_inout TurnFollowerOn                            CLIENT    pytango.client
  Connection.command_inout                              CLIENT    pytango.client
    Tango::Connection::command_inout                    CLIENT    pytango.client
      Tango::Device_4Impl::command_inout_4              SERVER    Leader
        Leader.TurnFollowerOn                           SERVER    Leader
          DeviceProxy                                   CLIENT    Leader
            DeviceProxy.__init__                        CLIENT    Leader
              Tango::DeviceProxy::DeviceProxy           INTERNAL  Leader
          write_attribute isOn                          CLIENT    Leader
            DeviceProxy.write_attribute                 CLIENT    Leader
              Tango::DeviceProxy::write_attribute       CLIENT    Leader
                Tango::Device_4Impl::write_attributes_4  SERVER    Follower
                  Follower.write isOn                   SERVER    Follower
          read_attribute isOn                           CLIENT    Leader
            DeviceProxy.read_attribute                  CLIENT    Leader
              Tango::DeviceProxy::read_attribute        CLIENT    Leader
                Tango::Device_5Impl::read_attributes_5  SERVER    Follower
                  Follower.read isOn                    SERVER    Follower
"""


def run(system: System, count: int) -> list[ReceivedSpan]:
    """Run the operation through a server for each device; gives the spans of its trace."""
    leader = system.start_server(SERVER, "Leader/test", "Leader::test/leader/1", "Follower::test/f/9")
    follower = system.start_server(SERVER, "Follower/test", "Leader::test/l/9", "Follower::test/follower/1")
    names = leader.proxy_name("test/leader/1"), follower.proxy_name("test/follower/1")
    system.run_client(CLIENT, *names)

    def of_trace(spans: list[ReceivedSpan]) -> list[ReceivedSpan]:
        roots = [span for span in spans if span.name == "operation"]
        return [span for span in spans if roots and span.trace_id == roots[0].trace_id]

    # cppTango sends its spans by itself, every five seconds.
    return [
        shorten(span) for span in of_trace(system.wait_for(lambda spans: len(of_trace(spans)) >= count, 30))
    ]


def shorten(span: ReceivedSpan) -> ReceivedSpan:
    """Name cppTango's spans as 10.1 and 10.3 do: 10.0 puts the whole signature there."""
    name = re.search(r"\bTango::\w+::\w+(?=\()", span.name)
    return dataclasses.replace(span, name=name[0]) if name and span.scope == "tango.cpp" else span


@pytest.mark.parametrize("bridge", ["auto", "native", "pytango"])
def test_cpptangos_spans_stand_between_pythons(bridge: str) -> None:
    with System(bridge, TANGO_TELEMETRY_KERNEL_ENABLE="on") as system:
        trace = run(system, 1 + WITH_CPPTANGO.strip().count("\n") + 1)
        assert_trace(trace, "operation", WITH_CPPTANGO)
        assert len(build_forest(trace)) == 1
        scopes = {span.scope for span in trace if "::" in span.name}
        assert scopes == {"tango.cpp"}


@pytest.mark.parametrize("kernel", ["off", ""])
@pytest.mark.parametrize("bridge", ["auto", "giop", *(["pytango"] if PYTANGO >= (10, 3) else [])])
def test_without_it_there_are_pythons_only(bridge: str, kernel: str) -> None:
    with System(bridge, TANGO_TELEMETRY_KERNEL_ENABLE=kernel) as system:
        trace = run(system, 1 + PYTHON_ONLY.strip().count("\n") + 1)
        assert_trace(trace, "operation", PYTHON_ONLY)
        assert len(build_forest(trace)) == 1
        # As long as cppTango may take to send its own; waiting once for each setting is enough.
        late = time.monotonic() + (6 if bridge == "auto" else 0)
        while time.monotonic() < late:
            assert not [span.name for span in system.receiver.spans if span.scope == "tango.cpp"]
            threading.Event().wait(0.5)
