"""A user's script: one text for every configuration. Prints one line of JSON."""

import asyncio
import json
import sys

import tango
import tango_telemetry
import tango_telemetry_client
from tango_telemetry import get_tracer
from tango_telemetry_client import TangoClientInstrumentor

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def with_incoming_context():
    """What a web application does with the context of its request."""
    try:
        from opentelemetry import context, trace
    except ImportError:
        return
    incoming = trace.SpanContext(int(TRACE, 16), int(SPAN, 16), True, trace.TraceFlags(1))
    context.attach(trace.set_span_in_context(trace.NonRecordingSpan(incoming)))


tracer = get_tracer("lab.scan")


@tracer.start_as_current_span("scan")
def scan(motor):
    return motor.position


@tracer.start_as_current_span("later")
async def later():
    return 3


first, second = sys.argv[1:3]
motor = tango.DeviceProxy(first)
results = {"position": scan(motor), "later": asyncio.run(later()), "enabled": motor.command_inout("Exercise")}
with_incoming_context()
results["here"] = motor.command_inout("Here")
results["passed"] = motor.command_inout("Pass", second)

config = tango_telemetry.get_config()
tango_telemetry.configure(config)
tango_telemetry.get_client_tracer().start_span("by hand").end()
provider = tango_telemetry.create_tracer_provider("lab.other", "1", {"section": "7"})
provider.get_tracer("lab.other", "1").start_span("other").end()
tango_telemetry.set_tracer_provider_factory(None)
assert callable(tango_telemetry.get_tracer_provider_factory())
assert tango_telemetry.get_context_bridge().get_trace_context() is not None
for hook in (None, lambda *told: None):
    TangoClientInstrumentor().uninstrument()
    TangoClientInstrumentor().instrument(request_hook=hook, response_hook=hook)
    motor.ping()
results["modules"] = [tango_telemetry.__file__, tango_telemetry_client.__file__]
results["version"] = tango_telemetry.__version__
print(json.dumps(results))
