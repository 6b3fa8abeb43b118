"""The span context of Tango events, from the push to the callback.

A Tango event has no field for a context. Its second ZeroMQ frame has one byte, of which every reader looks at
the first; the span context stands behind it (``docs/reference/event-context.md``). Two imports of libtango,
``zmq_msg_send`` and ``zmq_msg_recv``, go through functions of ours once `install` was called.

A span is three integers: trace id, span id and W3C's trace flags.

- ``set_outgoing(trace_id, span_id, flags)``: let the events that this thread sends from now on name this
  span, or none where the ids are 0; returns what `restore_outgoing` takes.
- ``restore_outgoing(previous)``: take it back.
- ``leave_for_polling(subject, trace_id, span_id, flags)``: let the events of one attribute that this thread
  sends name this span, for cppTango's polling thread reads an attribute and then sends what has changed.
  ``subject`` is ``device/attribute`` as in the topic of the event, lower case. It holds until the same is
  said of that attribute again, with ids of 0 to take it back, or ``forget_polling()`` is called. Does nothing
  on a thread that serves requests.
- ``find_incoming(subject, event_type, microseconds, elsewhere)``: return the span that an event names; None
  if it names none. ``event_type`` is as in the topic (``change``, ``user_event`` ...), ``microseconds``
  cppTango's date of reception since the epoch. It is the event whose callback this thread of ZeroMQ's runs,
  if that is of this kind; else, where ``elsewhere`` is true, the last that arrived in this process before
  that date, and at most a second before.
"""

from __future__ import annotations

from typing import TypedDict, cast

from tango_telemetry_native import _bridge
from tango_telemetry_native._bridge import event_find_incoming as find_incoming
from tango_telemetry_native._bridge import event_forget_polling as forget_polling
from tango_telemetry_native._bridge import event_leave_for_polling as leave_for_polling
from tango_telemetry_native._bridge import event_release as release
from tango_telemetry_native._bridge import event_restore_outgoing as restore_outgoing
from tango_telemetry_native._bridge import event_set_outgoing as set_outgoing
from tango_telemetry_native._tango import get_extension_path

__all__ = [
    "EventStatus",
    "find_incoming",
    "forget_polling",
    "install",
    "leave_for_polling",
    "release",
    "restore_outgoing",
    "set_outgoing",
    "status",
]


class EventStatus(TypedDict):
    """What is patched and what was counted."""

    installed: bool
    enabled: bool
    """Whether events carry contexts now: `install` was called, and no `release` after it."""
    reason: str
    """Why it is not installed; "" while it is."""
    counters: dict[str, int]
    """Numbers since the process started, of messages: cppTango sends the first event after a subscription
    twice, and drops the second where it arrives.
    """


def install() -> bool:
    """Have events carry a context from now on, and read it from those that arrive.

    Call it once PyTango is imported; calling it more often does no harm. What is patched stays so: after
    ``release()`` events are sent as they were.

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
