"""The thread that sends payloads, and tries again."""

from __future__ import annotations

import logging
import queue
import random
import time
from queue import SimpleQueue

from tango_telemetry._guard import log_internal_error
from tango_telemetry.pipeline._delivery import Exporter, Outcome, Result
from tango_telemetry.pipeline._queue import SpanQueue
from tango_telemetry.pipeline._settings import PipelineSettings

_logger = logging.getLogger("tango_telemetry.pipeline")


class Sender:
    """Sends the oldest batches until there are none, one request at a time, each kept until it is delivered.

    The wait between attempts grows with jitter up to `retry_max`; what a collector asks for by Retry-After comes first.
    A flush or a shutdown cuts the wait short. During a shutdown there is one attempt: its failure ends the sending.
    """

    def __init__(self, name: str, spans: SpanQueue, exporter: Exporter, settings: PipelineSettings) -> None:
        self._name = name
        self._spans = spans
        self._exporter = exporter
        self._settings = settings
        self._failures = 0
        self.wake: SimpleQueue[None] = SimpleQueue()
        self.closing_deadline = 0.0
        self.gave_up = False

    def run(self) -> None:
        """The body of the thread; never returns."""
        while True:
            self.wake.get()
            self.send_all()

    def send_all(self) -> None:
        """Send until nothing waits, or until a failure during shutdown."""
        while not self.gave_up:
            payload, batches = self._spans.peek(
                self._settings.max_batch_spans, self._settings.max_batch_bytes
            )
            if not batches:
                return
            outcome = self._attempt(payload)
            if outcome.result is not Result.RETRY:
                self._settle(batches, outcome)
                continue
            self._spans.attempt_failed()
            if self.closing_deadline:
                self.gave_up = True
                self._spans.attempt_failed()
                return
            self._back_off(outcome)

    def _attempt(self, payload: bytes) -> Outcome:
        timeout = self._settings.export_timeout
        if self.closing_deadline:
            timeout = min(timeout, max(0.01, self.closing_deadline - time.monotonic()))
        with log_internal_error("sending spans"):
            return self._exporter.send(payload, timeout)
        return Outcome(Result.RETRY, "internal error")

    def _settle(self, batches: int, outcome: Outcome) -> None:
        if self._failures and outcome.result is Result.DELIVERED:
            _logger.info("tango-telemetry: delivery to %s works again", self._name)
        self._failures = 0
        if outcome.result is Result.REJECTED:
            self._spans.settle(batches, drop_reason="rejected")
        else:
            self._spans.settle(batches, rejected=outcome.rejected_spans)

    def _back_off(self, outcome: Outcome) -> None:
        if not self._failures:
            _logger.warning(
                "tango-telemetry: cannot deliver spans to %s (%s); keeping them and trying again",
                self._name,
                outcome.reason,
            )
        self._failures += 1
        wait = min(self._settings.retry_max, self._settings.retry_initial * 2 ** min(self._failures - 1, 16))
        wait = max(wait * random.uniform(0.8, 1.2), outcome.retry_after)
        until = time.monotonic() + wait
        while not self.hurry and (left := until - time.monotonic()) > 0:
            try:
                self.wake.get(timeout=left)
            except queue.Empty:
                break
        self.hurry = False

    hurry = False
