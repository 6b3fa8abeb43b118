"""The middle of a pipeline: what waits, within its bounds, and the account of where every span is.

SDK spans wait in `_raw` for as short as the worker can make it, because one takes about ten times the memory
of its encoded form. Encoded batches wait in `_encoded`; there their size is exact.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING

from tango_telemetry.base.guard import log_internal_error
from tango_telemetry.base.originals import RLock, SimpleQueue, Waiters
from tango_telemetry.pipeline.account import PipelineStats
from tango_telemetry.pipeline.delivery import Batch, EncodedSource

if TYPE_CHECKING:
    from tango_telemetry.otel.sdk import ReadableSpan
    from tango_telemetry.pipeline.spool import Spool

# How many spans may wait unweighed: weighing costs several microseconds per span, so it starts when a queue
# builds up.
UNWEIGHED_SPANS = 256
# The worker is woken each time that this many wait.
WAKE_SPANS = 64
# What an SDK span takes in memory besides the texts that a user put into it (measured: 2,855 with 8
# attributes).
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
        self.on_first_span: Callable[[], None] = lambda: None
        self.sources: list[EncodedSource] = []
        self.reset()

    def reset(self) -> None:
        """Forget everything: a forked child counts and delivers its own spans only.

        Sources do the same themselves.
        """
        self._lock = RLock()
        self._settled = Waiters(self._lock)
        # SimpleQueue, not Event: its put() may be re-entered by a signal handler or a finaliser.
        self.wake: SimpleQueue[None] = SimpleQueue()
        self._signalled = False
        self._raw: deque[ReadableSpan | tuple[ReadableSpan, int]] = deque()
        self._raw_bytes = 0
        self._encoding = 0
        self._encoding_encoded = 0
        self._encoded: deque[Batch] = deque()
        self._encoded_spans = 0
        self._encoded_bytes = 0
        self._in_flight: list[Batch] = []
        self._spooling: list[Batch] = []
        self._spooled = 0
        self._adopted = 0
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
            self.on_first_span()
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

    def has_room(self, spans: int) -> bool:
        """Whether fewer than `spans` wait, in less than a quarter of the bytes.

        The worker is woken again afterwards.
        """
        with self._lock:
            self._signalled = False
            pending = [source.pending() for source in self.sources]
            waiting = len(self._raw) + self._encoded_spans + sum(count for count, _ in pending)
            size = len(self._raw) * SPAN_BYTES + self._encoded_bytes + sum(size for _, size in pending)
            return waiting < spans and size < self._max_bytes // 4

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

    def put(self, payload: bytes, spans: int | None = None) -> None:
        """The spans last taken, encoded; or so many of them."""
        with self._lock:
            # 0 if refuse() has counted them meanwhile
            spans = self._encoding if spans is None else min(spans, self._encoding)
            self._encoding -= spans
            if spans:
                self._add(Batch(payload, spans))

    def drop_encoding(self, reason: str, spans: int) -> None:
        """So many of the spans last taken could not be encoded."""
        with self._lock:
            spans = min(spans, self._encoding)  # 0 if refuse() has counted them meanwhile
            self._encoding -= spans
            self.drop(reason, spans)

    def drain(self, source: EncodedSource, max_bytes: int, transcode: Callable[[bytes], bytes]) -> bool:
        """Move some spans of `source` into the queue, in one step of the account; False if there are none, or
        no room.
        """
        with self._lock:
            if (
                self._encoded_bytes >= self._max_bytes
                or self._encoded_spans >= self._max_spans
                or self._refuse
            ):
                return False
            payload, spans = source.drain(max_bytes)
            self._encoding_encoded = spans
        if not spans:
            return False
        with log_internal_error("converting encoded spans", foreign=True) as guard:
            payload = transcode(payload)
        with self._lock:
            spans, self._encoding_encoded = (
                self._encoding_encoded,
                0,
            )  # 0 if refuse() has counted them meanwhile
            if guard.failed:
                self.drop("encoding", spans)
            elif spans:
                self._add(Batch(payload, spans))
        return True

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

    def spool_out(self, spool: Spool, max_bytes: int) -> None:
        """Move what waits to the disk, in files of at most `max_bytes`, until there is no more or
        that fails.
        """
        while batches := self._take_batches(self._max_spans, max_bytes, self._spooling):
            spans = sum(batch.spans for batch in batches)
            file = spool.write(b"".join(batch.payload for batch in batches), spans)
            with self._lock:
                if file is None:
                    self._give_back(self._spooling)
                    return
                self._forget(self._spooling)
                self._spooled += spans
                self._settled.notify_all()
            spool.add(file)  # after it is counted: the sender may deliver it at once

    # --- the sender's side

    def check_out(self, max_spans: int, max_bytes: int) -> bytes:
        """The oldest batches as one payload, empty if there are none, until `settle` or `put_back`."""
        batches = self._take_batches(max_spans, max_bytes, self._in_flight)
        return b"".join(batch.payload for batch in batches)

    def put_back(self, apart: bool = False) -> None:
        """What was checked out was not sent. apart: let others go first, and send each batch of it in its own
        request.
        """
        with self._lock:
            if apart:
                self._encoded.extend(batch._replace(apart=True) for batch in self._in_flight)
                self._in_flight.clear()
            else:
                self._give_back(self._in_flight)

    def settle(self, drop_reason: str = "", rejected: int = 0) -> None:
        """What was checked out is delivered, except `rejected` spans of it, or is dropped for
        `drop_reason`.
        """
        with self._lock:
            self._count(self._forget(self._in_flight), drop_reason, rejected)

    def settle_spooled(self, spans: int, own: bool, drop_reason: str = "", rejected: int = 0) -> None:
        """A spool file with so many spans, our own or another process's, is delivered or dropped."""
        with self._lock:
            if own:
                self._spooled -= spans
                self._count(spans, drop_reason, rejected)
            elif not drop_reason:
                self._adopted += spans

    def _count(self, spans: int, drop_reason: str, rejected: int) -> None:
        rejected = spans if drop_reason else min(rejected, spans)
        self._delivered += spans - rejected
        self.drop(drop_reason or "rejected", rejected)
        self._settled.notify_all()

    # Batches that somebody is busy with are not in `_encoded`, so nobody else takes them; they still count as
    # queued.

    def _take_batches(self, max_spans: int, max_bytes: int, into: list[Batch]) -> list[Batch]:
        spans = size = 0
        with self._lock:
            while self._encoded:
                batch = self._encoded[0]
                spans += batch.spans
                size += len(batch.payload)
                if into and (spans > max_spans or size > max_bytes or batch.apart or into[-1].apart):
                    break
                into.append(self._encoded.popleft())
            return list(into)

    def _give_back(self, batches: list[Batch]) -> None:
        self._encoded.extendleft(reversed(batches))
        batches.clear()

    def _forget(self, batches: list[Batch]) -> int:
        spans = sum(batch.spans for batch in batches)
        self._encoded_spans -= spans
        self._encoded_bytes -= sum(len(batch.payload) for batch in batches)
        batches.clear()
        self._set_soft_limit()
        return spans

    @property
    def encoded_spans(self) -> int:
        """How many encoded spans wait in memory."""
        return self._encoded_spans

    @property
    def in_flight(self) -> int:
        """How many spans are checked out."""
        return sum(batch.spans for batch in list(self._in_flight))

    # --- the account

    def drop(self, reason: str, spans: int) -> None:
        """Count `spans` as lost."""
        if not spans:
            return
        with self._lock:
            self._dropped[reason] = self._dropped.get(reason, 0) + spans
            self._settled.notify_all()

    def attempt_failed(self) -> None:
        """A request did not succeed; whoever waits for a flush may want to know."""
        with self._lock:
            self._failed_attempts += 1
            self._settled.notify_all()

    def refuse(self, reason: str) -> None:
        """Drop everything that waits and everything that comes from now on, for `reason`."""
        with self._lock:
            self._refuse = reason
            spans = len(self._raw) + self._encoding + self._encoding_encoded
            self._raw.clear()
            self._encoding = self._encoding_encoded = 0
            for batches in (self._in_flight, self._spooling):
                self._give_back(batches)
            self._in_flight.extend(self._encoded)
            self._encoded.clear()
            spans += self._forget(self._in_flight)
            self._raw_bytes = 0
            self._set_soft_limit()
            self.drop(reason, spans)
            self.discard()

    def discard(self) -> bool:
        """Drop what has come into the sources since `refuse`; False while nothing is refused."""
        with self._lock:
            for source in self.sources if self._refuse else ():
                while (spans := source.drain(self._max_bytes)[1]) > 0:
                    self.drop(self._refuse, spans)
            return bool(self._refuse)

    def wait(self, done: Callable[[], bool], timeout: float) -> bool:
        """Wait until `done()`, which is asked again whenever something was settled, at most `timeout`
        seconds.
        """
        return self._settled.wait_for(done, timeout)

    def stats(self) -> PipelineStats:
        """The account, in one consistent step."""
        with self._lock:
            self.discard()
            reasons = dict(self._dropped)
            pending = [source.pending() for source in self.sources]
            refused = sum(source.dropped() for source in self.sources)
            if refused:
                reasons["queue_full"] = reasons.get("queue_full", 0) + refused
            dropped = sum(reasons.values())
            queued = len(self._raw) + self._encoding + self._encoding_encoded + self._encoded_spans
            queued += sum(spans for spans, _ in pending)
            return PipelineStats(
                made=self._delivered + queued + self._spooled + dropped,
                queued=queued,
                delivered=self._delivered,
                spooled=self._spooled,
                adopted=self._adopted,
                dropped=dropped,
                dropped_by_reason=MappingProxyType(reasons),
                queued_bytes=self._raw_bytes + self._encoded_bytes + sum(size for _, size in pending),
                failed_attempts=self._failed_attempts,
            )
