"""Every method of PyTango's client classes that talks to a server, and what its first argument names.

One table drives ``instrument()`` and ``uninstrument()``. A method that this PyTango does not have is passed
over. Not here, so without a span: getters without a remote call, and methods that only call others that are
here (``AttributeProxy`` hands nearly everything to its ``DeviceProxy``).
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

__all__ = ["TARGETS", "Operation", "Role", "Subject"]

Subject = Literal["command", "attribute", "attributes", "property", "pipe", "none"]
Role = Literal["call", "request", "reply", "subscribe", "events"]


class Operation(NamedTuple):
    """One client method.

    ``subject`` says what the first argument names; ``role`` is ``request`` or ``reply`` for the two halves of
    an asynchronous call, ``subscribe`` for what takes an event callback and ``events`` for what fetches
    events.
    """

    method: str
    subject: Subject = "none"
    role: Role = "call"


def _calls(subject: Subject, *methods: str, role: Role = "call") -> tuple[Operation, ...]:
    return tuple(Operation(method, subject, role) for method in methods)


_CONNECTION: Final = (
    *_calls("command", "command_inout"),
    *_calls("command", "command_inout_asynch", role="request"),
    *_calls("none", "command_inout_reply", role="reply"),
    *_calls("none", "connect", "reconnect"),
    # Users may call these; on the way of PyTango's own calls they are part of those.
    *_calls("command", "command_inout_raw"),
    *_calls("none", "command_inout_reply_raw"),
)

_DEVICE_PROXY: Final = (
    *_calls("none", "__init__", "ping", "state", "status", "info", "import_info", "alias", "black_box"),
    # cppTango asks the device for these (10.3.1: they fail without the server), other than for dev_name().
    *_calls("none", "name", "adm_name", "description", "get_tango_lib_version"),
    *_calls("attribute", "read_attribute", "write_attribute", "write_read_attribute"),
    *_calls("attributes", "read_attributes", "write_attributes", "write_read_attributes"),
    *_calls("attribute", "read_attribute_asynch", "write_attribute_asynch", role="request"),
    *_calls("attributes", "read_attributes_asynch", "write_attributes_asynch", role="request"),
    *_calls("none", "read_attribute_reply", "write_attribute_reply", role="reply"),
    *_calls("none", "read_attributes_reply", "write_attributes_reply", role="reply"),
    *_calls("pipe", "read_pipe", "write_pipe", "get_pipe_config"),
    *_calls("none", "set_pipe_config", "get_pipe_list"),
    *_calls("property", "get_property", "put_property", "delete_property", "get_property_list"),
    *_calls("attributes", "get_attribute_config", "get_attribute_config_ex"),
    *_calls("none", "set_attribute_config"),
    *_calls("attribute", "attribute_query", "attribute_history", "poll_attribute", "stop_poll_attribute"),
    *_calls("attribute", "is_attribute_polled", "get_attribute_poll_period"),
    *_calls("none", "get_attribute_list", "attribute_list_query", "attribute_list_query_ex"),
    *_calls("command", "get_command_config", "command_query", "command_history", "poll_command"),
    *_calls("command", "stop_poll_command", "is_command_polled", "get_command_poll_period"),
    *_calls("none", "get_command_list", "command_list_query", "polling_status"),
    *_calls("none", "add_logging_target", "remove_logging_target", "get_logging_target"),
    *_calls("none", "get_logging_level", "set_logging_level"),
    *_calls("none", "lock", "unlock", "locking_status", "is_locked", "is_locked_by_me", "get_locker"),
    *_calls("attribute", "subscribe_event", role="subscribe"),
    *_calls("none", "get_events", role="events"),
    *_calls("none", "unsubscribe_event"),
    *_calls("none", "start_telemetry", "stop_telemetry", "is_telemetry_enabled"),
    *_calls("none", "set_telemetry_topics", "get_telemetry_topics"),
    *_calls("none", "set_telemetry_tracing", "get_telemetry_tracing"),
    *_calls("none", "set_telemetry_tracing_endpoints", "get_telemetry_tracing_endpoints"),
    *_calls("none", "add_telemetry_tracing_endpoint", "remove_telemetry_tracing_endpoint"),
    *_calls("none", "set_telemetry_logging", "get_telemetry_logging"),
    *_calls("none", "set_telemetry_logging_endpoints", "get_telemetry_logging_endpoints"),
    *_calls("none", "add_telemetry_logging_endpoint", "remove_telemetry_logging_endpoint"),
)

_ATTRIBUTE_PROXY: Final = (
    *_calls("none", "__init__"),
    *_calls("property", "get_property", "put_property", "delete_property"),
)

_GROUP: Final = (
    *_calls("none", "add", "ping"),
    *_calls("command", "command_inout"),
    *_calls("command", "command_inout_asynch", role="request"),
    *_calls("none", "command_inout_reply", role="reply"),
    *_calls("attribute", "read_attribute", "write_attribute"),
    *_calls("attributes", "read_attributes"),
    *_calls("attribute", "read_attribute_asynch", "write_attribute_asynch", role="request"),
    *_calls("attributes", "read_attributes_asynch", role="request"),
    *_calls("none", "read_attribute_reply", "read_attributes_reply", "write_attribute_reply", role="reply"),
)

_DATABASE: Final = (
    *_calls(
        "none", "__init__", "add_device", "delete_device", "add_server", "delete_server", "rename_server"
    ),
    *_calls("none", "export_device", "unexport_device", "import_device", "export_server", "unexport_server"),
    *_calls("none", "export_event", "unexport_event", "get_info", "check_access_control"),
    *_calls("none", "get_server_info", "put_server_info", "delete_server_info", "get_server_class_list"),
    *_calls("none", "get_server_list", "get_server_name_list", "get_instance_name_list", "get_host_list"),
    *_calls(
        "none", "get_host_server_list", "get_device_class_list", "get_class_list", "get_class_for_device"
    ),
    *_calls("none", "get_class_inheritance_for_device", "get_class_attribute_list", "get_class_pipe_list"),
    *_calls(
        "none", "get_device_name", "get_device_info", "get_device_exported", "get_device_exported_for_class"
    ),
    *_calls("none", "get_device_domain", "get_device_family", "get_device_member", "get_device_service_list"),
    *_calls("none", "get_device_attribute_list", "get_device_pipe_list", "get_device_from_alias"),
    *_calls("none", "get_alias", "get_alias_from_device", "get_device_alias", "get_device_alias_list"),
    *_calls(
        "none", "put_device_alias", "delete_device_alias", "put_attribute_alias", "delete_attribute_alias"
    ),
    *_calls("none", "get_attribute_alias", "get_attribute_alias_list", "get_attribute_from_alias"),
    *_calls("none", "get_alias_from_attribute", "get_object_list", "get_services", "get_service_list"),
    *_calls("none", "register_service", "unregister_service"),
    *_calls("property", "get_property", "get_property_forced", "put_property", "delete_property"),
    *_calls("property", "get_property_history", "get_object_property_list"),
    *_calls("property", "get_device_property", "put_device_property", "delete_device_property"),
    *_calls("property", "get_device_property_list", "get_device_property_history"),
    *_calls("property", "get_device_attribute_property", "put_device_attribute_property"),
    *_calls("property", "delete_device_attribute_property", "get_device_attribute_property_history"),
    *_calls(
        "property", "get_device_pipe_property", "put_device_pipe_property", "delete_device_pipe_property"
    ),
    *_calls("property", "get_device_pipe_property_history"),
    *_calls("property", "get_class_property", "put_class_property", "delete_class_property"),
    *_calls("property", "get_class_property_list", "get_class_property_history"),
    *_calls("property", "get_class_attribute_property", "put_class_attribute_property"),
    *_calls("property", "delete_class_attribute_property", "get_class_attribute_property_history"),
    *_calls("property", "get_class_pipe_property", "put_class_pipe_property", "delete_class_pipe_property"),
    *_calls("property", "get_class_pipe_property_history"),
)

TARGETS: Final[dict[str, tuple[Operation, ...]]] = {
    "Connection": _CONNECTION,
    "DeviceProxy": _DEVICE_PROXY,
    "AttributeProxy": _ATTRIBUTE_PROXY,
    "Group": _GROUP,
    "Database": _DATABASE,
}
"""The methods of each class of the ``tango`` package, by class name."""
