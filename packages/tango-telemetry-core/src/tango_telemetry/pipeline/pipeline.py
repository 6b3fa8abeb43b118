"""A pipeline: spans come in from the SDK or encoded, other signals encoded; payloads go out; two threads at
most.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tango_telemetry.base.guard import log_internal_error
from tango_telemetry.base.originals import RLock, sleep, start_thread
from tango_telemetry.pipeline.account import PipelineStats
from tango_telemetry.pipeline.delivery import EncodedSource, Exporter
from tango_telemetry.pipeline.drops import DropLog
from tango_telemetry.pipeline.process.watchdog import Watchdog
from tango_telemetry.pipeline.queue import SpanQueue
from tango_telemetry.pipeline.sender import Sender
from tango_telemetry.pipeline.settings import Endpoint, PipelineSettings
from tango_telemetry.pipeline.signals import TRACES
from tango_telemetry.pipeline.worker import NAP, Worker

if TYPE_CHECKING:
    from tango_telemetry.otel.sdk import SpanProcessor
    from tango_telemetry.pipeline.spool import Spool

_logger = logging.getLogger("tango_telemetry.pipeline")
# So many spans may wait for the first export: a server with a thousand devices has ended that many before it
# serves.
_FIRST_WORK_SPANS = 4096
# Seconds before a thread whose body has ended begins again: a defect that comes back at once must not take a
# whole CPU.
_RESTART_PAUSE = 0.5


class Pipeline:
    """One queue, one connection, and at most two threads, for all tracer providers that share an endpoint.

    Made by `get_pipeline`. Threads start with the first span.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        processor: str,
        settings: PipelineSettings,
        exporter: Exporter | None,
        watchdog: Watchdog | None = None,
        patient: Callable[[], bool] = lambda: False,
        after_first_work: Callable[[], None] = lambda: None,
        before_release: Callable[[], None] = lambda: None,
    ) -> None:
        self.endpoint = endpoint
        self.processor = processor
        self._settings = settings
        self._exporter = exporter
        self._watchdog = watchdog
        self._patient = patient
        self._after_first_work = after_first_work
        self._before_release = before_release
        self._collectors: list[Callable[[], None]] = []
        self._spans = SpanQueue(settings.max_queue_spans, settings.max_queue_bytes, processor == "simple")
        self._spans.on_first_span = self._start
        self._spool: Spool | None = None
        signal = endpoint.signal
        if settings.spool_dir and exporter is not None and exporter.spoolable and signal.spooled:
            from tango_telemetry.pipeline.spool import Spool

            # Without a word about traces, whose files may be of an earlier version.
            name = (endpoint.exporter, endpoint.target) + (() if signal == TRACES else (signal.name,))
            self._spool = Spool(settings.spool_dir, str(name), settings.spool_max_bytes)
        self._prepare()

    def __repr__(self) -> str:
        return f"<Pipeline {self.endpoint} {self.processor}>"

    def _prepare(self) -> None:
        self._bodies: list[tuple[str, Callable[[], None]]] = []
        self._next_start = 0.0
        self._held: list[Any] = []
        # Re-entrant: a span may end in a finaliser while its thread is starting the threads.
        self._start_lock = RLock()
        if self._exporter is None:
            self._spans.refuse("no_exporter")
            return
        settings = self._settings
        simple = self.processor == "simple"
        self._drops = DropLog(str(self.endpoint), self.endpoint.signal.items)
        self._sender = Sender(
            str(self.endpoint),
            self._spans,
            self._exporter,
            settings,
            self._spool,
            self.endpoint.signal.items,
        )
        self._worker = Worker(
            self._spans,
            self._exporter,
            # With the spool, half a second and what is being written is the most that a SIGKILL may cost.
            schedule_delay=min(settings.schedule_delay, 0.5)
            if self._spool is not None
            else settings.schedule_delay,
            max_batch_spans=1 if simple else settings.max_batch_spans,
            max_batch_bytes=settings.max_batch_bytes,
            first_work_spans=min(_FIRST_WORK_SPANS, settings.max_queue_spans // 2),
            patient=lambda: not simple and self._patient(),
            after_first_work=self._after_first_work,
            release=self._release,
            drain_sources=self._drain_sources,
            watchdog=self._watchdog,
        )
        self._bodies = [("sender", self._sender.run), ("worker", self._worker.run)]

    # --- coming in

    def create_span_processor(self) -> SpanProcessor:
        """A span processor for one tracer provider.

        Its shutdown flushes and lets go; the pipeline goes on.
        """
        from tango_telemetry.pipeline.span_processor import create_span_processor

        if self._exporter is not None and not self._patient():
            with log_internal_error("importing an encoder", foreign=True):
                self._exporter.prepare(encoding=True)
        return create_span_processor(self)

    def accept_span(self) -> Callable[[object], None]:
        """The function that takes a finished, sampled span: the hot path, bound once."""
        return self._spans.offer  # type: ignore[return-value]

    def accept_encoded(self, source: EncodedSource, collect: Callable[[], None] | None = None) -> None:
        """Deliver what `source` holds, from now on.

        :param collect: called before a flush and the end, of a source that holds something at times only
        """
        self._spans.sources.append(source)
        if collect is not None:
            self._collectors.append(collect)
        source.set_wake(self._wake)

    def _collect(self) -> None:
        for collect in self._collectors:
            with log_internal_error("collecting metrics"):
                collect()

    def _wake(self) -> None:
        if self._spans.discard():
            return
        self._start()
        self._spans.signal()

    def _drain_sources(self) -> None:
        if self._exporter is None:
            return
        for source in self._spans.sources:
            while self._spans.drain(source, self._settings.max_batch_bytes, self._exporter.transcode):
                sleep(NAP)

    # --- the threads

    def _start(self) -> None:
        """Start the threads that do not run yet.

        A process that can have no more threads keeps its spans for later.
        """
        if not self._bodies or time.monotonic() < self._next_start:
            return
        with self._start_lock:
            self._next_start = time.monotonic() + 1.0
            with contextlib.suppress(RuntimeError):
                while self._bodies:
                    name, body = self._bodies[-1]
                    start_thread(_restarting(name, body), f"tango-telemetry-{name}")
                    self._bodies.pop()
                self._spans.set_running(True)

    def _release(self) -> None:
        """The worker's hand-over: to the disk, if there is a spool, and to the sender."""
        self._before_release()
        self._drops.look(self._spans.stats())
        if self._spool is not None:
            self._spans.spool_out(self._spool, self._settings.spool_file_bytes)
        self._sender.signal()

    # --- waiting

    def begin_flush(self) -> Callable[[float], bool]:
        """Ask for everything that waits to be sent now; the function returned waits for it, for so many
        seconds.
        """
        self._collect()
        before = self._spans.stats()
        target = before.made
        self.hurry()

        def gone(now: PipelineStats) -> bool:
            return now.delivered + now.spooled + now.dropped >= target

        def settled() -> bool:
            now = self._spans.stats()
            # A file of the spool is safe, but a flush is a wish to see the spans: it waits for an attempt.
            return now.delivered + now.dropped >= target or (
                now.failed_attempts > before.failed_attempts and (gone(now) or self._spool is None)
            )

        def wait(timeout: float) -> bool:
            self._spans.wait(settled, timeout)
            return gone(self._spans.stats())

        return wait

    def hurry(self) -> None:
        """Ask for everything that waits to be sent now, and do not wait."""
        if self._exporter is None:
            return
        if self._spans.sources:
            self._start()
        self._worker.urgent = True
        self._sender.hurry = True
        self._spans.wake.put(None)
        self._sender.wake.put(None)

    def flush(self, timeout: float) -> bool:
        """Send what waits; True if all of it left within `timeout` seconds.

        One attempt: a failure ends the wait.
        """
        return self.begin_flush()(timeout)

    def begin_shutdown(self, deadline: float) -> None:
        """Ask for the last sending, to end at `deadline` (`time.monotonic`)."""
        self._collect()
        if self._exporter is not None:
            self._sender.closing_deadline = deadline
        self.hurry()

    def finish_sending(self, deadline: float) -> int:
        """Wait for it until `deadline`; say how many spans are left, and give their number."""
        if self._exporter is not None:
            if self._bodies:
                self._work_without_threads()
            else:
                self._spans.wait(self._finished, deadline - time.monotonic())
        stats = self._spans.stats()
        left = stats.queued
        if self._exporter is not None:
            self._drops.look(stats)
        if left:
            why = self._sender.last_failure if self._exporter is not None else ""
            _logger.warning(
                "tango-telemetry: %d %s for %s were not delivered before exit (%s)",
                left,
                self.endpoint.signal.items,
                self.endpoint,
                why or "no answer so far",
            )
        return left

    def finish_shutdown(self, deadline: float) -> bool:
        """Wait for it and count what is left as dropped; True if nothing was."""
        left = self.finish_sending(deadline)
        self._spans.refuse("shutdown")
        if self._spool is not None:
            self._spool.close()
        return not left

    def resume(self) -> None:
        """The process lives on after all: send as before."""
        if self._exporter is not None:
            self._sender.closing_deadline = 0.0
            self._sender.gave_up = False
            self._sender.signal()

    def _finished(self) -> bool:
        now = self._spans.stats()
        if self._sender.gave_up:
            return not now.queued or self._spool is None  # the worker may be writing to the spool
        return not now.queued and not now.spooled

    def _work_without_threads(self) -> None:
        """The process could not start ours: save what can be saved without the network."""
        self._worker.work()
        if self._spool is not None:
            self._spans.spool_out(self._spool, self._settings.spool_file_bytes)

    def pause_for_fork(self, deadline: float) -> None:
        """Wait until `deadline` for the threads to be between two pieces of work, and hold them there.

        A thread that does not exist in the child may leave it a lock that nobody opens: an import lock, say.
        And gRPC's fork handlers give up where a call is running (grpcio 1.85), after which some children
        could not use gRPC.
        """
        if self._exporter is not None and not self._bodies:
            for gate in (self._worker.gate, self._sender.gate):
                if gate.acquire(timeout=max(0.0, deadline - time.monotonic())):
                    self._held.append(gate)

    def resume_after_fork(self) -> None:
        """In the parent: the threads may go on."""
        while self._held:
            self._held.pop().release()

    def reset_after_fork(self) -> None:
        """In a forked child: nothing queued, no threads, no connection."""
        self._spans.reset()
        if self._spool is not None:
            self._spool.after_fork()
        if self._exporter is not None:
            self._exporter.reset_after_fork()
        self._prepare()

    def stats(self) -> PipelineStats:
        """The account of this pipeline."""
        return self._spans.stats()

    @property
    def in_flight(self) -> int:
        """Spans of the request that is being sent, or of the spool file."""
        return self._spans.in_flight

    @property
    def capacity(self) -> int:
        """How many spans may wait in memory."""
        return self._settings.max_queue_spans


def _restarting(name: str, body: Callable[[], None]) -> Callable[[], None]:
    """Return a function that runs the body of a thread, and begins it anew, with a word in the log, should it
    ever end.
    """

    def run() -> None:
        while True:
            with log_internal_error(f"running the {name}; it is started anew", foreign=True):
                body()
            sleep(_RESTART_PAUSE)

    return run
