"""Finding the handlers of a device class, of either API level, and of what is added to a device later."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import MethodType
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import force_tracing_needed
from tango_telemetry.patching import Patches, find_raw

from tango_telemetry_server._handlers import Handler, is_traced, wrap_handler

__all__ = ["instrument_class", "instrument_dynamic"]

_COMMAND_REJECTED = "API_CommandNotAllowed"
_ATTRIBUTE_REJECTED = "API_AttrNotAllowed"

_STANDARD = (
    Handler("init_device", "init_device", "init_device"),
    Handler("delete_device", "delete_device", "delete_device"),
    Handler("dev_state", "command", "State", names.TANGO_COMMAND_NAME),
    Handler("dev_status", "command", "Status", names.TANGO_COMMAND_NAME),
)
# Hooks that PyTango's base class defines and does nothing with: a span only where the user wrote one.
_HOOKS = tuple(
    Handler(name, name, name, hook=True)
    for name in (
        "always_executed_hook",
        "read_attr_hardware",
        "write_attr_hardware",
        "server_init_hook",
        "initialize_dynamic_attributes",
    )
)


def _command(name: str) -> Handler:
    return Handler(name, "command", name, names.TANGO_COMMAND_NAME)


def _attribute(verb: str, name: str) -> Handler:
    return Handler(f"{verb} {name}", f"{verb}_attribute", name, names.TANGO_ATTRIBUTE_NAME)


def _allowed(method: str, name: str, subject: str, reason: str) -> Handler:
    return Handler(method, "is_allowed", name, subject, hook=True, rejects=reason)


def _class_handlers(device_class: Any) -> Iterator[tuple[str, Handler]]:
    """Give ``(method name, handler)`` for what a ``DeviceClass`` declares. Sources: PyTango 9.3 to 10.3
    ``device_class.py`` (the lists of both API levels) and ``attr_data.py`` (the names of the methods)."""
    for name, definition in getattr(device_class, "cmd_list", {}).items():
        yield name, _command(name)
        config = definition[2] if len(definition) > 2 else {}
        allowed = next((value for key, value in config.items() if key.lower() == "is allowed"), None)
        method = allowed if isinstance(allowed, str) else f"is_{name}_allowed"
        yield method, _allowed(f"is_{name}_allowed", name, names.TANGO_COMMAND_NAME, _COMMAND_REJECTED)
    for key, declared in getattr(device_class, "attr_list", {}).items():
        name = getattr(declared, "attr_name", None) or key
        yield getattr(declared, "read_method_name", None) or f"read_{name}", _attribute("read", name)
        yield getattr(declared, "write_method_name", None) or f"write_{name}", _attribute("write", name)
        method = getattr(declared, "is_allowed_name", None) or f"is_{name}_allowed"
        yield method, _allowed(f"is_{name}_allowed", name, names.TANGO_ATTRIBUTE_NAME, _ATTRIBUTE_REJECTED)


def _by_user(function: Any) -> bool:
    """Whether a method was written by a user, and not by PyTango."""
    module = getattr(inspect.unwrap(function), "__module__", None) or ""
    return module != "tango" and not module.startswith("tango.") and hasattr(function, "__code__")


def _direct(function: Any) -> Any:
    """Go around the wrapper of PyTango's own tracing, unless a debugger or coverage needs it."""
    code = getattr(function, "__code__", None)
    if (
        code is not None
        and code.co_name in ("trace_wrapper", "async_trace_wrapper")
        and not force_tracing_needed()
    ):
        return function.__wrapped__
    return function


def instrument_class(patches: Patches, device_class: Any, device: type) -> None:
    """Wrap every handler of a device class.

    :param device_class: the ``DeviceClass``, which declares commands and attributes
    :param device: the device's class, whose methods are the handlers
    """
    found = dict(_class_handlers(device_class))
    for handler in _STANDARD:
        found[handler.title] = handler
    for handler in _HOOKS:
        raw = find_raw(device, handler.title)
        if raw is not None and _by_user(raw):
            found[handler.title] = handler
    for method, handler in found.items():
        raw = find_raw(device, method)
        if raw is None or is_traced(raw) or not callable(raw):
            continue
        patches.set_attribute(device, method, wrap_handler(_direct(raw), handler))


def instrument_dynamic(device: Any, before: dict[str, Any], handlers: dict[str, Handler]) -> None:
    """Wrap what ``add_attribute`` or ``add_command`` has put on one device.

    :param before: the ``__dict__`` of the device before the call
    :param handlers: the handler for each beginning of a method name
    """
    for method, bound in list(device.__dict__.items()):
        if before.get(method) is bound or not callable(bound):
            continue
        for beginning, handler in handlers.items():
            if method.startswith(beginning):
                function = bound.__func__ if isinstance(bound, MethodType) else _ignoring_device(bound)
                if not is_traced(function):
                    device.__dict__[method] = MethodType(wrap_handler(_direct(function), handler), device)
                break


def _ignoring_device(function: Any) -> Any:
    """A function that was put on a device as it is gets no device argument from Python."""

    def call(device: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    call.__wrapped__ = function  # type: ignore[attr-defined]
    return call
