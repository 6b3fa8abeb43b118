"""What a user writes in a script; passes ``mypy --strict`` and pyright with and without OpenTelemetry."""

from typing import Any

import tango
import tango_telemetry
from tango_telemetry import Span, TelemetryConfig, get_tracer
from tango_telemetry_client import TangoClientInstrumentor


def request(span: Span, subject: Any, operation: str) -> None:
    """Take a request."""
    span.set_attribute("operation", operation)


def response(span: Span, subject: Any, operation: str, error: BaseException | None) -> None:
    """Take a response."""
    if error is not None:
        span.set_attribute("failed", True)


TangoClientInstrumentor().instrument(request_hook=request, response_hook=response)


def scan(name: str) -> float:
    """Read once."""
    proxy = tango.DeviceProxy(name)
    with get_tracer("lab.scan").start_as_current_span("scan"):
        return float(proxy.position)


if __name__ == "__main__":
    config: TelemetryConfig = tango_telemetry.configure(traces_per_second=5.0)
    print(config.exclude, scan("sys/motor/1"))
