"""A chain of three processes whose middle has telemetry off, in each way that there is: one trace, with every
bridge.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from integration.support import BRIDGES, PYTANGO, Server, System, assert_trace

SOURCE = """
import sys
import tango, tango_telemetry_server
from tango.server import Device, command, run

NEXT = sys.argv.pop()

class Link(Device):
    @command(dtype_in=str)
    def Switch(self, method):
        getattr(self, method)()

    @command
    def Go(self):
        if NEXT != "-":
            self.proxy.command_inout("Go")

    def init_device(self):
        super().init_device()
        self.proxy = tango.DeviceProxy(NEXT) if NEXT != "-" else None

run((Link,))
"""
CLIENT = """
import sys
import tango_telemetry_client, tango
from tango_telemetry import get_tracer
first, middle = (tango.DeviceProxy(name) for name in sys.argv[2:])
def go(name):
    with get_tracer("my.app").start_as_current_span(name):
        first.command_inout("Go")
exec(sys.argv[1])
"""
WHOLE = """
command_inout Go          CLIENT  pytango.client
  Link.Go                 SERVER  Link
    command_inout Go      CLIENT  Link
      Link.Go             SERVER  Link
        command_inout Go  CLIENT  Link
          Link.Go         SERVER  Link
"""
AROUND = """
command_inout Go          CLIENT  pytango.client
  Link.Go                 SERVER  Link
    command_inout Go      CLIENT  Link
      Link.Go             SERVER  Link
"""
# What a process can be told at its start, and still hands on what it is given.
SILENT = {
    "no exporter": {"TANGO_TELEMETRY_TRACES_EXPORTER": "none"},
    "excluded": {"PYTANGO_TELEMETRY_EXCLUDE": "device:test/link/2"},
}


@pytest.fixture(scope="module", params=BRIDGES)
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    with System(request.param) as system:
        yield system


def start_chain(system: System, **middle: str) -> tuple[Server, ...]:
    last = system.start_server(SOURCE, "Link/three", "test/link/3", arguments=["-"])
    second = system.start_server(
        SOURCE, "Link/two", "test/link/2", arguments=[last.proxy_name("test/link/3")], **middle
    )
    first = system.start_server(
        SOURCE, "Link/one", "test/link/1", arguments=[second.proxy_name("test/link/2")]
    )
    return first, second, last


def run(system: System, chain: tuple[Server, ...], code: str) -> None:
    first, second, _ = chain
    system.clear()
    system.run_client(CLIENT, code, first.proxy_name("test/link/1"), second.proxy_name("test/link/2"))


@pytest.fixture(scope="module")
def chain(system: System) -> tuple[Server, ...]:
    return start_chain(system)


def assert_switched(system: System, chain: tuple[Server, ...], off: str, on: str) -> None:
    run(system, chain, f"go('before'); {off}; go('without'); {on}; go('after')")
    spans = system.collect()
    assert_trace(spans, "before", WHOLE)
    assert_trace(spans, "without", AROUND)
    assert_trace(spans, "after", WHOLE)
    system.clear()


def test_the_device_is_switched_off(system: System, chain: tuple[Server, ...]) -> None:
    off, on = (f"middle.command_inout('Switch', '{verb}_telemetry')" for verb in ("disable", "enable"))
    assert_switched(system, chain, off, on)


@pytest.mark.skipif(PYTANGO < (10, 3), reason="telemetry is reconfigured through a proxy from 10.3 on")
def test_the_topics_are_taken_away_from_outside(system: System, chain: tuple[Server, ...]) -> None:
    """The way that works with IDL v6 alone; `stop_telemetry` needs GIOP besides: test_server_runtime.py."""
    if system.bridge == "giop":
        pytest.skip("cppTango's telemetry is off with this bridge, and has no topics")
    off, on = (f"middle.set_telemetry_topics(['{topic}'])" for topic in ("polling", "user"))
    assert_switched(system, chain, off, on)


@pytest.mark.parametrize("how", SILENT)
def test_the_process_was_told_to_be_silent(system: System, how: str) -> None:
    chain = start_chain(system, **SILENT[how])
    run(system, chain, "go('operation')")
    assert_trace(system.collect(), "operation", AROUND)
    for server in chain:
        system.stop_server(server)
    system.clear()
