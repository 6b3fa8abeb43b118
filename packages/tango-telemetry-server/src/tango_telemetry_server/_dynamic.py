"""Dynamic attributes and commands: PyTango puts their handlers on the device itself (9.4 to 10.3)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MethodType
from typing import Any

from tango_telemetry.instrumentation import guarded
from tango_telemetry.patching import Patches

from tango_telemetry_server._classes import (
    attribute_handlers,
    command_handlers,
    ignoring_device,
    without_builtin,
)
from tango_telemetry_server._handlers import Handler, is_traced, wrap_handler

__all__ = ["instrument_device", "patch_dynamic"]


def patch_dynamic(patches: Patches, device_impl: type) -> None:
    """Have whatever is added to a device from now on traced."""
    patches.wrap(device_impl, "add_attribute", _wrap_add_attribute)
    patches.wrap(device_impl, "async_add_attribute", _wrap_async_add_attribute)  # PyTango >= 10.0
    patches.wrap(device_impl, "add_command", _wrap_add_command)


def instrument_device(device: Any) -> None:
    """Wrap what was added to a device before tracing was switched on."""
    attributes = device.get_device_attr()  # its list cannot be had as a whole before 10.0
    found = [attributes.get_attr_by_ind(index).get_name() for index in range(attributes.get_attr_nb())]
    # The longest name first: the method names of `a` begin like those of `a_b`.
    for name in sorted(found, key=len, reverse=True):
        _instrument_methods(device, {}, _attribute_methods(name))
    for command in list(device.__dict__.values()):
        if hasattr(command, "__tango_command__"):
            _instrument_methods(device, {}, _command_methods(command))


def _attribute_methods(name: str) -> dict[str, Handler]:
    """Give the handler for each beginning of a method name. Source: ``device_server.py``, PyTango 9.4 to 10.3."""
    handlers = attribute_handlers(name)
    return {
        f"__wrapped_read_{name}_": handlers.read,
        f"__wrapped_write_{name}_": handlers.write,
        f"__wrapped_is_allowed_{name}_": handlers.allowed,
    }


def _command_methods(command: Any) -> dict[str, Handler]:
    name, definition = command.__name__, command.__tango_command__[1]
    handlers = command_handlers(name, definition[1][0])
    allowed = definition[2].get("Is allowed", f"is_{name}_allowed")
    if not isinstance(allowed, str):
        allowed = getattr(allowed, "__name__", f"is_{name}_allowed")
    return {f"__wrapped_{allowed}__": handlers.allowed, name: handlers.execute}


def _instrument_methods(device: Any, before: dict[str, Any], handlers: dict[str, Handler]) -> None:
    """Wrap the handlers that stand in the ``__dict__`` of a device and did not ``before``."""
    for method, bound in list(device.__dict__.items()):
        if before.get(method) is bound or not callable(bound):
            continue
        handler = next(
            (handler for beginning, handler in handlers.items() if method.startswith(beginning)), None
        )
        if handler is None:
            continue
        function = bound.__func__ if isinstance(bound, MethodType) else ignoring_device(bound)
        if not is_traced(function):
            device.__dict__[method] = MethodType(wrap_handler(without_builtin(function), handler), device)


def _attribute_added(device: Any, before: dict[str, Any], attr: Any) -> None:
    name = getattr(attr, "attr_name", None)
    _instrument_methods(device, before, _attribute_methods(name if name is not None else attr.get_name()))


def _command_added(device: Any, before: dict[str, Any], command: Any) -> None:
    name = command.__name__
    if name not in device.__dict__:  # before 10.0 the method of that name is called as it stands in the class
        found = getattr(device, name, None)
        if isinstance(found, MethodType):
            device.__dict__[name] = found
    _instrument_methods(device, before, _command_methods(command))


def _wrap_add_attribute(add: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(add)
    def traced_add_attribute(self: Any, attr: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(self.__dict__)
        result = add(self, attr, *args, **kwargs)
        guarded(_attribute_added, self, before, attr)
        return result

    return traced_add_attribute


def _wrap_async_add_attribute(add: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(add)
    async def traced_async_add_attribute(self: Any, attr: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(self.__dict__)
        result = await add(self, attr, *args, **kwargs)
        guarded(_attribute_added, self, before, attr)
        return result

    return traced_async_add_attribute


def _wrap_add_command(add: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(add)
    def traced_add_command(self: Any, cmd: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(self.__dict__)
        result = add(self, cmd, *args, **kwargs)
        guarded(_command_added, self, before, cmd)
        return result

    return traced_add_command
