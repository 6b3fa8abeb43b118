"""Making a span current: the class in Python and the one in C++ do the same."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from opentelemetry.context import Context, attach, detach, get_current, set_value
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, get_current_span
from tango_telemetry.context.current import make_current as make_current_in_python

calls = pytest.importorskip("tango_telemetry_native.calls")
SPAN = NonRecordingSpan(SpanContext(1, 2, False, TraceFlags(1)))
FIRST: ContextVar[str] = ContextVar("first", default="none")
SECOND: ContextVar[str] = ContextVar("second", default="none")
Make = Callable[..., Any]


@pytest.fixture(params=["python", "native"])
def make_current(request: pytest.FixtureRequest) -> Make:
    return make_current_in_python if request.param == "python" else calls.make_current


def test_everything_is_set_and_put_back(make_current: Make) -> None:
    before = set_value("key", "value", Context())
    token = attach(before)
    current = make_current(SPAN, before, FIRST, "one", SECOND, "two")
    assert get_current_span() is SPAN
    assert get_current() is current.context
    assert get_current()["key"] == "value"
    assert (FIRST.get(), SECOND.get()) == ("one", "two")
    current.leave()
    assert get_current() is before
    assert (FIRST.get(), SECOND.get()) == ("none", "none")
    detach(token)


@pytest.mark.parametrize("pairs", [(), (FIRST, "one")])
def test_fewer_variables(make_current: Make, pairs: tuple[Any, ...]) -> None:
    current = make_current(SPAN, Context(), *pairs)
    assert get_current_span() is SPAN
    current.leave()
    assert FIRST.get() == "none"


def test_the_context_that_was_given_stays_as_it_is(make_current: Make) -> None:
    given = Context()
    make_current(SPAN, given).leave()
    assert not given


def test_leaving_twice_does_nothing(make_current: Make) -> None:
    outer = make_current(SPAN, Context(), FIRST, "outer")
    inner = make_current(NonRecordingSpan(SpanContext(3, 4, False)), get_current(), FIRST, "inner")
    inner.leave()
    inner.leave()
    assert get_current_span() is SPAN
    assert FIRST.get() == "outer"
    outer.leave()


def test_nesting(make_current: Make) -> None:
    currents = [make_current(SPAN, get_current(), FIRST, str(index)) for index in range(5)]
    for index in reversed(range(5)):
        assert FIRST.get() == str(index)
        currents[index].leave()
    assert FIRST.get() == "none"


def test_leaving_in_another_context_raises_nothing_but_valueerror(make_current: Make) -> None:
    current = copy_context().run(make_current, SPAN, Context(), FIRST, "one")
    with pytest.raises(ValueError, match="different Context"):
        current.leave()
    assert get_current_span() is not SPAN


def test_it_is_collected_with_what_it_holds(make_current: Make) -> None:
    class Value:
        pass

    value = Value()
    references = sys.getrefcount(value)
    for _ in range(100):
        current = make_current(SPAN, Context(), FIRST, value)
        current.leave()
    del current
    gc.collect()
    assert sys.getrefcount(value) == references


@pytest.mark.parametrize(
    "arguments", [(), (SPAN,), (SPAN, Context(), FIRST), (SPAN, Context(), "no variable", 1)]
)
def test_wrong_arguments(arguments: tuple[Any, ...]) -> None:
    before = get_current()
    with pytest.raises(TypeError):
        calls.make_current(*arguments)
    assert get_current() is before
    assert FIRST.get() == "none"
