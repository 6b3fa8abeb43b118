"""Finding the handlers of a device class, of either API level, and of what is added to a device later."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import force_tracing_needed
from tango_telemetry.patching import Patches, find_raw

from tango_telemetry_server._handlers import Handler, is_traced, wrap_handler
from tango_telemetry_server._results import create_allowed_check, create_command_check, create_read_check

__all__ = ["attribute_handlers", "command_handlers", "ignoring_device", "instrument_class", "without_builtin"]

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


class CommandHandlers(NamedTuple):
    """The handlers of one command."""

    execute: Handler
    allowed: Handler


class AttributeHandlers(NamedTuple):
    """The handlers of one attribute or pipe."""

    read: Handler
    write: Handler
    allowed: Handler


def command_handlers(name: str, result_type: Any) -> CommandHandlers:
    """Give the handlers of a command.

    :param name: the command
    :param result_type: the ``CmdArgType`` of its result
    """
    check = create_allowed_check(name, "API_CommandNotAllowed")
    subject = names.TANGO_COMMAND_NAME
    return CommandHandlers(
        Handler(name, "command", name, subject, check=create_command_check(result_type)),
        Handler(f"is_{name}_allowed", "is_allowed", name, subject, hook=True, check=check),
    )


def attribute_handlers(name: str) -> AttributeHandlers:
    """Give the handlers of an attribute."""
    check = create_allowed_check(name, "API_AttrNotAllowed")
    subject = names.TANGO_ATTRIBUTE_NAME
    return AttributeHandlers(
        Handler(f"read {name}", "read_attribute", name, subject, check=create_read_check(name)),
        Handler(f"write {name}", "write_attribute", name, subject),
        Handler(f"is_{name}_allowed", "is_allowed", name, subject, hook=True, check=check),
    )


def _pipe_handlers(name: str) -> AttributeHandlers:
    """Give the handlers of a pipe (PyTango 9 and 10.0)."""
    check = create_allowed_check(name, "API_PipeNotAllowed")
    subject = names.TANGO_PIPE_NAME
    return AttributeHandlers(
        Handler(f"read pipe {name}", "read_pipe", name, subject),
        Handler(f"write pipe {name}", "write_pipe", name, subject),
        Handler(f"is_{name}_allowed", "is_allowed", name, subject, hook=True, check=check),
    )


def _class_handlers(device_class: Any) -> Iterator[tuple[str, Handler]]:
    """Give ``(method name, handler)`` for what a ``DeviceClass`` declares. Sources: PyTango 9.3 to 10.3
    ``device_class.py`` (the lists of both API levels) and ``attr_data.py`` (the names of the methods)."""
    for name, definition in getattr(device_class, "cmd_list", {}).items():
        handlers = command_handlers(name, definition[1][0])
        yield name, handlers.execute
        config = definition[2] if len(definition) > 2 else {}
        allowed = next((value for key, value in config.items() if key.lower() == "is allowed"), None)
        yield allowed if isinstance(allowed, str) else f"is_{name}_allowed", handlers.allowed
    for key, declared in getattr(device_class, "attr_list", {}).items():
        name = getattr(declared, "attr_name", None) or key
        yield from _method_names(declared, name, attribute_handlers(name))
    for key, declared in getattr(device_class, "pipe_list", {}).items():
        name = getattr(declared, "pipe_name", None) or key
        yield from _method_names(declared, name, _pipe_handlers(name))


def _method_names(declared: Any, name: str, handlers: AttributeHandlers) -> Iterator[tuple[str, Handler]]:
    yield getattr(declared, "read_method_name", None) or f"read_{name}", handlers.read
    yield getattr(declared, "write_method_name", None) or f"write_{name}", handlers.write
    yield getattr(declared, "is_allowed_name", None) or f"is_{name}_allowed", handlers.allowed


def _by_user(function: Any) -> bool:
    """Whether a method was written by a user, and not by PyTango."""
    module = getattr(inspect.unwrap(function), "__module__", None) or ""
    return module != "tango" and not module.startswith("tango.") and hasattr(function, "__code__")


def without_builtin(function: Any) -> Any:
    """Go around the wrapper of PyTango's own tracing, unless a debugger or coverage needs it."""
    code = getattr(function, "__code__", None)
    if (
        code is not None
        and code.co_name in ("trace_wrapper", "async_trace_wrapper")
        and not force_tracing_needed()
    ):
        return function.__wrapped__
    return function


def ignoring_device(function: Any) -> Any:
    """Give a function that drops its first argument: what is no method gets no device from Python."""

    def call(device: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    call.__wrapped__ = function  # type: ignore[attr-defined]
    return call


def instrument_class(patches: Patches, device_class: Any, device: type) -> None:
    """Wrap every handler of a device class.

    :param device_class: the ``DeviceClass``, which declares commands and attributes
    :param device: the device's class, whose methods are the handlers
    """
    found = dict(_class_handlers(device_class))
    found.update((handler.title, handler) for handler in _STANDARD)
    for handler in _HOOKS:
        raw = find_raw(device, handler.title)
        if raw is None:
            continue
        if _by_user(raw):
            found[handler.title] = handler
        elif (plain := without_builtin(raw)) is not raw:
            # The silenced wrapper would still cost three steps of Python for each hook, at every request.
            patches.set_attribute(device, handler.title, plain)
    for method, handler in found.items():
        raw = find_raw(device, method)
        if raw is None or is_traced(raw) or not (callable(raw) or hasattr(raw, "__func__")):
            continue
        if isinstance(raw, (staticmethod, classmethod)) or not hasattr(raw, "__get__"):
            function = ignoring_device(getattr(device, method))
        else:
            function = without_builtin(raw)
        wrapped: Any = wrap_handler(function, handler)
        if not hasattr(raw, "__code__"):
            # The method of PyTango's C++ base class. It looks for an override in Python and would call our wrapper again,
            # but for a caller of the method's own name (pybind11's get_override; seen on 10.3.1).
            wrapped.__code__ = wrapped.__code__.replace(co_name=method)
        patches.set_attribute(device, method, wrapped)
