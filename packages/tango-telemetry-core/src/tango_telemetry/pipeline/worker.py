"""The thread that turns spans into payloads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from tango_telemetry.base.guard import log_internal_error
from tango_telemetry.base.originals import Empty, Lock, sleep
from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.pipeline.delivery import Exporter
from tango_telemetry.pipeline.process.watchdog import Watchdog
from tango_telemetry.pipeline.queue import SpanQueue

_WATCH_INTERVAL = 0.25
# Between two chunks. sleep(0) does not do: it gives the GIL up and takes it again before a waiting thread has
# woken, which then waits for the switch interval of 5 ms (3.11: p99 of a call 10 to 12 ms with 0, 4 to 7 with
# this, same machine).
NAP = 0.00005


class Worker:
    """Encodes what waits, in small chunks, and hands over to the sender by `release`.

    It wakes when enough spans wait or when `schedule_delay` has passed. Where `patient` says so only the
    delay counts for the first work, or `first_work_spans`. `after_first_work` is called once. Between two
    chunks it lets go of the GIL, which the official encoder holds for about 30 microseconds per span.
    """

    def __init__(
        self,
        spans: SpanQueue,
        exporter: Exporter,
        *,
        schedule_delay: float,
        max_batch_spans: int,
        max_batch_bytes: int,
        first_work_spans: int,
        patient: Callable[[], bool],
        after_first_work: Callable[[], None],
        release: Callable[[], None],
        drain_sources: Callable[[], None],
        watchdog: Watchdog | None,
    ) -> None:
        self._spans = spans
        self._exporter = exporter
        self._delay = schedule_delay
        self._max_batch_spans = max_batch_spans
        self._max_batch_bytes = max_batch_bytes
        self._first_work_spans = first_work_spans
        self._patient = patient
        self._waiting = False
        self._after_first_work: Callable[[], None] | None = after_first_work
        self._release = release
        self._drain_sources = drain_sources
        self._watchdog = watchdog
        self.urgent = False
        # Held while encoding, so that a fork can wait for a moment when nothing is half done.
        self.gate = Lock()

    def run(self) -> None:
        """The body of the thread; never returns."""
        otel_sdk.suppress_instrumentation()
        due = time.monotonic() + self._delay
        self._waiting = self._patient()
        while True:
            self._wait(due)
            # Read before the work: a span that ends between the work and a flush belongs to the flush.
            urgent, self.urgent = self.urgent, False
            with log_internal_error("encoding spans"):
                if self._waiting and not urgent and self._is_early(due):
                    continue
                self._waiting = False
                self.work()
                now = time.monotonic()
                if urgent or now >= due or self._spans.encoded_spans >= self._max_batch_spans:
                    due = now + self._delay
                    self._release()
                    if self._after_first_work is not None:
                        function, self._after_first_work = self._after_first_work, None
                        with self.gate:
                            function()

    def _wait(self, due: float) -> None:
        """Until somebody wakes us, or until `due`."""
        while (left := due - time.monotonic()) > 0:
            # Before the first work a source that nobody drains does not wake us a second time.
            watching = self._waiting or (self._watchdog is not None and self._watchdog.installed)
            with contextlib.suppress(Empty):
                self._spans.wake.get(timeout=min(left, _WATCH_INTERVAL) if watching else left)
                return
            if self._watchdog is not None and self._watchdog.look():
                self.urgent = True  # what waits is sent while the main thread has time to notice its SIGTERM
                return
            if self._waiting:
                return

    def _is_early(self, due: float) -> bool:
        """Whether the first work can still wait."""
        return time.monotonic() < due and self._spans.has_room(self._first_work_spans)

    def work(self) -> None:
        """Encode everything that waits."""
        while self._encode_chunk():
            sleep(NAP)
        with self.gate:
            self._drain_sources()

    def _encode_chunk(self) -> bool:
        with self.gate:
            spans = self._spans.take(self._exporter.chunk_spans)
            if not spans:
                return False
            with log_internal_error("encoding spans", foreign=True):
                payload = self._exporter.encode(spans)
                if len(payload) <= self._max_batch_bytes:
                    self._spans.put(payload)
                    return True
            # A collector refuses what is too long, and an encoder what it does not understand: of many spans
            # none must go with the others.
            for span in spans:
                with log_internal_error("encoding a span", foreign=True) as guard:
                    self._spans.put(self._exporter.encode([span]), 1)
                if guard.failed:
                    self._spans.drop_encoding("encoding", 1)
        return True
