"""Handlers of every green mode: what they call is their child and belongs to their device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from integration.support import BRIDGES, Server, System, assert_trace
from receiver import ReceivedSpan

FOLLOWER = Path(__file__).parent / "follower.py"
DEVICES = ("test/follower/1", "test/follower/2", "test/follower/3")

SYNCHRONOUS = """
import sys
import tango, tango_telemetry_server
from tango.server import Device, attribute, command, run

NAMES = sys.argv.pop().split(",")

class Leader(Device):
    def init_device(self):
        super().init_device()
        self.proxies = [tango.DeviceProxy(name) for name in NAMES]

    @command
    def One(self):
        self.proxies[0].command_inout("Go")

    @command
    def Many(self):
        for proxy in self.proxies:
            proxy.command_inout("Go")

    @attribute(dtype=float)
    def position(self):
        return self.proxies[0].read_attribute("position").value

    @position.write
    def position(self, value):
        self.proxies[0].write_attribute("position", value)

    @command
    def Fail(self):
        self.proxies[0].command_inout("Fail")

run((Leader,), green_mode=tango.GreenMode.MODE)
"""

ASYNCIO = """
import asyncio, sys
import tango, tango_telemetry_server
from tango.asyncio import DeviceProxy
from tango.server import Device, attribute, command, run

NAMES = sys.argv.pop().split(",")

class Leader(Device):
    green_mode = tango.GreenMode.Asyncio

    async def init_device(self):
        await super().init_device()
        self.proxies = [await DeviceProxy(name) for name in NAMES]
        self.synchronous = tango.DeviceProxy(NAMES[0])

    @command
    async def One(self):
        await self.proxies[0].command_inout("Go")

    @command
    async def Many(self):
        await asyncio.gather(*(proxy.command_inout("Go") for proxy in self.proxies))

    @attribute(dtype=float)
    async def position(self):
        return (await self.proxies[0].read_attribute("position")).value

    @position.write
    async def position(self, value):
        await self.proxies[0].write_attribute("position", value)

    @command
    async def Fail(self):
        await self.proxies[0].command_inout("Fail")

    @command
    async def Task(self):
        async def part():
            await self.proxies[0].command_inout("Go")
            await self.proxies[1].command_inout("Go")
        await asyncio.create_task(part())

    @command
    async def Synchronous(self):
        self.synchronous.command_inout("Go")

    @command
    async def NoWait(self):
        pending = [proxy.command_inout("Go", wait=False) for proxy in self.proxies]
        for each in pending:
            await each

run((Leader,))
"""

GEVENT = """
import sys
import gevent, tango, tango_telemetry_server
from tango.gevent import DeviceProxy
from tango.server import Device, attribute, command, run

NAMES = sys.argv.pop().split(",")

class Leader(Device):
    green_mode = tango.GreenMode.Gevent

    def init_device(self):
        super().init_device()
        self.proxies = [DeviceProxy(name) for name in NAMES]

    @command
    def One(self):
        self.proxies[0].command_inout("Go")

    @command
    def Many(self):
        gevent.joinall([gevent.spawn(proxy.command_inout, "Go") for proxy in self.proxies], raise_error=True)

    @attribute(dtype=float)
    def position(self):
        return self.proxies[0].read_attribute("position").value

    @position.write
    def position(self, value):
        self.proxies[0].write_attribute("position", value)

    @command
    def Fail(self):
        self.proxies[0].command_inout("Fail")

    @command
    def Task(self):
        def part():
            self.proxies[0].command_inout("Go")
            self.proxies[1].command_inout("Go")
        gevent.spawn(part).get()

    @command
    def NoWait(self):
        for each in [proxy.command_inout("Go", wait=False) for proxy in self.proxies]:
            each.get()

run((Leader,))
"""

SOURCES = {
    "Synchronous": SYNCHRONOUS.replace("MODE", "Synchronous"),
    "Futures": SYNCHRONOUS.replace("MODE", "Futures"),
    "Asyncio": ASYNCIO,
    "Gevent": GEVENT,
}

# Each operation is a trace of its own, under a span with its name.
CLIENT = """
import sys
import tango_telemetry_client, tango
from tango_telemetry import get_tracer
leader = tango.DeviceProxy(sys.argv[1])
tracer = get_tracer("my.app")
for name in sys.argv[2:]:
    with tracer.start_as_current_span(name):
        if name == "read":
            leader.read_attribute("position")
        elif name == "write":
            leader.write_attribute("position", 3.0)
        elif name == "Fail":
            try:
                leader.command_inout(name)
            except tango.DevFailed as error:
                assert error.args[0].reason == "FollowerIsOff", error
            else:
                raise AssertionError
        else:
            leader.command_inout(name)
"""
CROWD = """
import sys
from concurrent.futures import ThreadPoolExecutor
import tango_telemetry_client, tango
from tango_telemetry import get_tracer
leader = tango.DeviceProxy(sys.argv[1])
tracer = get_tracer("my.app")

def operate(number):
    with tango.EnsureOmniThread(), tracer.start_as_current_span(f"operation {number}"):
        leader.command_inout("Many")

with ThreadPoolExecutor(8) as pool:
    list(pool.map(operate, range(24)))
