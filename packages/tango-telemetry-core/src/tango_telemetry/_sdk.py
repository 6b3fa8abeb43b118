"""Tracer providers of OpenTelemetry's SDK over our span pipeline. Imported when the first provider is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tango_telemetry._config import Endpoint, TelemetryConfig
from tango_telemetry._otel import TracerProvider

__all__ = ["SdkMissingError", "create_tracer_provider"]


class SdkMissingError(ImportError):
    """OpenTelemetry's SDK is not installed; the message names the command that installs it."""


_base_resource: Any = None


def _create_resource(attributes: Mapping[str, Any]) -> Any:
    global _base_resource
    from opentelemetry.sdk.resources import Resource

    if _base_resource is None:
        _base_resource = Resource.create({})  # runs the detectors and reads OTEL_RESOURCE_ATTRIBUTES once
    return _base_resource.merge(Resource(dict(attributes)))


def create_tracer_provider(
    resource_attributes: Mapping[str, Any], endpoints: tuple[Endpoint, ...], config: TelemetryConfig
) -> TracerProvider:
    """Make a provider whose spans go to the shared pipelines of ``endpoints``.

    :raises SdkMissingError: if the SDK is not installed
    """
    try:
        from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
    except ImportError:
        raise SdkMissingError(
            "OpenTelemetry's SDK is not installed: the trace context travels, but no span is emitted. "
            'Type: pip install "tango-telemetry[full]"'
        ) from None
    provider = SdkTracerProvider(resource=_create_resource(resource_attributes), shutdown_on_exit=False)
    from tango_telemetry import pipeline

    for endpoint in endpoints:
        processor = config.span_processor or ("simple" if endpoint.exporter == "console" else "batch")
        made = pipeline.get_pipeline(endpoint, processor).create_span_processor()
        provider.add_span_processor(made)
    return provider
