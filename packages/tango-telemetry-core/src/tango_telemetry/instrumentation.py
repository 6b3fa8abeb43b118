"""What the client and the server package are made with: a traced call, and the base of both instrumentors.

The hot path is here. Everything a call needs is looked up, not computed: no environment reads, no ``contextlib``, no
``inspect``. Every step runs under :func:`guarded`: if telemetry fails, the call goes on without it.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, ClassVar

from tango_telemetry.activation import activate, deactivate, stay_off, tango_version
from tango_telemetry.base.guard import guarded, log_internal_error
from tango_telemetry.calls.arguments import record_arguments
from tango_telemetry.calls.failures import record_error, record_failure
from tango_telemetry.calls.hooks import Hooks, RequestHook, ResponseHook
from tango_telemetry.calls.place import code_attributes, thread_attributes
from tango_telemetry.calls.plans import QuickBeginning
from tango_telemetry.context.w3c import extract_baggage, inject_with_baggage
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
    carried_owner,
    current_handler,
    current_tracer,
    get_calling_tracer,
    get_client_tracer,
    get_owner,
    with_owner,
)
from tango_telemetry.pytango.builtin_tracing import (
    complete_pytango,
    force_tracing_needed,
    import_pytango,
    leave_builtin_tracing_out,
)
from tango_telemetry.pytango.environment import told_cpptango
from tango_telemetry.pytango.executors import Site, call_site, caller_of_tango, judged_modules
from tango_telemetry.settings.config import TelemetryConfig
from tango_telemetry.state import get_config, state, switch_tracer

__all__ = [
    "SERVER_SCOPE",
    "VERSION",
    "CallSites",
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
    "carried_owner",
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
    "import_pytango",
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
    "told_cpptango",
    "with_incoming_context",
    "with_owner",
]

_SUPPRESS = otel.suppress_key()
_PASS_THROUGH = otel.NoOpTracerProvider().get_tracer("tango_telemetry.pass_through")

active_client_span: ContextVar[Any] = ContextVar("tango_telemetry_active_client_span", default=None)
"""The span of the client call that is being made in this context. A call made while it is current is part of it."""


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


_NOT_CARRIED: Any = object()  # a bridge's token may be None


class TracedCall:
    """One span around one call: current in OpenTelemetry's context, and carried to the peer if ``carry`` says so."""

    __slots__ = ("_bridged", "_current", "_entered", "_hooked", "span")

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        context: Context,
        carry: str | None = None,
        links: Sequence[Link] | None = None,
        variables: tuple[Any, ...] = (),
    ) -> None:
        """Start the span and make it current.

        :param carry: the name under which cppTango gets the context, None to keep it in the process
        :param links: other spans that this one has to do with
        :param variables: context variables, each followed by the value that it has while the span is current
        """
        self.span = span = tracer.start_span(name, context, kind, attributes, links)
        self._bridged: Any = _NOT_CARRIED
        self._hooked: tuple[Hooks, Any, str, BaseException | None] | None = None
        if carry is not None:
            variables = (active_client_span, span)
        self._entered = (span, context, *variables)
        self._current = current = state.make_current(span, context, *variables)
        try:
            if carry is not None and (span_context := span.get_span_context()).is_valid:
                # A context holds more than the span where the user put something there: baggage, perhaps.
                if state.baggage and len(current.context) > 1:
                    texts = inject_with_baggage(span_context, context)
                    self._bridged = state.bridge.enter(carry, *texts)
                else:
                    self._bridged = state.bridge.enter_span(carry, span_context)
        except BaseException:
            self.leave()
            raise

    @property
    def context(self) -> Context:
        """OpenTelemetry's context with this span as the current one."""
        context: Context = self._current.context
        return context

    def call_hooks(self, hooks: Hooks, subject: Any, operation: str) -> None:
        """Call the user's hooks: one now, the other at the end."""
        self._hooked = (hooks, subject, operation, None)
        hooks.before(self.span, subject, operation)

    def enter(self) -> None:
        """Make the span current again after :meth:`leave`, perhaps in another task."""
        self._current = state.make_current(*self._entered)

    def leave(self) -> None:
        """Make what was current before current again; the span stays open."""
        try:
            bridged = self._bridged
            if bridged is not _NOT_CARRIED:
                state.bridge.exit(bridged)
                self._bridged = _NOT_CARRIED
        finally:
            with contextlib.suppress(ValueError):  # left in another context: nothing of it is current here
                self._current.leave()

    def fail(self, error: BaseException) -> None:
        """Record that the call failed."""
        if self._hooked is not None:
            self._hooked = (*self._hooked[:3], error)
        record_failure(self.span, error)

    def end(self) -> None:
        """Leave, and end the span. Never raises."""
        guarded(self._end)

    def _end(self) -> None:
        self.leave()
        if self._hooked is not None:
            hooks, *told = self._hooked
            hooks.after(self.span, *told)
        self.span.end()


class DelegatedCall(TracedCall):
    """A call that runs in a pool thread for somebody who may stop waiting for it: then its span says so.

    :param site: the delegation (of ``call_site``)
    """

    __slots__ = ("_site",)

    def __init__(self, site: Site, *args: Any) -> None:
        super().__init__(*args)
        self._site: Site | None = site

    def fail(self, error: BaseException) -> None:
        self._site = None
        super().fail(error)

    def _end(self) -> None:
        abandoned = self._site.get_abandoned() if self._site is not None else None
        if abandoned is not None:
            super().fail(abandoned)
        super()._end()


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


class CallSites:
    """Span attributes of the places that calls come from, made once for each place; bounded."""

    __slots__ = ("_sites",)
    LIMIT: ClassVar[int] = 512

    def __init__(self) -> None:
        self._sites: dict[Any, tuple[Mapping[str, Any], Any]] = {}

    def __reduce__(self) -> tuple[type[CallSites], tuple[()]]:
        """Stay out of the way of a proxy or device that is copied or pickled: a copy begins with none."""
        return CallSites, ()

    def get(self, key: Any) -> Mapping[str, Any] | None:
        """Give the attributes kept under ``key``, None if they are not there."""
        found = self._sites.get(key)
        return None if found is None else found[0]

    def put(self, key: Any, attributes: Mapping[str, Any], code: Any) -> None:
        """Keep attributes; ``code`` is kept alive with them, because ``key`` holds its ``id``."""
        if len(self._sites) >= self.LIMIT:
            self._sites.clear()
        self._sites[key] = (attributes, code)


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
            guarded(leave_builtin_tracing_out)
            guarded(stay_off)
        guarded(import_pytango)
        guarded(complete_pytango)
    if config.enabled:
        instrumentor.instrument()
        for name in siblings:
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(name)
