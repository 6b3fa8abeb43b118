"""A pipeline: spans come in from the SDK or encoded, payloads go out; two threads at most."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from tango_telemetry._guard import log_internal_error
from tango_telemetry.pipeline._delivery import Exporter
from tango_telemetry.pipeline._queue import SpanQueue
from tango_telemetry.pipeline._sender import Sender
from tango_telemetry.pipeline._settings import Endpoint, PipelineSettings
from tango_telemetry.pipeline._stats import PipelineStats
from tango_telemetry.pipeline._worker import Worker

if TYPE_CHECKING:
    from tango_telemetry._otel_sdk import SpanProcessor

_logger = logging.getLogger("tango_telemetry.pipeline")


class EncodedSource(Protocol):
    """Finished spans of another recorder, already encoded as OTLP protobuf."""

    def drain(self, max_bytes: int) -> tuple[bytes, int]:
        """The bytes of complete `ResourceSpans`, as field 1 of a request, tag included, and how many spans they hold."""
        ...

    def pending(self) -> tuple[int, int]:
        """Spans and bytes that wait."""
        ...

    def dropped(self) -> int:
        """How many spans were refused so far."""
        ...

    def set_wake(self, wake: Callable[[], None]) -> None:
        """Called once; `wake()` is to be called when there is enough to drain."""
        ...


class Pipeline:
    """One queue, one connection, and at most two threads, for all tracer providers that share an endpoint.

    Made by `get_pipeline`. Threads start with the first span.
    """

    def __init__(
        self, endpoint: Endpoint, processor: str, settings: PipelineSettings, exporter: Exporter | None
    ) -> None:
        self.endpoint = endpoint
        self.processor = processor
        self._settings = settings
        self._exporter = exporter
        self._sources: list[EncodedSource] = []
        self._spans = SpanQueue(settings.max_queue_spans, settings.max_queue_bytes, processor == "simple")
        self._spans.on_first_span = self.start
        self._prepare()

    def __repr__(self) -> str:
        return f"<Pipeline {self.endpoint} {self.processor}>"

    def _prepare(self) -> None:
        self._started = False
        self._start_lock = threading.Lock()
        if self._exporter is None:
            self._spans.refuse("no_exporter")
            return
        settings = self._settings
        self._sender = Sender(str(self.endpoint), self._spans, self._exporter, settings)
        self._worker = Worker(
            self._spans,
            self._exporter,
            settings.schedule_delay,
            1 if self.processor == "simple" else settings.max_batch_spans,
            self._release,
            self._drain_sources,
        )

    # --- coming in

    def create_span_processor(self) -> SpanProcessor:
        """A span processor for one tracer provider. Its shutdown flushes and lets go; the pipeline goes on."""
        from tango_telemetry.pipeline._processor import create_span_processor

        return create_span_processor(self)

    def accept_span(self) -> Callable[[object], None]:
        """The function that takes a finished, sampled span: the hot path, bound once."""
        return self._spans.offer  # type: ignore[return-value]

    def accept_encoded(self, source: EncodedSource) -> None:
        """Deliver what `source` holds, from now on."""
        self._sources.append(source)
        source.set_wake(self._spans.signal)
        self._spans.set_running(self.start())

    def _drain_sources(self) -> int:
        return sum(self._spans.put_encoded(source.drain) for source in self._sources)

    # --- the threads

    def start(self) -> bool:
        """Start the threads, if they are not running; False where the process can have no more threads."""
        if self._exporter is None:
            return False
        with self._start_lock:
            if self._started:
                return True
            bodies = [("worker", self._worker.run)]
            if self._exporter.remote:
                bodies.append(("sender", self._sender.run))
            try:
                for name, body in bodies:
                    threading.Thread(target=body, name=f"tango-telemetry-{name}", daemon=True).start()
            except RuntimeError:
                return False
            self._started = True
            return True

    def _release(self) -> None:
        if self._exporter is not None and self._exporter.remote:
            self._sender.wake.put(None)
        else:
            self._sender.send_all()

    # --- waiting

    def begin_flush(self) -> Callable[[float], bool]:
        """Ask for everything that waits to be sent now; the function returned waits for it, for so many seconds."""
        before = self._spans.stats()
        target = before.made
        self.hurry()

        def settled() -> bool:
            now = self._spans.stats()
            return now.delivered + now.spooled + now.dropped >= target or (
                now.failed_attempts > before.failed_attempts
            )

        def wait(timeout: float) -> bool:
            self._spans.wait(settled, timeout)
            now = self._spans.stats()
            return now.delivered + now.spooled + now.dropped >= target

        return wait

    def hurry(self) -> None:
        """Ask for everything that waits to be sent now, and do not wait."""
        if self._exporter is None or not self._started:
            return
        self._worker.urgent = True
        self._sender.hurry = True
        self._spans.wake.put(None)

    def flush(self, timeout: float) -> bool:
        """Send what waits; True if all of it left within `timeout` seconds. One attempt: a failure ends the wait."""
        return self.begin_flush()(timeout)

    def begin_shutdown(self, deadline: float) -> None:
        """Ask for the last sending, to end at `deadline` (`time.monotonic`)."""
        if self._exporter is not None:
            self._sender.closing_deadline = deadline
        self.hurry()

    def finish_shutdown(self, deadline: float) -> bool:
        """Wait for it and count what is left as dropped; True if nothing was."""
        if self._exporter is not None:
            self._spans.wait(
                lambda: not self._spans.stats().queued or self._sender.gave_up, deadline - time.monotonic()
            )
        left = self._spans.stats().queued
        self._spans.refuse("shutdown")
        if left:
            _logger.warning(
                "tango-telemetry: %d spans for %s were not delivered before exit", left, self.endpoint
            )
        with log_internal_error("closing an exporter"):
            if self._exporter is not None and not left:
                self._exporter.close()
        return not left

    def reset_after_fork(self) -> None:
        """In a forked child: nothing queued, no threads, no connection."""
        self._spans.reset()
        self._prepare()

    def stats(self) -> PipelineStats:
        """The account of this pipeline."""
        return self._spans.stats()
