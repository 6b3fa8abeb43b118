"""One operation on the devices of a server, as the one trace that is compared."""

from __future__ import annotations

from integration.support import Server, System, assert_trace
from receiver import ReceivedSpan

# What a proxy asks when it is made stands outside the trace.
CLIENT = """
import sys, time
import tango_telemetry_client, tango
from tango_telemetry import get_tracer
devices = [tango.DeviceProxy(name) for name in sys.argv[2:]]
for device in devices:
    device.get_command_list()
    device.get_attribute_list()
device = devices[0]

def refused(call, *arguments):
    try:
        call(*arguments)
    except tango.DevFailed as error:
        print(error.args[0].reason)
    else:
        raise AssertionError(f"{arguments} was not refused")

with get_tracer("my.app").start_as_current_span("operation"):
    exec(sys.argv[1])
"""


def run(system: System, server: Server, code: str, *devices: str, **environment: str) -> str:
    """Run Python code that finds its devices in ``devices``, the first one as ``device``; gives what it
    printed.
    """
    system.clear()
    names = (server.proxy_name(device) for device in devices)
    return system.run_client(CLIENT, code, *names, **environment)


def assert_operation(system: System, expected: str) -> list[ReceivedSpan]:
    """Compare the trace of the last operation with a forest; gives its spans and forgets all."""
    spans = system.collect()
    system.clear()
    return assert_trace(spans, "operation", expected)
