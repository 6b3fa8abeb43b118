"""What of the metrics is exported, once in each interval: an ``EncodedSource`` of the pipeline for metrics.

Cumulative: each export says all since the start of the process. Field numbers: opentelemetry-proto 1.x,
``metrics.proto``.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from struct import Struct
from typing import Any, NamedTuple

from tango_telemetry._version import VERSION
from tango_telemetry.base import system
from tango_telemetry.base.originals import RLock
from tango_telemetry.pipeline.exporters.attributes import encode_attributes, encode_text
from tango_telemetry.pipeline.exporters.plain_span import field

__all__ = ["Collected", "MetricSource", "encode_number"]

SCOPE = "tango_telemetry"
_TIMES = Struct("<BQBQ").pack
_INTEGER = Struct("<Bq").pack
_DOUBLE = Struct("<Bd").pack
CHUNK = 256
"""Data points in one part of an export; the pipeline joins parts up to its bound in bytes."""


class Collected(NamedTuple):
    """One metric with its data points, encoded.

    ``kind`` is the field of OTLP's ``Metric`` that holds them with what follows them there.
    """

    name: str
    unit: str
    description: str
    kind: tuple[bytes, bytes]
    points: list[bytes]


HISTOGRAM = (b"\x52", b"\x10\x02")
"""An exponential histogram, cumulative."""
COUNTER = (b"\x3a", b"\x10\x02\x18\x01")
"""A sum that only grows, cumulative."""
LEVEL = (b"\x3a", b"\x10\x02")
"""A sum that goes up and down, cumulative."""
GAUGE = (b"\x2a", b"")


def encode_number(value: float, attributes: Mapping[str, Any], start: int, now: int) -> bytes:
    """The bytes of a ``NumberDataPoint`` as ``data_points`` (field 1, tag included)."""
    number = _INTEGER(0x31, value) if isinstance(value, int) else _DOUBLE(0x21, value)
    return field(b"\x0a", encode_attributes(attributes, b"\x3a") + _TIMES(0x11, start, 0x19, now) + number)


class MetricSource:
    """The metrics of this process, as parts of a request, when the interval is over or somebody asks.

    :param collect: gives the metrics; called with the start of the process and the time of now, both in
        nanoseconds of the epoch
    :param describe: gives the resource attributes
    :param interval: seconds
    """

    def __init__(
        self,
        collect: Callable[[int, int], Iterable[Collected]],
        describe: Callable[[], Mapping[str, Any]],
        interval: float,
    ) -> None:
        self._collect = collect
        self._describe = describe
        self.interval = interval
        self._wake: Callable[[], None] = lambda: None
        self._reset()
        source = weakref.ref(self)
        system.register_at_fork(after_in_child=lambda: _reset(source))

    def _reset(self) -> None:
        # Re-entrant: the handler of a signal that ends the process may interrupt a thread that holds it.
        self._lock = RLock()
        self._start = time.time_ns()
        self._due = float("inf")
        self._parts: deque[tuple[bytes, int]] = deque()

    def start(self) -> None:
        """Export from now on: in an interval for the first time."""
        self._due = time.monotonic() + self.interval
        self._wake()

    def stop(self) -> None:
        """Export no more."""
        self._due = float("inf")

    def collect(self) -> None:
        """Export what there is now, unless nothing is exported at all."""
        if self._due == float("inf"):
            return
        parts = deque(self._encode(self._collect(self._start, time.time_ns())))
        with self._lock:
            self._parts = parts  # whatever is left of the last time is said again
            self._due = time.monotonic() + self.interval

    def _encode(self, metrics: Iterable[Collected]) -> Iterable[tuple[bytes, int]]:
        scope = field(b"\x0a", encode_text(b"\x0a", SCOPE) + encode_text(b"\x12", VERSION))
        resource = field(b"\x0a", encode_attributes(self._describe(), b"\x0a"))
        for name, unit, description, (tag, rest), points in metrics:
            head = encode_text(b"\x0a", name) + encode_text(b"\x12", description) + encode_text(b"\x1a", unit)
            for begin in range(0, len(points), CHUNK):
                some = points[begin : begin + CHUNK]
                metric = field(b"\x12", head + field(tag, b"".join(some) + rest))
                yield field(b"\x0a", resource + field(b"\x12", scope + metric)), len(some)

    # --- for the pipeline

    def drain(self, max_bytes: int) -> tuple[bytes, int]:
        """The bytes of complete ``ResourceMetrics`` as field 1 of a request, and how many data points they
        hold.
        """
        if not self._parts and time.monotonic() >= self._due:
            self.collect()
        payload: list[bytes] = []
        points = 0
        with self._lock:
            while self._parts and (not payload or len(self._parts[0][0]) <= max_bytes):
                part, count = self._parts.popleft()
                max_bytes -= len(part)
                payload.append(part)
                points += count
        return b"".join(payload), points

    def pending(self) -> tuple[int, int]:
        """Data points and bytes that wait."""
        with self._lock:
            return sum(points for _, points in self._parts), sum(len(part) for part, _ in self._parts)

    def dropped(self) -> int:
        """None: what newer data points say again is not lost."""
        return 0

    def set_wake(self, wake: Callable[[], None]) -> None:
        """Take what starts and wakes the worker."""
        self._wake = wake


def _reset(source: weakref.ref[MetricSource]) -> None:
    found = source()
    if found is not None:
        found._reset()
