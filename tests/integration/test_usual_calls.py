"""The usual call in C++: it is taken, it says what the call in Python says, and it holds no longer than what
it rests on.
"""

from __future__ import annotations

import pytest
from begun_in_python import IN_CLIENT, IN_SERVER
from support import System

pytest.importorskip("tango_telemetry_native")

SERVER = f"""{IN_SERVER}
from tango.server import Device, attribute, command, run

class Counter(Device):
    @command
    def Go(self): pass
    @command
    def Off(self): self.disable_telemetry()
    @command
    def On(self): self.enable_telemetry()
    @attribute
    def level(self) -> int: return 1
    @command(dtype_out=int)
    def BegunInPython(self): return len(begun)

run([Counter])
"""

CLIENT = f"""{IN_CLIENT}
from tango_telemetry_client import TangoClientInstrumentor
tracer = tango_telemetry.get_tracer("app")
"""


@pytest.fixture
def system():
    with System() as system:
        yield system


def run(system: System, script: str, **environment: str) -> str:
    environment["PYTANGO_TELEMETRY_NATIVE_CALLS"] = "on"
    server = system.start_server(SERVER, "Counter/test", "sys/counter/1", **environment)
    system.clear()
    return system.run_client(CLIENT + script, server.proxy_name("sys/counter/1"), **environment)


@pytest.mark.parametrize("spans", ["on", "off"])
@pytest.mark.parametrize("bridge", ["auto", "giop"])
def test_each_place_is_begun_in_python_once(system: System, bridge: str, spans: str) -> None:
    output = run(
        system,
        """
with tracer.start_as_current_span("operation"):
    proxy.command_inout("BegunInPython")
    begun.clear()
    for _ in range(20):
        proxy.command_inout("Go")
        proxy.read_attribute("level")
        proxy.ping()
print("client", len(begun))
print("server", proxy.command_inout("BegunInPython"))
""",
        PYTANGO_TELEMETRY_CONTEXT_BRIDGE=bridge,
        PYTANGO_TELEMETRY_NATIVE_SPANS=spans,
    )
    assert "client 3" in output
    # Go, level and BegunInPython once on each thread that serves this client, and the start of the device.
    assert int(output.partition("server ")[2].split()[0]) < 15
    system.assert_forest(
        "operation  INTERNAL  app\n"
        "  command_inout BegunInPython  CLIENT  pytango.client\n"
        "    Counter.BegunInPython  SERVER  Counter\n"
        + (
            "  command_inout Go  CLIENT  pytango.client\n"
            "    Counter.Go  SERVER  Counter\n"
            "  read_attribute level  CLIENT  pytango.client\n"
            "    Counter.read level  SERVER  Counter\n"
            "  ping  CLIENT  pytango.client\n"
        )
        * 20
        + "command_inout BegunInPython  CLIENT  pytango.client\n"
        "  Counter.BegunInPython  SERVER  Counter\n",
    )


def test_a_call_that_is_not_sampled_is_begun_in_python_once_for_all_places(system: System) -> None:
    output = run(
        system,
        """
begun.clear()
for _ in range(3):
    proxy.command_inout("Go")
    proxy.command_inout("Go")
    proxy.read_attribute("level")
with tracer.start_as_current_span("operation"):
    proxy.command_inout("Go")
print("client", len(begun))
""",
        OTEL_TRACES_SAMPLER="always_off",
    )
    assert "client 2" in output
    system.assert_forest("")


def test_places_are_told_apart_where_only_some_calls_are_sampled(system: System) -> None:
    run(
        system,
        """
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
dropped = NonRecordingSpan(SpanContext(1, 1, False, TraceFlags(0)))

def go():
    proxy.command_inout("Go")

for _ in range(3):
    with use_span(dropped):
        proxy.command_inout("Go")
    with tracer.start_as_current_span("operation"):
        go()
        proxy.command_inout("Go")
""",
    )
    call = "  command_inout Go  CLIENT  pytango.client\n    Counter.Go  SERVER  Counter\n"
    spans = system.assert_forest(f"operation  INTERNAL  app\n{call}{call}" * 3)
    places = [
        (span.attributes["code.function.name"], span.attributes["code.line.number"])
        for span in spans
        if span.name == "command_inout Go"
    ]
    assert len(places) == 6
    assert len(set(places)) == 2
    assert {name for name, _ in places} == {"go", "<module>"}


