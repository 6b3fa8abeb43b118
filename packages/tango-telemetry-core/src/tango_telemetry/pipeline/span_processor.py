"""The SDK's end of a pipeline."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import lru_cache
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, Any, Protocol

from tango_telemetry.base import system
from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.pipeline.process import open_spans

if TYPE_CHECKING:
    from tango_telemetry.otel.sdk import SpanProcessor


# What may lie between two readings of the clocks that belong together; where more does, the thread was
# interrupted.
_TOGETHER = 1_000_000
_STEP = 2 * _TOGETHER
# How many open spans are watched. Those that never end would else fill the memory: all are forgotten, and new
# ones watched.
_MAX_OPEN = 65_536
_UNKNOWN = (None, 0)


class Target(Protocol):
    """What a span processor feeds: a pipeline."""

    def accept_span(self) -> Callable[[object], None]: ...
    def hurry(self) -> None: ...
    def flush(self, timeout: float) -> bool: ...


@lru_cache(maxsize=1)
def _processor_class() -> type[SpanProcessor]:
    """Made on demand, because its base class is the SDK's."""
    base: type[SpanProcessor] = otel_sdk.load_sdk().SpanProcessor

    class PipelineSpanProcessor(base):  # type: ignore[misc, valid-type]
        """Hands finished spans to the shared pipeline.

        The SDK reads both ends of a span from the system clock, so a span that was open while that clock was
        set would last an hour, or less than nothing. Here its start is also read from a clock that is never
        set.

        `keeps_failed`: also those that failed beyond the limit of new traces, which are recorded but not
        sampled.
        """

        keeps_failed = False

        def __init__(self, pipeline: Target) -> None:
            self._pipeline = pipeline
            self._accept: Any = pipeline.accept_span()
            # Of each open span, weakly, and when it began by the steady clock; 0 where the user has given the
            # start.
            self._open: dict[int, tuple[weakref.ref[Any], int]] = {}
            open_spans.sources.append(self._find_open)
            system.register_at_fork(after_in_child=self._open.clear)  # there they are the parent's

        def on_start(self, span: Any, parent_context: object = None) -> None:
            watched = self._open
            if len(watched) >= _MAX_OPEN:
                watched.clear()
            is_now = 0 <= time_ns() - span.start_time < _TOGETHER  # else the user has given the start
            watched[span.context.span_id] = (weakref.ref(span), monotonic_ns() if is_now else 0)

        def on_end(self, span: Any) -> None:
            context = span.context
            start = self._open.pop(context.span_id, _UNKNOWN)[1]
            if start:
                lasted = monotonic_ns() - start
                if not -_STEP < span.end_time - span.start_time - lasted < _STEP:
                    _correct_end(span, lasted)
            # A span may be recorded and not sampled.
            if context.trace_flags & 1 or (self.keeps_failed and not span.status.is_ok):
                self._accept(span)

        def _find_open(self) -> list[Any]:
            references = list(self._open.values())[: -open_spans.MOST - 1 : -1]
            return [span for reference, _ in references if (span := reference()) is not None]

        def shutdown(self) -> None:
            """Asks for what waits to be sent, and does not wait: a thousand devices may be deleted one after
            the other, and the pipeline, which goes on, is flushed when the process exits.
            """
            self._pipeline.hurry()

        def force_flush(self, timeout_millis: int = 30000) -> bool:
            """Waits until the pipeline has sent what waits; one attempt, at most `timeout_millis`."""
            return self._pipeline.flush(timeout_millis / 1000)

    return PipelineSpanProcessor


def _correct_end(span: Any, lasted: int) -> None:
    """The clock was set while `span` was open; or the user has given the end, which must stay."""
    if -_TOGETHER < time_ns() - span.end_time < _TOGETHER:
        span._end_time = span.start_time + lasted


def create_span_processor(pipeline: Target) -> SpanProcessor:
    """A span processor that feeds `pipeline`."""
    return _processor_class()(pipeline)  # type: ignore[call-arg]
