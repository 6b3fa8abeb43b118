"""Telemetry switched per device and at run time: later spans follow, and the trace stays one through an
untraced device.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from integration.server_operation import run
from integration.support import PYTANGO, Server, System, assert_trace
from receiver import ReceivedSpan, Receiver

SOURCE = """
import sys
import tango_telemetry_server
import tango
from tango.server import Device, command, run
from tango_telemetry_server import TangoServerInstrumentor

NEXT = sys.argv.pop()

class Link(Device):
    def init_device(self):
        super().init_device()
        self.proxy = None

    @command(dtype_in=str, dtype_out=bool)
    def Switch(self, what):
        getattr(self, what)()
        return self.is_telemetry_enabled()

    @command
    def Go(self):
        if NEXT != "-":
            self.proxy = self.proxy or tango.DeviceProxy(NEXT)
            self.proxy.command_inout("Go")

    @command
    def Uninstrument(self):
        TangoServerInstrumentor().uninstrument()

    @command
    def Instrument(self):
        TangoServerInstrumentor().instrument()

class Special(Link):
    @command
    def More(self):
        self.Go()

run((Link, Special))
"""
FIRST, LAST = "test/link/1", "test/link/2"
THROUGH = """
command_inout Go      CLIENT  pytango.client
  Link.Go             SERVER  Link
    command_inout Go  CLIENT  Link
      Link.Go         SERVER  Link
"""
AROUND = """
command_inout Go      CLIENT  pytango.client
  Link.Go             SERVER  Link
"""


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with System() as system:
        yield system


@pytest.fixture(scope="module")
def chain(system: System) -> Server:
    """A device that calls another one, each in a server of its own."""
    last = system.start_server(SOURCE, "Link/last", f"Link::{LAST}", "Special::test/s/1", arguments=["-"])
    first = system.start_server(
        SOURCE, "Link/first", f"Link::{FIRST}", "Special::test/special/1", arguments=[last.proxy_name(LAST)]
    )
    run(system, first, "device.command_inout('Go'); device.command_inout('Go')", FIRST)  # has its proxy now
    return first


# Each step is a trace of its own, under a span with its name.
CLIENT = """
import sys
import tango_telemetry_client, tango
from tango_telemetry import get_tracer
first, special = (tango.DeviceProxy(name) for name in sys.argv[2:])
special.get_command_list()

def step(name, device=first, command="Go"):
    with get_tracer("my.app").start_as_current_span(name):
        device.command_inout(command)

exec(sys.argv[1])
"""


def run_steps(system: System, chain: Server, code: str) -> list[ReceivedSpan]:
    system.clear()
    system.run_client(CLIENT, code, chain.proxy_name(FIRST), chain.proxy_name("test/special/1"))
    spans = system.collect()
    system.clear()
    return spans


def assert_switched(system: System, chain: Server, off: str, on: str) -> None:
    spans = run_steps(system, chain, f"step('before'); {off}; step('without'); {on}; step('after')")
    assert_trace(spans, "before", THROUGH)
    assert_trace(spans, "without", AROUND)
    assert_trace(spans, "after", THROUGH)


def test_methods_of_the_device(system: System, chain: Server) -> None:
    off, on = "assert not first.Switch('disable_telemetry')", "assert first.Switch('enable_telemetry')"
    assert_switched(system, chain, off, on)


@pytest.mark.skipif(PYTANGO < (10, 3), reason="telemetry is reconfigured through a proxy from 10.3 on")
@pytest.mark.parametrize(
    ("off", "on"),
    [
        ("first.stop_telemetry()", "first.start_telemetry()"),
        ("first.set_telemetry_tracing(False)", "first.set_telemetry_tracing(True)"),
        ("first.set_telemetry_topics(['polling'])", "first.set_telemetry_topics(['user'])"),
    ],
)
def test_through_the_proxy(system: System, chain: Server, off: str, on: str) -> None:
    assert_switched(system, chain, off, on)


@pytest.mark.skipif(PYTANGO < (10, 3), reason="telemetry is reconfigured through a proxy from 10.3 on")
def test_endpoints_through_the_proxy(system: System, chain: Server) -> None:
    other = Receiver("http")
    try:
        code = f"""