CHANGES = """
def go(title):
    with tracer.start_as_current_span(title):
        proxy.command_inout("Go")

go("usual"), go("usual again")
tango_telemetry.configure(exclude=("command:Go",))
go("excluded")
tango_telemetry.configure(exclude=())
go("no longer excluded")
with suppress_instrumentation():
    proxy.command_inout("Go")
proxy.command_inout("Off")
go("device off")
proxy.command_inout("On")
go("device on")
TangoClientInstrumentor().uninstrument()
hooked = []
TangoClientInstrumentor().instrument(request_hook=lambda span, subject, operation: hooked.append(operation))
tracer = tango_telemetry.get_tracer("app")
go("hooked")
go("hooked again")
print("hooked", hooked)
tango_telemetry.set_tracer_provider_factory(None)
go("another tracer")
"""


@pytest.mark.parametrize("spans", ["on", "off"])
@pytest.mark.parametrize("bridge", ["auto", "giop"])
def test_a_plan_holds_until_what_it_rests_on_changes(system: System, bridge: str, spans: str) -> None:
    output = run(
        system, CHANGES, PYTANGO_TELEMETRY_CONTEXT_BRIDGE=bridge, PYTANGO_TELEMETRY_NATIVE_SPANS=spans
    )
    assert "hooked ['command_inout', 'command_inout']" in output
    usual = "{}  INTERNAL  app\n  command_inout Go  CLIENT  pytango.client\n    Counter.Go  SERVER  Counter\n"
    switch = "command_inout {0}  CLIENT  pytango.client\n  Counter.{0}  SERVER  Counter\n"
    system.assert_forest(
        usual.format("usual")
        + usual.format("usual again")
        + "excluded  INTERNAL  app\n  Counter.Go  SERVER  Counter\n"
        + usual.format("no longer excluded")
        + "Counter.Go  SERVER  Counter\n"  # suppressed in the client
        + switch.format("Off")
        + "device off  INTERNAL  app\n  command_inout Go  CLIENT  pytango.client\n"
        + "command_inout On  CLIENT  pytango.client\n"
        + usual.format("device on")
        + usual.format("hooked")
        + usual.format("hooked again")
        + usual.format("another tracer")
    )


def test_a_device_in_the_same_process_and_a_failure(system: System) -> None:
    """A caller in this process, and calls that fail, say the same the first time and the second."""
    server = system.start_server(
        """
import tango_telemetry_server
import tango
from tango.server import Device, command, run

class Inner(Device):
    @command
    def Fail(self): raise ValueError("no")

class Outer(Device):
    inner = None
    @command(dtype_in=str)
    def Prepare(self, name):
        Outer.inner = tango.DeviceProxy(name)
    @command
    def Go(self):
        for _ in range(2):
            try:
                Outer.inner.command_inout("Fail")
            except tango.DevFailed:
                pass

run([Outer, Inner])
""",
        "Both/test",
        "Outer::sys/outer/1,Inner::sys/inner/1",
    )
    names = [server.proxy_name(name) for name in ("sys/outer/1", "sys/inner/1")]
    system.run_client(CLIENT + "proxy.command_inout('Prepare', sys.argv[2])", *names)
    system.clear()
    system.run_client(CLIENT + "for _ in range(2): proxy.command_inout('Go')", *names)
    fail = (
        "    command_inout Fail  CLIENT  Outer  ! PyDs_PythonError\n"
        "      Inner.Fail  SERVER  Inner  ! ValueError\n"
    )
    go = "command_inout Go  CLIENT  pytango.client\n  Outer.Go  SERVER  Outer\n" + fail + fail
    system.assert_forest(go + go)
