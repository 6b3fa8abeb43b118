"""Calls every method of PyTango's client classes once and prints, as JSON, the client spans that each of them
made.

Run by test_client_methods.py, with a database and the Follower of follower.py.
"""

# ruff: noqa: SIM905 - lists of method names are read more easily as words

import json
import os
import sys

import tango
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tango_telemetry_client import TangoClientInstrumentor

DEVICE, ATTRIBUTE = "test/follower/1", "test/follower/1/position"
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))

# What they need is made before tracing is on.
proxy = tango.DeviceProxy(DEVICE)
attribute = tango.AttributeProxy(ATTRIBUTE)
group = tango.Group("group")
group.add(DEVICE)
base = tango.Database()
proxy.command_inout("Push")
config = proxy.get_attribute_config("position")
TangoClientInstrumentor().instrument(tracer_provider=provider)

made: dict[str, list[str]] = {}
problems: dict[str, str] = {}
numbers: dict[str, int] = {}


def call(method, *args, name="", **kwargs):
    """Call ``owner.method`` and note its spans; gives the result. A DevFailed is a remote call as well."""
    owner, _, attribute_name = method.partition(".")
    if not hasattr(getattr(tango, owner), attribute_name):
        return None
    exporter.clear()
    result = None
    try:
        result = getattr(OBJECTS[owner], attribute_name)(*args, **kwargs)
    except tango.DevFailed:
        pass
    except Exception as error:
        problems[method] = repr(error)
    made[name or method] = [span.name for span in exporter.get_finished_spans() if span.kind.name == "CLIENT"]
    return result


OBJECTS = {
    "Connection": proxy,
    "DeviceProxy": proxy,
    "AttributeProxy": attribute,
    "Group": group,
    "Database": base,
}

NO_ARGUMENT = (
    "ping state status info import_info alias name adm_name description get_tango_lib_version "
    "get_attribute_list "
    "attribute_list_query attribute_list_query_ex get_command_list command_list_query polling_status "
    "get_logging_target get_logging_level locking_status is_locked is_locked_by_me reconnect get_pipe_list "
    "is_telemetry_enabled get_telemetry_topics get_telemetry_tracing get_telemetry_tracing_endpoints "
    "get_telemetry_logging get_telemetry_logging_endpoints start_telemetry stop_telemetry lock unlock"
)
for method in NO_ARGUMENT.split():
    if method == "reconnect":
        call("Connection.reconnect", True)
    else:
        call(f"DeviceProxy.{method}")
call("DeviceProxy.get_locker", tango.LockerInfo())
call("DeviceProxy.black_box", 5)
call("Connection.command_inout", "Echo", "a")
call("Connection.command_inout_raw", "Echo", "a")
number = call("Connection.command_inout_asynch", "Echo", "a")
call("Connection.command_inout_reply", number, 3000)
number = proxy.command_inout_asynch("Echo", "a")
call("Connection.command_inout_reply_raw", number, 3000)
call("DeviceProxy.read_attribute", "position")
call("DeviceProxy.write_attribute", "position", 1.0)
call("DeviceProxy.write_read_attribute", "position", 2.0)
call("DeviceProxy.read_attributes", ["isOn", "position"])
call("DeviceProxy.write_attributes", [("position", 1.0)])
call("DeviceProxy.write_read_attributes", [("position", 1.0)], ["position"])
call("DeviceProxy.read_attribute_reply", call("DeviceProxy.read_attribute_asynch", "position"), 3000)
call("DeviceProxy.read_attributes_reply", call("DeviceProxy.read_attributes_asynch", ["position"]), 3000)
call("DeviceProxy.write_attribute_reply", call("DeviceProxy.write_attribute_asynch", "position", 1.0), 3000)
call(
    "DeviceProxy.write_attributes_reply",
    call("DeviceProxy.write_attributes_asynch", [("position", 1.0)]),
    3000,
)
for method in ("read_pipe", "get_pipe_config"):
    call(f"DeviceProxy.{method}", "pipe")
