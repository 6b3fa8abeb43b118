"""What spans, log records and metrics are once they have been read: plain, frozen, without OpenTelemetry."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TypeAlias

AttributeValue: TypeAlias = (
    "str | bool | int | float | tuple[AttributeValue, ...] | dict[str, AttributeValue] | None"
)
Attributes: TypeAlias = "tuple[tuple[str, AttributeValue], ...]"

UNKNOWN_SERVICE = "unknown_service"


@dataclass(frozen=True, slots=True)
class Resource:
    """Who emitted a span. All spans of one block of a file share one object."""

    service: str
    instance: str
    attributes: Attributes = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened during a span, at `time` (nanoseconds since 1970)."""

    time: int
    name: str
    attributes: Attributes = ()


@dataclass(frozen=True, slots=True)
class Link:
    """Another span that this one refers to without being its child."""

    trace_id: str
    span_id: str
    attributes: Attributes = ()


@dataclass(frozen=True, slots=True)
class Span:
    """One finished span.

    Ids are lower-case hexadecimal, `parent_id` is empty for a root, times are nanoseconds since 1970, `kind`
    is OpenTelemetry's word in lower case ("client", "server", "internal", "producer", "consumer").
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start: int
    end: int
    resource: Resource
    scope: str = ""
    is_error: bool = False
    status_message: str = ""
    trace_state: str = ""
    attributes: Attributes = ()
    events: tuple[Event, ...] = field(default=())
    links: tuple[Link, ...] = field(default=())

    @property
    def service(self) -> str:
        """The `service.name` of the resource."""
        return self.resource.service

    @property
    def duration(self) -> int:
        """Nanoseconds; never negative, also when a clock was set back meanwhile."""
        return max(0, self.end - self.start)

    @property
    def error_line(self) -> str:
        """Why the span failed, in one line; empty for a span that did not."""
        if not self.is_error:
            return ""
        reason = self.status_message.strip() or self._exception_line()
        return reason.splitlines()[0].strip() if reason else "error"

    def _exception_line(self) -> str:
        for event in self.events:
            if event.name == "exception":
                found = dict(event.attributes)
                parts = (found.get("exception.type"), found.get("exception.message"))
                return ": ".join(str(part) for part in parts if part)
        return str(dict(self.attributes).get("error.type", ""))


@dataclass(frozen=True, slots=True)
class LogRecord:
    """What a program said at `time` (nanoseconds since 1970); `trace_id` and `span_id` are "" outside of
    spans.

    `severity` is OpenTelemetry's number (1 to 24; 17 and above are errors; 0: not said), `level` the
    program's own word for it, `event` a name for records of one kind.
    """

    time: int
    severity: int
    level: str
    body: AttributeValue
    trace_id: str
    span_id: str
    resource: Resource
    scope: str = ""
    event: str = ""
    attributes: Attributes = ()

    @property
    def is_error(self) -> bool:
        """Whether it tells of a failure."""
        return self.severity >= ERROR_SEVERITY

    @property
    def text(self) -> str:
        """What was said, as text; the event's name where the record has no body."""
        if self.body is None:
            return self.event
        return self.body if isinstance(self.body, str) else json.dumps(self.body, ensure_ascii=False)

    @property
    def word(self) -> str:
        """The level in capitals: the program's word, else OpenTelemetry's."""
        return (self.level or SEVERITIES[max(0, min(self.severity + 3, 27)) // 4]).upper()


# The word of four numbers each, from 1 on; 0 says nothing.
SEVERITIES = ("", "trace", "debug", "info", "warn", "error", "fatal")
ERROR_SEVERITY = 17

Bucket: TypeAlias = "tuple[float, float, int]"


@dataclass(frozen=True, slots=True)
class Point:
    """One data point of a metric, over the time from `start` to `time` (nanoseconds since 1970).

    `kind` is "gauge" (also what may go down), "sum" or "histogram". `value` is that of a gauge or sum; of a
    histogram there are `count`, `total`, `longest` (None: not said) and `buckets`, each (lower bound, upper
    bound, count), all in `unit`.
    """

    name: str
    unit: str
    description: str
    kind: str
    resource: Resource
    scope: str
    attributes: Attributes
    start: int
    time: int
    value: float = 0.0
    count: int = 0
    total: float = 0.0
    longest: float | None = None
    buckets: tuple[Bucket, ...] = ()


@dataclass(frozen=True)
class Relation:
    """A link between a span of one trace and another span.

    `span_id` is that of the trace's own span, `forwards` whether the link is its own. `other` and `trace` are
    the ids of the other span; its `name` and `actor`, the device or program that made it, are "" where it is
    not here. `kind` is the word that the link carries in `tango.link`, such as "producer".
    """

    span_id: str
    forwards: bool
    kind: str
    trace: str
    other: str
    name: str = ""
    actor: str = ""
