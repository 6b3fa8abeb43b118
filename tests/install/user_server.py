"""A user's device server: one text for every configuration."""

import tango
import tango_telemetry_server  # noqa: F401
from tango.server import Device, attribute, command


def trace_here():
    """Give the trace id and span id of the context that is current here, as any user of OpenTelemetry
    would.
    """
    try:
        from opentelemetry import trace
    except ImportError:
        return ""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}-{context.span_id:016x}" if context.is_valid else ""


class Motor(Device):
    """Uses everything that tango-telemetry gives a device."""

    def create_telemetry_tracer_provider(self, class_name, device_name):
        return super().create_telemetry_tracer_provider(class_name, device_name)

    def create_telemetry_tracer(self, tracer_provider):
        return super().create_telemetry_tracer(tracer_provider)

    @attribute(dtype=float)
    def position(self):
        with self.get_telemetry_tracer().start_as_current_span("ask the controller") as span:
            span.set_attribute("axis", 3)
            span.add_event("asked", {"tries": 1})
        return 1.5

    @command(dtype_out=str)
    def Here(self):
        return trace_here()

    @command(dtype_in=str, dtype_out=str)
    def Pass(self, other):
        return tango.DeviceProxy(other).command_inout("Here")

    @command(dtype_out=str)
    def Exercise(self):
        """Call every telemetry method of a device."""
        answers = [self.is_telemetry_enabled(), self.is_kernel_tracing_enabled()]
        assert all(answer in (True, False) for answer in answers)
        self.disable_telemetry()
        self.enable_telemetry()
        self.set_telemetry_enabled(True)
        self.disable_kernel_tracing()
        self.enable_kernel_tracing()
        self.set_kernel_tracing_enabled(False)
        span = self.get_telemetry_tracer().start_span("exercise", links=[], attributes={"a": 1})
        span.update_name("exercised")
        span.record_exception(ValueError("x"))
        span.end()
        provider = self.create_telemetry_tracer_provider("Motor", self.get_name())
        self.create_telemetry_tracer(provider).start_span("other").end()
        return f"{self.is_telemetry_enabled()}"


if __name__ == "__main__":
    Motor.run_server()