call("DeviceProxy.put_property", {"colour": ["red"]})
call("DeviceProxy.get_property", "colour")
call("DeviceProxy.get_property_list", "*")
call("DeviceProxy.delete_property", "colour")
call("DeviceProxy.get_attribute_config", "position")
call("DeviceProxy.get_attribute_config_ex", ["position"])
call("DeviceProxy.set_attribute_config", config)
call("DeviceProxy.attribute_query", "position")
call("DeviceProxy.poll_attribute", "position", 3000)
call("DeviceProxy.is_attribute_polled", "position")
call("DeviceProxy.get_attribute_poll_period", "position")
call("DeviceProxy.attribute_history", "position", 1)
call("DeviceProxy.stop_poll_attribute", "position")
call("DeviceProxy.get_command_config", "Echo")
call("DeviceProxy.command_query", "Go")
call("DeviceProxy.poll_command", "Go", 3000)
call("DeviceProxy.is_command_polled", "Go")
call("DeviceProxy.get_command_poll_period", "Go")
call("DeviceProxy.command_history", "Go", 1)
call("DeviceProxy.stop_poll_command", "Go")
call("DeviceProxy.set_logging_level", 3)
call("DeviceProxy.add_logging_target", "console::cout")
call("DeviceProxy.remove_logging_target", "console::cout")
numbers["event"] = call("DeviceProxy.subscribe_event", "position", tango.EventType.CHANGE_EVENT, 5)
call("DeviceProxy.unsubscribe_event", numbers["event"])
for method in ("set_telemetry_tracing", "set_telemetry_logging"):
    call(f"DeviceProxy.{method}", False)
call("DeviceProxy.set_telemetry_topics", ["user"])
for kind in ("tracing", "logging"):
    call(f"DeviceProxy.set_telemetry_{kind}_endpoints", [])

# AttributeProxy hands nearly everything on: one span, that of the DeviceProxy.
for method in "read ping state status get_config is_polled get_poll_period stop_poll".split():
    call(f"AttributeProxy.{method}")
call("AttributeProxy.write", 1.0)
call("AttributeProxy.write_read", 1.0)
call("AttributeProxy.history", 1)
call("AttributeProxy.poll", 3000)
call("AttributeProxy.stop_poll", name="AttributeProxy.stop_poll again")
call("AttributeProxy.set_config", config)
call("AttributeProxy.read_reply", call("AttributeProxy.read_asynch"), 3000)
call("AttributeProxy.write_reply", call("AttributeProxy.write_asynch", 1.0), 3000)
call("AttributeProxy.put_property", {"unit": ["mm"]})
call("AttributeProxy.get_property", "unit")
call("AttributeProxy.delete_property", "unit")
number = call("AttributeProxy.subscribe_event", tango.EventType.CHANGE_EVENT, 5)
call("AttributeProxy.unsubscribe_event", number)

call("Group.ping")
call("Group.command_inout", "Go")
call("Group.read_attribute", "position")
call("Group.read_attributes", ["isOn", "position"])
call("Group.write_attribute", "position", 1.0)
call("Group.command_inout_reply", group.command_inout_asynch("Go"))
call("Group.command_inout_asynch", "Go")
call("Group.read_attribute_reply", call("Group.read_attribute_asynch", "position"))
call("Group.read_attributes_reply", call("Group.read_attributes_asynch", ["position"]))
call("Group.write_attribute_reply", call("Group.write_attribute_asynch", "position", 1.0))
call("Group.add", DEVICE)

for method in (
    "get_info get_services get_class_list get_server_list get_server_name_list get_host_list get_alias_list "
    "get_device_exported get_device_domain get_device_family get_device_member get_device_alias_list "
    "get_attribute_alias_list get_object_list get_host_server_list get_device_service_list"
).split():
    arguments = {"get_services": ("*", "*"), "get_host_server_list": ("localhost",), "get_server_list": ()}
    call(
        f"Database.{method}",
        *arguments.get(method, () if method in ("get_info", "get_server_name_list") else ("*",)),
    )
call("Database.get_server_list", "Follower/*", name="Database.get_server_list with a pattern")
for method in "get_instance_name_list get_server_info get_server_class_list import_server".split():
    call(f"Database.{method}", "Follower" if method == "get_instance_name_list" else "Follower/test")
for method in "get_device_info import_device get_class_for_device get_class_inheritance_for_device".split():
    call(f"Database.{method}", DEVICE)
