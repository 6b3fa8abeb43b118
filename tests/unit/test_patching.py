"""What replaces an entry of a class looks and behaves as that entry, and goes again without taking anybody's
work along.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest
from tango_telemetry import instrument_threads, uninstrument_threads
from tango_telemetry.pytango.patching import Patches


class Counted:
    """Makes wrappers that note each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def make(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def traced(self_: Any, /, *args: Any, **kwargs: Any) -> Any:
            self.calls.append(args)
            return function(self_, *args, **kwargs)

        return traced


class Adder:
    """Adds."""

    unit = "mm"

    def __call__(self, value: int) -> int:
        return value + 1


def _create_class() -> type:
    class Motor:
        @staticmethod
        def scale(value: int) -> int:
            return value * 2

        @classmethod
        def kind(cls, value: int) -> tuple[str, int]:
            return cls.__name__, value

        def move(self, value: int = 3) -> tuple[str, int]:
            """Move it."""
            return type(self).__name__, value

        half = functools.partial(lambda divisor, value: value // divisor, 2)
        home = functools.partialmethod(move, 0)
        adder = Adder()
        listed = [5, 4].index
        move.__tango_command__ = ("move", [])  # type: ignore[attr-defined]
        move.of_the_user = {1}  # type: ignore[attr-defined]

    return Motor


ENTRIES = {
    "scale": ((4,), 8),
    "kind": ((4,), ("Motor", 4)),
    "move": ((4,), ("Motor", 4)),
    "half": ((4,), 2),
    "home": ((), ("Motor", 0)),
    "adder": ((4,), 5),
    "listed": ((4,), 1),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_of_each_kind_is_called_as_python_calls_it(name: str) -> None:
    motor_class, counted, patches = _create_class(), Counted(), Patches()
    raw = vars(motor_class)[name]
    motor = motor_class()
    before = getattr(motor, name)
    args, result = ENTRIES[name]
    assert patches.wrap(motor_class, name, counted.make)
    assert getattr(motor, name)(*args) == result
    assert len(counted.calls) == 1
    entry = vars(motor_class)[name]
    assert entry is not raw
    assert isinstance(entry, type(raw))
    found = getattr(motor, name)
    assert isinstance(found, type(before))
    if name != "listed":  # `list.index` has a signature only with the list
        assert inspect.signature(found) == inspect.signature(before)
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__", "unit", "func"):
        assert getattr(found, attribute, None) == getattr(before, attribute, None), attribute
    patches.undo()
    assert vars(motor_class)[name] is raw


def test_marks_of_a_function_are_carried() -> None:
    motor_class, patches = _create_class(), Patches()
    patches.wrap(motor_class, "move", Counted().make)
    move = vars(motor_class)["move"]
    assert move.__tango_command__ == ("move", [])
    assert move.of_the_user == {1}
    assert inspect.unwrap(move).__code__.co_name == "move"


def test_a_static_method_is_called_through_its_class_and_through_super() -> None:
    motor_class, counted, patches = _create_class(), Counted(), Patches()
    for name in ("scale", "kind", "move"):
        patches.wrap(motor_class, name, counted.make)
    assert motor_class.scale(3) == 6  # type: ignore[attr-defined]
    assert motor_class.kind(3) == ("Motor", 3)  # type: ignore[attr-defined]

    class Axis(motor_class):  # type: ignore[misc,valid-type]
        def scale(self, value: int) -> int:
            return int(super().scale(value)) + 1

        def move(self, value: int = 3) -> Any:
            return super().move(value + 1)

    assert Axis().scale(3) == 7
    assert Axis().move(3) == ("Axis", 4)
    assert Axis.kind(1) == ("Axis", 1)


@pytest.mark.parametrize("wrapper", ["functools", "mock", "assignment"])
def test_what_somebody_else_has_put_over_ours_stays(wrapper: str) -> None:
    motor_class, counted, patches = _create_class(), Counted(), Patches()
    patches.wrap(motor_class, "move", counted.make)
    ours = vars(motor_class)["move"]
    if wrapper == "mock":
        with mock.patch.object(motor_class, "move", autospec=True, side_effect=ours):
            patches.undo()
            assert motor_class().move(2) == ("Motor", 2)
    else:

        def theirs(self: Any, *args: Any) -> Any:
            return ours(self, *args)

        if wrapper == "functools":
            theirs = functools.wraps(ours)(theirs)
        motor_class.move = theirs  # type: ignore[attr-defined]
        patches.undo()
        assert vars(motor_class)["move"] is theirs
    assert motor_class().move(2) == ("Motor", 2)


def test_ours_goes_where_the_other_tool_has_gone_first() -> None:
    motor_class, patches = _create_class(), Patches()
    raw = vars(motor_class)["move"]
    with mock.patch.object(motor_class, "move", return_value="mocked"):
        patches.wrap(motor_class, "move", Counted().make)
        assert motor_class().move() == "mocked"
        patches.undo()
        assert motor_class().move() == "mocked"
    assert vars(motor_class)["move"] is raw


def _wrap_with_wrapt() -> Callable[[], None]:
    wrapt = pytest.importorskip("wrapt")

    def theirs(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        assert isinstance(instance, ThreadPoolExecutor)
        assert callable(args[0])
        return wrapped(*args, **kwargs)

    raw = vars(ThreadPoolExecutor)["submit"]
    wrapt.wrap_function_wrapper(ThreadPoolExecutor, "submit", theirs)
    return lambda: setattr(ThreadPoolExecutor, "submit", raw)


class _Bound:
    """A descriptor that is no function: it must be bound to be called."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return functools.partial(self.function, instance)


def _wrap_with_descriptor() -> Callable[[], None]:
    raw = vars(ThreadPoolExecutor)["submit"]
    ThreadPoolExecutor.submit = _Bound(raw)  # type: ignore[method-assign,assignment]
    return lambda: setattr(ThreadPoolExecutor, "submit", raw)


@pytest.mark.parametrize("wrap", [_wrap_with_wrapt, _wrap_with_descriptor])
@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_a_pool_that_another_tool_wraps_too(wrap: Callable[[], Callable[[], None]], first: str) -> None:
    raw = vars(ThreadPoolExecutor)["submit"]
    steps = [wrap, instrument_threads]
    try:
        undo = [step() for step in (steps if first == "theirs" else reversed(steps))]
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(pow, 2, 5).result() == 32
            uninstrument_threads()
            assert pool.submit(pow, 2, 6).result() == 64
            assert list(pool.map(abs, [-1])) == [1]
        for each in filter(None, undo):
            each()
    finally:
        uninstrument_threads()
        ThreadPoolExecutor.submit = raw  # type: ignore[method-assign]
