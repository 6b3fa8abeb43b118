"""Client calls of every green mode: the parent, the line, the name, and what becomes of a call that is given
up.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.support import BRIDGES, System, assert_trace, find_span
from receiver import ReceivedSpan

FOLLOWER = Path(__file__).parent / "follower.py"

HEAD = """
import sys
import tango_telemetry_client, tango
from tango_telemetry import get_tracer
tracer = get_tracer("my.app")
start = tracer.start_as_current_span
NAME = sys.argv[1]
"""

SYNCHRONOUS = """
import inspect
proxy = tango.DeviceProxy(NAME)
with start("wait"):
    assert proxy.command_inout("Echo", "a") == "a"
    assert proxy.read_attribute("isOn").value is True
with start("dynamic"):
    assert proxy.Echo("b") == "b"
    proxy.position = 4.0
    assert proxy.position == 4.0
with start("keywords"):
    def keyword(method):
        name = list(inspect.signature(method).parameters)[1]
        return "attr_names" if name == "args" else name  # 9.5 hands it on to C++
    proxy.read_attribute(**{keyword(tango.DeviceProxy.read_attribute): "position"})
    proxy.command_inout(**{keyword(tango.DeviceProxy.command_inout): "Go"})
    proxy.read_attributes(**{keyword(tango.DeviceProxy.read_attributes): ["isOn", "position"]})
"""

FUTURES = """
from tango.futures import DeviceProxy
proxy = DeviceProxy(NAME)
with start("wait"):
    assert proxy.command_inout("Echo", "a") == "a"
    assert proxy.read_attribute("isOn").value is True
with start("no wait"):
    pending = [proxy.command_inout("Echo", str(n), wait=False) for n in range(5)]
    assert [each.result() for each in pending] == ["0", "1", "2", "3", "4"]
with start("timeout"):
    try:
        proxy.command_inout("Sleep", 600, timeout=0.1)
    except Exception as error:
        print(type(error).__name__)
    proxy.command_inout("Go")
"""

ASYNCIO = """
import asyncio
from tango.asyncio import DeviceProxy

async def main():
    proxy = await DeviceProxy(NAME)
    with start("wait"):
        assert await proxy.command_inout("Echo", "a") == "a"
        assert (await proxy.read_attribute("isOn")).value is True
    with start("no wait"):
        pending = [proxy.command_inout("Echo", str(n), wait=False) for n in range(5)]
        assert await asyncio.gather(*pending) == ["0", "1", "2", "3", "4"]
    async def part(number):
        with start(f"part {number}"):
            await proxy.command_inout("Echo", str(number))
    with start("tasks"):
        await asyncio.gather(*(asyncio.create_task(part(n)) for n in range(5)))
    with start("timeout"):
        try:
            await asyncio.wait_for(proxy.command_inout("Sleep", 600), 0.1)
        except asyncio.TimeoutError as error:
            print(type(error).__name__)
        await proxy.command_inout("Go")
    with start("cancelled"):
        task = asyncio.create_task(sleep(proxy))
        await asyncio.sleep(0.1)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            print(type(error).__name__)
        await proxy.command_inout("Go")

async def sleep(proxy):
    await proxy.command_inout("Sleep", 600)

asyncio.run(main())
"""

GEVENT = """
import gevent
from tango.gevent import DeviceProxy
proxy = DeviceProxy(NAME)
with start("wait"):
    assert proxy.command_inout("Echo", "a") == "a"
    assert proxy.read_attribute("isOn").value is True
with start("no wait"):
    pending = [proxy.command_inout("Echo", str(n), wait=False) for n in range(5)]
    assert [each.get() for each in pending] == ["0", "1", "2", "3", "4"]
def part(number):
    with start(f"part {number}"):
        proxy.command_inout("Echo", str(number))
with start("tasks"):
    gevent.joinall([gevent.spawn(part, n) for n in range(5)], raise_error=True)
with start("timeout"):
    try:
        with gevent.Timeout(0.1):
            proxy.command_inout("Sleep", 600)
    except gevent.Timeout as error:
        print(type(error).__name__)
    proxy.command_inout("Go")
with start("cancelled"):
    greenlet = gevent.spawn(proxy.command_inout, "Sleep", 600)
    gevent.sleep(0.1)
    greenlet.kill()
    proxy.command_inout("Go")
