"""What leaves a process as ``traceparent`` names a span that is exported, and what comes in is believed.

A server of PyTango's without us, whose cppTango exports spans of its own, is what a server in C++ is: each of
its SERVER spans is a child of the span of ours that made the call. The tracing that PyTango has built in is
the client the other way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from integration.support import PYTANGO, System
from receiver import ReceivedSpan

pytestmark = [
    pytest.mark.skipif(PYTANGO < (10,), reason="cppTango 9 has no spans"),
    pytest.mark.skipif(
        "not __import__('importlib.util').util.find_spec('tango_telemetry_native')", reason="native"
    ),
]

PLAIN = """
import tango
from tango.server import Device, attribute, command, run

class Plain(Device):
    v, w = 0.0, 0.0
    @attribute(dtype=float)
    def value(self):
        return self.v
    @value.write
    def value(self, value):
        self.v = value
    @attribute(dtype=float)
    def other(self):
        return self.w
    @other.write
    def other(self, value):
        self.w = value
    @command(dtype_in=float, dtype_out=float)
    def Add(self, number):
        return number + 1
    @command
    def Fail(self):
        raise RuntimeError("it fails")

run((Plain,))
"""
OURS = PLAIN.replace("import tango", "import tango, tango_telemetry_server", 1)
# Of cppTango itself, in the names of both families. 10.0 and 10.1 know no topics.
CPPTANGO = {
    "TANGO_TELEMETRY_TRACING_EXPORTERS": "http",
    "TANGO_TELEMETRY_TOPICS": "all",
    "TANGO_TELEMETRY_KERNEL_ENABLE": "on",
    "TANGO_TELEMETRY_LOGS_EXPORTER": "none",
}

CALLS = """
import sys, threading
import tango

def with_replies(proxy, submit):
    done = threading.Event()
    submit(lambda event: done.set())
    while not done.is_set():
        tango.ApiUtil.instance().get_asynch_replies(100)

def call(name, other_name):
    p = tango.DeviceProxy(name)
    p.command_inout("Add", 1.0)
    p.Add(2.0)
    p.read_attribute("value")
    p.value
    p.write_attribute("value", 2.0)
    p.value = 3.0
    p.read_attributes(["value", "other"])
    p.write_attributes([("value", 1.0), ("other", 2.0)])
    p.write_read_attribute("value", 4.0)
    p.write_read_attributes([("value", 1.0)], ["other"])
    try:
        p.Fail()
    except tango.DevFailed:
        pass
    p.command_inout_reply(p.command_inout_asynch("Add", 1.0), 5000)
    p.read_attribute_reply(p.read_attribute_asynch("value"), 5000)
    p.write_attribute_reply(p.write_attribute_asynch("value", 1.0), 5000)
    p.read_attributes_reply(p.read_attributes_asynch(["value", "other"]), 5000)
    if threading.current_thread() is threading.main_thread():  # PyTango 10.3.1 may crash where several threads do this
        with_replies(p, lambda callback: p.command_inout_asynch("Add", 1.0, callback))
    if not tango.__version__.startswith("10.0."):  # whose servers crash there, whoever calls
        config = p.get_attribute_config("value")
        config.label = "label"
        p.set_attribute_config(config)
    group = tango.Group("all")
    group.add([name, other_name])
    group.command_inout("Add", 1.0)
    group.read_attribute("value")
    group.read_attributes(["value", "other"])
    group.write_attribute("value", 3.0)
    p.read_attribute("State")
    p.command_inout("Status")
    return p
"""  # noqa: E501
CLIENT = f"""
import asyncio
{CALLS}
import tango_telemetry_client
from opentelemetry import baggage, context
from tango_telemetry import get_context_bridge, get_tracer
from tango.asyncio import DeviceProxy as AsyncProxy
from tango.futures import DeviceProxy as FutureProxy

assert get_context_bridge().name == "native+giop"
names = sys.argv[1:]
tracer = get_tracer("my.app")

async def call_in_tasks():
    proxy = await AsyncProxy(names[0])
    await asyncio.gather(*(proxy.command_inout("Add", float(i)) for i in range(5)))
    await proxy.write_attribute("value", 1.0)

def call_in_thread():
    with tracer.start_as_current_span("thread"):
        call(*names)

with tracer.start_as_current_span("operation"):
    call(*names)
    context.attach(baggage.set_baggage("batch", "42"))
    call(*names).ping()
