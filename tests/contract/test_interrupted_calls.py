"""An exception from outside at any instruction of a traced call: nothing of that call is current afterwards.

`sys.settrace` raises at each line and each instruction in turn, which no clock decides, so each place is
tried once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextvars import copy_context
from types import FrameType
from typing import Any

import pytest
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import TracerProvider
from tango_telemetry.base import guard
from tango_telemetry.calls import traced_call
from tango_telemetry.calls.traced_call import TracedCall
from tango_telemetry.context import bridges, current
from tango_telemetry.context.current import active_client_span
from tango_telemetry.otel.api import SpanKind
from tango_telemetry.state import state

FILES = {module.__file__ for module in (current, bridges, traced_call)}


class TimeLimit(BaseException):
    """What pytest-timeout, an alarm or another thread raises."""


def interrupt_at(number: int, function: Callable[[], Any], at: str) -> tuple[bool, BaseException | None]:
    """Call a function and raise at the given event of our files; whether there was one, and what came out."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename not in FILES:
            return None
        frame.f_trace_opcodes = True
        if event == at:
            count += 1
            if count == number:
                raise TimeLimit
        return trace

    sys.settrace(trace)
    try:
        function()
    except TimeLimit as error:
        return True, error
    finally:
        sys.settrace(None)
    return False, None


@pytest.fixture(autouse=True)
def python_only() -> Iterator[None]:
    before = state.make_current
    state.make_current = current.make_current
    yield
    state.make_current = before


def make_call() -> None:
    call = None
    try:
        call = TracedCall(TRACER, "call", SpanKind.CLIENT, {}, Context(), "carry")
    finally:
        if call is not None:
            try:
                call.end()
            except BaseException:
                call.leave()
                raise


TRACER = TracerProvider().get_tracer("test")


@pytest.mark.parametrize(("kept", "at"), [(False, "opcode"), (True, "call")], ids=["dropped", "kept"])
def test_nothing_is_current_after_an_exception_at_any_instruction(kept: bool, at: str) -> None:
    """One that is kept keeps the frames too, so nothing is dropped: then at the entry of each function."""

    def attempt() -> int:
        number = 0
        errors = []
        while True:
            number += 1
            raised, error = interrupt_at(number, make_call, at)
            if not raised:
                return number
            if kept:  # as a notebook keeps the last one
                errors.append(error)
            del error
            assert not get_current(), f"instruction {number}"
            assert active_client_span.get() is None, f"instruction {number}"

    assert copy_context().run(attempt) > 10


def test_a_stacked_bridge_takes_back_the_first_where_the_second_fails() -> None:
    left = []

    class First(bridges.NoOpBridge):
        def exit(self, token: Any) -> None:
            left.append(token)

    class Second(bridges.NoOpBridge):
        def enter(self, *texts: str) -> Any:
            raise TimeLimit

        def exit(self, token: Any) -> None:
            raise TimeLimit

    stacked = bridges.StackedBridge(Second(), First())
    with pytest.raises(TimeLimit):
        stacked.enter("name", "", "")
    with pytest.raises(TimeLimit):
        stacked.exit((1, 2))
    assert left == [None, 1]


def test_an_error_that_comes_from_outside_is_not_swallowed() -> None:
    class Stopped(Exception):
        """Sent by another thread, into a frame of ours."""

    namespace = {"__name__": "tango_telemetry.anything", "Stopped": Stopped}
    exec("def ours(): raise Stopped\ndef defect(): raise ZeroDivisionError", namespace)
    with pytest.raises(Stopped):
        guard.guarded(namespace["ours"])


def test_what_was_dropped_takes_itself_back() -> None:
    thread = ["none"]
    made = current.Undoable(thread.append, lambda _: thread.pop(), (("ours",),)).do()
    assert thread == ["none", "ours"]
    del made
    assert thread == ["none"]
