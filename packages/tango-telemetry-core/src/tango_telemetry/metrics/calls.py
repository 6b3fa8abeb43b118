"""Which series a call belongs to: by what is called, and by how it failed. And how many events there were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol, TypeAlias

from tango_telemetry import semantic_conventions as names
from tango_telemetry.base.guard import guarded
from tango_telemetry.base.originals import RLock
from tango_telemetry.calls.failures import error_type
from tango_telemetry.state import state

__all__ = ["MOST_SERIES", "CallMetrics", "CreateSeries", "Series"]

MOST_SERIES = 1000
"""Series of one metric; what finds none has one in common."""
MOST_ERRORS = 16
"""Values of ``error.type`` beside one series."""
PATIENCE = 1.0
"""Seconds that a call may wait for another thread that begins."""
MOST_KINDS = 256
"""Series of a counter of events."""
_TOLD = (names.RPC_SYSTEM_NAME, names.RPC_METHOD, names.TANGO_OPERATION, names.TANGO_DEVICE_CLASS)

_OF_EVENT = (
    names.MESSAGING_SYSTEM,
    names.MESSAGING_OPERATION_NAME,
    names.TANGO_EVENT_TYPE,
    names.TANGO_DEVICE_CLASS,
)

Attributes: TypeAlias = tuple[tuple[str, Any], ...]


class Series(Protocol):
    """What counts the calls of one series: in C++, or a metric of the user's."""

    def begin(self) -> object:
        """A call begins."""
        ...

    def fail(self, error: BaseException, /) -> Series:
        """It fails; give what counts it instead."""
        ...

    def record(self, took: int, span: Any, /) -> object:
        """It has taken so many nanoseconds."""
        ...


CreateSeries = Callable[[str, Attributes, Callable[[BaseException], Any]], Any]
"""Called with the name of the metric, the attributes, and what gives the series of calls that fail."""


class CallMetrics:
    """The series of the calls of this process, bounded in number.

    :param by_device: whether the device is one of the attributes
    """

    def __init__(self, by_device: bool) -> None:
        self._told = (*_TOLD, names.TANGO_DEVICE_NAME) if by_device else _TOLD
        self._begin: Callable[[], CreateSeries | None] = lambda: None
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child does."""
        self._started = self._starting = False
        self._create: CreateSeries | None = None
        self._series: dict[str, dict[Attributes, Series]] = {
            names.RPC_CLIENT_CALL_DURATION: {},
            names.RPC_SERVER_CALL_DURATION: {},
            names.TANGO_POLLING_DELAY: {},
        }
        self._lock = RLock()
        self._counts: dict[str, dict[Attributes, int]] = {
            names.MESSAGING_SENT_MESSAGES: {},
            names.MESSAGING_CONSUMED_MESSAGES: {},
            names.TANGO_POLLING_OVERRUNS: {},
        }
        self._tables: dict[tuple[str, Attributes], dict[str | None, Series]] = {}

    def switch_on(self, begin: Callable[[], CreateSeries | None]) -> None:
        """Count calls, from the first one on.

        :param begin: called when there is something to count; has it exported, and gives what makes a series,
            or None if nobody can count
        """
        self._begin = begin
        if self._started:
            self._create = begin()

    def start(self) -> None:
        """Begin now: a server may serve nobody for long."""
        # What begins imports. Whoever holds up an import that it waits for must not wait here for ever.
        if self._started or not self._lock.acquire(timeout=PATIENCE):
            return
        try:
            if not self._started and not self._starting:
                self._starting = True
                self._create = guarded(self._begin)
                self._started = True
                # Calls that did not wait have been decided about.
                state.changed()
        finally:
            self._lock.release()

    def find(self, metric: str, attributes: Mapping[str, Any]) -> Series | None:
        """Return the series of the calls with these span attributes; None if nobody can count."""
        self.start()
        if self._create is None:
            return None
        table = self.table(metric, attributes)
        name = attributes[names.RPC_METHOD]
        found = table.get(name) or table.get(None)
        if found is None:
            told = tuple((key, attributes[key]) for key in self._told if key in attributes)
            found = self._get(metric, told)
            # What has overflowed is found under no name, so that the table does not grow.
            table[None if found is self._series[metric].get(_OVERFLOW) else name] = found
        return found

    def note(self, metric: str, attributes: Mapping[str, Any], told: tuple[str, ...] = _OF_EVENT) -> None:
        """Count one event: sent, come, or a polling that came too late.

        :param attributes: those of its span
        :param told: which of them are told
        """
        self.start()
        key = tuple((name, attributes[name]) for name in (*told, names.ERROR_TYPE) if name in attributes)
        with self._lock:
            counts = self._counts[metric]
            if key not in counts and len(counts) >= MOST_KINDS - 1:
                key = _OVERFLOW
            counts[key] = counts.get(key, 0) + 1

    def note_polled(self, attributes: Mapping[str, Any], late_ns: int, overrun: bool) -> None:
        """Count a polled read or command.

        :param late_ns: nanoseconds behind its period
        :param overrun: whether another should have come before
        """
        series = self.find(names.TANGO_POLLING_DELAY, attributes)
        if series is not None:
            series.begin()
            series.record(late_ns, None)
        if overrun:
            self.note(names.TANGO_POLLING_OVERRUNS, attributes, self._told)

    def count_of(self, metric: str) -> list[tuple[int, dict[str, Any]]]:
        """Return what :meth:`note` has counted."""
        with self._lock:
            return [(count, dict(key)) for key, count in self._counts[metric].items()]

    def table(self, metric: str, attributes: Mapping[str, Any]) -> dict[str | None, Series]:
        """Return the series of all calls that differ in ``rpc.method`` alone from one with these attributes,
        by that; under None, what counts every other. :meth:`find` adds to it.
        """
        key = (
            metric,
            tuple(
                (each, attributes[each])
                for each in self._told
                if each in attributes and each != names.RPC_METHOD
            ),
        )
        if len(self._tables) > MOST_SERIES:
            return self._tables.get(key) or {}
        return self._tables.setdefault(key, {})

    def __iter__(self) -> Iterator[tuple[str, list[Series]]]:
        """Yield the name of each metric with its series."""
        for metric, series in self._series.items():
            yield metric, list(series.values())

    def _get(self, metric: str, told: Attributes, errors: set[str] | None = None) -> Any:
        """Return a series, made if need be.

        :param errors: of a series of failed calls, those that there are beside it
        """
        known = self._series[metric]
        found = known.get(told)
        if found is None and self._create is not None:
            if len(known) >= MOST_SERIES - 1:
                told = _OVERFLOW
            failed: Callable[[BaseException], Series]
            if errors is None and told is not _OVERFLOW:
                failed = partial(self._find_failed, metric, told, set())
            else:
                failed = lambda error: known[told]  # noqa: E731
            found = known.setdefault(told, self._create(metric, told, failed))
        return found

    def _find_failed(self, metric: str, told: Attributes, errors: set[str], error: BaseException) -> Series:
        kind = error_type(error)
        if kind not in errors:
            if len(errors) >= MOST_ERRORS:
                kind = names.OTHER
            else:
                errors.add(kind)
        failed: Series = self._get(metric, (*told, (names.ERROR_TYPE, kind)), errors)
        return failed


_OVERFLOW: Attributes = ((names.OTEL_METRIC_OVERFLOW, True),)
