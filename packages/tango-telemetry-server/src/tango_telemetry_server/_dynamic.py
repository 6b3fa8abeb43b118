"""Dynamic attributes and commands: PyTango puts their handlers on the device itself (9.4 to 10.3; before that
it names methods of the class).

It tells C++ of each by ``_add_attribute`` and ``_add_command``, with the names of the methods that C++ is to
call. So what is done for one does not depend on how many there are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MethodType
from typing import Any

from tango_telemetry.instrumentation import guarded
from tango_telemetry.pytango.patching import Patches

from tango_telemetry_server._classes import (
    attribute_handlers,
    command_handlers,
    without_builtin,
    without_subject,
)
from tango_telemetry_server._handlers import Handler, get_original, is_traced, mark, wrap_handler

__all__ = ["instrument_device", "patch_dynamic"]

_READ, _WRITE, _ALLOWED = "__wrapped_read_", "__wrapped_write_", "__wrapped_is_allowed_"


def patch_dynamic(patches: Patches, device_impl: type) -> None:
    """Have whatever is added to a device from now on traced."""
    patches.wrap(device_impl, "_add_attribute", _wrap_add_attribute)
    patches.wrap(device_impl, "_add_command", _wrap_add_command)
    patches.wrap(device_impl, "_remove_command", _wrap_remove_command)


def _wrap_add_attribute(add: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(add)
    def traced_add_attribute(self: Any, attr: Any, read: Any, write: Any, allowed: Any, *args: Any) -> Any:
        methods = guarded(_trace_attribute, self, attr, read, write, allowed) or (read, write, allowed)
        return add(self, attr, *methods, *args)

    return traced_add_attribute


def _wrap_add_command(add: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(add)
    def traced_add_command(self: Any, name: str, definition: Any, *args: Any) -> Any:
        # (allowed, level, device_level); PyTango 9.3 has no `allowed`, and asks nobody.
        *allowed, _, device_level = args
        own = guarded(_trace_command, self, name, definition, *(allowed or [None]), device_level)
        if own is not None:
            args = (own, *args[1:])
        return add(self, name, definition, *args)

    return traced_add_command


def _wrap_remove_command(remove: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(remove)
    def traced_remove_command(self: Any, name: Any, *args: Any) -> Any:
        result = remove(self, name, *args)
        guarded(self.__dict__.pop, _own_name("command", str(name), "allowed"), None)
        return result

    return traced_remove_command


def _trace_attribute(device: Any, attr: Any, read: Any, write: Any, allowed: Any) -> tuple[Any, ...]:
    """Trace an attribute; return the names of the methods that cppTango is to call."""
    name = attr.get_name()
    uses = (("read", read), ("write", write), ("allowed", allowed))
    return tuple(
        _trace_method(device, method, _own_name("attribute", name, use), handler)
        for (use, method), handler in zip(uses, attribute_handlers(name), strict=True)
    )


def _trace_method(device: Any, method: Any, own_name: str, handler: Handler) -> Any:
    """Trace a method of a dynamic attribute; return the name of what is to be called.

    Before PyTango 9.4 it is a method of the class, which may serve several attributes. It is looked up at
    each request.
    """
    own = device.__dict__
    found = None if method in own else getattr(device, str(method), None)
    if type(found) is not MethodType or get_original(found.__func__) is not None:
        _trace_entry(device, method, handler)
        return method

    def call(device: Any, /, *args: Any, **kwargs: Any) -> Any:
        return getattr(device, method)(*args, **kwargs)

    call.__wrapped__ = found.__func__  # type: ignore[attr-defined]
    own[own_name] = MethodType(wrap_handler(call, handler, found.__func__), device)
    return own_name


def _own_name(kind: str, name: str, use: str) -> str:
    return f"__tango_telemetry_{kind}_{name.lower()}_{use}__"


def _trace_command(device: Any, name: str, definition: Any, allowed: Any, device_level: Any) -> str | None:
    """Trace a command; give the name of its is-allowed method where that is another one now.

    PyTango names it after its function (9.5 to 10.3), so that several commands have the same one. A command
    of the whole class keeps the name: cppTango gives it to devices that are made later, with telemetry on or
    off.
    """
    handlers = command_handlers(name, definition[1][0])
    own = device.__dict__
    if name not in own:  # before 10.0 the method of that name is called as it stands in the class
        found = getattr(device, name, None)
        if isinstance(found, MethodType):
            own[name] = found
    _trace_entry(device, name, handlers.execute)
    if not isinstance(allowed, str) or allowed not in own:
        return None
    if not device_level:
        _trace_entry(device, allowed, handlers.allowed)
        return None
    own_name = _own_name("command", name, "allowed")
    own[own_name] = _trace(device, own[allowed], handlers.allowed)
    return own_name


def _trace_entry(device: Any, entry: Any, handler: Handler) -> None:
    """Put a traced handler in the place of one that stands in the ``__dict__`` of a device."""
    own = device.__dict__
    found = own.get(entry)
    if callable(found):
        own[entry] = _trace(device, found, handler)


def _trace(device: Any, found: Any, handler: Handler) -> Any:
    """Return what is called as ``found`` is, looks as that looks, and has a span around each request."""
    if type(found) is MethodType and found.__self__ is device:
        function = found.__func__
        if is_traced(function, handler):
            return found
        function = get_original(function) or function
        return MethodType(wrap_handler(without_builtin(function), handler, function), device)
    if is_traced(found, handler):
        return found
    original = get_original(found) or found
    function = without_builtin(original)
    traced = wrap_handler(_ignoring_device(function), handler, original)

    def call(*args: Any, **kwargs: Any) -> Any:
        return traced(device, *args, **kwargs)

    return mark(call, handler, original)


def _ignoring_device(function: Any) -> Any:
    """Return a function that drops its first argument: what stands on the device itself gets no device from
    Python.
    """

    def call(device: Any, /, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    call.__wrapped__ = function  # type: ignore[attr-defined]
    return call


def instrument_device(device: Any) -> None:
    """Wrap what was added to a device before tracing was switched on."""
    attributes = device.get_device_attr()  # its list cannot be had as a whole before 10.0
    found = (attributes.get_attr_by_ind(index).get_name() for index in range(attributes.get_attr_nb()))
    handlers = {name: attribute_handlers(name) for name in found}
    checks: dict[str, list[Handler]] = {}
    for entry, value in list(device.__dict__.items()):
        command = getattr(value, "__tango_command__", None) if callable(value) else None
        if command is not None:
            definition = command[1]
            made = command_handlers(entry, definition[1][0])
            _trace_entry(device, entry, made.execute)
            allowed = definition[2].get("Is allowed", f"is_{entry}_allowed")
            if not isinstance(allowed, str):
                allowed = getattr(allowed, "__name__", f"is_{entry}_allowed")
            checks.setdefault(f"__wrapped_{allowed}__", []).append(made.allowed)
            continue
        for index, beginning in enumerate((_READ, _WRITE, _ALLOWED)):
            if isinstance(entry, str) and entry.startswith(beginning):
                name = _find_attribute(entry[len(beginning) :], value, handlers)
                if name is not None:
                    _trace_entry(device, entry, handlers[name][index])
    for entry, several in checks.items():
        _trace_entry(device, entry, several[0] if len(several) == 1 else without_subject(several[0]))


def _find_attribute(rest: str, method: Any, names: Any) -> str | None:
    """Return the attribute of ``NAME_METHOD__``, where both may hold underscores: the method has its name."""
    whole = rest.removesuffix(f"_{getattr(method, '__name__', '')}__")
    if whole != rest and whole in names:
        return whole
    candidates = (rest[:end] for end in range(len(rest), 0, -1) if rest[end : end + 1] == "_")
    return next((name for name in candidates if name in names), None)
