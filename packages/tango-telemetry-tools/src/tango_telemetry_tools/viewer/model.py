"""What a span is once it has been read: plain, frozen, and without OpenTelemetry."""

from __future__ import annotations

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
