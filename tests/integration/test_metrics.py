"""Metrics of real device servers and clients: every call is counted, once, with its error, sampled or not."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from integration.support import PYTANGO, System
from receiver import Receiver, status

CLIENT_CALLS = "rpc.client.call.duration"
SERVER_CALLS = "rpc.server.call.duration"
SERVICE = "Motor_metrics/metrics"
"""The device server, by the name of its program."""

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
        of_motor = latest(system.receiver, SERVER_CALLS, SERVICE)
        assert len(of_motor) >= len(ON_SERVER)
        for attributes, point in of_motor.items():
            assert dict(attributes)["tango.device.class"] == "Motor"
            assert 0 < point.min <= point.sum / point.count <= point.max < 5
            assert point.start_time_unix_nano < begun < point.time_unix_nano
            ids = {(span.trace_id, span.span_id) for span in system.receiver.spans if span.kind == "SERVER"}
            told = {(each.trace_id.hex(), each.span_id.hex()) for each in point.exemplars}
            assert told <= ids
            assert len(told) <= 1
            if ratio == "1":
                assert len(told) == 1


@pytest.mark.parametrize("ratio", ["0", "1"])
@pytest.mark.parametrize("spans", ["", "off"])
def test_calls_in_python_are_counted_alike(spans: str, ratio: str) -> None:
    in_python = {
        "PYTANGO_TELEMETRY_NATIVE_CALLS": "off",
        "PYTANGO_TELEMETRY_NATIVE_SPANS": spans,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": ratio,
    }
    with System(PYTANGO_TELEMETRY_METRICS="on", **in_python) as system:
        server = system.start_server(ASYNCIO, "Motor/metrics", "test/motor/1")
        system.run_client(CLIENT, server.proxy_name("test/motor/1"))
        server.flush()
        assert counts(system.receiver, SERVER_CALLS) == ON_SERVER
        assert counts(system.receiver, CLIENT_CALLS) == ON_CLIENT
        exemplars = [point.exemplars for point in latest(system.receiver, CLIENT_CALLS).values()]
        assert [len(each) for each in exemplars] == [int(ratio)] * len(exemplars)


def test_off_is_off() -> None:
    look = """
