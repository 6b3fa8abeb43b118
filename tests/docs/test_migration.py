"""Each line of docs/how-to/migration.md, tried: one system with PyTango's built-in tracing, and the same with
ours.
"""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from integration.support import PYTANGO, Server, System, find_span
from receiver import ReceivedSpan

pytestmark = pytest.mark.skipif(PYTANGO < (10, 3), reason="the page is about the built-in tracing of 10.3")

PAGE = (Path(__file__).parents[2] / "docs/how-to/migration.md").read_text()
SIDES = ("built-in", "ours")
DEVICES = tuple(f"test/motor/{number}" for number in range(1, 5))
CPPTANGO = "tango.cpp"
"""The scope of cppTango's own spans."""
SERVER = """
    {first}
    import sys
    import threading
    import tango
    from tango.server import Device, attribute, command
    {last}

    class Motor(Device):
        is_on = False

        @attribute(dtype=bool)
        def isOn(self):
            return self.is_on

        @isOn.write
        def isOn(self, on):
            self.is_on = on

        @command
        def TurnOn(self):
            pass

        @command
        def Fail(self):
            raise RuntimeError("first line\\nsecond line")

        @command
        def AskOther(self, other: str):
            tango.DeviceProxy(other).command_inout("TurnOn")

        @command
        def AskOnThread(self, other: str):
            # Not the handler: that is the device's wherever it is called.
            thread = threading.Thread(target=lambda: tango.DeviceProxy(other).command_inout("TurnOn"))
            thread.start()
            thread.join()

        @command(dtype_out=[str])
        def Threads(self):
            return [thread.name for thread in threading.enumerate()]

        @command(dtype_out=[str])
        def Methods(self):
            return sorted(n for n in dir(self) if "telemetry" in n.lower() or "kernel_tracing" in n)

        @command(dtype_out=str)
        def Span(self):
            with self.get_telemetry_tracer().start_as_current_span("own") as span:
                return type(span).__name__

    Motor.run_server()
"""
CLIENT = """
    {first}
    import sys
    import tango
    {last}

    def my_function():
        motor = tango.DeviceProxy(sys.argv[1])
        motor.command_inout("TurnOn")
        motor.read_attribute("isOn")
        motor.write_attribute("isOn", True)
        motor.command_inout("AskOther", sys.argv[2])
        motor.command_inout("AskOnThread", sys.argv[2])
        try:
            motor.command_inout("Fail")
        except tango.DevFailed:
            pass

    my_function()
"""


def program(source: str, side: str) -> str:
    """The program without us, with us, or with our import behind the others."""
    ours = "import tango_telemetry_server" if "run_server" in source else "import tango_telemetry_client"
    return source.format(first=ours if side == "ours" else "pass", last=ours if side == "late" else "pass")


@dataclass
class Seen:
    system: System
    server: Server
    spans: list[ReceivedSpan]

    def ask(self, command: str, *arguments: str) -> str:
        """The answer of the first device, to a client that nobody traces."""
        script = (
            "import sys, tango\na = tango.DeviceProxy(sys.argv[1])\nprint(a.command_inout(*sys.argv[2:]))"
        )
        name = self.server.proxy_name(DEVICES[0])
        return self.system.run_client(script, name, command, *arguments, TANGO_TELEMETRY_ENABLE="")

    def server_spans(self, *names: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.kind == "SERVER" and span.name in names]


def system_of(**more: str) -> System:
    system = System(**more)
    system._environment |= {
        "TANGO_TELEMETRY_TRACES_EXPORTER": "",
        "TANGO_TELEMETRY_TRACES_ENDPOINT": "",
        "TANGO_TELEMETRY_TRACING_EXPORTERS": "http",
        "TANGO_TELEMETRY_TRACING_ENDPOINTS": system.receiver.endpoint,
        "TANGO_TELEMETRY_TYPES": "tracing",
    }
    return system


def see(system: System, servers: str, client: str) -> Seen:
    """Start the server, run the client, and return what was sent."""
    server = system.start_server(program(SERVER, servers), "Motor/test", *DEVICES)
    names = [server.proxy_name(device) for device in DEVICES[:2]]
    system.run_client(program(CLIENT, client), *names)
    seen = Seen(system, server, [])
    deadline = time.monotonic() + 20
    while len({s.name for s in seen.spans} & {"Motor.Fail", "Motor.AskOnThread"}) < 2:
        assert time.monotonic() < deadline, sorted({span.name for span in seen.spans})
        time.sleep(0.2)
        seen.spans = system.collect()
    return seen


