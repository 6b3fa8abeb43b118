"""Events that a device sends: a PRODUCER span for each, child of the handler that sends it, a root anywhere
else.

The event carries this span to whoever receives it, unless ``PYTANGO_TELEMETRY_EVENT_CONTEXT`` is off or the
native package is missing: then nothing connects the two (docs/decisions/0012-events.md).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import (
    TracedCall,
    caller_of_tango,
    code_attributes,
    get_events,
    get_metrics,
    guarded,
    not_traced,
    pass_through_tracer,
    thread_attributes,
    trace_function,
)
from tango_telemetry.otel.api import SpanKind, get_current
from tango_telemetry.pytango.patching import Patches

from tango_telemetry_server._device import get_device_telemetry, switch
from tango_telemetry_server._handlers import hooks

__all__ = ["instrument_events"]

# Methods of DeviceImpl that send an event, and its type; those that a PyTango does not have are passed over.
EVENTS: Final = {
    "push_change_event": "change",
    "push_alarm_event": "alarm",
    "push_archive_event": "archive",
    "push_event": "user",
    "push_data_ready_event": "data_ready",
    "push_att_conf_event": "attr_conf",
    "push_pipe_event": "pipe",
}


def instrument_events(patches: Patches) -> None:
    """Wrap every method of a device that sends an event."""
    device = importlib.import_module("tango").DeviceImpl
    for method, event_type in EVENTS.items():
        patches.wrap(device, method, functools.partial(_wrap, method, event_type))


def _wrap(method: str, event_type: str, push: Callable[..., Any]) -> Callable[..., Any]:
    begin = functools.partial(guarded, _begin, method, event_type)
    return functools.wraps(push)(trace_function(push, begin))


class PushCall(TracedCall):
    """The span around a push; the events that its thread sends meanwhile name it."""

    __slots__ = ("_events", "_previous")

    def __init__(self, *args: Any) -> None:
        self._events: Any = None
        super().__init__(*args)
        try:
            guarded(self._carry)
        except BaseException:  # from outside: nothing is pushed
            self.leave()
            raise

    def _carry(self) -> None:
        events, context = get_events(), self.span.get_span_context()
        if events is not None and context.is_valid:
            self._previous = events.set_outgoing(context.trace_id, context.span_id, context.trace_flags)
            self._events = events

    def leave(self) -> None:
        events, self._events = self._events, None
        if events is not None:
            events.restore_outgoing(self._previous)
        super().leave()


def _begin(
    method: str, event_type: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> TracedCall | None:
    if not (switch.on and args):
        return None
    device, *given = args
    telemetry = get_device_telemetry(device)
    subject: Any = given[0] if given else kwargs.get("attr_name", kwargs.get("attr"))
    name = subject if isinstance(subject, str) else str(subject.get_name())
    context = get_current()
    attributes: dict[str, Any] = {
        names.MESSAGING_SYSTEM: names.TANGO,
        names.MESSAGING_DESTINATION_NAME: f"{telemetry.lower_name}/{name}",
        names.MESSAGING_OPERATION_NAME: method,
        names.MESSAGING_OPERATION_TYPE: "send",
        names.TANGO_OPERATION: method,
        names.TANGO_DEVICE_NAME: telemetry.lower_name,
        names.TANGO_DEVICE_CLASS: telemetry.class_name,
        names.TANGO_PIPE_NAME if event_type == "pipe" else names.TANGO_ATTRIBUTE_NAME: name,
        names.TANGO_EVENT_TYPE: event_type,
    }
    frame = caller_of_tango(3)
    if frame is not None:
        attributes.update(code_attributes(frame.f_code, frame.f_lineno))
    attributes.update(thread_attributes())
    tracer = pass_through_tracer() if not_traced(context, attributes) else telemetry.tracer
    if get_metrics() is not None and tracer is not pass_through_tracer():
        guarded(get_metrics().note, names.MESSAGING_SENT_MESSAGES, attributes)
    title = f"{telemetry.class_name}.{method} {name}"
    call = PushCall(tracer, title, SpanKind.PRODUCER, attributes, context)
    if hooks.wanted:
        call.call_hooks(hooks, device, method)
    return call
