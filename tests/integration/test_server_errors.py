"""Failures as the server's span tells them, and the same failure at the caller."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from integration.server_operation import assert_operation, run
from integration.support import PYTANGO, Server, System, find_span

SYNCHRONOUS = """
import tango_telemetry_server
import tango
from tango import AttrQuality, Except
from tango.server import Device, attribute, command, run

class Tester(Device):
    @command
    def Refuse(self):
        try:
            Except.throw_exception("Inner", "the coil is\\nwarm", "Coil.cool")
        except tango.DevFailed as error:
            Except.re_throw_exception(error, "Outer", "cannot refuse", "Tester.Refuse")

    @command
    def Break(self):
        raise ValueError("broken")

    @command(dtype_out=int)
    def WrongType(self):
        return "three"

    @command(dtype_out=int)
    def TooLarge(self):
        return 1 << 80

    @command(dtype_out=(str,))
    def WrongItems(self):
        return [1, 2]

    @command(dtype_out=(float,))
    def RightItems(self):
        return [1.5, 2]

    @command(dtype_out=str)
    def Nothing(self):
        return None

    @command(dtype_out=int)
    def Calls(self):
        return len(self.WrongType())          # in Python nothing is converted

    @command
    def Never(self):
        pass

    def is_Never_allowed(self):
        return False

    @attribute(dtype=int)
    def forbidden(self):
        return 1

    def is_forbidden_allowed(self, request):
        return False

    @attribute(dtype=int)
    def unset(self):
        return None

    @attribute(dtype=int)
    def wrong(self):
        return "three"

    @attribute(dtype=int)
    def invalid(self):
        return 0, 0.0, AttrQuality.ATTR_INVALID

run((Tester,))
"""

ASYNCIO = """
import asyncio
import tango_telemetry_server
import tango
from tango import GreenMode
from tango.server import Device, attribute, command, run

class Tester(Device):
    green_mode = GreenMode.Asyncio

    @command
    async def Refuse(self):
        tango.Except.throw_exception("Inner", "not now", "Tester.Refuse")

    @command(dtype_out=int)
    async def WrongType(self):
        return "three"

    @command
    async def Cancelled(self):
        asyncio.current_task().cancel()
        await asyncio.sleep(60)

    @command
    async def CancelsChild(self):
        child = asyncio.create_task(self.Wait())
        await asyncio.sleep(0)
        child.cancel()
        await asyncio.wait([child])

    @command
    async def Wait(self):
        await asyncio.sleep(60)

    @command(dtype_out=int)
    async def Both(self):
        return sum(await asyncio.gather(self.One(), self.One()))

    @command(dtype_out=int)
    async def One(self):
        await asyncio.sleep(0)
        return 1

