"""Texts of other people's values and exceptions: bounded, never raised from, at a price that size does not
change.
"""

from __future__ import annotations

import collections
import enum
import logging
import os
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from tango_telemetry.base import guard
from tango_telemetry.base.guard import log_internal_error
from tango_telemetry.base.texts import describe, exception_message, exception_stacktrace
from tango_telemetry.calls.failures import record_failure

LIMIT = 256


class Hostile:
    """Whatever it is asked, it raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    __str__ = __hash__ = __len__ = __iter__ = __repr__  # type: ignore[assignment]


class Position(collections.namedtuple("Position", "x y")):
    """A tuple of the user's."""

    def __repr__(self) -> str:
        raise RuntimeError("repr")


class Colour(enum.IntEnum):
    RED = 1


class LongText(str):
    def __getitem__(self, key: Any) -> str:
        raise RuntimeError("getitem")


NESTED: list[Any] = []
for _ in range(100_000):
    NESTED = [NESTED]
CYCLE: dict[str, Any] = {}
CYCLE["self"] = CYCLE
SMALL: list[tuple[Any, str]] = [
    (None, "None"),
    (True, "True"),
    (2.25, "2.25"),
    ("a'b", repr("a'b")),
    (b"ab", "b'ab'"),
    ([1, ("x",), {2: None}], "[1, ('x',), {2: None}]"),
    (Position(1, 2), "(1, 2)"),
    (Colour.RED, "Colour.RED"),
    (10**400, "<int of 1329 bits>"),
    (memoryview(b"abc"), "<memoryview of 3 bytes>"),
]


@pytest.mark.parametrize(("value", "text"), SMALL, ids=[text for _, text in SMALL])
def test_small_values(value: Any, text: str) -> None:
    assert describe(value, LIMIT) == text


LARGE: dict[str, Callable[[], Any]] = {
    "text": lambda: LongText("x" * 50_000_000),
    "bytes": lambda: bytearray(50_000_000),
    "view": lambda: memoryview(bytes(50_000_000)),
    "deque": lambda: collections.deque(range(1_000_000)),
    "frozenset": lambda: frozenset(range(1_000_000)),
    "texts": lambda: {"key": ["y" * 10_000_000] * 10},
    "number": lambda: 1 << 10_000_000,
    "nested": lambda: NESTED,
    "cycle": lambda: CYCLE,
    "hostile": lambda: [Hostile(), {"a": Hostile()}],
    "generator": lambda: (each for each in range(3)),
}


def _shortest(function: Callable[[], Any]) -> float:
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        function()
        times.append(time.perf_counter() - begun)
    return min(times)


@pytest.mark.parametrize("name", LARGE)
def test_large_and_hostile_values(name: str) -> None:
    value = LARGE[name]()
    assert len(describe(value, LIMIT)) <= LIMIT
    # Copying 50 MB takes 5 ms and more; what is asked here is a thousandth of that.
    assert _shortest(lambda: describe(value, LIMIT)) < 0.003


def test_arrays_of_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    assert describe(numpy.array([1.0, 2.0]), LIMIT) == "array([1.0, 2.0])"
    image = numpy.zeros((4096, 4096))
    assert describe(image, LIMIT) == "array([0.0, 0.0, 0.0, ...], shape=(4096, 4096), dtype='<f8')"
    assert _shortest(lambda: describe(image, LIMIT)) < 0.003
    assert describe(numpy.float64(1.5), LIMIT) == "1.5"
    objects = numpy.empty(1, object)
    objects[0] = Hostile()
    assert describe(objects, LIMIT).startswith("array([<")


class Failing(Exception):
    def __str__(self) -> str:
        raise LookupError("no text")

    @property
    def args(self) -> Any:  # type: ignore[override]
        raise LookupError("no args")

    @args.setter
    def args(self, value: Any) -> None: ...


class ReasonThatRaises(Exception):
    @property
    def reason(self) -> str:
        raise ZeroDivisionError