# The call that was given up goes on in the pool; its span ends with it, and this process must not end before.
from tango.gevent_executor import get_global_threadpool
get_global_threadpool().join()
"""

SCRIPTS = {"Synchronous": SYNCHRONOUS, "Futures": FUTURES, "Asyncio": ASYNCIO, "Gevent": GEVENT}
ABANDONED = {
    # Python 3.11 made it the built-in one.
    ("Futures", "timeout"): "TimeoutError"
    if sys.version_info >= (3, 11)
    else "concurrent.futures._base.TimeoutError",
    ("Asyncio", "timeout"): "asyncio.exceptions.CancelledError",
    ("Asyncio", "cancelled"): "asyncio.exceptions.CancelledError",
    ("Gevent", "timeout"): "gevent.timeout.Timeout",
    ("Gevent", "cancelled"): "greenlet.GreenletExit",
}


@pytest.fixture(scope="module", params=BRIDGES)
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    with System(request.param) as system:
        system.start_server(FOLLOWER, "Follower/test", "test/follower/1")
        yield system


@pytest.fixture(scope="module", params=list(SCRIPTS))
def mode(request: pytest.FixtureRequest) -> str:
    if request.param == "Gevent":
        pytest.importorskip("gevent")
    return str(request.param)


@pytest.fixture(scope="module")
def spans(system: System, mode: str) -> list[ReceivedSpan]:
    system.clear()
    (follower,) = system.servers
    system.run_client(
        system.write(HEAD + SCRIPTS[mode], f"{mode}.py"), follower.proxy_name("test/follower/1")
    )
    return system.collect()


def test_calls_that_are_awaited(spans: list[ReceivedSpan]) -> None:
    assert_trace(
        spans,
        "wait",
        """
        command_inout Echo     CLIENT  pytango.client
          Follower.Echo        SERVER  Follower
        read_attribute isOn    CLIENT  pytango.client
          Follower.read isOn   SERVER  Follower
        """,
    )


def test_calls_that_are_not_awaited_at_once(spans: list[ReceivedSpan], mode: str) -> None:
    if mode == "Synchronous":
        pytest.skip("PyTango refuses wait=False")
    call = "command_inout Echo  CLIENT  pytango.client\n  Follower.Echo  SERVER  Follower\n"
    assert_trace(spans, "no wait", call * 5, ordered=False)


def test_tasks_and_greenlets(spans: list[ReceivedSpan], mode: str) -> None:
    if mode not in ("Asyncio", "Gevent"):
        pytest.skip("no tasks in this mode")
    parts = "".join(
        f"part {number}  INTERNAL  my.app\n"
        "  command_inout Echo  CLIENT  pytango.client\n"
        "    Follower.Echo  SERVER  Follower\n"
        for number in range(5)
    )
    assert_trace(spans, "tasks", parts, ordered=False)


@pytest.mark.parametrize("case", ["timeout", "cancelled"])
def test_a_call_that_is_given_up(spans: list[ReceivedSpan], mode: str, case: str) -> None:
    """Its span is an error of that name, and lasts as long as the call did; the next call is not touched."""
    error = ABANDONED.get((mode, case))
    if error is None:
        pytest.skip("not in this mode")
    trace = assert_trace(
        spans,
        case,
        f"""
        command_inout Sleep  CLIENT  pytango.client  ! {error}
          Follower.Sleep     SERVER  Follower
        command_inout Go     CLIENT  pytango.client
          Follower.Go        SERVER  Follower
        """,
    )
    call = find_span(trace, "command_inout Sleep")
    assert [event.name for event in call.events] == ["exception"]
    assert call.end_ns - call.start_ns >= 600e6


def test_members_of_the_proxy_and_keyword_arguments(spans: list[ReceivedSpan], mode: str) -> None:
    if mode != "Synchronous":
        pytest.skip("once is enough")
    assert_trace(
        spans,
        "dynamic",
        """
        command_list_query        CLIENT  pytango.client
        command_inout Echo        CLIENT  pytango.client
          Follower.Echo           SERVER  Follower
        command_list_query        CLIENT  pytango.client
        attribute_list_query_ex   CLIENT  pytango.client
        write_attribute position  CLIENT  pytango.client
          Follower.write position SERVER  Follower
        read_attribute position   CLIENT  pytango.client
          Follower.read position  SERVER  Follower
        """.replace("position SERVER", "position  SERVER"),
    )
    trace = assert_trace(
        spans,
        "keywords",
        """
        read_attribute position   CLIENT  pytango.client
          Follower.read position  SERVER  Follower
        command_inout Go          CLIENT  pytango.client
          Follower.Go             SERVER  Follower
        read_attributes           CLIENT  pytango.client
          Follower.read isOn      SERVER  Follower
          Follower.read position  SERVER  Follower
        """,
    )
    assert find_span(trace, "read_attribute position").attributes["tango.attribute.name"] == "position"
    assert find_span(trace, "read_attributes").attributes["tango.attribute.names"] == ["isOn", "position"]


def test_the_line_of_the_call(spans: list[ReceivedSpan], system: System, mode: str) -> None:
    source = (system.folder / f"{mode}.py").read_text().splitlines()
    calls = [span for span in spans if span.kind == "CLIENT"]
    assert len(calls) > 5
    for span in calls:
        if mode == "Gevent" and "code.line.number" not in span.attributes:
            assert span.name == "command_inout Sleep"  # gevent.spawn(proxy.command_inout): there is no line
            continue
        assert span.attributes["code.file.path"] == str(system.folder / f"{mode}.py")
        line = source[span.attributes["code.line.number"] - 1]
        operation = "DeviceProxy(" if span.name == "DeviceProxy" else span.attributes["tango.operation"]
        assert operation in line or "proxy.position" in line or "proxy.Echo(" in line, (span.name, line)
