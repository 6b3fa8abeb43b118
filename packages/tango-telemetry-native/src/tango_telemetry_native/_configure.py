"""What the types in C++ need of opentelemetry and of Python."""

from __future__ import annotations

import contextvars
import functools
import inspect
import logging
import signal
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import opentelemetry.context as otel_context
from opentelemetry import trace
from opentelemetry.context.context import Context
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from tango_telemetry_native import _spans

_logger = logging.getLogger("tango_telemetry_native.spans")


def _format_exception(exception: BaseException) -> str:
    return "".join(traceback.format_exception(type(exception), exception, exception.__traceback__))


def _decorate(activation: _spans.Activation, function: Callable[..., Any]) -> Callable[..., Any]:
    """What a decorated function becomes: each call has a span of its own."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def traced_coroutine(*args: Any, **kwargs: Any) -> Any:
            with activation._recreate():
                return await function(*args, **kwargs)

        return traced_coroutine

    @functools.wraps(function)
    def traced(*args: Any, **kwargs: Any) -> Any:
        with activation._recreate():
            return function(*args, **kwargs)

    return traced


_reported: set[str] = set()


def _comes_from_signal_handler(error: BaseException) -> bool:
    """Whether a handler of the user's for a signal raised this, as ``signal.alarm`` is used for a time limit.

    Python calls such a handler between two instructions of whatever runs, so its exception comes out of our
    code although nothing failed there, and the user waits for it. The core package has the same rule in
    ``_guard``.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    codes = {id(frame.f_code) for frame, _ in traceback.walk_tb(error.__traceback__)}
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if callable(handler):
            code = getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
            if id(code) in codes:
                return True
    return False


def _report_failure(what: str, error: BaseException) -> bool:
    """Log what went wrong inside telemetry, once for each kind: a hot loop must not fill a disk.

    Return whether it is to go no further: an exception that a signal's handler raised is the user's.
    """
    if _comes_from_signal_handler(error):
        return False
    if what not in _reported:
        _reported.add(what)
        _logger.warning("%s: %s (reported once)", what, type(error).__name__, exc_info=error)
    return True


def _context_variable() -> contextvars.ContextVar[Context] | None:
    """The context variable behind ``opentelemetry.context``, if it is what opentelemetry-api 1.x has used so
    far.
    """
    runtime = getattr(otel_context, "_RUNTIME_CONTEXT", None)
    if type(runtime).__name__ != "ContextVarsRuntimeContext":
        return None
    variable = getattr(runtime, "_current_context", None)
    return variable if isinstance(variable, contextvars.ContextVar) else None


def configure(span_class: type, dropped_span_class: type) -> None:
    """Give the types in C++ what they need of opentelemetry; called once, by ``spans``."""
    _spans.configure(
        span_class=span_class,
        dropped_span_class=dropped_span_class,
        span_abc=trace.Span,
        span_context_class=SpanContext,
        status_class=Status,
        status_code_class=StatusCode,
        status_codes=(StatusCode.UNSET, StatusCode.OK, StatusCode.ERROR),
        span_kinds=(
            SpanKind.INTERNAL,
            SpanKind.SERVER,
            SpanKind.CLIENT,
            SpanKind.PRODUCER,
            SpanKind.CONSUMER,
        ),
        trace_flags=tuple(TraceFlags(flags) for flags in range(256)),
        default_trace_state=getattr(trace.span, "DEFAULT_TRACE_STATE", TraceState.get_default()),
        context_class=Context,
        context_variable=_context_variable(),
        span_key=getattr(trace.propagation, "_SPAN_KEY", None),
        get_current_span=trace.get_current_span,
        set_span_in_context=trace.set_span_in_context,
        attach=otel_context.attach,
        detach=otel_context.detach,
        sequence_abc=Sequence,
        mapping_abc=Mapping,
        format_exception=_format_exception,
        decorate=_decorate,
        # The SDK's loggers: a filter that somebody has for its messages works on these too.
        warn_attributes=logging.getLogger("opentelemetry.attributes").warning,
        warn_span=logging.getLogger("opentelemetry.sdk.trace").warning,
        warn_encoder=logging.getLogger("opentelemetry.exporter.otlp.proto.common._internal").error,
        report_failure=_report_failure,
    )
