"""What a user of OpenTelemetry's own API writes; needs it installed."""

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider as SDKTracerProvider
from opentelemetry.trace import Status, StatusCode, Tracer, TracerProvider
from tango.server import Device, command
from tango_telemetry import get_tracer, set_tracer_provider_factory
from tango_telemetry_client import TangoClientInstrumentor
from tango_telemetry_server import TangoServerInstrumentor, TelemetryDevice


class Motor(Device):
    """A device that brings its own provider."""

    def create_telemetry_tracer_provider(self, class_name: str, device_name: str) -> TracerProvider:
        return SDKTracerProvider()

    @command
    def Move(self) -> None:
        """Go."""
        tracer: Tracer = self.get_telemetry_tracer()
        with tracer.start_as_current_span("move") as span:
            span.set_status(Status(StatusCode.OK))
            with trace.use_span(span):
                work(tracer)


def work(tracer: Tracer) -> None:
    """Take OpenTelemetry's type."""


def use(device: TelemetryDevice) -> Tracer:
    """Take any device."""
    return device.get_telemetry_tracer()


@get_tracer("lab.scan").start_as_current_span("scan")
def scan(points: int) -> float:
    """Trace a whole function."""
    return points / 2


set_tracer_provider_factory(None)
TangoClientInstrumentor().instrument(tracer_provider=SDKTracerProvider())
TangoServerInstrumentor().instrument()
