"""What stands in for OpenTelemetry where it is not installed: the same names, the same signatures, no effect.

User code written against OpenTelemetry's API (1.45) runs unchanged on these classes.
``tests/contract/test_noop.py`` compares every public method, its parameters and what it returns with the real
ones.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar, cast

from tango_telemetry.otel.noop_values import (
    Attributes,
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

__all__ = [
    "INVALID_SPAN",
    "INVALID_SPAN_CONTEXT",
    "Link",
    "NoOpSpan",
    "NoOpSpanScope",
    "NoOpTracer",
    "NoOpTracerProvider",
    "SpanContext",
    "SpanKind",
    "Status",
    "StatusCode",
    "TraceFlags",
    "TraceState",
]

_F = TypeVar("_F", bound=Callable[..., Any])

INVALID_SPAN_CONTEXT = SpanContext(0, 0, False)


class NoOpSpan:
    """A span that records nothing (the methods of OpenTelemetry's ``Span``)."""

    def end(self, end_time: int | None = None) -> None:
        """Do nothing."""

    def get_span_context(self) -> SpanContext:
        """Return the invalid span context."""
        return INVALID_SPAN_CONTEXT

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Do nothing."""

    def set_attribute(self, key: str, value: Any) -> None:
        """Do nothing."""

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Do nothing."""

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Do nothing."""

    def update_name(self, name: str) -> None:
        """Do nothing."""

    def is_recording(self) -> bool:
        """Return False."""
        return False

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Do nothing."""

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
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


class NoOpSpanScope(contextlib.ContextDecorator):
    """What ``start_as_current_span`` gives: a context manager, and a decorator of plain and ``async``
    functions.

    Source: opentelemetry-api 1.45 ``_AgnosticContextManager``.
    """

    def __enter__(self) -> NoOpSpan:
        return INVALID_SPAN

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        return None

    def __call__(self, func: _F) -> _F:
        if not inspect.iscoroutinefunction(func):
            return super().__call__(func)

        @functools.wraps(func)
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await func(*args, **kwargs)

        return cast("_F", call)


class NoOpTracer:
    """A tracer whose spans record nothing (the methods of OpenTelemetry's ``Tracer``)."""

    def start_span(
        self,
        name: str,
        context: Any = None,
        kind: Any = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Any] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> NoOpSpan:
        """Return the span that records nothing."""
        return INVALID_SPAN

    def start_as_current_span(
        self,
        name: str,
        context: Any = None,
        kind: Any = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Any] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> NoOpSpanScope:
        """Return a context manager and decorator around the span that records nothing."""
        return NoOpSpanScope()


class NoOpTracerProvider:
    """A tracer provider whose tracers record nothing (the methods of OpenTelemetry's ``TracerProvider``).

    ``force_flush``, ``shutdown`` and ``add_span_processor`` are those of the SDK's, for code that calls them.
    """

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> NoOpTracer:
        """Return the tracer that records nothing."""
        return NoOpTracer()

    def add_span_processor(self, span_processor: Any) -> None:
        """Do nothing."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Return True: there is nothing to flush."""
        return True

    def shutdown(self) -> None:
        """Do nothing."""
