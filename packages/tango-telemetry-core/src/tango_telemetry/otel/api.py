"""The one module of core that imports OpenTelemetry's API; where that is missing, our stubs have the same
names.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

from tango_telemetry.base.warnings import quiet_warnings
from tango_telemetry.otel import noop

if TYPE_CHECKING:
    import opentelemetry.trace
    from opentelemetry.baggage import get_all as get_baggage
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.context import (
        Context,
        attach,
        create_key,
        detach,
        get_current,
        get_value,
        set_value,
    )
    from opentelemetry.trace import (
        INVALID_SPAN,
        Link,
        NonRecordingSpan,
        NoOpTracerProvider,
        SpanContext,
        SpanKind,
        Status,
        StatusCode,
        TraceFlags,
        TraceState,
        get_current_span,
        get_tracer_provider,
        set_span_in_context,
    )

    # Aliases, and no imports: where OpenTelemetry is missing a type checker then knows them as Any, instead
    # of not at all (pyright 1.1.414 reports each use of a name that was imported from a missing module; mypy
    # 2.4 takes both).
    Span: TypeAlias = opentelemetry.trace.Span
    Tracer: TypeAlias = opentelemetry.trace.Tracer
    TracerProvider: TypeAlias = opentelemetry.trace.TracerProvider

    API_AVAILABLE: bool
else:
    try:
        with quiet_warnings():
            from opentelemetry.baggage import get_all as get_baggage
            from opentelemetry.baggage.propagation import W3CBaggagePropagator
            from opentelemetry.context import (
                Context,
                attach,
                create_key,
                detach,
                get_current,
                get_value,
                set_value,
            )
            from opentelemetry.trace import (
                INVALID_SPAN,
                Link,
                NonRecordingSpan,
                NoOpTracerProvider,
                Span,
                SpanContext,
                SpanKind,
                Status,
                StatusCode,
                TraceFlags,
                Tracer,
                TracerProvider,
                TraceState,
                get_current_span,
                get_tracer_provider,
                set_span_in_context,
            )

        API_AVAILABLE = True
    except ImportError:
        from tango_telemetry.otel.noop import (
            INVALID_SPAN,
            Link,
            NoOpTracerProvider,
            SpanContext,
            SpanKind,
            Status,
            StatusCode,
            TraceFlags,
            TraceState,
        )
        from tango_telemetry.otel.noop import NoOpSpan as Span
        from tango_telemetry.otel.noop import NoOpTracer as Tracer
        from tango_telemetry.otel.noop import NoOpTracerProvider as TracerProvider

        class NonRecordingSpan(noop.NoOpSpan):
            """A span that only carries a span context."""

            def __init__(self, context):
                self._context = context

            def get_span_context(self):
                return self._context

        class Context(dict):
            """An empty OpenTelemetry context."""

        _EMPTY = Context()

        def attach(context):
            return None

        def detach(token):
            return None

        def get_current():
            return _EMPTY

        def create_key(keyname):
            return keyname

        def get_baggage(context=None):
            return {}

        def get_value(key, context=None):
            return None

        def set_value(key, value, context=None):
            return _EMPTY

        def get_current_span(context=None):
            return INVALID_SPAN

        def set_span_in_context(span, context=None):
            return _EMPTY

        def get_tracer_provider():
            return NoOpTracerProvider()

        class W3CBaggagePropagator:
            """Carries nothing."""

            def inject(self, carrier, context=None):
                return None

            def extract(self, carrier, context=None):
                return _EMPTY if context is None else context

        API_AVAILABLE = False


def context_variable() -> ContextVar[Context] | None:
    """Return the context variable behind ``opentelemetry.context``; None if it is kept in another way.

    Setting it is one step in C, where ``attach`` is several in Python, and an exception can come between any
    two of them. Source: opentelemetry-api 1.20 to 1.45, ``ContextVarsRuntimeContext``; there is no public
    name for it.
    """
    if not API_AVAILABLE:
        return None
    import opentelemetry.context

    runtime = getattr(opentelemetry.context, "_RUNTIME_CONTEXT", None)
    if type(runtime).__name__ != "ContextVarsRuntimeContext":
        return None
    variable = getattr(runtime, "_current_context", None)
    return variable if isinstance(variable, ContextVar) else None


def is_launched() -> bool:
    """Return whether ``opentelemetry-instrument`` has started this program (opentelemetry-instrumentation
    0.66).
    """
    return "opentelemetry.instrumentation.auto_instrumentation" in sys.modules


def configured_tracer_provider() -> TracerProvider | None:
    """Return the provider that somebody set with ``opentelemetry.trace.set_tracer_provider``; None if nobody
    did.
    """
    if not API_AVAILABLE:
        return None
    import opentelemetry.trace

    provider = get_tracer_provider()
    return None if isinstance(provider, opentelemetry.trace.ProxyTracerProvider) else provider


def suppress_key() -> Any:
    """The context key under which OpenTelemetry's instrumentation packages look for
    ``suppress_instrumentation``.

    Source: opentelemetry-api 1.45 ``opentelemetry.context._SUPPRESS_INSTRUMENTATION_KEY``, which every
    contrib instrumentation reads; there is no public name for it.
    """
    if not API_AVAILABLE:
        return None
    import opentelemetry.context

    return getattr(opentelemetry.context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")


__all__ = [
    "API_AVAILABLE",
    "INVALID_SPAN",
    "Context",
    "Link",
    "NoOpTracerProvider",
    "NonRecordingSpan",
    "Span",
    "SpanContext",
    "SpanKind",
    "Status",
    "StatusCode",
    "TraceFlags",
    "TraceState",
    "Tracer",
    "TracerProvider",
    "W3CBaggagePropagator",
    "attach",
    "configured_tracer_provider",
    "context_variable",
    "create_key",
    "detach",
    "get_baggage",
    "get_current",
    "get_current_span",
    "get_tracer_provider",
    "get_value",
    "set_span_in_context",
    "set_value",
    "suppress_key",
]
