"""What cppTango 10.3 has been told of one device: its properties, and the run-time commands of the admin
device.

``start_telemetry``, ``stop_telemetry``, ``set_telemetry_tracing``, the topics and the endpoints arrive in
cppTango, which knows what we handed to it and not what the user asked of us (a file, several exporters, no
kernel spans). So only the difference between what was handed on and what holds now is followed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from tango_telemetry import Endpoint
from tango_telemetry.instrumentation import told_cpptango
from tango_telemetry.settings import variables as env

__all__ = ["CppTangoState", "follow_endpoints", "note_late_start", "read_cpptango"]


class CppTangoState(NamedTuple):
    """What cppTango says of one device.

    ``enabled`` is whether it traces. ``endpoints`` are those that it has now, ``handed`` those of the
    process. ``user_topic`` is whether the process gave cppTango the topic ``user``: only then can a device
    have lost it.
    """

    enabled: bool
    user_topic: bool
    endpoints: tuple[Endpoint, ...]
    handed: tuple[Endpoint, ...]


_late = False


def note_late_start(device: Any) -> None:
    """Note that cppTango had read its settings before ours were ready: that it is off then says nothing."""
    global _late
    if hasattr(device, "_is_telemetry_enabled") and not device._is_telemetry_enabled():
        _late = True


def read_cpptango(device: Any, first: bool) -> CppTangoState | None:
    """Return what cppTango says of a device; None before 10.3.

    :param first: whether nothing of this device is known yet; None then too where cppTango's telemetry is off
        because we said so, or came too late to say otherwise
    """
    if not hasattr(device, "_is_telemetry_tracing_enabled"):
        return None
    on = bool(device._is_telemetry_enabled())
    if not on and first and (_late or told_cpptango(env.TANGO_TELEMETRY_ENABLE).lower() != "on"):
        return None
    return CppTangoState(
        bool(on and device._is_telemetry_tracing_enabled()),
        _has_user_topic(told_cpptango(env.TANGO_TELEMETRY_TOPICS)),
        tuple(_endpoint(e.exporter.name, e.endpoint) for e in device._get_telemetry_tracing_endpoints()),
        _handed(
            told_cpptango(env.TANGO_TELEMETRY_TRACING_EXPORTERS),
            told_cpptango(env.TANGO_TELEMETRY_TRACING_ENDPOINTS),
        ),
    )


# What follows is asked for each device, and has the same answer for all of them.


def _split(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


@lru_cache(maxsize=8)
def _has_user_topic(topics: str) -> bool:
    given = _split(topics)
    return "user" in given or "all" in given or not given


@lru_cache(maxsize=8)
def _handed(exporters: str, endpoints: str) -> tuple[Endpoint, ...]:
    targets = endpoints.split(",")
    return tuple(
        _endpoint(exporter, targets[index].strip() if index < len(targets) else "")
        for index, exporter in enumerate(_split(exporters))
    )


@lru_cache(maxsize=64)
def _endpoint(exporter: str, target: str) -> Endpoint:
    return Endpoint(exporter.lower(), target)


def follow_endpoints(
    cpptango: CppTangoState, configured: tuple[Endpoint, ...]
) -> tuple[Endpoint, ...] | None:
    """Return the endpoints of a device; None for those of the process.

    :param cpptango: what cppTango says of the device
    :param configured: the endpoints of the process, which cppTango may not know
    """
    if cpptango.endpoints == cpptango.handed or set(cpptango.endpoints) == set(cpptango.handed):
        return None
    kept = (
        configured
        if set(cpptango.handed) <= set(cpptango.endpoints)
        else tuple(endpoint for endpoint in configured if endpoint in cpptango.endpoints)
    )
    added = (e for e in cpptango.endpoints if e not in cpptango.handed and e not in kept)
    return (*kept, *added)
