"""What every device has: its tracer, made by methods that a device class may override, and cppTango's
switches.

The methods reach the devices of both API levels as a base class of ``tango.DeviceImpl``, so they are there on
every PyTango, with telemetry off and without OpenTelemetry, while PyTango's own class dictionaries stay as
they are.
"""

from __future__ import annotations

import contextlib
import importlib
import weakref
from typing import TYPE_CHECKING, Any

from tango_telemetry import Endpoint
from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import (
    add_owner,
    call_tracer_provider_factory,
    forget_plans,
    get_config,
    get_device_tracer,
    guarded,
    no_op_tracer_provider,
    pass_through_tracer,
    switch_tracer,
    with_owner,
)
from tango_telemetry.otel.api import Context

from tango_telemetry_server._follow import CppTangoState, follow_endpoints, read_cpptango

if TYPE_CHECKING:
    from tango_telemetry.otel.api import Tracer, TracerProvider

__all__ = ["DeviceTelemetry", "TelemetryDevice", "get_device_telemetry", "get_server_attributes", "switch"]

_KEY = "_tango_telemetry_device"


class _Switch:
    """Whether devices are traced.

    ``state.active`` counts clients too, and a wrapper can outlive ``uninstrument()``.
    """

    __slots__ = ("on",)

    def __init__(self) -> None:
        self.on = False


switch = _Switch()


class DeviceTelemetry:
    """The telemetry of one device: its names, its tracer, its switches.

    Lives in the device's ``__dict__``.
    """

    def __init__(self, device: Any) -> None:
        self.device_name: str = device.get_name()
        self.lower_name = self.device_name.lower()
        """The device in span attributes: as `DeviceProxy.dev_name` has it, in lower case (9.5 to 10.3)."""
        self.class_name: str = device.get_device_class().get_name()
        self.enabled = True
        self.kernel = bool(get_config().kernel)
        self.endpoints: tuple[Endpoint, ...] | None = None
        self.tracer: Tracer = pass_through_tracer()
        self.context = with_owner(Context(), self)
        """What the calls of this device's handlers are made in, wherever it is carried."""
        self.polled: Any = None
        """When each of its attributes and commands was polled last, for metrics (``_polling``)."""
        self.waits = False
        """Whether the spans of its hooks wait until it is known what the request is for."""
        self.provider: TracerProvider | None = None
        self.is_stale = True
        """Whether the settings are others than those that its tracer was made with."""
        # Whether the topics of this device can have changed: cppTango 10.3.1 says nothing when they do.
        self.follows_topics = False
        self._own_tracer: Tracer | None = None
        self._device = weakref.ref(device)
        made_by = getattr(type(device), "create_telemetry_tracer", None)
        self._tracer_is_ours = made_by is TelemetryDevice.create_telemetry_tracer
        add_owner(self)
        self._cpptango: CppTangoState | None = None
        guarded(self._follow, device, True)

    def refresh(self, device: Any) -> None:
        """Make the tracer that the settings of the process and the endpoints of the device ask for."""
        self.is_stale = False
        self._own_tracer = None
        self._apply(device)

    def get_tracer(self) -> Tracer | None:
        """Return the tracer that client calls of this device have now; None once devices are not traced any
        more.
        """
        if not switch.on:
            return None
        if self.is_stale:
            device = self._device()
            if device is None:
                return pass_through_tracer()
            self.is_stale = False
            guarded(self.refresh, device)
        return self.tracer

    def renew(self, *, retire: bool) -> None:
        """Make another tracer at the next call; with ``retire`` this one makes no more spans, whoever still
        has it in a context that outlives its request.
        """
        self.is_stale = True
        if retire:
            self._switch_tracer(False)

    def _switch_tracer(self, on: bool) -> None:
        # One that a device class made itself is the user's, and may be in use elsewhere.
        if self._tracer_is_ours:
            switch_tracer(self._own_tracer, on)

    def set_enabled(self, device: Any, enabled: bool) -> None:
        """Switch the spans of this device on or off; the context goes through it either way."""
        self.enabled = enabled
        self._apply(device)

    def follow_cpptango(self, device: Any) -> None:
        """Take over what ``start_telemetry``, ``stop_telemetry`` and their kin have changed (cppTango
        10.3).
        """
        self._follow(device, False)
        self._apply(device)

    def _follow(self, device: Any, first: bool) -> None:
        before = self._cpptango
        self._cpptango = read_cpptango(device, first)
        self.follows_topics = self._cpptango is not None and self._cpptango.user_topic
        if self._cpptango is None:
            return
        if before is None or before.enabled != self._cpptango.enabled:
            self.enabled = self._cpptango.enabled
        if before is None or before.endpoints != self._cpptango.endpoints:
            self.endpoints = follow_endpoints(self._cpptango, get_config().endpoints)
            self._own_tracer = None

    def _apply(self, device: Any) -> None:
        if not self.enabled or get_config().enabled is False:
            self._switch_tracer(False)
            self.tracer = pass_through_tracer()
        else:
            if self._own_tracer is None:
                self.provider = device.create_telemetry_tracer_provider(self.class_name, self.device_name)
                self._own_tracer = device.create_telemetry_tracer(self.provider)
            self._switch_tracer(True)
            self.tracer = self._own_tracer
        forget_plans()