run((Tester,))
"""
DEVICE = "test/tester/1"


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with System() as system:
        yield system


@pytest.fixture(scope="module")
def synchronous(system: System) -> Server:
    return system.start_server(SYNCHRONOUS, "Tester/sync", DEVICE)


@pytest.fixture(scope="module")
def asynchronous(system: System) -> Server:
    return system.start_server(ASYNCIO, "Tester/async", DEVICE)


def test_devfailed_with_its_whole_stack(system: System, synchronous: Server) -> None:
    assert run(system, synchronous, "refused(device.command_inout, 'Refuse')", DEVICE) == "Inner\n"
    spans = assert_operation(
        system,
        """
        command_inout Refuse  CLIENT  pytango.client  ! Inner
          Tester.Refuse       SERVER  Tester          ! Inner
        """,
    )
    span = find_span(spans, "Tester.Refuse")
    assert span.status_message == "Inner: the coil is warm"
    (event,) = span.events
    assert event.attributes["exception.type"].endswith("DevFailed")
    stack = event.attributes["exception.stacktrace"].splitlines()
    assert stack[0].startswith("Inner: the coil is warm [ERR] at Coil.cool")
    assert stack[1].startswith("Outer: cannot refuse [ERR] at Tester.Refuse")


def test_other_exceptions(system: System, synchronous: Server) -> None:
    assert run(system, synchronous, "refused(device.command_inout, 'Break')", DEVICE) == "PyDs_PythonError\n"
    spans = assert_operation(
        system,
        """
        command_inout Break  CLIENT  pytango.client  ! PyDs_PythonError
          Tester.Break       SERVER  Tester          ! ValueError
        """,
    )
    span = find_span(spans, "Tester.Break")
    assert span.status_message == "ValueError: broken"
    assert span.events[0].attributes["exception.type"] == "ValueError"


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("WrongType", "TypeError"),
        ("TooLarge", "OverflowError"),
        ("WrongItems", "TypeError"),
        ("Nothing", "TypeError"),
    ],
)
def test_results_of_the_wrong_type(system: System, synchronous: Server, command: str, error: str) -> None:
    reason = run(system, synchronous, f"refused(device.command_inout, {command!r})", DEVICE).strip()
    spans = system.collect()
    server_span = find_span(spans, f"Tester.{command}")
    if PYTANGO >= (10,):
        assert server_span.attributes["error.type"] in (error, "TypeError")
        # PyTango 10.0.3 to 10.3.1 on Python 3.13 loses the reason (10.1.5 also without us).
        assert reason == ("PyDs_PythonError" if sys.version_info < (3, 13) else "API_CorbaException")
    assert_operation(
        system,
        f"""
        command_inout {command}  CLIENT  pytango.client  ! {reason}
          Tester.{command}       SERVER  Tester          ! {server_span.attributes["error.type"]}
        """,
    )


def test_results_of_the_right_type_and_direct_calls(system: System, synchronous: Server) -> None:
    code = (
        "print([float(item) for item in device.command_inout('RightItems')], device.command_inout('Calls'))"
    )
    assert run(system, synchronous, code, DEVICE) == "[1.5, 2.0] 5\n"
    assert_operation(
        system,
        """
        command_inout RightItems  CLIENT    pytango.client
          Tester.RightItems       SERVER    Tester
        command_inout Calls       CLIENT    pytango.client
          Tester.Calls            SERVER    Tester
            Tester.WrongType      INTERNAL  Tester
        """,
    )


def test_not_allowed(system: System, synchronous: Server) -> None:
    code = "refused(device.command_inout, 'Never'); refused(lambda: device.read_attribute('forbidden').value)"
    run(system, synchronous, code, DEVICE)
    assert_operation(
        system,
        """
        command_inout Never            CLIENT    pytango.client  ! API_CommandNotAllowed
          Tester.is_Never_allowed      INTERNAL  Tester          ! API_CommandNotAllowed
        read_attribute forbidden       CLIENT    pytango.client  ! API_AttrNotAllowed
          Tester.is_forbidden_allowed  INTERNAL  Tester          ! API_AttrNotAllowed
        """,
    )


def test_attribute_values(system: System, synchronous: Server) -> None:
    code = (
        "refused(device.read_attribute, 'unset'); refused(device.read_attribute, 'wrong'); "
        "assert device.read_attribute('invalid').value is None"
    )
    run(system, synchronous, code, DEVICE)
    spans = system.collect()
    wrong = find_span(spans, "Tester.read wrong").attributes["error.type"]
    reason = find_span(spans, "read_attribute wrong").attributes["error.type"]
    assert_operation(
        system,
        f"""
        read_attribute unset     CLIENT  pytango.client  ! API_AttrValueNotSet
          Tester.read unset      SERVER  Tester          ! API_AttrValueNotSet
        read_attribute wrong     CLIENT  pytango.client  ! {reason}
          Tester.read wrong      SERVER  Tester          ! {wrong}
        read_attribute invalid   CLIENT  pytango.client
          Tester.read invalid    SERVER  Tester
        """,
    )


def test_asynchronous_handlers(system: System, asynchronous: Server) -> None:
    code = (
        "refused(device.command_inout, 'Refuse'); refused(device.command_inout, 'WrongType'); "
        "refused(device.command_inout, 'Cancelled')"
    )
    run(system, asynchronous, code, DEVICE)
    spans = system.collect()
    reason = find_span(spans, "command_inout Cancelled").attributes["error.type"]
    wrong = find_span(spans, "command_inout WrongType").attributes["error.type"]
    cancelled = str(find_span(spans, "Tester.Cancelled").attributes["error.type"])
    assert cancelled.endswith("CancelledError")
    assert_operation(
        system,
        f"""
        command_inout Refuse     CLIENT  pytango.client  ! Inner
          Tester.Refuse          SERVER  Tester          ! Inner
        command_inout WrongType  CLIENT  pytango.client  ! {wrong}
          Tester.WrongType       SERVER  Tester          ! TypeError
        command_inout Cancelled  CLIENT  pytango.client  ! {reason}
          Tester.Cancelled       SERVER  Tester          ! {cancelled}
        """,
    )


def test_asynchronous_handlers_that_call_each_other(system: System, asynchronous: Server) -> None:
    code = "print(device.command_inout('Both')); device.command_inout('CancelsChild')"
    assert run(system, asynchronous, code, DEVICE) == "2\n"
    assert_operation(
        system,
        """
        command_inout Both          CLIENT    pytango.client
          Tester.Both               SERVER    Tester
            Tester.One              INTERNAL  Tester
            Tester.One              INTERNAL  Tester
        command_inout CancelsChild  CLIENT    pytango.client
          Tester.CancelsChild       SERVER    Tester
            Tester.Wait             INTERNAL  Tester  ! asyncio.exceptions.CancelledError
        """,
    )
