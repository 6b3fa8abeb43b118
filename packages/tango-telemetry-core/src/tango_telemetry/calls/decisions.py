"""What is decided of a call before its span begins: whether it makes one, and what it is a child of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tango_telemetry.context.w3c import extract_baggage
from tango_telemetry.otel import api as otel
from tango_telemetry.otel.api import (
    Context,
    NonRecordingSpan,
    Tracer,
    TracerProvider,
    get_value,
    set_span_in_context,
)
from tango_telemetry.state import state

__all__ = [
    "excludes_anything",
    "is_excluded",
    "is_over",
    "is_suppressed",
    "no_op_tracer_provider",
    "not_traced",
    "pass_through_tracer",
    "with_incoming_context",
]

_SUPPRESS = otel.suppress_key()
_PASS_THROUGH = otel.NoOpTracerProvider().get_tracer("tango_telemetry.pass_through")


def not_traced(context: Context, attributes: Mapping[str, Any], class_name: str = "") -> bool:
    """Whether a call makes no span: the user suppressed it here, or excluded it in the settings.

    :param attributes: those that its span would have
    :param class_name: the device class, where the attributes do not say it
    """
    return is_suppressed(context) or is_excluded(attributes, class_name)


def is_suppressed(context: Context) -> bool:
    """Whether the user asked for no spans here, for the time being."""
    return bool(context and get_value(_SUPPRESS, context))


def is_excluded(attributes: Mapping[str, Any], class_name: str = "") -> bool:
    """Whether the settings exclude a call, which holds until they change."""
    exclusion = state.exclusion
    return exclusion is not None and exclusion.matches(attributes, class_name)


def excludes_anything() -> bool:
    """Whether the settings exclude some calls."""
    return state.exclusion is not None


def is_over(span: Any) -> bool:
    """Whether a span has ended; one that does not tell is not over.

    What goes on in a copy of a context, a task or a thread, outlives the call whose span is current in it.
    """
    return getattr(span, "end_time", None) is not None


def no_op_tracer_provider() -> TracerProvider:
    """Return the tracer provider for code that runs with telemetry off."""
    return otel.NoOpTracerProvider()


def pass_through_tracer() -> Tracer:
    """Return the tracer that emits nothing and hands the parent on, so that a trace stays one through what is
    not traced.
    """
    return _PASS_THROUGH


def with_incoming_context(context: Context) -> Context:
    """Return ``context`` with the remote parent of the upcall that runs on this thread, and with its
    baggage.
    """
    remote, tracestate = state.bridge.get_parent()
    if remote is None:
        return context
    context = set_span_in_context(NonRecordingSpan(remote), context)
    return extract_baggage(tracestate, context) if tracestate and state.baggage else context