class Nameless(Exception):
    pass


Nameless.__module__ = 5  # type: ignore[assignment]


class Span:
    """Notes what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def is_recording(self) -> bool:
        return True

    def set_attribute(self, name: str, value: Any) -> None:
        self.told.append(("attribute", name, value))

    def set_status(self, status: Any) -> None:
        self.told.append(("status", status.status_code.name, status.description))

    def add_event(self, name: str, attributes: Any) -> None:
        self.told.append(("event", name, attributes))


ERRORS: dict[str, Callable[[], BaseException]] = {
    "failing": lambda: Failing("x"),
    "reason": lambda: ReasonThatRaises(ReasonThatRaises()),
    "nameless": lambda: Nameless("text"),
    "hostile argument": lambda: ValueError(Hostile()),
    "huge": lambda: ValueError("x" * 50_000_000),
    "huge pair": lambda: ValueError("x" * 50_000_000, b"y" * 50_000_000),
    "huge key": lambda: KeyError("k" * 50_000_000),
    "huge path": lambda: OSError(2, "s" * 50_000_000, "p" * 50_000_000),
    "huge list": lambda: RuntimeError(list(range(1_000_000))),
    "huge cause": lambda: _with_cause(RuntimeError("short"), ValueError("c" * 50_000_000)),
    "own cycle": lambda: _with_cause(*[RuntimeError("short")] * 2),
}


def _with_cause(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("name", ERRORS)
def test_a_failure_is_marked_whatever_its_texts_do(name: str) -> None:
    error = ERRORS[name]()
    span = Span()
    record_failure(span, error)  # type: ignore[arg-type]
    assert span.told[0][:2] == ("attribute", "error.type")
    assert type(error).__name__ in span.told[0][2]
    assert span.told[1][:2] == ("status", "ERROR")
    kind, event, attributes = span.told[-1]
    assert (kind, event) == ("event", "exception")
    assert type(error).__name__ in attributes["exception.type"]
    assert all(len(text) < 40_000 for text in attributes.values())
    assert _shortest(lambda: record_failure(Span(), error)) < 0.005  # type: ignore[arg-type]


def _raise_chained() -> None:
    try:
        {}["x"]
    except KeyError as error:
        raise ValueError(1, "two") from error


@pytest.mark.parametrize(
    "make", [_raise_chained, lambda: os.stat("/no such file"), lambda: compile("a b", "f", "exec")]
)
def test_an_ordinary_failure_has_the_texts_that_python_gives(make: Callable[[], Any]) -> None:
    with pytest.raises(Exception) as caught:
        make()
    error = caught.value
    assert exception_message(error, 4096) == str(error)
    assert exception_stacktrace(error, 4096) == "".join(traceback.format_exception(error))


def test_one_log_line_for_each_place_of_a_defect(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_seen", set())
    monkeypatch.delenv(guard.RAISE_INTERNAL_ERRORS, raising=False)

    def one(value: Any) -> None:
        raise ValueError(value)

    def other(value: Any) -> None:
        raise ValueError(value)

    with caplog.at_level(logging.ERROR, "tango_telemetry"):
        for _ in range(3):
            for function in (one, other):
                assert guard.guarded(function, "text") is None
        with log_internal_error("asking the hostile"):
            raise Failing("x" * 50_000_000)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert all(word in line for word, line in zip(("one", "other", "Failing"), lines, strict=True))
    assert all(len(line) < 10_000 for line in lines)


def test_the_texts_of_an_exception_can_be_encoded() -> None:
    """A file name that `os.fsdecode` could not decode: it is kept with U+FFFD, and nothing is warned of at
    its export.
    """
    error = OSError(2, "a\udcff", "b\udcfe")
    assert exception_message(ValueError("a\udcff"), 100) == "a\ufffd"
    for text in (exception_message(error, 100), exception_stacktrace(error, 100)):
        assert text.encode("utf-8")
