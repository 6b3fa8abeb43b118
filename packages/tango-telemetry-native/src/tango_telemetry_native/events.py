"""The span context of Tango events, from the push to the callback.

A Tango event has no field for a context. Its second ZeroMQ frame has one byte, of which every reader looks at the first;
the span context stands behind it (``docs/reference/event-context.md``). Two imports of libtango, ``zmq_msg_send`` and
``zmq_msg_recv``, go through functions of ours once `install` was called.

`set_outgoing`, `clear_outgoing` and `get_incoming` are about the calling thread. A span is ``(trace id, span id, trace
flags)``, three integers.
"""

from __future__ import annotations

from typing import TypedDict, cast

from tango_telemetry_native import _bridge
from tango_telemetry_native._tango import get_extension_path

__all__ = [
    "EventStatus",
    "clear_outgoing",
    "find_incoming",
    "forget_polling",
    "get_incoming",
    "install",
    "leave_for_polling",
    "set_outgoing",
    "status",
]

_LOW = (1 << 64) - 1
SpanNumbers = tuple[int, int, int]


class EventStatus(TypedDict):
    """What is patched and what was counted."""

    installed: bool
    reason: str
    """Why it is not installed; "" while it is."""
    counters: dict[str, int]
    """Numbers since the process started."""


def install() -> bool:
    """Have events carry a context from now on, and read it from those that arrive.

    Call it once PyTango is imported; calling it more often does no harm. There is no way back: without a context set,
    events are sent as they were.

    Returns:
        Whether that worked; if not, `status` says why.
    """
    path = get_extension_path()
    return bool(path) and bool(_bridge.event_install(path))


def status() -> EventStatus:
    """Return what is patched and what was counted."""
    result = cast(EventStatus, _bridge.event_status())
    if not result["installed"] and not get_extension_path():
        result["reason"] = "PyTango is not imported"
    return result


def set_outgoing(trace_id: int, span_id: int, flags: int) -> None:
    """Let the events that this thread sends from now on name this span."""
    _bridge.event_set_outgoing(trace_id >> 64, trace_id & _LOW, span_id, flags)


def clear_outgoing() -> None:
    """Let the events that this thread sends from now on name no span."""
    _bridge.event_clear_outgoing()


def leave_for_polling(subject: str, trace_id: int, span_id: int, flags: int) -> None:
    """Let the next event of each type of one attribute name this span, if this thread sends it.

    cppTango's polling thread reads an attribute and then sends what has changed.

    Args:
        subject: ``device/attribute``, as in the topic of the event: lower case
        trace_id: of the read
        span_id: of the read
        flags: W3C's trace flags
    """
    _bridge.event_leave_for_polling(subject, trace_id >> 64, trace_id & _LOW, span_id, flags)


def forget_polling() -> None:
    """Take `leave_for_polling` back."""
    _bridge.event_forget_polling()


def get_incoming() -> SpanNumbers | None:
    """Return the span that the event names whose callback this thread of ZeroMQ's runs; None if it names none."""
    return cast("SpanNumbers | None", _bridge.event_get_incoming())


def find_incoming(subject: str, event_type: str, microseconds: int) -> SpanNumbers | None:
    """Return the span that an event named which has arrived, for callbacks on another thread and for the pull model.

    Args:
        subject: ``device/attribute``, lower case
        event_type: as in the topic: ``change``, ``archive``, ``user_event`` ...
        microseconds: since the epoch, cppTango's date of reception: of the events that arrived not after it, and at
            most a second before, the last is taken
    """
    return cast("SpanNumbers | None", _bridge.event_find_incoming(subject, event_type, microseconds))
