"""A web gateway to a motor, on FastAPI, that traces itself: a provider and an instrumentation of its own.

GATEWAY_MOTOR names the device, GATEWAY_SPANS the file into which the gateway writes its own spans.
"""

import os
from contextlib import asynccontextmanager

import tango
import tango.asyncio
from fastapi import FastAPI, HTTPException
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

provider = TracerProvider(resource=Resource.create({"service.name": "gateway"}))
trace.set_tracer_provider(provider)
output = open(os.environ["GATEWAY_SPANS"], "w")  # noqa: SIM115
provider.add_span_processor(
    BatchSpanProcessor(
        ConsoleSpanExporter(out=output, formatter=lambda span: span.to_json(indent=None) + "\n")
    )
)
motors = {}


@asynccontextmanager
async def lifespan(app):
    name = os.environ["GATEWAY_MOTOR"]
    motors["async"] = await tango.asyncio.DeviceProxy(name)
    motors["sync"] = tango.DeviceProxy(name)
    yield
    provider.shutdown()


app = FastAPI(lifespan=lifespan)
FastAPIInstrumentor.instrument_app(app)


@app.get("/position")
async def read_position():
    return {"position": (await motors["async"].read_attribute("position")).value}


@app.put("/position/{value}")
def write_position(value: float):
    """A plain function: FastAPI runs it in its thread pool."""
    with trace.get_tracer("gateway").start_as_current_span("move"):
        try:
            motors["sync"].Move(value)
        except tango.DevFailed as error:
            raise HTTPException(422, error.args[0].desc.strip()) from error
    return {"position": motors["sync"].position}
