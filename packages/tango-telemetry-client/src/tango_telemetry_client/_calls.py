"""The traced client call: what its span says, and the wrapper around each method of the table."""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import (
    CallSites,
    Hooks,
    SpanKind,
    TracedCall,
    active_client_span,
    call_site,
    caller_of_tango,
    code_attributes,
    current_tracer,
    get_client_tracer,
    get_current,
    get_current_span,
    guarded,
    not_traced,
    pass_through_tracer,
    thread_attributes,
)

from tango_telemetry_client._targets import Operation

__all__ = ["hooks", "wrap_call"]

hooks = Hooks()
"""The hooks given to the client instrumentor."""

_get_ident = threading.get_ident
_CLIENT = SpanKind.CLIENT
_SITES = "_tango_telemetry_sites"
_MAX_NAMES = 16
_database_class: Any = None
_SUBJECT_ATTRIBUTES = {
    "command": names.TANGO_COMMAND_NAME,
    "attribute": names.TANGO_ATTRIBUTE_NAME,
    "pipe": "tango.pipe.name",
}


def wrap_call(function: Callable[..., Any], operation: Operation, owner: str) -> Callable[..., Any]:
    """Give ``function``, a method of the class ``owner``, with a client span around each call."""
    global _database_class
    if owner == "Database":
        _database_class = importlib.import_module("tango").Database
    begin = _Begin(operation, owner)

    @functools.wraps(function)
    def traced(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = guarded(begin, self, args)
        if call is None:
            return function(self, *args, **kwargs)
        try:
            return function(self, *args, **kwargs)
        except BaseException as error:
            guarded(call.fail, error)
            raise
        finally:
            guarded(call.end)

    return traced


class _Begin:
    """Starts the span of one operation; called once for each call, so it looks up and does not compute."""

    __slots__ = ("carry", "method", "operation", "owner", "takes_name")

    def __init__(self, operation: Operation, owner: str) -> None:
        self.operation = operation
        self.owner = owner
        self.method = owner if operation.method == "__init__" else operation.method
        self.takes_name = operation.subject in ("command", "attribute", "pipe")
        self.carry = f"{owner}.{operation.method}"

    def __call__(self, subject: Any, args: tuple[Any, ...]) -> TracedCall | None:
        context = get_current()
        parent = get_current_span(context)
        if parent is active_client_span.get():
            return None  # part of the call that is being made: PyTango's own helper calls get no span of their own
        name = args[0] if args and self.takes_name and type(args[0]) is str else None
        attributes = self._attributes(subject, name, args)
        tracer = current_tracer.get() or get_client_tracer()
        if not_traced(context, attributes, "DataBase" if self.owner == "Database" else ""):
            tracer = pass_through_tracer()
        title = self.method if name is None else f"{self.method} {name}"
        call = TracedCall(tracer, title, _CLIENT, attributes, context, self.carry)
        if hooks.wanted:
            call.call_hooks(hooks, subject, self.operation.method)
        return call

    def _attributes(self, subject: Any, name: str | None, args: tuple[Any, ...]) -> Mapping[str, Any]:
        frame = call_site.get() or caller_of_tango(4)
        code, position = (None, 0) if frame is None else (frame.f_code, frame.f_lasti)
        # `hasattr` on a proxy would ask the device: DeviceProxy.__getattr__ makes remote calls.
        own = subject.__dict__ if type(subject).__dictoffset__ else {}
        sites = own.get(_SITES)
        if sites is None and self.operation.method != "__init__":
            sites = own[_SITES] = CallSites()
        plain = name is not None or not args
        key = (id(code), position, self.method, name, _get_ident())
        if sites is not None and plain:
            known: Mapping[str, Any] | None = sites.get(key)
            if known is not None:
                return known
        made = self._create_attributes(subject, name, args, frame)
        if sites is not None and plain:
            sites.put(key, made, code)
        return made

    def _create_attributes(
        self, subject: Any, name: str | None, args: tuple[Any, ...], frame: Any
    ) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            names.RPC_SYSTEM_NAME: names.TANGO,
            names.RPC_METHOD: name or self.method,
            names.TANGO_OPERATION: self.operation.method if self.method != self.owner else "connect",
        }
        if name is not None:
            attributes[_SUBJECT_ATTRIBUTES[self.operation.subject]] = name
        elif args and self.operation.subject in ("attributes", "property"):
            listed = (
                names.TANGO_ATTRIBUTE_NAMES
                if self.operation.subject == "attributes"
                else names.TANGO_PROPERTY_NAMES
            )
            attributes[listed] = _listed_names(args[-1] if self.owner == "Database" else args[0])
        attributes.update(self._target(subject, args))
        if frame is not None:
            attributes.update(code_attributes(frame.f_code, frame.f_lineno))
        attributes.update(thread_attributes())
        return attributes

    def _target(self, subject: Any, args: tuple[Any, ...]) -> dict[str, Any]:
        """The device (or group, or database) that is called, without any remote call."""
        if self.method == self.owner:  # __init__: there is nothing to ask yet
            return {names.TANGO_DEVICE_NAME: args[0]} if args and isinstance(args[0], str) else {}
        if self.owner == "Group":
            return {names.TANGO_GROUP_NAME: subject.get_name()}
        if self.owner == "AttributeProxy":
            return {names.TANGO_ATTRIBUTE_NAME: subject.name()}
        if _database_class is not None and isinstance(subject, _database_class):
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
    """The names in the argument of a method that takes one, several, or (name, value) pairs of them; bounded."""
    if isinstance(argument, str):
        return [argument]
    items = list(argument)[:_MAX_NAMES] if isinstance(argument, (list, tuple, dict, set)) else []
    found = (item[0] if isinstance(item, (list, tuple)) and item else item for item in items)
    return [item if isinstance(item, str) else str(getattr(item, "name", "?")) for item in found]
