"""The one module through which the pipeline gets at the OpenTelemetry SDK, the OTLP encoders and the wire libraries.

Nothing is imported before a function is called: `import tango_telemetry.pipeline` works, and costs nothing, where
OpenTelemetry is not installed.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

    __all__ = ["ReadableSpan", "SpanProcessor"]

INSTALL_COMMAND = 'pip install "tango-telemetry[full]"'


class MissingPackageError(ImportError):
    """A package that the chosen exporter needs is not installed; the message names the command that installs it."""

    def __init__(self, purpose: str, module: str, cause: str) -> None:
        super().__init__(
            f"{purpose} needs the package of {module!r} ({cause}); install it with: {INSTALL_COMMAND}"
        )


def load(module: str, purpose: str) -> Any:
    """Import `module`; raises MissingPackageError, which says what it was for and what to type."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(purpose, module, str(error)) from error


@lru_cache(maxsize=1)
def load_sdk() -> Any:
    """The module `opentelemetry.sdk.trace`."""
    return load("opentelemetry.sdk.trace", "recording spans")


_NEEDED = {
    "http": ("opentelemetry.exporter.otlp.proto.common.trace_encoder", "requests"),
    "grpc": ("opentelemetry.exporter.otlp.proto.common.trace_encoder", "grpc"),
    "file": ("opentelemetry.exporter.otlp.json.file",),
    "console": ("opentelemetry.sdk.trace.export",),
}


def load_exporter(exporter: str) -> tuple[Any, ...]:
    """The modules that `exporter` ("http", "grpc", "file" or "console") is made of: encoder first, then transport."""
    return tuple(load(module, f"the {exporter!r} exporter") for module in _NEEDED[exporter])


def load_trace_messages() -> Any:
    """The module with OTLP's protobuf classes for traces (`ExportTraceServiceRequest` and its parts)."""
    return load("opentelemetry.proto.collector.trace.v1.trace_service_pb2", "OTLP payloads")
