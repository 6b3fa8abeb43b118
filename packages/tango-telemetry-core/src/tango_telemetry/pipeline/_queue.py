"""The middle of a pipeline: what waits, within its bounds, and the account of where every span is.

SDK spans wait in `_raw` for as short as the worker can make it, because one takes about ten times the memory of its
encoded form. Encoded batches wait in `_encoded`; there their size is exact.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING

from tango_telemetry.pipeline._delivery import Batch
from tango_telemetry.pipeline._stats import PipelineStats

if TYPE_CHECKING:
    from tango_telemetry._otel_sdk import ReadableSpan

# How many spans may wait unweighed: weighing costs several microseconds per span, so it starts when a queue builds up.
UNWEIGHED_SPANS = 256
# The worker is woken each time that this many wait.
WAKE_SPANS = 64
# What an SDK span takes in memory besides the texts that a user put into it (measured: 2,855 with 8 attributes).
SPAN_BYTES = 2600


def weigh(span: ReadableSpan) -> int:
    """An estimate of the memory that `span` holds, in bytes."""
    size = SPAN_BYTES
    for value in (span.attributes or {}).values():
        if isinstance(value, (str, bytes, tuple)):
            size += len(value)
    for event in span.events:
        size += 400
        for value in (event.attributes or {}).values():
            if isinstance(value, (str, bytes, tuple)):
                size += len(value)
    return size + 400 * len(span.links)


class SpanQueue:
    """Spans between their end and their delivery. `offer` is the hot path; everything else takes the lock.

    The lock is re-entrant because a signal handler or a finaliser that ends a span may interrupt its holder.
    """

    def __init__(self, max_spans: int, max_bytes: int, wake_every_span: bool) -> None:
        self._max_spans = max_spans
        self._max_bytes = max_bytes
        self._wake_every_span = wake_every_span
        self.on_drop: Callable[[str, int], None] = lambda reason, spans: None
        self.on_first_span: Callable[[], bool] = lambda: True
        self.reset()

    def reset(self) -> None:
        """Forget everything: a forked child counts and delivers its own spans only."""
        self._lock = threading.RLock()
        self._settled = threading.Condition(self._lock)
        # SimpleQueue, not Event: its put() may be re-entered by a signal handler or a finaliser.
        self.wake: SimpleQueue[None] = SimpleQueue()
        self._signalled = False
        self._raw: deque[ReadableSpan | tuple[ReadableSpan, int]] = deque()
        self._raw_bytes = 0
        self._encoding = 0
        self._encoded: deque[Batch] = deque()
        self._encoded_spans = 0
        self._encoded_bytes = 0
        self._delivered = 0
        self._dropped: dict[str, int] = {}
        self._failed_attempts = 0
        self._refuse = ""
        # Until the threads run every span takes the slow way, which starts them: the fast one need not ask.
        self._running = False
        self._set_soft_limit()

    # --- the hot path

    def offer(self, span: ReadableSpan) -> None:
        """Take a finished span. Never blocks, never raises; wakes the worker when there is enough to do."""
        depth = len(self._raw)
        if depth < self._soft_limit:
            self._raw.append(span)
            if self._wake_every_span or depth % WAKE_SPANS == WAKE_SPANS - 1:
                self.signal()
        else:
            self._offer_weighed(span)

    def signal(self) -> None:
        """Wake the worker, once until it looks."""
        if not self._signalled:
            self._signalled = True
            self.wake.put(None)

    def _offer_weighed(self, span: ReadableSpan) -> None:
        size = weigh(span)
        with self._lock:
            if self._refuse:
                self.drop(self._refuse, 1)
            elif (
                len(self._raw) + self._encoding + self._encoded_spans >= self._max_spans
                or self._raw_bytes + self._encoded_bytes + size > self._max_bytes
            ):
                self.drop("queue_full", 1)
            else:
                self._raw_bytes += size
                self._raw.append((span, size))
        if not self._running and not self._refuse:
            self.set_running(self.on_first_span())
        if self._wake_every_span or len(self._raw) >= WAKE_SPANS:
            self.signal()

    def set_running(self, running: bool) -> None:
        """Whether the threads run."""
        with self._lock:
            self._running = running
            self._set_soft_limit()

    def _set_soft_limit(self) -> None:
        room = self._max_spans - self._encoded_spans - self._encoding
        full = bool(self._refuse) or not self._running or self._encoded_bytes >= self._max_bytes
        self._soft_limit = 0 if full else max(0, min(UNWEIGHED_SPANS, room))

    # --- the worker's side

    def take(self, count: int) -> list[ReadableSpan]:
        """Up to `count` of the oldest spans, to be encoded and given to `put` or `drop_encoding`."""
        spans: list[ReadableSpan] = []
        with self._lock:
            self._signalled = False
            while self._raw and len(spans) < count:
                item = self._raw.popleft()
                if isinstance(item, tuple):
                    self._raw_bytes -= item[1]
                    item = item[0]
                spans.append(item)
            self._encoding += len(spans)
            self._set_soft_limit()
        return spans

    def put(self, payload: bytes) -> None:
        """The spans last taken, encoded."""
        with self._lock:
            spans, self._encoding = self._encoding, 0
            self._add(Batch(payload, spans))

    def drop_encoding(self, reason: str) -> None:
        """The spans last taken could not be encoded."""
        with self._lock:
            spans, self._encoding = self._encoding, 0
            self.drop(reason, spans)

    def put_encoded(self, produce: Callable[[int], tuple[bytes, int]]) -> int:
        """Let `produce(max_bytes)` move spans from elsewhere into the queue, in one step of the account."""
        with self._lock:
            room = self._max_bytes - self._encoded_bytes
            if room <= 0 or self._encoded_spans >= self._max_spans or self._refuse:
                return 0
            payload, spans = produce(room)
            if spans:
                self._add(Batch(payload, spans))
            return spans

    def _add(self, batch: Batch) -> None:
        if self._refuse:
            self.drop(self._refuse, batch.spans)
        elif self._encoded and self._encoded_bytes + len(batch.payload) > self._max_bytes:
            self.drop("queue_full", batch.spans)
        else:
            self._encoded.append(batch)
            self._encoded_spans += batch.spans
            self._encoded_bytes += len(batch.payload)
        self._set_soft_limit()

    # --- the sender's side

    def peek(self, max_spans: int, max_bytes: int) -> tuple[bytes, int]:
        """(joined payload, number of batches in it) of the oldest batches; they stay queued until `settle`."""
        with self._lock:
            chosen: list[bytes] = []
            spans = size = 0
            for batch in self._encoded:
                spans += batch.spans
                size += len(batch.payload)
                if chosen and (spans > max_spans or size > max_bytes):
                    break
                chosen.append(batch.payload)
        return b"".join(chosen), len(chosen)

    def settle(self, batches: int, drop_reason: str = "", rejected: int = 0) -> int:
        """The oldest `batches` are delivered, or dropped for `drop_reason`; gives the number of spans."""
        with self._lock:
            spans = self._remove(batches)
            if drop_reason:
                self.drop(drop_reason, spans)
            else:
                rejected = min(rejected, spans)
                self._delivered += spans - rejected
                if rejected:
                    self.drop("rejected", rejected)
            self._settled.notify_all()
        return spans

    def _remove(self, batches: int) -> int:
        spans = 0
        for _ in range(min(batches, len(self._encoded))):
            batch = self._encoded.popleft()
            spans += batch.spans
            self._encoded_bytes -= len(batch.payload)
        self._encoded_spans -= spans
        self._set_soft_limit()
        return spans

    @property
    def encoded_spans(self) -> int:
        """How many encoded spans wait to be sent."""
        return self._encoded_spans

    # --- the account

    def drop(self, reason: str, spans: int) -> None:
        """Count `spans` as lost."""
        if not spans:
            return
        with self._lock:
            self._dropped[reason] = self._dropped.get(reason, 0) + spans
            self._settled.notify_all()
        self.on_drop(reason, spans)

    def attempt_failed(self) -> None:
        """A request did not succeed; whoever waits for a flush may want to know."""
        with self._lock:
            self._failed_attempts += 1
            self._settled.notify_all()

    def refuse(self, reason: str) -> None:
        """Drop everything that waits and everything that comes from now on, for `reason`."""
        with self._lock:
            self._refuse = reason
            spans = len(self._raw) + self._remove(len(self._encoded))
            self._raw.clear()
            self._raw_bytes = 0
            self._set_soft_limit()
            self.drop(reason, spans)

    def wait(self, done: Callable[[], bool], timeout: float) -> bool:
        """Wait until `done()`, which is asked again whenever something was settled, at most `timeout` seconds."""
        with self._settled:
            return self._settled.wait_for(done, timeout)

    def stats(self) -> PipelineStats:
        """The account, in one consistent step."""
        with self._lock:
            dropped = sum(self._dropped.values())
            queued = len(self._raw) + self._encoding + self._encoded_spans
            return PipelineStats(
                made=self._delivered + queued + dropped,
                queued=queued,
                delivered=self._delivered,
                dropped=dropped,
                dropped_by_reason=MappingProxyType(dict(self._dropped)),
                queued_bytes=self._raw_bytes + self._encoded_bytes,
                failed_attempts=self._failed_attempts,
            )