@pytest.fixture(scope="module")
def both() -> Iterator[dict[str, Seen]]:
    with system_of() as one, system_of() as other:
        yield {side: see(system, side, side) for side, system in zip(SIDES, (one, other), strict=True)}


def row(text: str) -> None:
    """Each row of the page's table is tried below; this is the one with `text`."""
    assert sum(text in line for line in PAGE.splitlines() if line.startswith("|")) == 1, text


def clients(seen: Seen) -> list[ReceivedSpan]:
    """Client spans but for cppTango's own."""
    return [span for span in seen.spans if span.kind == "CLIENT" and span.scope != CPPTANGO]


def test_the_name_of_a_client_span(both: dict[str, Seen]) -> None:
    row("client span named after the function that called")
    assert "my_function" in {span.name for span in clients(both["built-in"])}
    assert {"command_inout TurnOn", "read_attribute isOn", "write_attribute isOn"} <= {
        span.name for span in clients(both["ours"])
    }
    assert "my_function" not in {span.name for span in both["ours"].spans}


def test_whose_calls_a_devices_are(both: dict[str, Seen]) -> None:
    row("a device's calls belong to `pytango.client`")
    assert {span.service for span in clients(both["built-in"])} == {"pytango.client"}
    calls = [span for span in clients(both["ours"]) if span.name == "command_inout TurnOn"]
    # From the script, in the handler, and on a thread of the device's.
    assert sorted(span.service for span in calls) == ["Motor", "Motor/test", "pytango.client"]


def test_reads_and_writes(both: dict[str, Seen]) -> None:
    row("read and write of an attribute both `Motor.isOn`")
    assert len(both["built-in"].server_spans("Motor.isOn")) == 2
    assert len(both["ours"].server_spans("Motor.read isOn", "Motor.write isOn")) == 2
    assert both["ours"].server_spans("Motor.isOn") == []


def test_attributes(both: dict[str, Seen]) -> None:
    row("no device, command or attribute name")
    row("`code.filepath`, `code.lineno`")
    (theirs,) = both["built-in"].server_spans("Motor.TurnOn")[:1]
    (ours,) = both["ours"].server_spans("Motor.TurnOn")[:1]
    assert not any("device" in name or "command" in name for name in theirs.attributes)
    assert ours.attributes["tango.device.name"] in DEVICES
    assert ours.attributes["tango.command.name"] == "TurnOn"
    (read,) = both["ours"].server_spans("Motor.read isOn")
    assert read.attributes["tango.attribute.name"] == "isOn"
    assert {"code.filepath", "code.lineno"} <= set(theirs.attributes)
    assert {"code.file.path", "code.line.number"} <= set(ours.attributes)
    assert not {"code.filepath", "code.lineno"} & set(ours.attributes)


def test_spans_of_cpptango(both: dict[str, Seen]) -> None:
    row("cppTango's kernel spans between client and server")
    assert any(span.scope == CPPTANGO for span in both["built-in"].spans)
    assert not any(span.scope == CPPTANGO for span in both["ours"].spans)
    with system_of(TANGO_TELEMETRY_KERNEL_ENABLE="on") as system:
        kernel = see(system, "ours", "ours")
        assert any(span.scope == CPPTANGO for span in kernel.spans)


def test_threads(both: dict[str, Seen]) -> None:
    row("one exporter, two threads for each device")
    counts = {}
    for side in SIDES:
        names = ast.literal_eval(both[side].ask("Threads"))
        counts[side] = [
            name for name in names if re.search(r"Otel|otel|tango-telemetry|tango_telemetry", name)
        ]
    assert len(counts["built-in"]) >= len(DEVICES), counts
    assert len(counts["ours"]) <= 2, counts


def test_the_text_of_a_failure(both: dict[str, Seen]) -> None:
    row("status text is the whole `DevFailed`")
    theirs, ours = (both[side].server_spans("Motor.Fail")[0] for side in SIDES)
    assert theirs.status == ours.status == "ERROR"
    assert len(theirs.status_message.splitlines()) > 1
    assert ours.status_message == "RuntimeError: first line second line"
    (event,) = [event for event in ours.events if event.name == "exception"]
    assert "second line" in event.attributes["exception.stacktrace"]


