"""What servers and clients of the tests on plans count: the calls that are begun in Python, in ``begun``."""

IN_SERVER = """
import tango_telemetry_server
import tango_telemetry_server._handlers as handlers

begun = []
find = handlers.get_device_telemetry
def counted(device):
    begun.append(device)
    return find(device)
handlers.get_device_telemetry = counted
"""

IN_CLIENT = """
import sys
import tango_telemetry, tango_telemetry_client
import tango_telemetry_client._calls as calls
import tango
from opentelemetry.instrumentation.utils import suppress_instrumentation

begun = []
find = calls.get_current
def counted():
    begun.append(1)
    return find()
calls.get_current = counted

with suppress_instrumentation():
    proxy = tango.DeviceProxy(sys.argv[1])
    proxy.command_list_query(), proxy.get_attribute_list()
"""
