"""Finding the handlers of a device class, of either API level, and of what is added to a device later."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, NamedTuple

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import force_tracing_needed, guarded
from tango_telemetry.pytango.patching import (
    Patches,
    call_as_method,
    call_inherited,
    create_entry,
    find_owner,
    get_made,
    is_pytango_function,
)

from tango_telemetry_server._handlers import Handler, get_original, is_traced, wrap_handler, wrap_shared
from tango_telemetry_server._report import answering
from tango_telemetry_server._results import create_allowed_check, create_command_check, create_read_check

__all__ = [
    "attribute_handlers",
    "command_handlers",
    "instrument_class",
    "patch_creation",
    "without_builtin",
    "without_subject",
]

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


_LAYERS = 64
"""Wrappers that are looked behind for the user's function."""


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
    """Return the handlers of a command.

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
    """Return the handlers of an attribute."""
    check = create_allowed_check(name, "API_AttrNotAllowed")
    subject = names.TANGO_ATTRIBUTE_NAME
    return AttributeHandlers(
        Handler(f"read {name}", "read_attribute", name, subject, check=create_read_check(name)),
        Handler(f"write {name}", "write_attribute", name, subject),
        Handler(f"is_{name}_allowed", "is_allowed", name, subject, hook=True, check=check),
    )


def _pipe_handlers(name: str) -> AttributeHandlers:
    """Return the handlers of a pipe (PyTango 9 and 10.0)."""
    check = create_allowed_check(name, "API_PipeNotAllowed")
    subject = names.TANGO_PIPE_NAME
    return AttributeHandlers(
        Handler(f"read pipe {name}", "read_pipe", name, subject),
        Handler(f"write pipe {name}", "write_pipe", name, subject),
        Handler(f"is_{name}_allowed", "is_allowed", name, subject, hook=True, check=check),
    )


def _class_handlers(device_class: Any) -> Iterator[tuple[str, Handler]]:
    """Return ``(method name, handler)`` for what a ``DeviceClass`` declares. Sources: PyTango 9.3 to 10.3
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


def _by_user(device: type, method: str) -> bool:
    """Whether a method was written by a user, and not by PyTango."""
    owner = find_owner(device, method)
    raw = vars(owner)[method] if owner is not None else None
    if owner is None or (_is_pytango(owner) and not isinstance(raw, FunctionType)):
        return False
    # PyTango gives each device class a function around the method of its own base class (9.3 to 10.3).
    for _ in range(_LAYERS):
        inner = getattr(raw, "__wrapped__", None)
        if inner is None:
            break
        raw = inner
    module = getattr(raw, "__module__", None) or ""
    return module.partition(".")[0] not in ("tango", "PyTango")


def without_builtin(function: Any) -> Any:
    """Go around the wrapper of PyTango's own tracing, unless a debugger or coverage needs it."""
    if is_pytango_function(function, "trace_wrapper", "async_trace_wrapper") and not force_tracing_needed():
        return function.__wrapped__
    return function


def instrument_class(patches: Patches, device_class: Any, device: type, running: bool = False) -> None:
    """Wrap every handler of a device class.

    :param device_class: the ``DeviceClass``, which declares commands and attributes
    :param device: the device's class, whose methods are the handlers
    :param running: whether cppTango has been told of its commands and attributes already
    """
    found: dict[str, list[Handler]] = {}
    for method, handler in _class_handlers(device_class):
        found.setdefault(method, []).append(handler)
    found.update((handler.title, [handler]) for handler in _STANDARD)
    found.update((handler.title, [handler]) for handler in _HOOKS if _by_user(device, handler.title))
    for handler in (*_STANDARD, *_HOOKS):
        _take_builtin_off(patches, device, handler.title)
    for method, handlers in found.items():
        owner = find_owner(device, method)
        if owner is not None:
            guarded(_instrument_method, patches, device, owner, method, handlers, running)


def _take_builtin_off(patches: Patches, device: type, method: str) -> None:
    """Take PyTango's own tracing off a method of its base classes: silenced, it costs three steps of Python
    at each request.
    """
    for owner in filter(_is_pytango, device.__mro__):
        raw = vars(owner).get(method)
        plain = without_builtin(raw)
        if plain is not raw:
            patches.set_attribute(owner, method, plain)