import sys
print([name for name in sys.modules if "metric" in name and "tango_telemetry" in name])
from tango_telemetry.state import state
print(state.metrics)
"""
    with System() as system:
        server = system.start_server(SERVER.replace("MODE", "Synchronous"), "Motor/metrics", "test/motor/1")
        output = system.run_client(CLIENT + look, server.proxy_name("test/motor/1"))
        # The pipeline's own account, for a program's meter provider, is there as ever.
        assert output.split("\n")[:2] in (["[]", "None"], ["['tango_telemetry.pipeline.metrics']", "None"])
        server.flush()
        assert system.receiver.metrics == []


def test_what_nobody_wants_traced_is_not_counted() -> None:
    with System(PYTANGO_TELEMETRY_METRICS="on", PYTANGO_TELEMETRY_EXCLUDE="attribute:speed") as system:
        server = system.start_server(SERVER.replace("MODE", "Synchronous"), "Motor/metrics", "test/motor/1")
        system.run_client(CLIENT, server.proxy_name("test/motor/1"))
        server.flush()
        for name, expected in ((SERVER_CALLS, ON_SERVER), (CLIENT_CALLS, ON_CLIENT)):
            assert counts(system.receiver, name) == {
                key: count for key, count in expected.items() if key[0] != "speed"
            }


def test_the_device_is_told_where_that_is_asked_for() -> None:
    with System(PYTANGO_TELEMETRY_METRICS="on", PYTANGO_TELEMETRY_METRICS_BY_DEVICE="on") as system:
        devices = ("test/motor/1", "test/motor/2")
        server = system.start_server(SERVER.replace("MODE", "Synchronous"), "Motor/metrics", *devices)
        for device in devices:
            system.run_client(CLIENT, server.proxy_name(device))
        server.flush()
        of_each = Counter(
            dict(attributes)["tango.device.name"]
            for attributes, point in latest(system.receiver, SERVER_CALLS).items()
            if dict(attributes)["rpc.method"] == "Move"
            for _ in range(point.count)
        )
        assert of_each == dict.fromkeys(devices, 319)
        of_all = {key: 2 * count for key, count in ON_SERVER.items()}
        assert counts(system.receiver, SERVER_CALLS) == of_all
        assert {dict(each).get("tango.device.name") for each in latest(system.receiver, CLIENT_CALLS)} == set(
            devices
        )


CLIENT_THAT_GOES_ON = """
import sys, tango, tango_telemetry_client
proxy = tango.DeviceProxy(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    for number in range(int(line)):
        proxy.Move(number)
    print("called", line.strip(), flush=True)
"""
MOVE = ("Move", "command_inout", "")


def test_each_interval_says_all_since_the_start() -> None:
    often = {"OTEL_METRIC_EXPORT_INTERVAL": "100", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with System(PYTANGO_TELEMETRY_METRICS="on", **often) as system:
        server = system.start_server(SERVER.replace("MODE", "Synchronous"), "Motor/metrics", "test/motor/1")
        client = system.start_client(CLIENT_THAT_GOES_ON, server.proxy_name("test/motor/1"))
        client.wait_for("ready")
        starts = set()
        for total, calls in ((10, 10), (25, 15)):
            client.send(str(calls))
            client.wait_for(f"called {calls}")
            system.receiver.wait_for_metrics(
                condition=lambda _, total=total: counts(system.receiver, CLIENT_CALLS).get(MOVE) == total
            )
            starts |= {point.start_time_unix_nano for point in latest(system.receiver, CLIENT_CALLS).values()}
        assert len(starts) == 1


@pytest.mark.parametrize(
    "end", ["", "import os; os._exit(0)", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"]
)
def test_the_last_is_said_at_the_end(end: str) -> None:
    with System(PYTANGO_TELEMETRY_METRICS="on") as system:
        server = system.start_server(SERVER.replace("MODE", "Synchronous"), "Motor/metrics", "test/motor/1")
        client = system.start_client(CLIENT + end, server.proxy_name("test/motor/1"))
        client.process.wait(30)
        assert counts(system.receiver, CLIENT_CALLS) == ON_CLIENT
        system.stop_server(server)
        assert counts(system.receiver, SERVER_CALLS) == ON_SERVER


def test_a_collector_that_is_away_costs_no_count_and_no_exit() -> None:
    short = {"OTEL_METRIC_EXPORT_INTERVAL": "200", "PYTANGO_TELEMETRY_RETRY_MAX": "0.2"}
    with System(PYTANGO_TELEMETRY_METRICS="on", **short) as system:
        server = system.start_server(SERVER.replace("MODE", "Synchronous"), "Motor/metrics", "test/motor/1")
        system.receiver.fault = status(503)
        name = server.proxy_name("test/motor/1")
        client = system.start_client(
            CLIENT + "\nprint('done', flush=True)", name, PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT="1"
        )
        client.wait_for("done")
        done = time.monotonic()
        assert client.process.wait(30) == 0
        assert time.monotonic() - done < 3.0
        assert system.receiver.metrics == []
        system.receiver.fault = None
        server.flush()
        assert counts(system.receiver, SERVER_CALLS) == ON_SERVER


@pytest.mark.parametrize("exporter", ["grpc", "file", "console"])
def test_they_go_wherever_spans_go(exporter: str) -> None:
    with Receiver("grpc") as receiver, System(PYTANGO_TELEMETRY_METRICS="on") as system:
        server = system.start_server(SERVER.replace("MODE", "Synchronous"), "Motor/metrics", "test/motor/1")
        where = {"grpc": receiver.endpoint, "file": str(system.folder / "here"), "console": "cout"}
        output = system.run_client(
            CLIENT,
            server.proxy_name("test/motor/1"),
            TANGO_TELEMETRY_TRACES_EXPORTER=exporter,
            TANGO_TELEMETRY_TRACES_ENDPOINT=where[exporter],
        )
        if exporter == "grpc":
            assert counts(receiver, CLIENT_CALLS) == ON_CLIENT
            return
        if exporter == "file":
            (path,) = Path(where["file"]).glob("*-metrics*.jsonl")
            output = path.read_text()
            show = [
                *(sys.executable, "-m", "tango_telemetry_tools"),
                "show",
                where["file"],
                "--metrics",
                "--json",
            ]
            shown = json.loads(subprocess.run(show, capture_output=True, check=True, timeout=60).stdout)
            (move,) = (each for each in shown if each["member"] == "Move")
            assert (move["name"], move["count"], move["errors"]) == (CLIENT_CALLS, 319, 19)
            assert 0 < move["p50"] <= move["p95"] <= move["longest"] < 5
        lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"resourceMetrics"')]
        found: Counter[str] = Counter()
        for line in lines:
            (metric,) = line["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
            if metric["name"] == CLIENT_CALLS:
                for point in metric["exponentialHistogram"]["dataPoints"]:
                    told = {each["key"]: each["value"]["stringValue"] for each in point["attributes"]}
                    found[told["rpc.method"]] += int(point["count"])
        assert found["Move"] == 319
        assert found["position"] == 90


USERS_PROVIDER = """
import sys, tango
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from tango_telemetry_client import TangoClientInstrumentor

reader = InMemoryMetricReader()
provider = MeterProvider(metric_readers=[reader])
HOW
"""
TELL = """
metrics = [
    metric
    for scope_metrics in reader.get_metrics_data().resource_metrics[0].scope_metrics
    for metric in scope_metrics.metrics
]
assert "process.thread.count" in {metric.name for metric in metrics}
for metric in metrics:
    for point in metric.data.data_points if metric.name == "rpc.client.call.duration" else ():
        told = point.attributes
        error = told.get("error.type", "-")
        print(metric.name, told["rpc.method"], told["tango.operation"], error, point.count)
"""


@pytest.mark.parametrize("how", ["given", "global"])
@pytest.mark.parametrize("calls", ["", "off"])
def test_a_meter_provider_of_the_users_counts_instead(how: str, calls: str) -> None:
    start = {
        "given": "TangoClientInstrumentor().uninstrument()\n"
        "TangoClientInstrumentor().instrument(meter_provider=provider)",
        "global": "metrics.set_meter_provider(provider)",
    }[how]
    with System(PYTANGO_TELEMETRY_NATIVE_CALLS=calls) as system:
        server = system.start_server(SERVER.replace("MODE", "Synchronous"), "Motor/metrics", "test/motor/1")
        output = system.run_client(
            USERS_PROVIDER.replace("HOW", start) + CLIENT + TELL,
            server.proxy_name("test/motor/1"),
            PYTANGO_TELEMETRY_METRICS="on" if how == "global" else "",
        )
        found = {}
        for line in output.splitlines():
            name, method, operation, error, count = line.split()
            if operation not in _BESIDE:
                assert name == CLIENT_CALLS
                found[method, operation, error.strip("-")] = int(count)
        assert found == {
            (method, operation, error.strip("-")): count
            for (method, operation, error), count in ON_CLIENT.items()
        }
        assert latest(system.receiver, CLIENT_CALLS) == {}


EVENTS_SERVER = """
import time
import tango, tango_telemetry_server
from tango.server import Device, attribute, command, run

class Motor(Device):
    def init_device(self):
        super().init_device()
        self.set_change_event("position", True, False)

    @attribute(dtype=int)
    def position(self):
        return 1

    @attribute(dtype=int, polling_period=100)
    def polled(self):
        return 1

    @command(dtype_in=int)
    def Push(self, count):
        for number in range(count):
            self.push_change_event("position", number)

    @command(dtype_in=float)
    def Hold(self, seconds):
        time.sleep(seconds)

run((Motor,))
"""
EVENTS_CLIENT = """
import sys, threading, tango, tango_telemetry_client
got = []
arrived = threading.Condition()

def come(event):
    with arrived:
        got.append(event)
        arrived.notify_all()

proxy = tango.DeviceProxy(sys.argv[1])
proxy.subscribe_event("position", tango.EventType.CHANGE_EVENT, come)
before = len(got)
proxy.Push(20)
with arrived:
    assert arrived.wait_for(lambda: len(got) >= before + 20, 20)
print(len(got))
"""


def values(receiver: Receiver, name: str, service: str) -> dict[Attributes, Any]:
    """The newest value of each series of a sum."""
    return {
        attributes: point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
        for attributes, point in latest(receiver, name, service).items()
    }


def test_events_polling_and_the_process() -> None:
    with System(PYTANGO_TELEMETRY_METRICS="on") as system:
        server = system.start_server(EVENTS_SERVER, "Motor/metrics", "test/motor/1")
        name = server.proxy_name("test/motor/1")
        came = int(system.run_client(EVENTS_CLIENT, name))
        system.run_client(f"import tango; tango.DeviceProxy({name!r}).Hold(0.5)")
        time.sleep(0.5)
        server.flush()
        receiver = system.receiver
        of_server, of_client = SERVICE, "pytango.client"
        event = {"messaging.system": "tango", "tango.event.type": "change"}
        ((sent, count),) = values(receiver, "messaging.client.sent.messages", of_server).items()
        assert count == 20
        assert dict(sent) == {
            **event,
            "messaging.operation.name": "push_change_event",
            "tango.device.class": "Motor",
        }
        ((received, count),) = values(receiver, "messaging.client.consumed.messages", of_client).items()
        assert count == came >= 20
        assert dict(received) == {**event, "messaging.operation.name": "push_event"}
        on_the_wire = values(receiver, "tango.event.messages", of_server)
        assert on_the_wire[(("network.io.direction", "transmit"),)] >= 20
        for service in (of_server, of_client):
            ((_, memory),) = values(receiver, "process.memory.usage", service).items()
            assert 2**20 < memory < 2**34
            ((_, threads),) = values(receiver, "process.thread.count", service).items()
            assert 1 < threads < 200
            told = values(receiver, "otel.sdk.exporter.span.exported", service)
            assert [dict(each)["otel.component.type"] for each in told] == ["otlp_http_span_exporter"]
        ((_, active),) = values(receiver, "tango.server.active_requests", of_server).items()
        assert active == 0
        if PYTANGO >= (10, 1):
            ((polled, delay),) = latest(receiver, "tango.polling.delay", of_server).items()
            assert dict(polled) == {
                "rpc.system.name": "tango",
                "rpc.method": "polled",
                "tango.operation": "read_attribute",
                "tango.device.class": "Motor",
            }
            assert delay.count >= 3
            assert 0.2 < delay.max < 3
            overruns = values(receiver, "tango.polling.overruns", of_server)
            assert overruns[polled] >= 1


def test_active_requests_are_those_whose_handler_runs() -> None:
    with System(PYTANGO_TELEMETRY_METRICS="on") as system:
        server = system.start_server(EVENTS_SERVER, "Motor/metrics", "test/motor/1")
        name = server.proxy_name("test/motor/1")
        call = "import sys, tango, tango_telemetry_client; tango.DeviceProxy(sys.argv[1]).Hold(2.0)"
        client = system.start_client(call, name)
        deadline = time.monotonic() + 20
        active = 0
        while active != 1 and time.monotonic() < deadline:
            server.flush()
            (active,) = values(system.receiver, "tango.server.active_requests", SERVICE).values() or (0,)
        assert active == 1
        client.wait_for_end()
        server.flush()
        (active,) = values(system.receiver, "tango.server.active_requests", SERVICE).values()
        assert active == 0


def test_a_server_with_many_devices_has_no_thread_more() -> None:
    def count_threads(devices: int) -> int:
        with System(PYTANGO_TELEMETRY_METRICS="on") as system:
            names = [f"test/motor/{number}" for number in range(devices)]
            source = SERVER.replace("MODE", "Synchronous")
            server = system.start_server(source, "Motor/metrics", *names)
            for name in names[:: max(1, devices // 5)]:
                system.run_client(CLIENT, server.proxy_name(name))
            server.flush()
            ((_, threads),) = values(system.receiver, "process.thread.count", SERVICE).items()
            return int(threads)

    few = count_threads(1)
    assert count_threads(50) <= few + 4, "omniORB has a thread for each client"


WITHOUT_NATIVE = """
import sys
sys.modules["tango_telemetry_native"] = None
"""


def test_without_the_native_package_it_is_said_once() -> None:
    with System(PYTANGO_TELEMETRY_METRICS="on", PYTANGO_TELEMETRY_NATIVE_SPANS="off") as system:
        source = WITHOUT_NATIVE + SERVER.replace("MODE", "Synchronous")
        server = system.start_server(source, "Motor/metrics", "test/motor/1")
        name = server.proxy_name("test/motor/1")
        client = system.start_client(WITHOUT_NATIVE + CLIENT, name)
        client.wait_for_end()
        server.flush()
        for output in (client.output, server.output):
            assert output.count("Metrics were asked for") == 1
            assert "none are exported. Type: pip install tango-telemetry-native" in output
        assert system.receiver.metrics == []
        assert {span.kind for span in system.receiver.spans} >= {"CLIENT", "SERVER"}
        given = "TangoClientInstrumentor().uninstrument()\nTangoClientInstrumentor().instrument("
        script = USERS_PROVIDER.replace("HOW", f"{given}meter_provider=provider)")
        output = system.run_client(
            WITHOUT_NATIVE + script + CLIENT + TELL, name, PYTANGO_TELEMETRY_METRICS=""
        )
        assert f"{CLIENT_CALLS} Move command_inout - 300\n" in output
        assert f"{CLIENT_CALLS} Move command_inout Limit-1 11\n" in output


FORK = """
import os, sys, tango, tango_telemetry_client
from tango_telemetry.state import state

def count(number):
    series = state.metrics.find("rpc.client.call.duration", {
        "rpc.system.name": "tango", "rpc.method": "Made", "tango.operation": "up"})
    for _ in range(number):
        series.begin()
        series.record(1000)

count(3)
child = os.fork()
proxy = tango.DeviceProxy(sys.argv[1])
if child == 0:
    for number in range(5):
        proxy.Move(number)
    count(2)
    sys.exit()
os.waitpid(child, 0)
for number in range(10):
    proxy.Move(number)
count(4)
print(os.getpid(), child)
"""


def test_a_forked_child_counts_its_own_calls() -> None:
    with System(PYTANGO_TELEMETRY_METRICS="on") as system:
        server = system.start_server(SERVER.replace("MODE", "Synchronous"), "Motor/metrics", "test/motor/1")
        parent, child = map(int, system.run_client(FORK, server.proxy_name("test/motor/1")).split())
        found: dict[int, dict[str, int]] = {}
        for resource_metrics in system.receiver.metrics:
            resource = {item.key: item.value for item in resource_metrics.resource.attributes}
            of_process = found.setdefault(resource["process.pid"].int_value, {})
            for metric in resource_metrics.scope_metrics[0].metrics:
                for point in metric.exponential_histogram.data_points:
                    told = {item.key: item.value.string_value for item in point.attributes}
                    of_process[told["rpc.method"]] = point.count
        calls = {pid: (counted["Move"], counted["Made"]) for pid, counted in found.items()}
        assert calls == {parent: (10, 7), child: (5, 2)}


def test_a_server_that_goes_away_shows_in_the_events_of_its_subscribers() -> None:
    script = (
        EVENTS_CLIENT
        + """
assert not [event for event in got if event.err]
print("subscribed", flush=True)
with arrived:
    assert arrived.wait_for(lambda: got[-1].err, 40)
print("away", got[-1].errors[0].reason, flush=True)
"""
    )
    with System(PYTANGO_TELEMETRY_METRICS="on") as system:
        server = system.start_server(EVENTS_SERVER, "Motor/metrics", "test/motor/1")
        client = system.start_client(script, server.proxy_name("test/motor/1"))
        client.wait_for("subscribed")
        system.stop_server(server)
        client.wait_for("away API_EventTimeout")  # cppTango notices after ten seconds
        client.process.wait(30)
        consumed = values(system.receiver, "messaging.client.consumed.messages", "pytango.client")
        by_error = {dict(told).get("error.type", ""): count for told, count in consumed.items()}
        assert by_error.pop("API_EventTimeout") >= 1
        assert by_error.pop("") >= 20


GREEN_CLIENTS = {
    "Asyncio": """
import asyncio, sys, tango, tango_telemetry_client
from tango.asyncio import DeviceProxy

async def main():
    proxy = await DeviceProxy(sys.argv[1])
    for number in range(20):
        await proxy.command_inout("Move", number)
    await asyncio.gather(*[proxy.read_attribute("position") for _ in range(30)])
    for _ in range(5):
        try:
            await proxy.command_inout("Move", -1)
        except tango.DevFailed:
            pass

asyncio.run(main())
""",
    "Futures": """
import sys, tango, tango_telemetry_client
from tango.futures import DeviceProxy
proxy = DeviceProxy(sys.argv[1])
for number in range(20):
    proxy.command_inout("Move", number, wait=False).result(20)
waiting = [proxy.read_attribute("position", wait=False) for _ in range(30)]
for each in waiting:
    each.result(20)
for _ in range(5):
    try:
        proxy.command_inout("Move", -1, wait=False).result(20)
    except tango.DevFailed:
        pass
""",
    "Gevent": """
import sys, gevent, tango, tango_telemetry_client
from tango.gevent import DeviceProxy
proxy = DeviceProxy(sys.argv[1])

def move():
    for number in range(10):
        proxy.command_inout("Move", number)
    for _ in range(15):
        proxy.read_attribute("position")

gevent.joinall([gevent.spawn(move) for _ in range(2)], raise_error=True)
for _ in range(5):
    try:
        proxy.command_inout("Move", -1)
    except tango.DevFailed:
        pass
""",
}


@pytest.mark.parametrize("ratio", ["0", "1"])
@pytest.mark.parametrize("mode", GREEN_CLIENTS)
def test_calls_of_green_clients_are_counted(mode: str, ratio: str) -> None:
    sampling = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": ratio}
    with System(PYTANGO_TELEMETRY_METRICS="on", **sampling) as system:
        server = system.start_server(SERVER.replace("MODE", "Synchronous"), "Motor/metrics", "test/motor/1")
        system.run_client(GREEN_CLIENTS[mode], server.proxy_name("test/motor/1"))
        server.flush()
        found = counts(system.receiver, CLIENT_CALLS)
        assert {key: found[key] for key in found if key[0] in ("Move", "position")} == {
            ("Move", "command_inout", ""): 20,
            ("Move", "command_inout", "Limit-1"): 5,
            ("position", "read_attribute", ""): 30,
        }
        assert counts(system.receiver, SERVER_CALLS) == {
            ("Move", "command", ""): 20,
            ("Move", "command", "Limit-1"): 5,
            ("position", "read_attribute", ""): 30,
        }
