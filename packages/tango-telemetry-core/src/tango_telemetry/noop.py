"""What stands in for OpenTelemetry where it is not installed: the same names, the same signatures, no effect.

User code written against OpenTelemetry's API (1.45) runs unchanged on these classes. tests/contract compares every
public method and signature with the real ones.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

__all__ = [
    "INVALID_SPAN",
    "INVALID_SPAN_CONTEXT",
    "Link",
    "NoOpSpan",
    "NoOpTracer",
    "NoOpTracerProvider",
    "SpanContext",
    "SpanKind",
    "Status",
    "StatusCode",
    "TraceFlags",
    "TraceState",
]

_Attributes = Mapping[str, Any] | None


class SpanKind(enum.Enum):
    """The role of a span, with the values of OpenTelemetry's ``SpanKind``."""

    INTERNAL = 0
    SERVER = 1
    CLIENT = 2
    PRODUCER = 3
    CONSUMER = 4


class StatusCode(enum.Enum):
    """The outcome of a span, with the values of OpenTelemetry's ``StatusCode``."""

    UNSET = 0
    OK = 1
    ERROR = 2


class Status:
    """The outcome of a span and one line about it (OpenTelemetry's ``Status``)."""

    def __init__(self, status_code: StatusCode = StatusCode.UNSET, description: str | None = None) -> None:
        self._status_code = status_code
        self._description = description if status_code is StatusCode.ERROR else None

    @property
    def status_code(self) -> StatusCode:
        return self._status_code

    @property
    def description(self) -> str | None:
        return self._description

    @property
    def is_ok(self) -> bool:
        return self._status_code is not StatusCode.ERROR

    @property
    def is_unset(self) -> bool:
        return self._status_code is StatusCode.UNSET


class TraceFlags(int):
    """W3C trace flags: bit 0 says that the trace is sampled."""

    DEFAULT = 0x00
    SAMPLED = 0x01
    RANDOM_TRACE_ID = 0x02

    @classmethod
    def get_default(cls) -> TraceFlags:
        return cls(cls.DEFAULT)

    @property
    def sampled(self) -> bool:
        return bool(self & self.SAMPLED)


class TraceState(dict[str, str]):
    """W3C trace state; always empty here."""

    @classmethod
    def get_default(cls) -> TraceState:
        return cls()

    def to_header(self) -> str:
        return ",".join(f"{key}={value}" for key, value in self.items())


class SpanContext(NamedTuple):
    """The identity of a span; never valid here (OpenTelemetry's ``SpanContext``)."""

    trace_id: int = 0
    span_id: int = 0
    is_remote: bool = False
    trace_flags: TraceFlags = TraceFlags(0)
    trace_state: TraceState = TraceState()
    is_valid: bool = False


INVALID_SPAN_CONTEXT = SpanContext()


class Link:
    """A reference to another span (OpenTelemetry's ``Link``)."""

    def __init__(self, context: SpanContext, attributes: _Attributes = None) -> None:
        self._context = context
        self._attributes = attributes

    @property
    def context(self) -> SpanContext:
        return self._context

    @property
    def attributes(self) -> _Attributes:
        return self._attributes

    @property
    def dropped_attributes(self) -> int:
        return 0


class NoOpSpan:
    """A span that records nothing (the methods of OpenTelemetry's ``Span``)."""

    def end(self, end_time: int | None = None) -> None:
        """Do nothing."""

    def get_span_context(self) -> SpanContext:
        """Give the invalid span context."""
        return INVALID_SPAN_CONTEXT

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Do nothing."""

    def set_attribute(self, key: str, value: Any) -> None:
        """Do nothing."""

    def add_event(self, name: str, attributes: _Attributes = None, timestamp: int | None = None) -> None:
        """Do nothing."""

    def add_link(self, context: SpanContext, attributes: _Attributes = None) -> None:
        """Do nothing."""

    def update_name(self, name: str) -> None:
        """Do nothing."""

    def is_recording(self) -> bool:
        """Give False."""
        return False

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Do nothing."""

    def record_exception(
        self,
        exception: BaseException,
        attributes: _Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Do nothing."""

    def __enter__(self) -> NoOpSpan:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.end()


INVALID_SPAN = NoOpSpan()


class NoOpTracer:
    """A tracer whose spans record nothing (the methods of OpenTelemetry's ``Tracer``)."""

    def start_span(
        self,
        name: str,
        context: Any = None,
        kind: Any = SpanKind.INTERNAL,
        attributes: _Attributes = None,
        links: Sequence[Any] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> NoOpSpan:
        """Give the span that records nothing."""
        return INVALID_SPAN

    @contextmanager
    def _current_span(self) -> Iterator[NoOpSpan]:
        yield INVALID_SPAN

    def start_as_current_span(
        self,
        name: str,
        context: Any = None,
        kind: Any = SpanKind.INTERNAL,
        attributes: _Attributes = None,
        links: Sequence[Any] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Any:
        """Give a context manager (and decorator) with the span that records nothing."""
        return self._current_span()


class NoOpTracerProvider:
    """A tracer provider whose tracers record nothing (the methods of OpenTelemetry's ``TracerProvider``).

    ``force_flush``, ``shutdown`` and ``add_span_processor`` are those of the SDK's, for code that calls them.
    """

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: _Attributes = None,
    ) -> NoOpTracer:
        """Give the tracer that records nothing."""
        return NoOpTracer()

    def add_span_processor(self, span_processor: Any) -> None:
        """Do nothing."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Give True: there is nothing to flush."""
        return True

    def shutdown(self) -> None:
        """Do nothing."""


_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
