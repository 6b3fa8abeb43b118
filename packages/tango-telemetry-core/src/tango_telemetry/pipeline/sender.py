"""The thread that sends payloads, and tries again."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tango_telemetry.base.guard import log_internal_error
from tango_telemetry.base.originals import Empty, Lock, SimpleQueue
from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.pipeline.delivery import DELIVERED, Exporter, Outcome, Result
from tango_telemetry.pipeline.queue import SpanQueue
from tango_telemetry.pipeline.settings import PipelineSettings

if TYPE_CHECKING:
    from tango_telemetry.pipeline.spool import Spool

_logger = logging.getLogger("tango_telemetry.pipeline")
_MOST_SAID = 16
"""How many different reasons are told apart."""
_PATIENCE = 4
"""How many errors of the server's own in a row end the belief that it is not about the payload."""
_MOST_REFUSED = 64
"""How many requests in a row may be refused before what is refused is no longer sent in halves: there is
nothing that this collector takes. Nine lead from 512 spans to the one that is at fault.
"""
_REPEAT_AFTER = 60.0
"""Seconds after which the same refusal is said again, with how many spans it has cost meanwhile."""


class Sender:
    """Sends the oldest payloads until there are none, one request at a time, each kept until it is delivered.

    The wait between attempts grows with jitter up to `retry_max`; what a collector asks for by Retry-After
    comes first. A flush or a shutdown cuts the wait short. During a shutdown there is one attempt: its
    failure ends the sending.
    """

    def __init__(
        self,
        name: str,
        spans: SpanQueue,
        exporter: Exporter,
        settings: PipelineSettings,
        spool: Spool | None,
        items: str = "spans",
    ) -> None:
        self._name = name
        self._items = items
        self._spans = spans
        self._exporter = exporter
        self._settings = settings
        self._spool = spool
        self._failures = 0
        self._announced: set[str] = set()
        self._refusals: dict[str, tuple[float, int]] = {}
        self.last_failure = ""
        self._doubts = self._refused_in_a_row = 0
        self.wake: SimpleQueue[None] = SimpleQueue()
        self.closing_deadline = 0.0
        self.gave_up = False
        self.hurry = False
        self._signalled = False
        # Held during each attempt, so that a fork can wait for its end for a moment.
        self.gate = Lock()

    def run(self) -> None:
        """The body of the thread; never returns."""
        otel_sdk.suppress_instrumentation()
        while True:
            with log_internal_error("sending spans"):
                self.send_all()
            self.hurry = False
            self.wake.get()
            self._signalled = False

    def signal(self) -> None:
        """Wake the thread, once until it looks."""
        if not self._signalled:
            self._signalled = True
            self.wake.put(None)

    def send_all(self) -> None:
        """Send until nothing waits, or until a failure during shutdown."""
        while not self.gave_up:
            outcome = self._send_file() or self._send_from_memory()
            if outcome is None:
                return
            if outcome.result is Result.RETRY:
                self._failed(outcome)

    def _send_file(self) -> Outcome | None:
        """Send the oldest file of the spool; None if there is none."""
        if self._spool is None:
            return None
        self._spool.adopt()
        file = self._spool.oldest()
        if file is None:
            return None
        payload = self._spool.read(file)
        if payload is None:
            self._spool.remove(file)
            self._spans.settle_spooled(file.spans, file.own, "spool_damaged")
            return Outcome(Result.REJECTED, "damaged file")
        outcome = self._deliver(payload, file.spans)
        if outcome.result is Result.RETRY:
            if self._has_doubts(outcome):
                self._spool.put_last(file)
        else:
            self._tell_refused(outcome, file.spans)
            reason = "rejected" if outcome.result is Result.REJECTED else ""
            self._spool.remove(file)
            self._spans.settle_spooled(file.spans, file.own, reason, outcome.rejected_spans)
        return outcome

    def _send_from_memory(self) -> Outcome | None:
        """Send the oldest batches that wait in memory; None if there are none."""
        if self._spool is not None and self._spool.accepting:
            # The worker is about to write them to the spool. At exit it matters: what is taken here and comes
            # back from a failed attempt may have missed the last writing.
            return None
        payload = self._spans.check_out(self._settings.max_batch_spans, self._settings.max_batch_bytes)
        if not payload:
            self._spans.settle()  # batches without a byte, if any
            return None
        outcome = self._deliver(payload, self._spans.in_flight)
        if outcome.result is Result.RETRY:
            self._spans.put_back(apart=self._has_doubts(outcome))
        else:
            self._tell_refused(outcome, self._spans.in_flight)
            reason = "rejected" if outcome.result is Result.REJECTED else ""
            self._spans.settle(reason, outcome.rejected_spans)
        return outcome

    def _deliver(self, payload: bytes, items: int) -> Outcome:
        """One attempt. What is refused as a whole is sent in halves, down to the items that are at fault: one
        bad or long span must not take the others with it.

        A half that meets an outage ends it. All of the payload is sent again then, so that what was taken
        comes twice.
        """
        outcome = self._attempt(payload)
        if outcome.result is not Result.REJECTED:
            return outcome
        self._refused_in_a_row += 1
        if self._refused_in_a_row > _MOST_REFUSED:
            return outcome
        refused = items
        for half, number in self._exporter.halve(payload, items):
            part = self._deliver(half, number)
            if part.result is Result.RETRY:
                return part
            if part.result is Result.DELIVERED:
                refused -= number - min(part.rejected_spans, number)
            if part.reason:
                outcome = part
        if refused == items:
            return replace(outcome, result=Result.REJECTED)
        return replace(outcome, result=Result.DELIVERED, rejected_spans=refused) if refused else DELIVERED

    def _attempt(self, payload: bytes) -> Outcome:
        timeout = self._settings.export_timeout
        if self.closing_deadline:
            timeout = min(timeout, max(0.01, self.closing_deadline - time.monotonic()))
        outcome = Outcome(Result.RETRY, "internal error")
        with self.gate, log_internal_error("sending spans", foreign=True):
            try:
                outcome = self._exporter.send(payload, timeout)
            except otel_sdk.MissingPackageError as error:  # it is installed, and cannot be imported
                outcome = Outcome(Result.RETRY, str(error))
            finally:
                if outcome.result is Result.RETRY:
                    # The next attempt starts from nothing: the connection may be dead without a word, the
                    # name may mean another machine by now, and a certificate or a proxy may be a new one.
                    self._exporter.close()
        if outcome.result is Result.DELIVERED:
            self._worked()
        return outcome

    def _has_doubts(self, outcome: Outcome) -> bool:
        """Whether it is time to let others go first: what fails each time must not hold them up for ever."""
        self._doubts = self._doubts + 1 if outcome.doubtful else 0
        if self._doubts < _PATIENCE:
            return False
        self._doubts = 0
        return True

    # --- what is said. It is said before it is counted: who waits for a flush finds the reason in the log.

    def _worked(self) -> None:
        if self._announced:
            _logger.warning("tango-telemetry: delivery to %s works again", self._name)
        self._failures = self._doubts = self._refused_in_a_row = 0
        self.last_failure = ""
        self._announced.clear()

    def _failed(self, outcome: Outcome) -> None:
        self.last_failure = outcome.describe()
        if outcome.reason not in self._announced and len(self._announced) < _MOST_SAID:
            self._announced.add(outcome.reason)
            _logger.warning(
                "tango-telemetry: cannot deliver %s to %s (%s); keeping them and trying again",
                self._items,
                self._name,
                self.last_failure,
            )
        self._failures += 1
        if self.closing_deadline:
            self.gave_up = True
        self._spans.attempt_failed()
        if not self.gave_up:
            self._back_off(outcome.retry_after)

    def _tell_refused(self, outcome: Outcome, spans: int) -> None:
        """Say what a collector refused, or remarked while it took everything; once a minute for each
        reason.
        """
        refused = spans if outcome.result is Result.REJECTED else min(outcome.rejected_spans, spans)
        if not refused and not outcome.detail:
            return
        reason = outcome.reason or ("partial success" if refused else "remark")
        now = time.monotonic()
        said, kept_quiet = self._refusals.get(reason, (-_REPEAT_AFTER, 0))
        if now - said < _REPEAT_AFTER or (reason not in self._refusals and len(self._refusals) >= _MOST_SAID):
            self._refusals[reason] = (said, kept_quiet + refused)
            return
        self._refusals[reason] = (now, 0)
        more = f" (and {kept_quiet} more since it was last said)" if kept_quiet else ""
        if refused:
            _logger.warning(
                "tango-telemetry: %d %s%s were refused and are lost: %s (for %s)",
                refused,
                self._items,
                more,
                outcome.describe() or reason,
                self._name,
            )
        else:
            _logger.warning("tango-telemetry: %s remarks: %s", self._name, outcome.detail)

    def _back_off(self, retry_after: float) -> None:
        wait = min(self._settings.retry_max, self._settings.retry_initial * 2 ** min(self._failures - 1, 16))
        until = time.monotonic() + max(wait * random.uniform(0.8, 1.2), retry_after)
        while not self.hurry and (left := until - time.monotonic()) > 0:
            try:
                self.wake.get(timeout=left)
            except Empty:
                break
            self._signalled = False
        self.hurry = False