def get_device_telemetry(device: Any) -> DeviceTelemetry:
    """Return the telemetry of a device, made at its first use."""
    own: dict[str, Any] = device.__dict__
    telemetry: DeviceTelemetry | None = own.get(_KEY)
    if telemetry is None:
        telemetry = own[_KEY] = DeviceTelemetry(device)
    if telemetry.is_stale:
        telemetry.is_stale = False
        guarded(telemetry.refresh, device)
    return telemetry


class TelemetryDevice:
    """The telemetry methods of a device. The first three may be overridden.

    The last eight are cppTango's (10.0), for the spans of this device in Python.
    """

    __slots__ = ()

    def create_telemetry_tracer_provider(self, class_name: str, device_name: str) -> TracerProvider:
        """Make the tracer provider of this device; override it to send its spans elsewhere.

        :param class_name: the Tango device class, resource attribute ``service.name``
        :param device_name: the device name, ``service.instance.id``
        :returns: a tracer provider of OpenTelemetry's API
        """
        if not switch.on:
            return no_op_tracer_provider()
        telemetry = self.__dict__.get(_KEY)
        endpoints = telemetry.endpoints if telemetry is not None else None
        return call_tracer_provider_factory(class_name, device_name, get_server_attributes(), endpoints)

    def create_telemetry_tracer(self, tracer_provider: TracerProvider, /) -> Tracer:
        """Make the tracer of this device from its tracer provider; override it to name the tracer
        yourself.
        """
        return get_device_tracer(tracer_provider)

    def get_telemetry_tracer(self) -> Tracer:
        """Return the tracer of this device, for spans of your own; one that does nothing where telemetry is
        off.
        """
        if not switch.on:
            return pass_through_tracer()
        telemetry = guarded(get_device_telemetry, self)
        return telemetry.tracer if telemetry is not None else pass_through_tracer()

    def is_telemetry_enabled(self) -> bool:
        """Whether this device emits spans."""
        if not switch.on:
            return False
        telemetry = guarded(get_device_telemetry, self)
        return telemetry is not None and telemetry.enabled

    def enable_telemetry(self) -> None:
        """Let this device emit spans from now on."""
        self.set_telemetry_enabled(True)

    def disable_telemetry(self) -> None:
        """Let this device emit no spans from now on; the trace of its callers goes on through it."""
        self.set_telemetry_enabled(False)

    def set_telemetry_enabled(self, enabled: bool) -> None:
        """Switch the spans of this device on or off."""
        guarded(_switch_device, self, enabled)

    def is_kernel_tracing_enabled(self) -> bool:
        """Whether cppTango's own spans of this device are wanted."""
        telemetry = guarded(get_device_telemetry, self) if switch.on else None
        return telemetry is not None and telemetry.kernel

    def enable_kernel_tracing(self) -> None:
        """Ask cppTango for its own spans of this device, where it can give them (10.0 and 10.1 per
        device).
        """
        self.set_kernel_tracing_enabled(True)

    def disable_kernel_tracing(self) -> None:
        """Ask cppTango to leave its own spans of this device out."""
        self.set_kernel_tracing_enabled(False)

    def set_kernel_tracing_enabled(self, enabled: bool) -> None:
        """Switch cppTango's own spans of this device on or off."""
        guarded(_switch_kernel, self, enabled)


def _switch_device(device: Any, enabled: bool) -> None:
    if switch.on:
        get_device_telemetry(device).set_enabled(device, enabled)


def _switch_kernel(device: Any, enabled: bool) -> None:
    if switch.on:
        get_device_telemetry(device).kernel = enabled
    native = getattr(device, "_enable_kernel_traces" if enabled else "_disable_kernel_traces", None)
    if native is not None:
        native()


_server_name: dict[str, str] = {}


def get_server_attributes() -> dict[str, str]:
    """The resource attributes of this device server: the same for all its devices."""
    if not _server_name:
        tango: Any = importlib.import_module("tango")
        with contextlib.suppress(tango.DevFailed):  # no Util: somebody makes devices by hand
            _server_name[names.TANGO_SERVER_NAME] = tango.Util.instance(False).get_ds_name()
    return dict(_server_name)
