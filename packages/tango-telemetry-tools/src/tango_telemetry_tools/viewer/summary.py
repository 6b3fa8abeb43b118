"""One pass over all spans: which traces are there. Holds a few numbers a trace, not its spans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .model import Span


@dataclass(slots=True)
class TraceSummary:
    """What `tango-telemetry show --list` says about one trace. Times are nanoseconds since 1970."""

    trace_id: str
    start: int
    end: int
    root: Span | None = None
    first: Span | None = None
    errors: int = 0
    first_seen: dict[str, int] = field(default_factory=dict)
    span_ids: set[str] = field(default_factory=set)

    @property
    def spans(self) -> int:
        """How many different spans the trace has."""
        return len(self.span_ids)

    @property
    def services(self) -> list[str]:
        """Service names, the one that started first before the others."""
        return sorted(self.first_seen, key=lambda service: (self.first_seen[service], service))

    @property
    def duration(self) -> int:
        """Nanoseconds from the first start to the last end."""
        return max(0, self.end - self.start)

    @property
    def name(self) -> str:
        """The root's name, or, where the root is missing, that of the earliest span, marked."""
        if self.root:
            return self.root.name
        return f"({self.first.name})" if self.first else ""

    def add(self, span: Span) -> None:
        """Count one span; a second copy of it (a file that was sent twice) changes nothing."""
        if span.span_id in self.span_ids:
            return
        self.span_ids.add(span.span_id)
        self.start = min(self.start, span.start)
        self.end = max(self.end, span.end)
        self.errors += span.is_error
        self.first_seen[span.service] = min(span.start, self.first_seen.get(span.service, span.start))
        if not span.parent_id and (self.root is None or span.start < self.root.start):
            self.root = span
        if self.first is None or span.start < self.first.start:
            self.first = span


def summarise(spans: Iterable[Span]) -> list[TraceSummary]:
    """Group spans by trace, the newest trace first."""
    traces: dict[str, TraceSummary] = {}
    for span in spans:
        trace = traces.get(span.trace_id)
        if trace is None:
            trace = traces[span.trace_id] = TraceSummary(span.trace_id, span.start, span.end)
        trace.add(span)
    return sorted(traces.values(), key=lambda trace: (trace.start, trace.trace_id), reverse=True)
