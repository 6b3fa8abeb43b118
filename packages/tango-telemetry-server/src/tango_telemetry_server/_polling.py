"""How late cppTango's polling is, for metrics: seen from the handlers that it calls."""

from __future__ import annotations

import time
from typing import Any, Final

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import BoundedDict, get_metrics

__all__ = ["note_polled"]

_MOST: Final = 4096
_ASK_AGAIN: Final = 10 * 10**9
"""Nanoseconds after which a period is asked for again: somebody may have changed it."""


class _Polled:
    """One attribute or command of a device that is polled."""

    __slots__ = ("asked", "last", "period")

    def __init__(self) -> None:
        self.period = self.asked = self.last = 0


def note_polled(device: Any, telemetry: Any, handler: Any) -> None:
    """Note that polling calls a handler, and how much later than its period after the last time.

    :param telemetry: that of the device
    :param handler: what is polled
    """
    now = time.monotonic_ns()
    if telemetry.polled is None:
        telemetry.polled = BoundedDict(_MOST)
    polled = telemetry.polled.get(handler.title)
    if polled is None:
        polled = telemetry.polled[handler.title] = _Polled()
    last, polled.last = polled.last, now
    if now - polled.asked > _ASK_AGAIN or not polled.asked:
        period = _ask_period(device, handler)
        if period != polled.period:
            last = 0  # what lies between the two had another period, perhaps
        polled.period, polled.asked = period, now
    if not last or not polled.period:
        return
    late = now - last - polled.period
    attributes = {
        names.RPC_SYSTEM_NAME: names.TANGO,
        names.RPC_METHOD: handler.name,
        names.TANGO_OPERATION: handler.operation,
        names.TANGO_DEVICE_CLASS: telemetry.class_name,
        names.TANGO_DEVICE_NAME: telemetry.lower_name,
    }
    get_metrics().note_polled(attributes, max(0, late), late >= polled.period)


def _ask_period(device: Any, handler: Any) -> int:
    """Return nanoseconds, 0 for what is not polled."""
    is_command = handler.subject == names.TANGO_COMMAND_NAME
    ask = device.get_command_poll_period if is_command else device.get_attribute_poll_period
    return int(ask(handler.name)) * 10**6
