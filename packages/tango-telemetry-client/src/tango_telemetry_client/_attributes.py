"""What the span of a client call says: the call, the target and the place in the source."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import code_attributes

from tango_telemetry_client._targets import Operation

__all__ = [
    "LIST_ATTRIBUTES",
    "MAX_NAMES",
    "SUBJECT_ATTRIBUTES",
    "create_attributes",
    "find_name",
    "target_attributes",
]

SUBJECT_ATTRIBUTES: Mapping[str, str] = {
    "command": names.TANGO_COMMAND_NAME,
    "attribute": names.TANGO_ATTRIBUTE_NAME,
    "pipe": names.TANGO_PIPE_NAME,
}
LIST_ATTRIBUTES: Mapping[str, str] = {
    "attributes": names.TANGO_ATTRIBUTE_NAMES,
    "property": names.TANGO_PROPERTY_NAMES,
}
MAX_NAMES = 16
"""Names of one call that its span tells."""
_classes: dict[str, Any] = {}


def _tango_class(name: str) -> Any:
    found = _classes.get(name)
    if found is None:
        found = _classes[name] = getattr(importlib.import_module("tango"), name)
    return found


def find_name(args: tuple[Any, ...], kwargs: Mapping[str, Any], keyword: str) -> str | None:
    """Return the name of the command, attribute or pipe that a call is about, where it is no positional
    ``str``.

    ``proxy.position = 3`` calls ``write_attribute`` with the attribute's configuration (PyTango >= 9.4.2), a
    pipe is written as ``(name, data)``.

    :param keyword: what the method calls its first parameter (another name in each PyTango)
    """
    subject = args[0] if args else kwargs.get(keyword)
    if isinstance(subject, tuple) and subject:
        subject = subject[0]
    if isinstance(subject, str):
        return str(subject)
    if isinstance(subject, _tango_class("AttributeInfo")):
        return str(subject.name)
    return None


def create_attributes(
    operation: Operation,
    owner: str,
    subject: Any,
    name: str | None,
    args: tuple[Any, ...],
    place: tuple[Any, int],
) -> dict[str, Any]:
    """Return the span attributes of a call.

    :param subject: the object that is called, of the class ``owner``
    :param name: the command, attribute or pipe
    :param args: its positional arguments, or the only keyword argument that names what is asked for
    :param place: code object (None: unknown) and line of the caller
    """
    connects = operation.method == "__init__"
    attributes: dict[str, Any] = {
        names.RPC_SYSTEM_NAME: names.TANGO,
        names.RPC_METHOD: name or (owner if connects else operation.method),
        names.TANGO_OPERATION: "connect" if connects else operation.method,
    }
    if name is not None:
        attributes[SUBJECT_ATTRIBUTES[operation.subject]] = name
    elif operation.subject in LIST_ATTRIBUTES:
        listed = LIST_ATTRIBUTES[operation.subject]
        attributes[listed] = _listed_names(args[-1 if owner == "Database" else 0]) if args else []
    attributes.update(
        _connection_attributes(args) if connects else target_attributes(operation, owner, subject)
    )
    if place[0] is not None:
        attributes.update(code_attributes(*place))
    return attributes


def _connection_attributes(args: tuple[Any, ...]) -> dict[str, Any]:
    """What is known of a target before there is a connection."""
    return {names.TANGO_DEVICE_NAME: plain_device_name(args[0])} if args and isinstance(args[0], str) else {}


def plain_device_name(written: str) -> str:
    """Return the name of a device as ``dev_name()`` will once there is a connection; an alias stays one until
    then.

    :param written: what the user gave, of a device or of an attribute: ``tango://host:port/sys/X/1#dbase=no``
    """
    name = written.partition("#")[0].lower()
    if "://" in name:
        name = name.partition("://")[2].partition("/")[2]
    elif ":" in name.partition("/")[0]:
        name = name.partition("/")[2]
    return "/".join(name.split("/")[:3])


def target_attributes(operation: Operation, owner: str, subject: Any) -> dict[str, Any]:
    """Return the device (or group, or database) that is called, without any remote call."""
    if owner == "Group":
        return {names.TANGO_GROUP_NAME: subject.get_name()}
    if owner == "AttributeProxy":
        device = subject.get_device_proxy()
        return {names.TANGO_ATTRIBUTE_NAME: subject.name(), names.TANGO_DEVICE_NAME: device.dev_name()}
    if isinstance(subject, _tango_class("Database")):
        return {
            names.SERVER_ADDRESS: subject.get_db_host(),
            names.SERVER_PORT: int(subject.get_db_port_num()),
        }
    found = {names.TANGO_DEVICE_NAME: subject.dev_name()}
    if not subject.is_dbase_used():
        found[names.SERVER_ADDRESS] = subject.get_dev_host()
        port = subject.get_dev_port()
        if str(port).isdigit():
            found[names.SERVER_PORT] = int(port)
    return found


def _listed_names(argument: Any) -> list[str]:
    """The names in the argument of a method that takes one, several, or (name, value) pairs of them;
    bounded.
    """
    if isinstance(argument, str):
        return [argument]
    items = list(argument)[:MAX_NAMES] if isinstance(argument, (list, tuple, dict, set)) else []
    found = (item[0] if isinstance(item, (list, tuple)) and item else item for item in items)
    return [item if isinstance(item, str) else str(getattr(item, "name", "?")) for item in found]
