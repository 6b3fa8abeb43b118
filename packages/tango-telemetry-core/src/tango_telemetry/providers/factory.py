"""Tracer providers over our span pipeline: in C++ where that is there, else OpenTelemetry's SDK's.

Imported when the first provider is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from tango_telemetry import pipeline
from tango_telemetry._native import load_native_spans
from tango_telemetry.base.originals import Lock
from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.otel.api import TracerProvider
from tango_telemetry.providers.resource import create_plain_resource, create_resource, renew_after_fork
from tango_telemetry.providers.sampling import limit_new_traces, new_traces
from tango_telemetry.settings.config import Endpoint, TelemetryConfig

__all__ = ["create_tracer_provider"]


_queues: dict[pipeline.Pipeline, Any] = {}


def _native_queue(native: Any, target: pipeline.Pipeline, processor: str, config: TelemetryConfig) -> Any:
    """The queue of finished spans that one pipeline drains; all providers of the process share it."""
    queue = _queues.get(target)
    if queue is None:
        settings = config.pipeline
        wake = 1 if processor == "simple" else settings.max_batch_spans
        queue = _queues[target] = native.create_span_queue(
            settings.max_queue_spans, settings.max_queue_bytes, wake
        )
        target.accept_encoded(queue)
    return queue


class _Plan:
    """What all providers for the same endpoints under the same settings have in common.

    A server makes a provider for each of its devices: whatever can be looked up once is not looked up a
    thousand times.
    """

    def __init__(self, endpoints: tuple[Endpoint, ...], config: TelemetryConfig) -> None:
        self.config = config
        otel_sdk.find_sdk()
        pipeline.configure_pipelines(config.pipeline)
        self.targets = []
        for endpoint in endpoints:
            processor = config.span_processor or ("simple" if endpoint.exporter == "console" else "batch")
            self.targets.append((pipeline.get_pipeline(endpoint, processor), processor))
        # A finished span in C++ can be handed over once, and the console shows the SDK's own JSON of a span.
        in_native = len(endpoints) == 1 and endpoints[0].exporter != "console"
        self._native = load_native_spans(config) if in_native else None
        self._shared: tuple[dict[str, Any], list[Any]] | None = None
        if self._native is not None:
            self._queue = _native_queue(self._native, *self.targets[0], config)
            self._settings = self._native.read_settings(new_traces(config.traces_per_second))
            self._flush = self.targets[0][0].flush

    def create(self, resource_attributes: Mapping[str, Any]) -> Any:
        if self._native is None:
            resource = create_resource(resource_attributes)
            return self._create_sdk_provider(otel_sdk.load_sdk(), resource)
        plain = create_plain_resource(resource_attributes)
        resource = create_resource(resource_attributes) if plain is None else plain
        return self._native.create_native_tracer_provider(
            resource, queue=self._queue, flush=self._flush, settings=self._settings
        )

    def _create_sdk_provider(self, sdk: Any, resource: Any) -> Any:
        """The sampler, the limits and the span processors know nothing of their provider: one of each will
        do.
        """
        shared = self._shared
        if shared is None:
            sampler = sdk.TracerProvider(resource=resource, shutdown_on_exit=False).sampler
            bucket = new_traces(self.config.traces_per_second)
            if bucket is not None:
                sampler = limit_new_traces(sampler, bucket)
            processors: list[Any] = [target.create_span_processor() for target, _ in self.targets]
            for processor in processors:
                processor.keeps_failed = bucket is not None
            shared = self._shared = ({"sampler": sampler, "span_limits": sdk.SpanLimits()}, processors)
        options, processors = shared
        provider = _process_tracer_provider()(resource=resource, shutdown_on_exit=False, **options)
        for processor in processors:
            provider.add_span_processor(processor)
        return provider


@lru_cache(maxsize=1)
def _process_tracer_provider() -> Any:
    """Made on demand, because its base class is the SDK's."""
    base: Any = otel_sdk.load_sdk().TracerProvider

    class ProcessTracerProvider(base):  # type: ignore[misc]
        """The SDK's tracer provider, whose spans carry the identity of the process that begins them, also
        after a fork.
        """

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            renew_after_fork(self, "_resource")

        def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
            tracer = super().get_tracer(*args, **kwargs)
            if hasattr(tracer, "resource"):  # else a no-op
                renew_after_fork(tracer, "resource")
            return tracer

        def _handle_fork(self) -> None:
            """Take the place of what the SDK does in a forked child (1.45): it runs its detectors again for
            each provider, in a thread pool, and the instance id that they make up replaces the name of a
            device.
            """
            self._tracers_lock = Lock()

    return ProcessTracerProvider


_plans: dict[tuple[Endpoint, ...], _Plan] = {}


def create_tracer_provider(
    resource_attributes: Mapping[str, Any], endpoints: tuple[Endpoint, ...], config: TelemetryConfig
) -> TracerProvider:
    """Make a provider whose spans go to the shared pipelines of ``endpoints``.

    ``OTEL_*`` are read when the first provider for these endpoints is made under ``config``.

    :returns: the provider in C++ where the native package has it, the settings allow it and one endpoint
        takes its payloads; else the SDK's
    :raises MissingPackageError: if the SDK is not installed
    """
    plan = _plans.get(endpoints)
    if plan is None or plan.config is not config:
        plan = _plans[endpoints] = _Plan(endpoints, config)
    return cast("TracerProvider", plan.create(resource_attributes))
