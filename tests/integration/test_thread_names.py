"""The thread of a call: its own name, also where it got the id of one that has ended."""

from __future__ import annotations

import pytest
from support import System

SERVER = """
import tango_telemetry_server
from tango.server import Device, command, run

class Pump(Device):
    @command
    def Go(self): pass

run([Pump])
"""

CLIENT = """
import sys, threading
import tango_telemetry_client
import tango
pump = tango.DeviceProxy(sys.argv[1])

def work():
    for _ in range(3):
        pump.command_inout("Go")

for number in range(5):
    with tango.EnsureOmniThread():
        pass
    thread = threading.Thread(target=work, name=f"worker {number}")
    thread.start()
    thread.join()
"""


@pytest.mark.parametrize("calls", ["on", "off"])
@pytest.mark.parametrize("spans", ["on", "off"])
def test_threads_that_follow_each_other_keep_their_names(calls: str, spans: str) -> None:
    with System(PYTANGO_TELEMETRY_NATIVE_CALLS=calls, PYTANGO_TELEMETRY_NATIVE_SPANS=spans) as system:
        server = system.start_server(SERVER, "Pump/test", "sys/pump/1")
        system.clear()
        system.run_client(CLIENT, server.proxy_name("sys/pump/1"))
        found = [span for span in system.collect() if span.name == "command_inout Go"]
    names = [span.attributes["thread.name"] for span in sorted(found, key=lambda span: span.start_ns)]
    assert names == [f"worker {number}" for number in range(5) for _ in range(3)]
