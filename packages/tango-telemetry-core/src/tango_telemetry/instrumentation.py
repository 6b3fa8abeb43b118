"""What the client and the server package are made with: a traced call, and the base of both instrumentors.

The hot path is here. Everything a call needs is looked up, not computed: no environment reads, no ``contextlib``, no
``inspect``. Every step runs under :func:`guarded`: if telemetry fails, the call goes on without it.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

from tango_telemetry.activation import activate, deactivate, stay_off, tango_version
from tango_telemetry.base.bounded import BoundedDict
from tango_telemetry.base.guard import guarded, log_internal_error
from tango_telemetry.calls.arguments import record_arguments
from tango_telemetry.calls.caller import Site, caller_of_tango, judged_modules
from tango_telemetry.calls.failures import record_error, record_failure
from tango_telemetry.calls.hooks import Hooks, RequestHook, ResponseHook
from tango_telemetry.calls.place import code_attributes, thread_attributes
from tango_telemetry.calls.plans import QuickBeginning
from tango_telemetry.calls.traced_call import (
    Begin,
    DelegatedCall,
    TracedCall,
    trace_coroutine_function,
    trace_function,
    trace_handler,
)
from tango_telemetry.context.current import (
    active_client_span,
    call_site,
    current_handler,
    current_tracer,
    get_owner,
    with_owner,
)
from tango_telemetry.context.w3c import extract_baggage
from tango_telemetry.otel import api as otel
from tango_telemetry.otel.api import (
    Context,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Tracer,
    TracerProvider,
    get_current,
    get_current_span,
    get_value,
    set_span_in_context,
)
from tango_telemetry.providers.tracers import (
    SERVER_SCOPE,
    VERSION,
    call_tracer_provider_factory,
    get_calling_tracer,
    get_client_tracer,
)
from tango_telemetry.pytango.builtin_tracing import (
    complete_pytango,
    force_tracing_needed,
    leave_builtin_tracing_out,
)
from tango_telemetry.settings.config import TelemetryConfig
from tango_telemetry.state import get_config, state, switch_tracer

__all__ = [
    "SERVER_SCOPE",
    "VERSION",
    "Begin",
    "BoundedDict",
    "Context",
    "DelegatedCall",
    "Hooks",
    "Instrumentor",
    "Link",
    "NonRecordingSpan",
    "QuickBeginning",
    "Site",
    "Span",
    "SpanContext",
    "SpanKind",
    "TracedCall",
    "Tracer",
    "TracerProvider",
    "active_client_span",
    "auto_instrument",
    "call_site",
    "call_tracer_provider_factory",
    "caller_of_tango",
    "code_attributes",
    "current_handler",
    "current_tracer",
    "force_tracing_needed",
    "get_calling_tracer",
    "get_client_tracer",
    "get_current",
    "get_current_span",
    "get_owner",
    "guarded",
    "incoming_context",
    "is_over",
    "judged_modules",
    "log_internal_error",
    "no_op_tracer",
    "no_op_tracer_provider",
    "not_traced",
    "pass_through_tracer",
    "record_arguments",
    "record_error",
    "record_failure",
    "set_span_in_context",
    "state",
    "suppressed",
    "switch_tracer",
    "thread_attributes",
    "trace_coroutine_function",
    "trace_function",
    "trace_handler",
    "with_incoming_context",
    "with_owner",
]

_SUPPRESS = otel.suppress_key()
_PASS_THROUGH = otel.NoOpTracerProvider().get_tracer("tango_telemetry.pass_through")


def suppressed(context: Context) -> bool:
    """Whether the user is in a ``suppress_instrumentation`` block."""
    return bool(context) and bool(get_value(_SUPPRESS, context))


def not_traced(context: Context, attributes: Mapping[str, Any], class_name: str = "") -> bool:
    """Whether a call makes no span: the user suppressed it here, or excluded it in the settings.

    :param attributes: those that its span would have
    :param class_name: the device class, where the attributes do not say it
    """
    if context and get_value(_SUPPRESS, context):
        return True
    exclusion = state.exclusion
    return exclusion is not None and exclusion.matches(attributes, class_name)


def is_over(span: Any) -> bool:
    """Whether a span has ended; one that does not tell is not over.

    What goes on in a copy of a context, a task or a thread, outlives the call whose span is current in it.
    """
    return getattr(span, "end_time", None) is not None


def no_op_tracer_provider() -> TracerProvider:
    """Give the tracer provider for code that runs with telemetry off."""
    return otel.NoOpTracerProvider()


def no_op_tracer() -> Tracer:
    """Give the tracer for code that runs with telemetry off."""
    return _PASS_THROUGH


def pass_through_tracer() -> Tracer:
    """Give the tracer that emits nothing and hands the parent on, so that a trace stays one through what is not traced."""
    return _PASS_THROUGH


def incoming_context() -> SpanContext | None:
    """Give the remote parent of the upcall that runs on this thread, None if the caller sent none."""
    return state.bridge.get_parent()[0]


def with_incoming_context(context: Context) -> Context:
    """Give ``context`` with the remote parent of the upcall that runs on this thread, and with its baggage."""
    remote, tracestate = state.bridge.get_parent()
    if remote is None:
        return context
    context = set_span_in_context(NonRecordingSpan(remote), context)
    return extract_baggage(tracestate, context) if tracestate and state.baggage else context


class Instrumentor:
    """The verbs of OpenTelemetry's ``BaseInstrumentor``, without its dependency: idempotent, exactly undone.

    One object per class and process. Subclasses give :meth:`_instrument`, :meth:`_uninstrument` and ``hooks`` of their own.
    """

    _instance: ClassVar[Instrumentor | None] = None
    _instrumented = False
    hooks: ClassVar[Hooks] = Hooks()

    def __new__(cls, *args: Any, **kwargs: Any) -> Instrumentor:
        if cls._instance is None or type(cls._instance) is not cls:
            cls._instance = super().__new__(cls)
        return cls._instance

    @property
    def is_instrumented_by_opentelemetry(self) -> bool:
        """Whether it is on. The name is that of ``BaseInstrumentor`` (opentelemetry-instrumentation 0.66)."""
        return self._instrumented

    def instrumentation_dependencies(self) -> tuple[str, ...]:
        """Give the packages that are instrumented, as ``opentelemetry-instrument`` asks for them."""
        return ("pytango >= 9.3.6",)

    def instrument(
        self,
        *,
        tracer_provider: Any = None,
        request_hook: RequestHook | None = None,
        response_hook: ResponseHook | None = None,
        config: TelemetryConfig | None = None,
        skip_dep_check: bool = False,
        raise_exception_on_conflict: bool = False,
    ) -> None:
        """Switch tracing on in this process. Does nothing if it is on, or if the settings say off.

        :param tracer_provider: makes every tracer, instead of our own providers
        :param request_hook: called with ``(span, subject, operation)`` before a recorded call
        :param response_hook: called with ``(span, subject, operation, error)`` after it; ``error`` is None or the
            exception. What a hook raises is logged once and goes no further.
        :param config: the settings; None: from the environment
        :param skip_dep_check: accepted for ``opentelemetry-instrument``
        :param raise_exception_on_conflict: accepted for ``opentelemetry-instrument``
        """
        if self._instrumented or not activate(config, tracer_provider):
            return
        self.hooks.set(request_hook, response_hook)
        self._instrumented = True
        guarded(self._instrument)

    def uninstrument(self) -> None:
        """Switch tracing off and put back exactly what was there. Does nothing if it is off."""
        if not self._instrumented:
            return
        self._instrumented = False
        self.hooks.set(None, None)
        guarded(self._uninstrument)
        deactivate()

    def _instrument(self) -> None:
        raise NotImplementedError

    def _uninstrument(self) -> None:
        raise NotImplementedError


def auto_instrument(instrumentor: Instrumentor, *siblings: str) -> None:
    """Switch an instrumentor on if ``TANGO_TELEMETRY_ENABLE`` says so; otherwise touch no class of PyTango's.

    :param siblings: packages to import as well, where they are installed: a device server's own client calls are
        traced without a second import in the user's code
    """
    config = get_config()
    if tango_version():
        if not config.enabled and not config.patching_disabled:
            guarded(stay_off)
            guarded(leave_builtin_tracing_out)
        guarded(complete_pytango)
    if config.enabled:
        instrumentor.instrument()
        for name in siblings:
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(name)
