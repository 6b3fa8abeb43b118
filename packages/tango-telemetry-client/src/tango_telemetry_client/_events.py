"""Events: a CONSUMER span for each that reaches the user, linked to the subscription.

A pushed event is no part of the trace in which somebody subscribed, which may be days old: its span is a
root. Events of the pull model are handled in the flow of whoever asks for them, so there it is a child
(docs/decisions/0012-events.md).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import (
    Begin,
    BoundedDict,
    TracedCall,
    active_client_span,
    get_calling_tracer,
    get_config,
    get_events,
    guarded,
    not_traced,
    trace_function,
)
from tango_telemetry.otel.api import (
    Context,
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    get_current,
    set_span_in_context,
)

from tango_telemetry_client._callbacks import Origin, replace_callback
from tango_telemetry_client._calls import ClientBeginning, hooks, own_attributes
from tango_telemetry_client._targets import Operation

__all__ = ["wrap_get_events", "wrap_subscribe"]

_SUBSCRIPTIONS: Final = "_tango_telemetry_subscriptions"
_LIMIT: Final = 1024
_PUSH: Final = "push_event"
_A_DAY: Final = 86_400_000_000
"""In microseconds."""


class EventOrigin(Origin):
    """Where the callbacks of one subscription come from: each event may name the span that sent it."""

    __slots__ = ("elsewhere",)
    elsewhere: bool

    def find_origin(self, event: Any) -> tuple[Context, Sequence[Link] | None]:
        """Return the context and the links of the span of one event."""
        producer = find_producer(event, self.elsewhere)
        if producer is None:
            return self.context, self.links
        if get_config().event_parent == "producer":
            return set_span_in_context(NonRecordingSpan(producer), self.context), self.links
        # A link to a span that was not sampled would lead nowhere.
        if not producer.trace_flags & 1:
            return self.context, self.links
        return self.context, (Link(producer, {names.TANGO_LINK: "producer"}), *(self.links or ()))


def find_producer(event: Any, elsewhere: bool) -> SpanContext | None:
    """Return the span that sent an event, None if the event names none.

    :param elsewhere: whether the callback may run on another thread than ZeroMQ's, as in the green modes and
        in the pull model; the event is then found by its name, its type and the date of its reception
    """
    events = get_events()
    date = getattr(event, "reception_date", None)
    if events is None or date is None:
        return None
    # tango://host:port/domain/family/member/attribute#dbase=no, the last part only without a database (9.5 to
    # 10.3)
    subject = event.attr_name.lower().partition("#")[0]
    if "://" in subject:
        subject = subject.partition("://")[2].partition("/")[2]
    arrived = date.tv_sec * 1_000_000 + date.tv_usec
    now = time.time_ns() // 1000
    if hasattr(event, "ctr") and not 0 <= now - arrived < _A_DAY:
        arrived = now  # of data ready, cppTango 10.0 leaves it to chance
    found = events.find_incoming(subject, event.event, arrived, elsewhere)
    if found is None:
        return None
    trace_id, span_id, flags = found
    return SpanContext(trace_id, span_id, True, TraceFlags(flags))


class Subscription:
    """What one subscription's spans say, and the span that made it."""

    __slots__ = ("attributes", "failures", "is_green", "links", "title")

    def __init__(self, subject: Any, attribute: Any, event_type: Any, span_context: SpanContext) -> None:
        device = subject.dev_name()
        self.attributes: dict[str, Any] = {
            names.MESSAGING_SYSTEM: names.TANGO,
            names.MESSAGING_DESTINATION_NAME: f"{device}/{attribute}" if attribute else device,
            names.TANGO_DEVICE_NAME: device,
            names.TANGO_EVENT_TYPE: str(event_type).rpartition(".")[2].removesuffix("_EVENT").lower(),
        }
        if attribute:
            self.attributes[names.TANGO_ATTRIBUTE_NAME] = str(attribute)
        self.title = f" {attribute}" if attribute else ""
        # A link to a subscription that was not sampled would lead nowhere.
        sampled = span_context.is_valid and span_context.trace_flags & 1
        self.links = (Link(span_context),) if sampled else None
        self.is_green = subject.get_green_mode().name != "Synchronous"
        self.failures: set[str] = set()

    def create_origin(self, context: Context, pulled: bool = False) -> Origin:
        """Return the origin of the callbacks of this subscription.

        :param pulled: whether they are called by ``get_events``, on the thread that calls that
        """
        attributes = {
            **self.attributes,
            names.TANGO_OPERATION: _PUSH,
            names.MESSAGING_OPERATION_NAME: _PUSH,
            names.MESSAGING_OPERATION_TYPE: "process",
        }
        title = f"{_PUSH}{self.title}"
        origin = EventOrigin(title, SpanKind.CONSUMER, attributes, context, self.links, self.failures)
        origin.elsewhere = pulled or self.is_green
        return origin


