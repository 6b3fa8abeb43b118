"""Metrics of real device servers and clients: every call is counted, once, with its error, sampled or not."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
from integration.support import System
from receiver import Receiver

CLIENT_CALLS = "rpc.client.call.duration"
SERVER_CALLS = "rpc.server.call.duration"

SERVER = """
import asyncio
import tango, tango_telemetry_server
from tango import AttrWriteType
from tango.server import Device, attribute, command, run

class Motor(Device):
    @command(dtype_in=int, dtype_out=int)
    def Move(self, number):
        if number < 0:
            tango.Except.throw_exception(f"Limit{number}", "beyond the limit", "Move")
        if number == 4242:
            raise ValueError("odd")
        return number

    @attribute(dtype=float, access=AttrWriteType.READ_WRITE)
    def position(self):
        return 1.0

    @position.write
    def position(self, value):
        pass

    @attribute(dtype=float)
    def speed(self):
        return 2.0

run((Motor,), green_mode=tango.GreenMode.MODE)
"""
ASYNCIO = (
    SERVER.replace("    def ", "    async def ")
    .replace("return number", "await asyncio.sleep(0); return number")
    .replace("MODE", "Asyncio")
)
CLIENT = """
import sys, tango, tango_telemetry_client
proxy = tango.DeviceProxy(sys.argv[1])
for number in range(300):
    proxy.Move(number)
for _ in range(70):
    proxy.read_attribute("position")
    proxy.speed
for _ in range(20):
    proxy.position = 2.0
for number in (*[-1] * 11, *[-2] * 5, *[4242] * 3):
    try:
        proxy.Move(number)
    except tango.DevFailed:
        pass
"""
ON_SERVER = {
    ("Move", "command", ""): 300,
    ("Move", "command", "Limit-1"): 11,
    ("Move", "command", "Limit-2"): 5,
    ("Move", "command", "ValueError"): 3,
    ("position", "read_attribute", ""): 70,
    ("position", "write_attribute", ""): 20,
    ("speed", "read_attribute", ""): 70,
}
# What PyTango asks a device for by itself, and what it calls once.
_BESIDE = ("init_device", "delete_device", "command_list_query", "attribute_list_query_ex", "get_pipe_config")
ON_CLIENT = {
    ("DeviceProxy", "connect", ""): 1,
    ("Move", "command_inout", ""): 300,
    ("Move", "command_inout", "Limit-1"): 11,
    ("Move", "command_inout", "Limit-2"): 5,
    ("Move", "command_inout", "PyDs_PythonError"): 3,
    ("position", "read_attribute", ""): 70,
    ("position", "write_attribute", ""): 20,
    ("speed", "read_attribute", ""): 70,
}


Attributes = tuple[tuple[str, Any], ...]


def latest(receiver: Receiver, name: str, service: str | None = None) -> dict[Attributes, Any]:
    """The newest data point of each series of a metric, by all its attributes."""
    found: dict[Attributes, Any] = {}
    for resource_metrics in receiver.metrics:
        resource = {item.key: item.value.string_value for item in resource_metrics.resource.attributes}
        if service not in (None, resource["service.name"]):
            continue
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                if metric.name == name:
                    for point in getattr(metric, metric.WhichOneof("data")).data_points:
                        attributes = tuple(
                            (item.key, getattr(item.value, item.value.WhichOneof("value")))
                            for item in point.attributes
                        )
                        if attributes not in found or found[attributes].time_unix_nano < point.time_unix_nano:
                            found[attributes] = point
    return found


def counts(receiver: Receiver, name: str, service: str | None = None) -> dict[tuple[str, str, str], int]:
    """How many calls each series has: by method, operation and error."""
    result: Counter[tuple[str, str, str]] = Counter()
    for attributes, point in latest(receiver, name, service).items():
        told = dict(attributes)
        assert told["rpc.system.name"] == "tango"
        if told["tango.operation"] in _BESIDE:
            continue
        assert sum(point.positive.bucket_counts) + point.zero_count == point.count
        result[told["rpc.method"], told["tango.operation"], told.get("error.type", "")] += point.count
    return dict(result)


@pytest.mark.parametrize("mode", ["Synchronous", "Futures", "Gevent", "Asyncio"])
@pytest.mark.parametrize("ratio", ["0", "0.1", "1"])
def test_every_call_is_counted_whatever_is_sampled(mode: str, ratio: str) -> None:
    sampling = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": ratio}
    source = ASYNCIO if mode == "Asyncio" else SERVER.replace("MODE", mode)
    with System(PYTANGO_TELEMETRY_METRICS="on", **sampling) as system:
        server = system.start_server(source, "Motor/metrics", "test/motor/1")
        begun = time.time_ns()
        system.run_client(CLIENT, server.proxy_name("test/motor/1"))
        server.flush()
        assert counts(system.receiver, SERVER_CALLS) == ON_SERVER
        assert counts(system.receiver, CLIENT_CALLS) == ON_CLIENT
        spans = [
            span
            for span in system.receiver.spans
            if span.kind == "SERVER" and span.attributes["tango.operation"] not in _BESIDE
        ]
        assert len(spans) == {"0": 0, "1": sum(ON_SERVER.values())}.get(ratio, len(spans))
        of_motor = latest(system.receiver, SERVER_CALLS, "Motor/metrics")
        for attributes, point in of_motor.items():
            assert dict(attributes)["tango.device.class"] == "Motor"
            assert 0 < point.min <= point.sum / point.count <= point.max < 5
            assert point.start_time_unix_nano < begun < point.time_unix_nano
            ids = {(span.trace_id, span.span_id) for span in spans}
            told = {(each.trace_id.hex(), each.span_id.hex()) for each in point.exemplars}
            assert told <= ids
            assert len(told) <= 1
            if ratio == "1":
                assert len(told) == 1
