"""How a process ends that has imported us and done nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from integration.support import System


@pytest.mark.parametrize("order", ["tango, tango_telemetry_client", "tango_telemetry_server, tango"])
def test_a_process_ends_as_it_should(order: str) -> None:
    """PyTango 10.0.3 on Python 3.13 ends by SIGSEGV without the reference that core gives away."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {order}"], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


SERVER = """
import tango_telemetry_server
from tango.server import Device, attribute
class Late(Device):
    @attribute
    def level(self) -> float:
        return 1.0
if __name__ == "__main__":
    Late.run_server()
"""
CLIENT = """
import atexit, os, sys, tango_telemetry_client, tango
proxy = tango.DeviceProxy(sys.argv[1])
class Late:
    def __del__(self, proxy=proxy, write=os.write):
        write(1, b"%.1f\\n" % proxy.read_attribute("level").value)
def say():
    global late
    proxy.read_attribute("level")
    late = Late()  # cleared away after all exit handlers
atexit.register(say)
proxy.ping()
"""


@pytest.mark.parametrize("native_spans", ["on", "off"])
def test_a_call_while_the_interpreter_ends_is_made_as_if_telemetry_were_off(native_spans: str) -> None:
    """One in an exit handler is traced, one in a finaliser after it is not; both get their answer."""
    with System(PYTANGO_TELEMETRY_NATIVE_SPANS=native_spans) as system:
        server = system.start_server(SERVER, "Late/test", "test/late/1")
        system.clear()
        output = system.run_client(CLIENT, server.proxy_name("test/late/1"))
        spans = system.collect()
    assert output == "1.0\n"
    assert [span.name for span in spans if span.kind == "CLIENT"][1:] == ["ping", "read_attribute level"]
    reads = [span for span in spans if span.kind == "SERVER"]
    assert [bool(span.parent_span_id) for span in reads] == [True, False]
