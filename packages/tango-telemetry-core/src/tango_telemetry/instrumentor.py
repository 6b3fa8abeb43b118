"""The base of both instrumentors, and what an import of their packages does."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any, ClassVar

from tango_telemetry.activation import activate, deactivate, stay_off
from tango_telemetry.base.guard import guarded
from tango_telemetry.calls.hooks import Hooks, RequestHook, ResponseHook
from tango_telemetry.pytango.builtin_tracing import (
    complete_pytango,
    import_pytango,
    leave_builtin_tracing_out,
)
from tango_telemetry.pytango.version import tango_version
from tango_telemetry.settings.config import TelemetryConfig
from tango_telemetry.state import get_config

__all__ = ["Instrumentor", "auto_instrument"]


class Instrumentor:
    """The verbs of OpenTelemetry's ``BaseInstrumentor``, without its dependency: idempotent, exactly undone.

    One object per class and process. Subclasses give :meth:`_instrument`, :meth:`_uninstrument` and ``hooks``
    of their own.
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
        """Return the packages that are instrumented, as ``opentelemetry-instrument`` asks for them."""
        return ("pytango >= 9.3.6",)

    def instrument(
        self,
        *,
        tracer_provider: Any = None,
        meter_provider: Any = None,
        request_hook: RequestHook | None = None,
        response_hook: ResponseHook | None = None,
        config: TelemetryConfig | None = None,
        skip_dep_check: bool = False,
        raise_exception_on_conflict: bool = False,
    ) -> None:
        """Switch tracing on in this process. Does nothing if it is on, or if the settings say off.

        :param tracer_provider: makes every tracer, instead of our own providers
        :param meter_provider: is given the durations of all calls, instead of our own export of metrics; it
            asks for them as ``PYTANGO_TELEMETRY_METRICS=on`` does
        :param request_hook: called with ``(span, subject, operation)`` before a recorded call
        :param response_hook: called with ``(span, subject, operation, error)`` after it; ``error`` is None or
            the exception. What a hook raises is logged once and goes no further.
        :param config: the settings; None: from the environment
        :param skip_dep_check: accepted for ``opentelemetry-instrument``
        :param raise_exception_on_conflict: accepted for ``opentelemetry-instrument``
        """
        if self._instrumented or not activate(config, tracer_provider, meter_provider):
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

    :param siblings: packages to import as well, where they are installed: a device server's own client calls
        are traced without a second import in the user's code
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
