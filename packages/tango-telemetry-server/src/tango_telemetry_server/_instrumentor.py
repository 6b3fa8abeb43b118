"""Switching the tracing of device servers on and off."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, ClassVar

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import Instrumentor, guarded
from tango_telemetry.patching import Patches

from tango_telemetry_server._classes import (
    _allowed,
    _attribute,
    _command,
    instrument_class,
    instrument_dynamic,
)
from tango_telemetry_server._device import TelemetryDevice, get_device_telemetry
from tango_telemetry_server._events import instrument_events

__all__ = ["TangoServerInstrumentor", "add_device_methods"]


def add_device_methods() -> None:
    """Give every device class the telemetry methods, as a base: no class dictionary changes."""
    device_impl = importlib.import_module("tango").DeviceImpl
    if TelemetryDevice not in device_impl.__mro__:
        device_impl.__bases__ = (*device_impl.__bases__, TelemetryDevice)


class TangoServerInstrumentor(Instrumentor):
    """Traces the devices of a device server, of PyTango's high-level and low-level API."""

    _patches: ClassVar[Patches] = Patches()

    def _instrument(self) -> None:
        tango: Any = importlib.import_module("tango")
        server: Any = importlib.import_module("tango.server")
        patches = self._patches
        for owner in (tango.DeviceImpl, server.BaseDevice):
            for name, method in vars(TelemetryDevice).items():
                if name in vars(owner) and callable(method):
                    patches.set_attribute(owner, name, method)
        for name in ("_BaseDevice__refresh_telemetry_tracer", "_configure_device_telemetry"):
            if name in vars(
                server.BaseDevice
            ):  # PyTango would make a tracer of its own (10.3; 10.0 and 10.1)
                patches.set_attribute(server.BaseDevice, name, _skip)
        guarded(instrument_events, patches)
        patches.wrap(tango.Util, "add_TgClass", self._wrap_add_class)
        patches.wrap(tango.DeviceImpl, "add_attribute", _wrap_add_attribute)
        patches.wrap(tango.DeviceImpl, "add_command", _wrap_add_command)
        if "_telemetry_reconfigured" in vars(tango.DeviceImpl):
            patches.wrap(tango.DeviceImpl, "_telemetry_reconfigured", _wrap_reconfigured)
        for device_class, device, *_ in importlib.import_module("tango.globals").class_list:
            guarded(instrument_class, patches, device_class, device)

    def _uninstrument(self) -> None:
        self._patches.undo()

    def _wrap_add_class(self, add_class: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(add_class)
        def traced_add_class(util: Any, device_class: Any, device: Any, *args: Any, **kwargs: Any) -> Any:
            guarded(instrument_class, self._patches, device_class, device)
            return add_class(util, device_class, device, *args, **kwargs)

        return traced_add_class


def _skip(self: Any, *args: Any, **kwargs: Any) -> None:
    """PyTango's own tracer of a device, while ours is on."""


def _attribute_name(attribute: Any) -> str:
    name = getattr(attribute, "attr_name", None)
    return str(name if name is not None else attribute.get_name())


def _wrap_add_attribute(add: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(add)
    def traced_add_attribute(self: Any, attr: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(self.__dict__)
        result = add(self, attr, *args, **kwargs)
        guarded(_attribute_added, self, before, attr)
        return result

    return traced_add_attribute


def _attribute_added(device: Any, before: dict[str, Any], attr: Any) -> None:
    name = _attribute_name(attr)
    allowed = _allowed(f"is_{name}_allowed", name, names.TANGO_ATTRIBUTE_NAME, "API_AttrNotAllowed")
    instrument_dynamic(
        device,
        before,
        {
            f"__wrapped_read_{name}_": _attribute("read", name),
            f"__wrapped_write_{name}_": _attribute("write", name),
            f"__wrapped_is_allowed_{name}_": allowed,
        },
    )


def _wrap_add_command(add: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(add)
    def traced_add_command(self: Any, cmd: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(self.__dict__)
        result = add(self, cmd, *args, **kwargs)
        guarded(_command_added, self, before, cmd)
        return result

    return traced_add_command


def _command_added(device: Any, before: dict[str, Any], cmd: Any) -> None:
    name = cmd.__name__
    allowed = _allowed(f"is_{name}_allowed", name, names.TANGO_COMMAND_NAME, "API_CommandNotAllowed")
    instrument_dynamic(device, before, {"__wrapped_": allowed, name: _command(name)})


def _wrap_reconfigured(reconfigured: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(reconfigured)
    def traced_reconfigured(self: Any) -> Any:
        guarded(_follow_cpptango, self)
        return None

    return traced_reconfigured


def _follow_cpptango(device: Any) -> None:
    """Take over what ``start_telemetry``, ``stop_telemetry`` and their kin have set (cppTango 10.3)."""
    enabled = device._is_telemetry_enabled() and device._is_telemetry_tracing_enabled()
    get_device_telemetry(device).set_enabled(device, bool(enabled))
