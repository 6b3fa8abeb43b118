"""What a user writes in a device class; passes ``mypy --strict`` and pyright with and without
OpenTelemetry.
"""

import tango_telemetry_server  # noqa: F401
from tango import DevState
from tango.server import Device, attribute, command, device_property
from tango_telemetry import Span, Tracer, TracerProvider, create_tracer_provider


class Motor(Device):
    """A device with telemetry of its own."""

    Port = device_property(dtype=int, default_value=4000)

    def create_telemetry_tracer_provider(self, class_name: str, device_name: str) -> TracerProvider:
        """Name the service as the laboratory does."""
        if device_name.startswith("test/"):
            return super().create_telemetry_tracer_provider(class_name, device_name)
        return create_tracer_provider(f"lab.{class_name}", device_name, {"lab.section": "7"})

    def create_telemetry_tracer(self, tracer_provider: TracerProvider) -> Tracer:
        """Name the tracer."""
        return tracer_provider.get_tracer("lab.motor", "1.2")

    def init_device(self) -> None:
        """Begin."""
        super().init_device()
        self.set_state(DevState.ON)
        self._position = 0.0

    @attribute(dtype=float, unit="mm")
    def position(self) -> float:
        """Where it is."""
        with self.get_telemetry_tracer().start_as_current_span("ask the controller") as span:
            note(span)
            return self._position

    @position.setter
    def set_position(self, value: float) -> None:
        self._position = value

    @command(dtype_in=float)
    def Move(self, target: float) -> None:
        """Go there."""
        span = self.get_telemetry_tracer().start_span("move")
        span.set_attribute("target", target)
        span.end()
        self.info_stream("moved to %s", target)

    @command
    def Quiet(self) -> bool:
        """Switch this device's spans."""
        self.disable_telemetry()
        self.enable_kernel_tracing()
        return self.is_telemetry_enabled()


def note(span: Span) -> None:
    """Take a span."""
    span.set_attributes({"controller": "A", "axis": 3})
    span.add_event("asked")


def tracer_of(motor: Motor) -> Tracer:
    """Return a tracer."""
    return motor.get_telemetry_tracer()


if __name__ == "__main__":
    Motor.run_server()
