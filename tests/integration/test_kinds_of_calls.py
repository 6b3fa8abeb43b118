"""Calls of every kind begin in C++ once their place is known, and say there what they say in Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from begun_in_python import IN_CLIENT, IN_SERVER
from receiver import ReceivedSpan
from support import PYTANGO, Server, System

pytest.importorskip("tango_telemetry_native")
pytestmark = pytest.mark.skipif(
    PYTANGO < (10, 3), reason="these arguments have other names before PyTango 10.3"
)

SERVER = f"""{IN_SERVER}
import time
from tango import AttrWriteType
from tango.server import Device, attribute, command, run

def accessors(name):
    def read(self): return 1.0
    def write(self, value): pass
    return attribute(dtype=float, access=AttrWriteType.READ_WRITE, name=name, fget=read, fset=write)

class Kinds(Device):
    for name in ("a", "b", *map("d{{}}".format, range(40))):
        locals()[name] = accessors(name)
    del name
    @command
    def Go(self): pass
    @command
    def Quiet(self): pass
    @command
    def Slow(self): time.sleep(0.5)
    @command(dtype_out=int)
    def BegunInPython(self): return len(begun)

run([Kinds])
"""

CLIENT = f"""{IN_CLIENT}
import asyncio
import tango.asyncio, tango.futures
from tango_telemetry_native import _spans

with suppress_instrumentation():
    futures = tango.futures.DeviceProxy(sys.argv[1])
names = iter([*map("d{{}}".format, range(40))] * 10)

async def connect():
    with suppress_instrumentation():
        return await tango.asyncio.DeviceProxy(sys.argv[1])
loop = asyncio.new_event_loop()
green = loop.run_until_complete(connect())
async def several():
    for _ in range(4):
        await green.read_attribute("a")
        await green.command_inout("Go")
async def cancelled():
    tasks = [asyncio.ensure_future(green.command_inout("Slow")) for _ in range(2)]
    # One that waits in the pool is not made at all when its task is cancelled.
    while sum(span.name == "command_inout Slow" for span in _spans.open_spans(10)) < 2:
        await asyncio.sleep(0.001)
    for task in tasks:
        task.cancel()
    print(await asyncio.gather(*tasks, return_exceptions=True))
"""

EACH = """
    proxy.command_inout(name="Go")
    proxy.read_attribute(attr_name="a")
    proxy.read_attribute(next(names))
    proxy.read_attributes(["a", "b"] if next(names) != "d3" else ["b"])
    proxy.read_attributes(("b",))
    proxy.write_attributes([("a", 1.0), ("b", 2.0)])
    proxy.get_attribute_config(["a"])
    proxy.get_command_config("Go")
    proxy.command_inout_reply(proxy.command_inout_asynch("Go"), 3000)
    proxy.read_attribute_reply(proxy.read_attribute_asynch("a"), 3000)
    futures.read_attribute("a", wait=False).result(10)
    futures.command_inout("Go", wait=True)
    proxy.command_inout("Quiet")
"""
PLACES = len(EACH.strip().splitlines()) + 2  # a reply is a call of its own


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with System() as system:
        yield system


@pytest.fixture(scope="module")
def server(system: System) -> Server:
    return system.start_server(SERVER, "Kinds/test", "sys/kinds/1", PYTANGO_TELEMETRY_EXCLUDE="command:Quiet")


def say(spans: list[ReceivedSpan]) -> list[Any]:
    """What spans say, without what differs from one run to another."""
    given = {span.span_id: span.name for span in spans}
    left_out = ("thread.", "tango.client.", "tango.client_ident", "code.file.path")
    told = [
        (
            span.name,
            span.kind,
            given.get(span.parent_span_id, ""),
            sorted((key, value) for key, value in span.attributes.items() if not key.startswith(left_out)),
            span.status,
            len(span.links),
        )
        for span in spans
    ]
    return sorted(told, key=repr)


@pytest.mark.parametrize("spans", ["on", "off"])
@pytest.mark.parametrize("exclude", ["", "command:Quiet"])
def test_every_kind_says_the_same_in_cpp_and_in_python(
    system: System, server: Server, exclude: str, spans: str
) -> None:
    said = {}
    for calls in ("on", "off"):
        system.clear()
        output = system.run_client(
            CLIENT
            + f"for index in range(4):{EACH}    if not index: first = len(begun)\n"
            + "later = len(begun) - first\nloop.run_until_complete(several())\n"
            + "print('later', later, 'green', len(begun) - first - later)",
            server.proxy_name("sys/kinds/1"),
            PYTANGO_TELEMETRY_NATIVE_CALLS=calls,
            PYTANGO_TELEMETRY_NATIVE_SPANS=spans,
            PYTANGO_TELEMETRY_EXCLUDE=exclude,
        )
        said[calls] = say(system.collect())
        if calls == "on":
            # A plan for every name cannot say which of them are excluded: three names more, and another list.
            assert f"later {4 if exclude else 0} green 2" in output
    assert len(said["on"]) > 4 * PLACES
    assert said["on"] == said["off"]


def test_an_excluded_upcall_with_a_context_is_begun_in_python_once(system: System, server: Server) -> None:
    system.clear()
    output = system.run_client(
        CLIENT
        + "with tango_telemetry.get_tracer('app').start_as_current_span('operation'):\n"
        + "    proxy.command_inout('Quiet'), proxy.command_inout('BegunInPython')\n"
        + "    before = proxy.command_inout('BegunInPython')\n"
        + "    for _ in range(20): proxy.command_inout('Quiet')\n"
        + "    print('begun', proxy.command_inout('BegunInPython') - before)",
        server.proxy_name("sys/kinds/1"),
    )
    assert "begun 0" in output
    ask = "  command_inout BegunInPython  CLIENT  pytango.client\n    Kinds.BegunInPython  SERVER  Kinds\n"
    quiet = "  command_inout Quiet  CLIENT  pytango.client\n"
    system.assert_forest("operation  INTERNAL  app\n" + quiet + ask * 2 + quiet * 20 + ask)


def test_who_stops_waiting_for_a_call_that_began_in_cpp(system: System, server: Server) -> None:
    """The first call at a place is begun in Python, the next one in C++."""
    system.clear()
    system.run_client(CLIENT + "loop.run_until_complete(cancelled())", server.proxy_name("sys/kinds/1"))
    calls = [span for span in system.collect() if span.name == "command_inout Slow"]
    assert [span.attributes.get("error.type") for span in calls] == ["asyncio.exceptions.CancelledError"] * 2
