"""A pytest plugin that runs the OpenTelemetry SDK's own tests against the tracer provider in C++.

It puts `TracerProvider`, below, in the place of ``opentelemetry.sdk.trace.TracerProvider``: the SDK's
constructor and private surroundings, which its tests look at, around the product's own tracers and spans.
Nothing here records, samples, encodes or reads a span; all of that is the product's.

Used by sdk_suite.py, with ``-p sdk_adapter``.
"""

from __future__ import annotations

import importlib
from typing import Any

import opentelemetry.sdk.trace as sdk
import pytest
from tango_telemetry_native.spans import NativeSpan, NativeTracer, create_native_tracer_provider

_OriginalProvider = sdk.TracerProvider
_started: set[str] = set()
_count = 0


def _private(name: str) -> Any:
    """A private field of the SDK's span, which its tests read, from the lazy view."""
    return property(lambda span: getattr(span._readable_span(), name))


for _name in (
    "_attributes",
    "_events",
    "_links",
    "_resource",
    "_status",
    "_start_time",
    "_end_time",
    "_name",
):
    setattr(NativeSpan, _name, _private(_name))
NativeSpan._context = property(lambda span: span.get_span_context())
NativeSpan._span_processor = property(lambda span: span._tracer.span_processor)
NativeSpan.instrumentation_info = property(lambda span: span._tracer.instrumentation_info)
# The tests ask isinstance(span, opentelemetry.sdk.trace.Span).
sdk.Span.register(NativeSpan)


def _adapt(tracer: NativeTracer, original: Any, provider: TracerProvider) -> None:
    """Give the tracer the private attributes of the SDK's."""
    tracer.__dict__.update(original.__dict__)
    processor = provider._active_span_processor

    def on_start(span: Any, context: Any) -> None:
        global _count
        _count += 1
        processor.on_start(span, parent_context=context)

    def on_end(span: Any) -> None:
        processor._on_ending(span)
        processor.on_end(span._readable_span())

    def set_config(config: Any) -> None:
        tracer._tracer_config = config
        tracer._set_enabled(config.is_enabled)

    tracer._set_hooks(on_start, on_end)
    tracer._set_tracer_config = set_config
    tracer._is_enabled = lambda: tracer._tracer_config.is_enabled
    tracer._set_resource = lambda resource: setattr(tracer._resource, "value", resource)
    tracer._set_enabled(tracer._is_enabled())


class TracerProvider(sdk.TracerProvider):
    """The SDK's provider, with tracers of the product's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._native = create_native_tracer_provider(
            self._resource,
            sampler=self.sampler,
            span_limits=self._span_limits,
            # The default generator's ids are made in C++.
            id_generator=None if type(self.id_generator) is sdk.RandomIdGenerator else self.id_generator,
        )
        self._adapted: dict[int, Any] = {}

    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        original = super().get_tracer(*args, **kwargs)
        if not isinstance(original, sdk.Tracer):
            return original
        scope = original._instrumentation_scope
        tracer = self._native.get_tracer(scope.name, scope.version, scope.schema_url, scope.attributes)
        if tracer not in self._adapted.values():
            _adapt(tracer, original, self)
            self._adapted[id(original)] = tracer
            with self._tracers_lock:
                self._tracers[scope] = tracer
        return tracer

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)


sdk.TracerProvider = TracerProvider
_reload = importlib.reload
# The tests load the SDK's module again, which would undo the line above.
importlib.reload = lambda module: module if module is sdk else _reload(module)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: Any) -> Any:
    before = _count
    yield
    if _count != before:
        _started.add(item.nodeid)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"tests that made spans in C++: {len(_started)}")