def _instrument_method(
    patches: Patches, device: type, owner: type, method: str, handlers: list[Handler], running: bool
) -> None:
    raw = vars(owner)[method]
    if not (callable(raw) or (hasattr(type(raw), "__get__") and not hasattr(type(raw), "__set__"))):
        return
    handler = handlers[0]
    shared = len(handlers) > 1
    if shared:
        handler = without_subject(handler)
        if handler.operation == "is_allowed" and not running:
            for each in handlers:
                _add_own_check(device, method, raw, each)
            return
    made = get_made(raw)
    if is_traced(made, handler):
        return  # the base class of this one has been instrumented already
    original = get_original(made)
    if original is not None:
        raw = original
    function = call_as_method(without_builtin(raw)) if owner is device else call_inherited(device, method)
    called = function
    if method == "dev_status" and not shared:
        called = answering(function, inspect.iscoroutinefunction(raw))
    wrapped: Any = (
        wrap_shared(called, handlers, handler, raw) if shared else wrap_handler(called, handler, raw)
    )
    if not isinstance(raw, FunctionType) and _is_pytango(owner):
        # The method of PyTango's C++ base class. It looks for an override in Python and would call our
        # wrapper again, but for a caller of the method's own name (pybind11's get_override; seen on 10.3.1).
        function.__code__ = function.__code__.replace(co_name=method)
    patches.set_attribute(device, method, create_entry(raw, wrapped))


def _is_pytango(owner: type) -> bool:
    return owner.__module__.partition(".")[0] in ("tango", "PyTango")


def without_subject(handler: Handler) -> Handler:
    """The handler of a method that serves several commands or attributes, where nothing says which one."""
    if handler.operation != "is_allowed":
        return Handler(handler.operation, handler.operation, handler.operation)
    check = create_allowed_check("the request", "API_CommandNotAllowed")
    return Handler("is_allowed", "is_allowed", "is_allowed", hook=True, check=check)


# An is-allowed method that several commands name is called without a word about the command. So cppTango is
# given another name for each, that of a function which goes on to the user's method.


def _own_name(subject: str | None, name: str) -> str:
    kind = "command" if subject == names.TANGO_COMMAND_NAME else "attribute"
    return f"__tango_telemetry_{kind}_{name.lower()}_allowed__"


def _add_own_check(device: type, method: str, raw: Any, handler: Handler) -> None:
    """Give a device class a function of its own for one command's or attribute's shared is-allowed method."""

    def call(self: Any, /, *args: Any) -> Any:
        return getattr(self, method)(*args)

    # Not taken away by `uninstrument()`: cppTango knows the name for good, and takes what it does not find
    # for allowed.
    setattr(device, _own_name(handler.subject, handler.name), wrap_handler(call, handler, raw))


def _choose_name(device_class: Any, subject: str, name: str, given: Any) -> Any:
    entry = importlib.import_module("tango.globals").get_class(device_class.get_name())
    own = _own_name(subject, name)
    return own if given and entry is not None and own in vars(entry[1]) else given


def patch_creation(patches: Patches, device_class: type) -> None:
    """Have cppTango given the names of the functions made for shared is-allowed methods.

    Source: PyTango 9.3 to 10.3 ``device_class.py``; the last arguments of both methods.
    """

    def wrap_create_command(create: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(create)
        def traced_create_command(self: Any, name: str, *args: Any) -> Any:
            *rest, given = args
            own = guarded(_choose_name, self, names.TANGO_COMMAND_NAME, name, given)
            return create(self, name, *rest, given if own is None else own)

        return traced_create_command

    def wrap_create_attribute(create: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(create)
        def traced_create_attribute(self: Any, attributes: Any, name: str, *args: Any) -> Any:
            *rest, given, properties = args
            own = guarded(_choose_name, self, names.TANGO_ATTRIBUTE_NAME, name, given)
            return create(self, attributes, name, *rest, given if own is None else own, properties)

        return traced_create_attribute

    patches.wrap(device_class, "_create_command", wrap_create_command)
    patches.wrap(device_class, "_create_attribute", wrap_create_attribute)