threads = [threading.Thread(target=call_in_thread) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with tracer.start_as_current_span("tasks"):
    asyncio.run(call_in_tasks())
with tracer.start_as_current_span("futures"):
    proxy = FutureProxy(names[0])
    proxy.command_inout("Add", 1.0, wait=False).result()
    proxy.read_attribute("value", wait=False).result()
with tracer.start_as_current_span("restart"):
    tango.DeviceProxy(names[0].replace("test/plain/1", "dserver/Plain_test/test")).command_inout("DevRestart", "test/plain/2")
    tango.DeviceProxy(names[1]).command_inout("Add", 1.0)
"""  # noqa: E501
BUILTIN = f"""
{CALLS}
names = sys.argv[1:]
call(*names)
threads = [threading.Thread(target=call, args=names) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
# What cppTango says of one request, and the calls of ours that make it.
MADE_BY = {
    "command_inout_4": ("command_inout ", "command_inout_asynch "),
    "read_attributes_5": ("read_attribute",),
    "write_attributes_4": ("write_attribute", "write_read_attribute"),
    "write_read_attributes_5": ("write_read_attribute",),
    "set_attribute_config_5": ("set_attribute_config",),
}


def count(spans: Sequence[ReceivedSpan], kind: str) -> int:
    """How many SERVER spans of one function of cppTango's there are."""
    return sum(f"::{kind}" in span.name and span.kind == "SERVER" for span in spans)


def check_children(spans: Sequence[ReceivedSpan]) -> Counter[str]:
    """Each SERVER span of cppTango's in a trace of ours is a child of the right span of ours; gives their
    kinds.
    """
    ours = {span.span_id: span for span in spans if span.scope != "tango.cpp"}
    cpptangos = {span.span_id: span for span in spans if span.scope == "tango.cpp"}
    traces = {span.trace_id for span in ours.values()}
    found: Counter[str] = Counter()
    for span in cpptangos.values():
        if span.kind != "SERVER":
            continue
        assert span.trace_id in traces, f"{span.name} makes a trace of its own"
        if span.parent_span_id in cpptangos:
            continue  # one function of cppTango's that calls another
        assert span.parent_span_id in ours, f"the parent of {span.name} was never exported"
        parent = ours[span.parent_span_id]
        assert parent.trace_id == span.trace_id
        assert parent.kind == "CLIENT"
        kind = next((kind for kind in MADE_BY if f"::{kind}" in span.name), None)
        assert kind is not None, span.name
        assert parent.name.startswith(MADE_BY[kind]), (span.name, parent.name)
        found[kind] += 1
    return found


@pytest.mark.parametrize("bridge", ["auto", "native"])
def test_a_server_in_cpp_continues_the_span_that_calls(bridge: str) -> None:
    with System(bridge) as system:
        own = {**CPPTANGO, "TANGO_TELEMETRY_TRACING_ENDPOINTS": system.receiver.endpoint}
        own["PYTANGO_DISABLE_TELEMETRY_PATCHING"] = "on"
        server = system.start_server(PLAIN, "Plain/test", "test/plain/1", "test/plain/2", **own)
        system.receiver.clear()
        system.run_client(CLIENT, *map(server.proxy_name, ("test/plain/1", "test/plain/2")))
        commands = 2 * 8 + 8 * 7 + 5 + 1 + 1  # 10 rounds; five tasks, a future, and one after the restart
        if PYTANGO < (10, 1):  # which sends every five seconds, and nothing at its end
            system.wait_for(lambda spans: count(spans, "command_inout_4") >= commands, 15)
        system.stop_server(server)  # sends what it has
        found = check_children(system.receiver.spans)
    assert found["command_inout_4"] == commands, found
    assert found["set_attribute_config_5"] == (10 if PYTANGO >= (10, 1) else 0), found
    assert found["read_attributes_5"] == 10 * 10 + 1, found
    assert found["write_attributes_4"] >= 10 * 6, found
    assert found["write_read_attributes_5"] == 10 * 2, found


@pytest.mark.parametrize("logging", ["", "tracing,logging"])
def test_the_builtin_tracing_is_continued(logging: str) -> None:
    with System() as system:
        settings = {
            "TANGO_TELEMETRY_TYPES": logging,
            "TANGO_TELEMETRY_LOGGING_EXPORTERS": logging and "console",
        }
        server = system.start_server(OURS, "Plain/test", "test/plain/1", "test/plain/2", **settings)
        system.clear()
        own = {**CPPTANGO, "TANGO_TELEMETRY_TRACING_ENDPOINTS": system.receiver.endpoint}
        system.run_client(BUILTIN, *map(server.proxy_name, ("test/plain/1", "test/plain/2")), **own)
        spans = system.collect()
    known = {span.span_id: span for span in spans}
    served = [span for span in spans if span.kind == "SERVER" and span.service == "Plain"]
    assert Counter(span.name for span in served) == {
        "Plain.Add": 6 + 4 * 5,
        "Plain.Fail": 5,
        "Plain.read value": 50,
        "Plain.read other": 25,
        "Plain.write value": 40,
        "Plain.write other": 5,
        "Plain.dev_state": 5,
        "Plain.dev_status": 5,
    }
    for span in served:
        parent = known.get(span.parent_span_id)
        assert parent is not None, f"the parent of {span.name} was never exported"
        assert parent.trace_id == span.trace_id
        assert (parent.kind, parent.scope) == ("CLIENT", "tango.cpp"), (span.name, parent.name, parent.scope)


CHOICES = """
import os
import tango
import tango_telemetry_client
import tango_telemetry_native as native
from tango_telemetry import TelemetryConfig, get_context_bridge
from tango_telemetry_client import TangoClientInstrumentor

os.environ["PYTANGO_TELEMETRY_CONTEXT_BRIDGE"] = ""
instrumentor = TangoClientInstrumentor()

def choose(**settings):
    instrumentor.uninstrument()
    off = native.status()["identification"]
    assert not (off["client"] or off["server"] or off["tried"]), off
    instrumentor.instrument(config=TelemetryConfig(enabled=True, **settings))
    status = native.status()["identification"]
    assert status["client"] == status["server"] == (get_context_bridge().name == "native+giop"), status
    return get_context_bridge().name

cpptangos = "pytango+giop" if TEN_THREE else "giop"
assert choose() == "native+giop"
assert choose(types=("tracing", "logging")) == "native+giop"
assert choose(context_bridge="native") == "native+giop"
assert choose(context_bridge="giop") == "giop"
assert choose(context_bridge="pytango") == "pytango"
assert choose(context_bridge="noop") == "noop"
assert choose(kernel=True) == "pytango+giop"
assert choose() == "native+giop"
native.identification.install = lambda **how: False  # the import is not there
assert choose() == cpptangos
"""


def test_when_the_identification_is_ours_and_when_cpptangos() -> None:
    with System() as system:
        system.run_client(f"TEN_THREE = {PYTANGO >= (10, 3)}\n" + CHOICES)
