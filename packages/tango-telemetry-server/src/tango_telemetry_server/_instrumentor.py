"""Switching the tracing of device servers on and off."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable
from typing import Any, ClassVar

from tango_telemetry.instrumentation import (
    Hooks,
    Instrumentor,
    forget_plans,
    guarded,
    name_server,
    prepare_server,
)
from tango_telemetry.pipeline import wait_for_start
from tango_telemetry.pytango.patching import Patches

from tango_telemetry_server._classes import instrument_class, patch_creation
from tango_telemetry_server._device import TelemetryDevice, get_device_telemetry, switch
from tango_telemetry_server._dynamic import instrument_device, patch_dynamic
from tango_telemetry_server._events import instrument_events
from tango_telemetry_server._follow import note_late_start
from tango_telemetry_server._handlers import hooks

__all__ = ["TangoServerInstrumentor", "add_device_methods"]


def add_device_methods() -> None:
    """Give every device class the telemetry methods, as a base: no class dictionary changes."""
    device_impl = importlib.import_module("tango").DeviceImpl
    if TelemetryDevice not in device_impl.__mro__:
        device_impl.__bases__ = (*device_impl.__bases__, TelemetryDevice)


class TangoServerInstrumentor(Instrumentor):
    """Traces the devices of a device server, of PyTango's high-level and low-level API."""

    hooks: ClassVar[Hooks] = hooks
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
            # PyTango would make a tracer of its own (10.3; 10.0 and 10.1).
            if name in vars(server.BaseDevice):
                patches.set_attribute(server.BaseDevice, name, _skip)
        guarded(instrument_events, patches)
        # One does not call the other, and the second is static.
        patches.wrap(tango.Util, "__init__", _wrap_util)
        patches.set_attribute(tango.Util, "init", staticmethod(_wrap_util(tango.Util.init)))
        guarded(_name_server)
        patches.wrap(tango.Util, "add_TgClass", self._wrap_add_class)
        guarded(patch_creation, patches, tango.DeviceClass)
        patch_dynamic(patches, tango.DeviceImpl)
        if "_telemetry_reconfigured" in vars(tango.DeviceImpl):
            patches.wrap(tango.DeviceImpl, "_telemetry_reconfigured", _wrap_reconfigured)
        running = _running_classes(tango)
        for device_class, device, *_ in importlib.import_module("tango.globals").class_list:
            created = any(type(each) is device_class for each in running)
            guarded(instrument_class, patches, device_class, device, created)
        switch.on = True
        for existing in [device for each in running for device in each.py_dev_list]:
            guarded(note_late_start, existing)
            guarded(instrument_device, existing)

    def _uninstrument(self) -> None:
        switch.on = False
        forget_plans()
        self._patches.undo()

    def _wrap_add_class(self, add_class: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(add_class)
        def traced_add_class(util: Any, device_class: Any, device: Any, *args: Any, **kwargs: Any) -> Any:
            guarded(wait_for_start)
            guarded(prepare_server)  # classes are added after `Util` is initialised
            guarded(instrument_class, self._patches, device_class, device)
            return add_class(util, device_class, device, *args, **kwargs)

        return traced_add_class


def _running_classes(tango: Any) -> list[Any]:
    """The device classes of a server that runs already.

    PyTango goes on listing those of a server that has ended, whose devices C++ has deleted: asking one for
    its attributes ends the process (10.3.1, after ``Util.cleanup()``, as a ``DeviceTestContext`` ends). There
    is no ``Util`` then.
    """
    try:
        tango.Util.instance(False)
    except tango.DevFailed:
        return []
    return list(importlib.import_module("tango.globals").constructed_class)


def _wrap_util(create: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(create)
    def traced_create(*args: Any, **kwargs: Any) -> Any:
        created = create(*args, **kwargs)
        guarded(_name_server)
        return created

    return traced_create


def _name_server() -> None:
    """Calls outside handlers are the server's from here on: of threads and hooks before its classes are added
    too.
    """
    tango: Any = importlib.import_module("tango")
    with contextlib.suppress(tango.DevFailed):  # no Util yet
        name_server(tango.Util.instance(False).get_ds_name())


def _skip(self: Any, *args: Any, **kwargs: Any) -> None:
    """PyTango's own tracer of a device, while ours is on."""


def _wrap_reconfigured(reconfigured: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(reconfigured)
    def traced_reconfigured(self: Any) -> Any:
        guarded(_follow_cpptango, self)
        return None

    return traced_reconfigured


def _follow_cpptango(device: Any) -> None:
    get_device_telemetry(device).follow_cpptango(device)