from tango.telemetry import TelemetryEndpoint as E, TelemetryExporter as X
other = E(X.HTTP, {other.endpoint!r})
first.add_telemetry_tracing_endpoint(other)
step("both")
first.set_telemetry_tracing_endpoints([other])
step("other")
first.set_telemetry_tracing_endpoints([E(X.CONSOLE, "cout")])
step("again")
"""
        spans = run_steps(system, chain, code)
        assert_trace(spans, "both", THROUGH)
        assert_trace(spans, "again", THROUGH)
        (root,) = (span for span in spans if span.name == "other")
        received = [span.name for span in spans if span.trace_id == root.trace_id and span.service == "Link"]
        assert received == ["Link.Go"]  # the last device's: the first one sends to the other receiver alone
        names = ["Link.Go", "Link.Go", "command_inout Go", "command_inout Go"]
        assert sorted(span.name for span in other.spans) == names
    finally:
        other.close()


def test_uninstrument_and_instrument_while_the_server_runs(system: System, chain: Server) -> None:
    code = """
step("switching", command="Uninstrument")
step("without", special, "More")
step("with", command="Instrument")
step("after")
"""
    spans = run_steps(system, chain, code)
    assert_trace(
        spans,
        "switching",
        """
        command_inout Uninstrument  CLIENT  pytango.client
          Link.Uninstrument         SERVER  Link
        """,
    )
    # `Special` has copies of the wrappers of `Link`.
    assert not [span.name for span in spans if span.service == "Special"]
    assert_trace(spans, "after", THROUGH)


@pytest.mark.skipif(PYTANGO < (10, 3), reason="the properties are new in 10.3")
def test_device_properties() -> None:
    other = Receiver("http")
    try:
        with System() as system:
            system.start_database()
            properties = f"""
            import tango
            database = tango.Database()
            info = tango.DbDevInfo()
            for number in (1, 2, 3):
                info.name, info._class, info.server = f"test/link/{{number}}", "Link", "Link_test/test"
                database.add_device(info)
            database.put_device_property("test/link/2", {{"telemetry_enable": ["false"]}})
            database.put_device_property("test/link/3", {{
                "telemetry_tracing_exporters": ["http"],
                "telemetry_tracing_endpoints": ["{other.endpoint}"]}})
            """
            system.run_client(properties, TANGO_TELEMETRY_ENABLE="off")
            server = system.start_server(SOURCE, "Link/test", arguments=["-"])
            code = "[device.command_inout('Go') for device in devices]"
            run(system, server, code, *(f"test/link/{number}" for number in (1, 2, 3)))
            found = [span for span in system.collect() if span.name == "Link.Go"]
            assert [span.attributes["tango.device.name"] for span in found] == ["test/link/1"]
            assert "Link.Go" in {span.name for span in other.spans}
            system.clear()
    finally:
        other.close()


@pytest.mark.skipif(PYTANGO < (10, 3), reason="IDL v6 without cppTango's own spans is new in 10.3")
def test_a_restart_without_the_native_package() -> None:
    """cppTango's telemetry of the admin device is off (10.3.1): with IDL v6 alone it has to be
    started, once.
    """
    with System("pytango") as system:
        server = system.start_server(
            SOURCE, "Link/test", f"Link::{LAST}", "Special::test/s/3", arguments=["-"]
        )
        device, admin = (server.proxy_name(name) for name in (LAST, "dserver/Link_test/test"))
        script = f"""
        import sys
        import tango, tango_telemetry_client
        from tango_telemetry import get_tracer
        device, admin = (tango.DeviceProxy(name) for name in sys.argv[1:])
        device.command_inout("Go")
        for name in ("before", "after"):
            with get_tracer("my.app").start_as_current_span(name):
                admin.command_inout("DevRestart", {LAST!r})
            admin.start_telemetry()
        """
        system.run_client(script, device, admin)
        spans = system.collect()
        assert_trace(spans, "before", "command_inout DevRestart  CLIENT  pytango.client")
        assert_trace(
            spans,
            "after",
            """
            command_inout DevRestart  CLIENT  pytango.client
              Link.delete_device      SERVER  Link
              Link.init_device        SERVER  Link
            """,
        )