def wrap_subscribe(function: Callable[..., Any], operation: Operation, owner: str) -> Callable[..., Any]:
    """Return ``subscribe_event`` with a client span, and its callback with a CONSUMER span for each event."""
    begin: Begin = functools.partial(guarded, ClientBeginning(function, operation, owner).start)
    return functools.wraps(function)(trace_function(function, begin, _trace_subscription))


def _trace_subscription(
    call: TracedCall, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], Callable[[Any], object]]:
    # (proxy, attribute, event type, callback or queue size, ...), for interface changes (proxy, event type,
    # callback, ...)
    subject = args[0]
    named = "attr_name" in kwargs
    whole_device = not named and not (len(args) > 1 and isinstance(args[1], str))
    attribute = None if whole_device else kwargs["attr_name"] if named else args[1]
    before = 1 if whole_device or named else 2
    event_type = kwargs.get("event_type", args[before] if len(args) > before else "")
    position = before + (0 if "event_type" in kwargs else 1)
    subscription = Subscription(subject, attribute, event_type, call.span.get_span_context())
    call.span.set_attribute(names.TANGO_EVENT_TYPE, subscription.attributes[names.TANGO_EVENT_TYPE])
    replaced = replace_callback(
        args, kwargs, ("cb", position), _PUSH, lambda: subscription.create_origin(Context())
    )
    return (*(replaced or (args, kwargs)), functools.partial(_remember, subject, subscription))


def _remember(subject: Any, subscription: Subscription, event_id: Any) -> None:
    if type(event_id) is not int:
        return
    own = own_attributes(subject)
    known: BoundedDict[int, Subscription] | None = own.get(_SUBSCRIPTIONS)
    if known is None:
        known = own[_SUBSCRIPTIONS] = BoundedDict(_LIMIT)
    known[event_id] = subscription


def wrap_get_events(function: Callable[..., Any], operation: Operation, owner: str) -> Callable[..., Any]:
    """Return ``get_events`` with a CONSUMER span for each event of its callback, or for the list if it is not
    empty.
    """

    @functools.wraps(function)
    def traced_get_events(self: Any, *args: Any, **kwargs: Any) -> Any:
        event_id = args[0] if args else kwargs.get("event_id")
        known = own_attributes(self).get(_SUBSCRIPTIONS)
        subscription = known.get(event_id) if known is not None else None
        if subscription is None:
            return function(self, *args, **kwargs)
        replaced = guarded(
            replace_callback,
            args,
            kwargs,
            ("callback", 1),
            _PUSH,
            lambda: subscription.create_origin(get_current(), pulled=True),
        )
        if replaced is not None:
            args, kwargs = replaced
        start = time.time_ns()
        result = function(self, *args, **kwargs)
        if replaced is None and result:
            guarded(_record_pull, self, subscription, result, start)
        return result

    return traced_get_events


def _record_pull(subject: Any, subscription: Subscription, events: Any, start: int) -> None:
    """Record a list of events that was fetched: there is nothing around which a span could be current."""
    context = get_current()
    if active_client_span.get() is not None:
        return
    attributes = {
        **subscription.attributes,
        names.TANGO_OPERATION: "get_events",
        names.MESSAGING_OPERATION_NAME: "get_events",
        names.MESSAGING_OPERATION_TYPE: "receive",
        names.MESSAGING_BATCH_MESSAGE_COUNT: len(events),
    }
    if not_traced(context, attributes):
        return
    tracer = get_calling_tracer(context)
    title = f"get_events{subscription.title}"
    span = tracer.start_span(title, context, SpanKind.CONSUMER, attributes, subscription.links, start)
    if hooks.wanted:
        hooks.before(span, subject, "get_events")
        hooks.after(span, subject, "get_events", None)
    span.end()
