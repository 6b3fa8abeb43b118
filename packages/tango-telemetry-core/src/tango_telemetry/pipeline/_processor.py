"""The SDK's end of a pipeline."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tango_telemetry import _otel_sdk

if TYPE_CHECKING:
    from tango_telemetry._otel_sdk import ReadableSpan, SpanProcessor
    from tango_telemetry.pipeline._pipeline import Pipeline


@lru_cache(maxsize=1)
def _processor_class() -> type[SpanProcessor]:
    """Made on demand, because its base class is the SDK's."""
    base: type[SpanProcessor] = _otel_sdk.load_sdk().SpanProcessor

    class PipelineSpanProcessor(base):  # type: ignore[misc, valid-type]
        """Hands finished spans to the shared pipeline.

        `keeps_failed`: also those that failed beyond the limit of new traces, which are recorded but not sampled.
        """

        keeps_failed = False

        def __init__(self, pipeline: Pipeline) -> None:
            self._pipeline = pipeline
            self._accept: Any = pipeline.accept_span()

        def on_end(self, span: ReadableSpan) -> None:
            # A span may be recorded and not sampled.
            if span.context.trace_flags & 1 or (self.keeps_failed and not span.status.is_ok):
                self._accept(span)

        def shutdown(self) -> None:
            """Asks for what waits to be sent, and does not wait: a thousand devices may be deleted one after the other,
            and the pipeline, which goes on, is flushed when the process exits."""
            self._pipeline.hurry()

        def force_flush(self, timeout_millis: int = 30000) -> bool:
            """Waits until the pipeline has sent what waits; one attempt, at most `timeout_millis`."""
            return self._pipeline.flush(timeout_millis / 1000)

    return PipelineSpanProcessor


def create_span_processor(pipeline: Pipeline) -> SpanProcessor:
    """A span processor that feeds `pipeline`."""
    return _processor_class()(pipeline)  # type: ignore[call-arg]
