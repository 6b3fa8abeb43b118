"""Telemetry switched per device and at run time: later spans follow, and the trace stays one through an untraced device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from integration.server_operation import assert_operation, run
from integration.support import PYTANGO, Server, System, find_span
from receiver import Receiver

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
    run(system, first, "device.command_inout('Go'); device.command_inout('Go')", FIRST)
    return first


def go(system: System, chain: Server, expected: str) -> None:
    run(system, chain, "device.command_inout('Go')", FIRST)
    assert_operation(system, expected)


def test_methods_of_the_device(system: System, chain: Server) -> None:
    go(system, chain, THROUGH)
    assert run(system, chain, "print(device.Switch('disable_telemetry'))", FIRST) == "False\n"
    go(system, chain, AROUND)
    assert run(system, chain, "print(device.Switch('enable_telemetry'))", FIRST) == "True\n"
    go(system, chain, THROUGH)


@pytest.mark.skipif(PYTANGO < (10, 3), reason="telemetry is reconfigured through a proxy from 10.3 on")
@pytest.mark.parametrize(
    ("off", "on"),
    [
        ("device.stop_telemetry()", "device.start_telemetry()"),
        ("device.set_telemetry_tracing(False)", "device.set_telemetry_tracing(True)"),
        ("device.set_telemetry_topics(['polling'])", "device.set_telemetry_topics(['user'])"),
    ],
)
def test_through_the_proxy(system: System, chain: Server, off: str, on: str) -> None:
    go(system, chain, THROUGH)
    run(system, chain, off, FIRST)
    go(system, chain, AROUND)
    run(system, chain, on, FIRST)
    go(system, chain, THROUGH)


@pytest.mark.skipif(PYTANGO < (10, 3), reason="telemetry is reconfigured through a proxy from 10.3 on")
def test_endpoints_through_the_proxy(system: System, chain: Server) -> None:
    other = Receiver("http")
    try:
        prepared = "from tango.telemetry import TelemetryEndpoint as E, TelemetryExporter as X; "
        endpoint = f"E(X.HTTP, {other.endpoint!r})"
        run(system, chain, f"{prepared}device.add_telemetry_tracing_endpoint({endpoint})", FIRST)
        go(system, chain, THROUGH)
        assert {span.name for span in other.spans} == {"Link.Go", "command_inout Go"}
        other.clear()
        run(system, chain, f"{prepared}device.set_telemetry_tracing_endpoints([{endpoint}])", FIRST)
        run(system, chain, "device.command_inout('Go')", FIRST)
        names = [span.name for span in system.collect() if span.service == "Link"]
        assert names == ["Link.Go"]  # the last device's; the first one sends to the other receiver alone
        assert sorted(span.name for span in other.spans) == ["Link.Go", "command_inout Go"]
        run(system, chain, f"{prepared}device.set_telemetry_tracing_endpoints([E(X.CONSOLE, 'cout')])", FIRST)
        go(system, chain, THROUGH)
    finally:
        other.close()


def test_uninstrument_and_instrument_while_the_server_runs(system: System, chain: Server) -> None:
    run(system, chain, "device.command_inout('Uninstrument')", FIRST)
    spans = assert_operation(
        system,
        """
        command_inout Uninstrument  CLIENT  pytango.client
          Link.Uninstrument         SERVER  Link
        """,
    )
    assert find_span(spans, "Link.Uninstrument").status == "UNSET"
    run(system, chain, "device.command_inout('More')", "test/special/1")
    names = {span.name for span in system.collect() if span.service == "Special"}
    assert not names  # `Special` has copies of the wrappers of `Link`
    run(system, chain, "device.command_inout('Instrument')", FIRST)
    go(system, chain, THROUGH)


@pytest.mark.skipif(PYTANGO < (10, 3), reason="the properties are new in 10.3")
def test_device_properties() -> None:
    other = Receiver("http")
    try:
        with System() as system:
            system.start_database()
            for number in (1, 2, 3):
                system.run_client(REGISTER, f"test/link/{number}", TANGO_TELEMETRY_ENABLE="off")
            properties = f"""
            import tango
            database = tango.Database()
            database.put_device_property("test/link/2", {{"telemetry_enable": ["false"]}})
            database.put_device_property("test/link/3", {{
                "telemetry_tracing_exporters": ["http"],
                "telemetry_tracing_endpoints": ["{other.endpoint}"]}})
            """
            system.run_client(properties, TANGO_TELEMETRY_ENABLE="off")
            server = system.start_server(SOURCE, "Link/test", arguments=["-"])
            for number in (1, 2, 3):
                run(system, server, "device.command_inout('Go')", f"test/link/{number}")
                found = [span.name for span in system.collect() if span.name == "Link.Go"]
                assert found == (["Link.Go"] if number == 1 else [])
            assert "Link.Go" in {span.name for span in other.spans}
            system.clear()
    finally:
        other.close()


REGISTER = """
import sys, tango
info = tango.DbDevInfo()
info.name, info._class, info.server = sys.argv[1], "Link", "Link_test/test"
tango.Database().add_device(info)
"""
