"""What the pipeline asks of an exporter, and what an exporter answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from tango_telemetry.otel.sdk import ReadableSpan


class Result(Enum):
    """How one attempt to send ended.

    REJECTED is an answer about the data, which deletes it. An answer about the place, such as a proxy's 404
    or a token that has expired, is RETRY: another answer may come from there tomorrow.
    """

    DELIVERED = "delivered"
    RETRY = "retry"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt to send a payload.

    reason: what kind of end, a short text with few different values, such as "HTTP status 401": what was
    logged once is known by it. detail: more of it, as the server's own words. peer: who gave the answer,
    where that is known. None of the three holds secrets or control characters. retry_after: seconds that the
    collector asked us to wait, 0 if it did not. rejected_spans: spans that the collector took delivery of and
    refused (OTLP's partial success). doubtful: the answer was an error of the server's own, which this
    payload may cause each time.
    """

    result: Result
    reason: str = ""
    retry_after: float = 0.0
    rejected_spans: int = 0
    detail: str = ""
    peer: str = ""
    doubtful: bool = False

    def describe(self) -> str:
        """All that is known, for a log."""
        text = f"{self.reason} from {self.peer}" if self.peer and self.reason else self.reason or self.peer
        return f"{text}: {self.detail}" if self.detail else text


DELIVERED = Outcome(Result.DELIVERED)


class Batch(NamedTuple):
    """Spans that are encoded and wait to be sent. apart: in a request of their own, for another has failed
    with them.
    """

    payload: bytes
    spans: int
    apart: bool = False


class EncodedSource(Protocol):
    """Finished spans of another recorder, or log records or metrics, already encoded as OTLP protobuf."""

    def drain(self, max_bytes: int) -> tuple[bytes, int]:
        """The bytes of complete `ResourceSpans` (`ResourceLogs`, `ResourceMetrics`), as field 1 of a request,
        tag included, and how many spans (log records, data points) they hold.
        """
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


class Exporter(Protocol):
    """The far end of a pipeline. Called from the pipeline's threads only, `encode` and `send` from different
    ones.

    spoolable: its payloads may wait in the spool: OTLP requests for another machine.
    chunk_spans: how many spans to encode at a time; other threads wait for the GIL meanwhile.
    """

    spoolable: bool
    chunk_spans: int

    def prepare(self, encoding: bool) -> None:
        """Import what sends, and with `encoding` what encodes spans of the SDK; else each is imported at its
        first use.
        """
        ...

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        """The payload for `spans`. Payloads can be joined by concatenation."""
        ...

    def transcode(self, resource_spans: bytes) -> bytes:
        """The payload for an encoded OTLP request; it can be joined as well."""
        ...

    def send(self, payload: bytes, timeout: float) -> Outcome:
        """One attempt, bounded by `timeout` seconds.

        May raise anything: the sender counts that as a retry.
        """
        ...

    def halve(self, payload: bytes, items: int) -> Sequence[tuple[bytes, int]]:
        """Two payloads in place of one that was refused, each with how many items it has; none if it cannot
        be.
        """
        ...

    def reset_after_fork(self) -> None:
        """In a forked child: forget the parent's connection or file without a word to the other side."""
        ...

    def close(self) -> None:
        """Release the connection or file."""
        ...