"""
OPERATIONS = ("One", "Many", "read", "write", "Fail")
GREEN_OPERATIONS = (*OPERATIONS, "Task", "NoWait")


class Place(NamedTuple):
    """A Leader of one green mode and the spans of its operations."""

    mode: str
    system: System
    leader: Server
    spans: list[ReceivedSpan]


@pytest.fixture(scope="module", params=BRIDGES)
def system(request: pytest.FixtureRequest) -> Iterator[tuple[System, str]]:
    with System(request.param) as system:
        follower = system.start_server(FOLLOWER, "Follower/test", *DEVICES)
        yield system, ",".join(follower.proxy_name(device) for device in DEVICES)


@pytest.fixture(scope="module", params=list(SOURCES))
def place(request: pytest.FixtureRequest, system: tuple[System, str]) -> Iterator[Place]:
    mode: str = request.param
    if mode == "Gevent":
        pytest.importorskip("gevent")
    running, names = system
    leader = running.start_server(SOURCES[mode], "Leader/test", "test/leader/1", arguments=[names])
    running.clear()
    operations = GREEN_OPERATIONS if mode in ("Asyncio", "Gevent") else OPERATIONS
    operations += ("Synchronous",) if mode == "Asyncio" else ()
    running.run_client(CLIENT, leader.proxy_name("test/leader/1"), *operations)
    yield Place(mode, running, leader, running.collect())
    running.stop_server(leader)


def test_one_call(place: Place) -> None:
    assert_trace(
        place.spans,
        "One",
        """
        command_inout One     CLIENT  pytango.client
          Leader.One          SERVER  Leader
            command_inout Go  CLIENT  Leader
              Follower.Go     SERVER  Follower
        """,
    )


MANY = """
    command_inout {0}     CLIENT  pytango.client
      Leader.{0}          SERVER  Leader
        command_inout Go  CLIENT  Leader
          Follower.Go     SERVER  Follower
        command_inout Go  CLIENT  Leader
          Follower.Go     SERVER  Follower
        command_inout Go  CLIENT  Leader
          Follower.Go     SERVER  Follower
"""


def test_many_calls_at_once(place: Place) -> None:
    """One after the other, with ``asyncio.gather``, in greenlets: what is natural in each mode."""
    trace = assert_trace(place.spans, "Many", MANY.format("Many"), ordered=False)
    called = {span.attributes["tango.device.name"] for span in trace if span.name == "Follower.Go"}
    assert called == set(DEVICES)


def test_attributes(place: Place) -> None:
    for verb in ("read", "write"):
        assert_trace(
            place.spans,
            verb,
            f"""
            {verb}_attribute position        CLIENT  pytango.client
              Leader.{verb} position         SERVER  Leader
                {verb}_attribute position    CLIENT  Leader
                  Follower.{verb} position   SERVER  Follower
            """,
        )


def test_failure(place: Place) -> None:
    trace = assert_trace(
        place.spans,
        "Fail",
        """
        command_inout Fail      CLIENT  pytango.client  ! FollowerIsOff
          Leader.Fail           SERVER  Leader          ! FollowerIsOff
            command_inout Fail  CLIENT  Leader          ! FollowerIsOff
              Follower.Fail     SERVER  Follower        ! FollowerIsOff
        """,
    )
    for span in trace:
        if span.name != "Fail":
            assert [event.name for event in span.events] == ["exception"]
            assert span.status_message == "FollowerIsOff: turn it on first"


def test_calls_that_are_awaited_later(place: Place) -> None:
    if place.mode not in ("Asyncio", "Gevent"):
        pytest.skip("no wait=False in a handler of this mode")
    assert_trace(place.spans, "NoWait", MANY.format("NoWait"), ordered=False)


def test_tasks_and_greenlets_of_the_handler(place: Place) -> None:
    if place.mode not in ("Asyncio", "Gevent"):
        pytest.skip("no tasks in this mode")
    assert_trace(
        place.spans,
        "Task",
        """
        command_inout Task    CLIENT  pytango.client
          Leader.Task         SERVER  Leader
            command_inout Go  CLIENT  Leader
              Follower.Go     SERVER  Follower
            command_inout Go  CLIENT  Leader
              Follower.Go     SERVER  Follower
        """,
    )


def test_synchronous_proxy_in_an_asynchronous_device(place: Place) -> None:
    if place.mode != "Asyncio":
        pytest.skip("asyncio only")
    assert_trace(
        place.spans,
        "Synchronous",
        """
        command_inout Synchronous  CLIENT  pytango.client
          Leader.Synchronous       SERVER  Leader
            command_inout Go       CLIENT  Leader
              Follower.Go          SERVER  Follower
        """,
    )


def test_the_line_of_the_call(place: Place) -> None:
    """Each nested call names the line of the device's source that made it, whatever thread it ran on."""
    path = place.system.folder / "Leader_test.py"
    source = path.read_text().splitlines()
    nested = [span for span in place.spans if span.kind == "CLIENT" and span.service == "Leader"]
    assert nested
    for span in nested:
        if place.mode == "Gevent" and "code.line.number" not in span.attributes:
            continue  # gevent.spawn(proxy.command_inout): there is no line
        assert span.attributes["code.file.path"] == str(path)
        line = source[span.attributes["code.line.number"] - 1]
        method = span.attributes["tango.operation"]
        assert method in line, f"{span.name}: {line}"


def test_many_clients_at_once(place: Place) -> None:
    place.system.clear()
    place.system.run_client(CROWD, place.leader.proxy_name("test/leader/1"))
    spans = place.system.collect()
    for number in range(24):
        assert_trace(spans, f"operation {number}", MANY.format("Many"), ordered=False)
