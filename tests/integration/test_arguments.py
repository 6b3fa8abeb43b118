"""The arguments of calls: never in a span unless the user asks for them, and then bounded."""

from __future__ import annotations

import pytest
from support import System

SERVER = """
import tango_telemetry_server
from tango.server import Device, attribute, command, run

class Pump(Device):
    @command(dtype_in=str, dtype_out=int)
    def Fill(self, what): return len(what)
    @attribute(dtype=float)
    def level(self): return 1.5
    @level.write
    def level(self, value): pass

run([Pump])
"""

CLIENT = """
import sys
import tango_telemetry_client
import tango
pump = tango.DeviceProxy(sys.argv[1])
for _ in range(2):
    pump.command_inout("Fill", "secret" * 1000)
    pump.write_attribute("level", 2.25)
    pump.read_attribute("level")
"""


@pytest.mark.parametrize("wanted", ["on", ""])
def test_arguments_are_recorded_where_asked_for(wanted: str) -> None:
    with System(PYTANGO_TELEMETRY_CAPTURE_ARGUMENTS=wanted) as system:
        server = system.start_server(SERVER, "Pump/test", "sys/pump/1")
        system.clear()
        system.run_client(CLIENT, server.proxy_name("sys/pump/1"))
        spans = system.collect()
    found = [(span.name, span.attributes.get("tango.arguments")) for span in spans]
    if not wanted:
        assert all(arguments is None for _, arguments in found)
        assert "secret" not in str(spans)
        return
    for name in ("command_inout Fill", "Pump.Fill"):
        texts = [arguments for title, arguments in found if title == name]
        assert len(texts) == 2
        for (text,) in texts:
            assert text.startswith("'secretsecret")
            assert len(text) <= 256
    for name in ("write_attribute level", "Pump.write level"):
        assert [arguments for title, arguments in found if title == name] == [["2.25"]] * 2
    for name in ("read_attribute level", "Pump.read level"):
        assert [arguments for title, arguments in found if title == name] == [None] * 2