call("Database.get_device_class_list", "Follower/test")
call("Database.get_device_name", "Follower/test", "Follower")
call("Database.get_device_exported_for_class", "Follower")
call("Database.get_class_attribute_list", "Follower", "*")
call("Database.get_device_attribute_list", DEVICE, tango.StdStringVector())
call("Database.put_device_alias", DEVICE, "follower")
call("Database.get_alias_from_device", DEVICE)
call("Database.get_device_from_alias", "follower")
call("Database.get_device_alias", "follower")
call("Database.get_alias", DEVICE)
call("Database.delete_device_alias", "follower")
call("Database.put_attribute_alias", ATTRIBUTE, "place")
call("Database.get_attribute_alias", "place")
call("Database.get_attribute_from_alias", "place")
call("Database.get_alias_from_attribute", ATTRIBUTE)
call("Database.delete_attribute_alias", "place")
call("Database.register_service", "service", "instance", DEVICE)
call("Database.get_service_list", ".*")
call("Database.unregister_service", "service", "instance")
call("Database.put_property", "object", {"a": ["1"]})
call("Database.get_property", "object", "a")
call("Database.get_property_history", "object", "a")
call("Database.get_object_property_list", "object", "*")
call("Database.delete_property", "object", "a")
for kind, owner in (("device", DEVICE), ("class", "Follower")):
    call(f"Database.put_{kind}_property", owner, {"a": ["1"]})
    call(f"Database.get_{kind}_property", owner, "a")
    call(f"Database.get_{kind}_property_history", owner, "a")
    call(f"Database.get_{kind}_property_list", owner, *(("*",) if kind == "device" else ()))
    call(f"Database.delete_{kind}_property", owner, "a")
    call(f"Database.put_{kind}_attribute_property", owner, {"position": {"a": ["1"]}})
    call(f"Database.get_{kind}_attribute_property", owner, "position")
    call(f"Database.get_{kind}_attribute_property_history", owner, "position", "a")
    call(f"Database.delete_{kind}_attribute_property", owner, {"position": ["a"]})
info = tango.DbDevInfo()
info.name, info._class, info.server = "test/other/1", "Other", "Other/test"
call("Database.add_device", info)
call("Database.rename_server", "Other/test", "Other/again")
call("Database.delete_device", "test/other/1")
call("Database.add_server", "Other/test", [info])
server_info = tango.DbServerInfo()
server_info.name, server_info.host, server_info.mode, server_info.level = "Other/test", "localhost", 0, 0
call("Database.put_server_info", server_info)
call("Database.delete_server_info", "Other/test")
export = tango.DbDevExportInfo()
export.name, export.ior, export.host, export.version, export.pid = (
    "test/other/1",
    "IOR:0",
    "localhost",
    "6",
    1,
)
call("Database.export_device", export)
call("Database.unexport_device", "test/other/1")
call("Database.unexport_server", "Other/test")
call("Database.delete_server", "Other/test")
call("Database.unexport_event", "test/other/1")

exporter.clear()
tango.DeviceProxy(DEVICE)
made["DeviceProxy.__init__"] = [span.name for span in exporter.get_finished_spans()]
exporter.clear()
tango.AttributeProxy(ATTRIBUTE)
made["AttributeProxy.__init__"] = [span.name for span in exporter.get_finished_spans()]
exporter.clear()
tango.Database()
made["Database.__init__"] = [span.name for span in exporter.get_finished_spans()]

exporter.clear()
local = [
    *(
        getattr(proxy, name)()
        for name in ("dev_name", "get_dev_host", "get_dev_port", "is_dbase_used", "get_fqdn")
    ),
    *(
        getattr(proxy, name)()
        for name in ("get_timeout_millis", "get_source", "get_idl_version", "get_green_mode")
    ),
    *(
        getattr(proxy, name)()
        for name in ("get_db_host", "get_transparency_reconnection", "get_access_right")
    ),
    proxy.set_timeout_millis(3000),
    proxy.is_dynamic_interface_frozen(),
    proxy.get_device_db(),
    attribute.name(),
    attribute.get_device_proxy(),
    group.get_name(),
    group.get_size(),
    group.get_device_list(),
    group.contains("x/y/z"),
    group.remove("x/y/z"),
    group.set_timeout_millis(3000),
    base.get_db_host(),
    base.get_server_release(),
    base.is_multi_tango_host(),
]
local_spans = [span.name for span in exporter.get_finished_spans()]

# The place of a call is looked up once.
exporter.clear()
for _ in range(3):
    proxy.read_attribute("position")
repeated = [span.attributes is not None and dict(span.attributes) for span in exporter.get_finished_spans()]
sites = len(vars(proxy)["_tango_telemetry_plans"])
for _ in range(3):
    proxy.read_attribute("position")
grown = len(vars(proxy)["_tango_telemetry_plans"]) - sites
TangoClientInstrumentor().uninstrument()
json.dump(
    {
        "made": made,
        "problems": problems,
        "local": local_spans,
        "same": repeated[0] == repeated[2],
        "grown": grown,
    },
    sys.stdout,
)
sys.stdout.flush()
# PyTango 10.3.1 ends in omni_thread_fatal at exit once lock() was called, with or without tracing.
os._exit(0)
