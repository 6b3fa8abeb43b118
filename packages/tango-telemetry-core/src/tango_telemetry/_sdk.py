"""Tracer providers over our span pipeline: in C++ where that is there, else OpenTelemetry's SDK's. Imported when the first provider is made."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, cast

from tango_telemetry import _otel_sdk, pipeline
from tango_telemetry._config import Endpoint, TelemetryConfig
from tango_telemetry._otel import TracerProvider
from tango_telemetry._sampling import limit_new_traces
from tango_telemetry.bridge import import_native

__all__ = ["create_tracer_provider", "load_native_spans"]


_base_resource: Any = None


def _create_resource(attributes: Mapping[str, Any]) -> Any:
    global _base_resource
    Resource = _otel_sdk.load("opentelemetry.sdk.resources", "recording spans").Resource  # noqa: N806
    if _base_resource is None:
        _base_resource = Resource.create({})  # runs the detectors and reads OTEL_RESOURCE_ATTRIBUTES once
    # What merge() does for values that are not empty, at half its price: a server makes one for each device.
    return Resource({**_base_resource.attributes, **attributes}, _base_resource.schema_url)


_queues: dict[pipeline.Pipeline, Any] = {}


def load_native_spans(config: TelemetryConfig) -> Any:
    """Give the module that records spans in C++, None where it is not installed or not wanted."""
    if not config.native_spans or import_native() is None:
        return None
    try:
        return importlib.import_module("tango_telemetry_native.spans")
    except ImportError:
        return None


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


def create_tracer_provider(
    resource_attributes: Mapping[str, Any], endpoints: tuple[Endpoint, ...], config: TelemetryConfig
) -> TracerProvider:
    """Make a provider whose spans go to the shared pipelines of ``endpoints``.

    :returns: the provider in C++ where the native package has it, the settings allow it and one endpoint takes its
        payloads; else the SDK's
    :raises MissingPackageError: if the SDK is not installed
    """
    sdk = _otel_sdk.load_sdk()
    resource = _create_resource(resource_attributes)
    pipeline.configure_pipelines(config.pipeline)
    targets = []
    for endpoint in endpoints:
        processor = config.span_processor or ("simple" if endpoint.exporter == "console" else "batch")
        targets.append((pipeline.get_pipeline(endpoint, processor), processor))
    # A finished span in C++ can be handed over once, and the console shows the SDK's own JSON of a span.
    limit = config.traces_per_second
    in_native = len(targets) == 1 and endpoints[0].exporter != "console" and limit is None
    native = load_native_spans(config) if in_native else None
    if native is not None:
        queue = _native_queue(native, *targets[0], config)
        return cast(
            "TracerProvider",
            native.create_native_tracer_provider(resource, queue=queue, flush=targets[0][0].flush),
        )
    return cast("TracerProvider", _create_sdk_provider(sdk, resource, targets, config))


def _create_sdk_provider(
    sdk: Any, resource: Any, targets: list[tuple[pipeline.Pipeline, str]], config: TelemetryConfig
) -> Any:
    provider = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
    limit = config.traces_per_second
    if limit is not None:
        provider.sampler = limit_new_traces(provider.sampler, limit)  # before the first tracer is made of it
    for target, _ in targets:
        span_processor: Any = target.create_span_processor()
        span_processor.keeps_failed = limit is not None
        provider.add_span_processor(span_processor)
    return provider