def test_methods_keep_their_names(both: dict[str, Seen]) -> None:
    found = [ast.literal_eval(both[side].ask("Methods")) for side in SIDES]
    theirs, ours = ({name for name in names if name[0] != "_"} for names in found)
    named = set(re.findall(r"`((?:create|get)_telemetry\w+)`", PAGE))
    more = set(re.findall(r"`((?:is|enable|disable)_telemetry\w*)`", PAGE))
    assert named == theirs
    assert theirs | more <= ours
    assert len(more) == 3


@pytest.mark.parametrize("side", ["ours", "late"])
def test_order_does_not_matter(side: str, both: dict[str, Seen]) -> None:
    with system_of() as system:
        seen = see(system, side, side)
        assert shape(seen) == shape(both["ours"])
        assert "Warning" not in seen.server.output


def shape(seen: Seen) -> list[tuple[str, str]]:
    # A second client, of the fixture's, may have asked meanwhile.
    return sorted({(span.name, span.service) for span in seen.spans if "Motor.Threads" not in span.name})


def test_nothing_is_traced_twice_and_uninstrument_puts_theirs_back() -> None:
    script = """
        import sys
        import tango_telemetry_client
        import tango

        def my_function():
            tango.DeviceProxy(sys.argv[1]).ping()

        my_function()
        tango_telemetry_client.TangoClientInstrumentor().uninstrument()
        my_function()
    """
    with system_of() as system:
        server = system.start_server(program(SERVER, "ours"), "Motor/test", DEVICES[0])
        system.clear()
        system.run_client(script, server.proxy_name(DEVICES[0]))
        found = [
            span.name
            for span in system.collect()
            if span.service == "pytango.client" and span.scope != CPPTANGO
        ]
        assert sorted(found) == [*("DeviceProxy", "my_function", "my_function", "ping")]


@pytest.mark.parametrize("side", SIDES)
def test_patching_is_switched_off_for_both(side: str) -> None:
    with system_of(PYTANGO_DISABLE_TELEMETRY_PATCHING="on") as system:
        server = system.start_server(program(SERVER, side), "Motor/test", *DEVICES)
        names = [server.proxy_name(device) for device in DEVICES[:2]]
        system.run_client(program(CLIENT, side), *names)
        time.sleep(1.5)
        made_in_python = [span.name for span in system.receiver.spans if span.scope != CPPTANGO]
        assert made_in_python == []


@pytest.mark.parametrize("enabled", ["on", "off"])
def test_a_tracer_always_gives_a_span(enabled: str) -> None:
    with system_of(TANGO_TELEMETRY_ENABLE=enabled) as system:
        server = system.start_server(program(SERVER, "ours"), "Motor/test", *DEVICES)
        assert Seen(system, server, []).ask("Span").strip() != "NoneType"


@pytest.mark.parametrize(("servers", "client"), list(itertools.permutations(SIDES)))
def test_a_mixed_system_has_one_trace(servers: str, client: str) -> None:
    with system_of() as system:
        seen = see(system, servers, client)
        called = "my_function" if client == "built-in" else "command_inout TurnOn"
        callers = {span.trace_id for span in clients(seen) if span.name == called and not span.parent_span_id}
        served = find_span([*seen.spans][::-1], "Motor.Fail")
        assert served.trace_id in {s.trace_id for s in seen.spans if s.kind == "CLIENT"}
        assert {s.trace_id for s in seen.server_spans("Motor.TurnOn")} & callers
        assert {s.span_id for s in seen.spans} >= {served.parent_span_id}


EXIT = """
    {first}
    import sys
    import tango
    try:
        tango.DeviceProxy("tango://127.0.0.1:1/test/motor/1#dbase=no").ping()
    except tango.DevFailed:
        pass
"""


def test_an_exit_with_a_collector_that_is_away() -> None:
    row("exit waits 8 to 14 s for a collector that is away")
    with system_of() as system:
        given = {
            "TANGO_TELEMETRY_TRACING_EXPORTERS": "grpc",
            "TANGO_TELEMETRY_TRACING_ENDPOINTS": "grpc://127.0.0.1:9",
            "PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT": "",
        }
        took = {}
        for state in ("off", "on"):
            path = system.write(EXIT.format(first="import tango_telemetry_client"))
            began = time.monotonic()
            environment = system.environment(**given, TANGO_TELEMETRY_ENABLE=state)
            subprocess.run([sys.executable, str(path)], env=environment, timeout=60, check=True)
            took[state] = time.monotonic() - began
        # The bound, and what a busy machine and the imports of an exporter take.
        assert took["on"] - took["off"] < 1.0 + 2.0
