"""Which exporter an endpoint asks for."""

from __future__ import annotations

from tango_telemetry.pipeline.delivery import Exporter
from tango_telemetry.pipeline.settings import EXPORTERS, Endpoint, PipelineSettings, default_target


def create_exporter(endpoint: Endpoint, settings: PipelineSettings) -> Exporter:
    """The exporter for `endpoint`, not yet connected.

    Raises ValueError for an unknown exporter or an unusable target, MissingPackageError where a package is
    not installed, OSError for a folder that cannot be written.
    """
    if endpoint.exporter not in EXPORTERS:
        raise ValueError(f"unknown exporter; choices: {', '.join(EXPORTERS)}")
    target = endpoint.target or default_target(endpoint.exporter, endpoint.signal)
    # Each module is imported only where it is used: a server's start waits for it.
    if endpoint.exporter == "http":
        from tango_telemetry.pipeline.exporters.http import HttpExporter

        return HttpExporter(target, settings.wire_of(endpoint.signal), endpoint.signal)
    if endpoint.exporter == "grpc":
        from tango_telemetry.pipeline.exporters.grpc import GrpcExporter

        return GrpcExporter(target, settings.wire_of(endpoint.signal), endpoint.signal)
    if endpoint.exporter == "file":
        from tango_telemetry.pipeline.exporters.file import FileExporter

        return FileExporter(target, settings.file_max_bytes, settings.file_max_count, endpoint.signal)
    from tango_telemetry.pipeline.exporters.console import ConsoleExporter

    return ConsoleExporter(target, endpoint.signal)
