"""Tracer providers of OpenTelemetry's SDK over our span pipeline. Imported when the first provider is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tango_telemetry import _otel_sdk, pipeline
from tango_telemetry._config import Endpoint, TelemetryConfig
from tango_telemetry._otel import TracerProvider

__all__ = ["create_tracer_provider"]


_base_resource: Any = None


def _create_resource(attributes: Mapping[str, Any]) -> Any:
    global _base_resource
    Resource = _otel_sdk.load("opentelemetry.sdk.resources", "recording spans").Resource  # noqa: N806
    if _base_resource is None:
        _base_resource = Resource.create({})  # runs the detectors and reads OTEL_RESOURCE_ATTRIBUTES once
    return _base_resource.merge(Resource(dict(attributes)))


def create_tracer_provider(
    resource_attributes: Mapping[str, Any], endpoints: tuple[Endpoint, ...], config: TelemetryConfig
) -> TracerProvider:
    """Make a provider whose spans go to the shared pipelines of ``endpoints``.

    :raises MissingPackageError: if the SDK is not installed
    """
    sdk = _otel_sdk.load_sdk()
    provider = sdk.TracerProvider(resource=_create_resource(resource_attributes), shutdown_on_exit=False)
    pipeline.configure_pipelines(config.pipeline)
    for endpoint in endpoints:
        processor = config.span_processor or ("simple" if endpoint.exporter == "console" else "batch")
        provider.add_span_processor(pipeline.get_pipeline(endpoint, processor).create_span_processor())
    made: TracerProvider = provider
    return made
