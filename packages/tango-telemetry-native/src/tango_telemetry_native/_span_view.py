"""What span processors of the SDK are given: a ``ReadableSpan`` that reads the C++ span when somebody looks
at it.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext, SpanKind, Status

from tango_telemetry_native._spans import SpanBase


def as_resource(resource: Any) -> Resource:
    """The SDK's ``Resource`` of what a provider was given."""
    return resource if isinstance(resource, Resource) else Resource(resource or {})


def bounded_attributes(attributes: dict[str, Any], dropped: int) -> BoundedAttributes:
    """Attributes as the SDK holds them, with the number of those that found no room."""
    bounded = BoundedAttributes(attributes=attributes, immutable=True)
    bounded.dropped = dropped
    return bounded


def _bounded_list(items: list[Any], dropped: int) -> Any:
    bounded: Any = BoundedList(None)
    bounded.extend(items)
    bounded.dropped = dropped
    return bounded


def read_events(span: SpanBase) -> Any:
    """The span's events, with the number of those that found no room."""
    events, dropped = span._decode_events()
    return _bounded_list(
        [Event(name, bounded_attributes(attributes, lost), time) for name, time, attributes, lost in events],
        dropped,
    )


def read_links(span: SpanBase) -> Any:
    """The span's links, with the number of those that found no room."""
    links, dropped = span._decode_links()
    return _bounded_list(
        [Link(context, bounded_attributes(attributes, lost)) for context, attributes, lost in links], dropped
    )


class NativeReadableSpan(ReadableSpan):
    """A span as it was when this was made, if that was at its end; else as it is when it is first looked at.

    What a processor of every kind asks for (context, kind, times) is read at once from C++. All the rest is
    filled in through the public constructor when the first of it is needed.
    """

    def __init__(self, span: SpanBase) -> None:
        self._native = span

    def __getattr__(self, name: str) -> Any:
        # Only for what is missing: the attributes that ReadableSpan's constructor makes.
        span = self.__dict__.get("_native")
        if span is None or name.startswith("__") or "_resource" in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        super().__init__(
            name=span.name,
            context=span.get_span_context(),
            parent=span.parent,
            resource=as_resource(span.resource),
            attributes=bounded_attributes(*span._decode_attributes()),
            events=read_events(span),
            links=read_links(span),
            kind=span.kind,
            status=span.status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )
        return getattr(self, name)

    def get_span_context(self) -> SpanContext | None:
        """The span's own context."""
        return self._native.get_span_context()

    @property
    def context(self) -> SpanContext:
        return self._native.get_span_context()

    @property
    def kind(self) -> SpanKind:
        return self._native.kind

    @property
    def parent(self) -> SpanContext | None:
        return self._native.parent

    @property
    def start_time(self) -> int | None:
        return self._native.start_time

    @property
    def end_time(self) -> int | None:
        return self._native.end_time

    @property
    def status(self) -> Status:
        return self._native.status
