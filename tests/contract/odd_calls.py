"""Calls whatever the extension modules offer, in any order and with odd arguments: `python odd_calls.py SEED
CALLS`.

Python's exceptions are right answers; the process must reach its end. Run by test_native_odd_calls.py in
processes of their own.
"""

from __future__ import annotations

import contextvars
import copy
import faulthandler
import gc
import logging
import pickle
import random
import sys
from collections.abc import Callable
from typing import Any

from tango_telemetry_native import _bridge, _spans

EPOCH: list[object] = [object()]
STEPS = ("spans", "configure_calls", "set_carrier")


class Text(str):
    """A subclass of str that hashes and compares in its own way."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Raises:
    """Every use of it is an error."""

    def __getattr__(self, name: str) -> Any:
        raise ArithmeticError(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise ArithmeticError

    __bool__ = __len__ = __iter__ = __str__ = __index__ = __float__ = __hash__ = __call__


class Calls:
    """Random calls; what they give is used by those that follow."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.made: list[Any] = []
        self.modules = [_bridge, _spans]
        self.types = [
            thing for module in self.modules for thing in vars(module).values() if isinstance(thing, type)
        ]
        self.functions = [
            thing
            for module in self.modules
            for name, thing in vars(module).items()
            if callable(thing) and not isinstance(thing, type) and not name.startswith("__")
        ]  # fmt: skip
        self.steps = list(STEPS)
        self.random.shuffle(self.steps)
        self.done = {"values": 0, "errors": 0}

    def odd(self) -> Any:
        constant = self.random.choice([
            None, True, 0, 1, -1, 255, 1 << 63, 1 << 64, -(1 << 63), 1 << 128, 1 << 200, 1.5, float("nan"), float("inf"), 1e300,  # noqa: E501
            "", "name", "a\ud800", "a?", "caf\u00e9 \u2603 \U0001f600", "x" * 5000, Text("name"), Text("\u2603"), b"", b"bytes\0",  # noqa: E501
            (), (1, 2), ("a", "b"), ("00-" + "1" * 32 + "-" + "2" * 16 + "-01", "tango=x"), [], [1, "a", None], {},  # noqa: E501
            {"a": 1}, {"a\ud800": [1], "a?": {"b": Raises()}}, {1: 2, "": 3, Text("k"): Text("v")}, object(), Raises(), Raises,  # noqa: E501
            contextvars.ContextVar("odd", default=None), contextvars.ContextVar("empty"), len, lambda *a, **k: None,  # noqa: E501
            lambda *a, **k: {}, lambda *a, **k: 1 / 0, _bridge.giop_functions, _bridge.idl_functions, sys, int, dict, BaseException,  # noqa: E501
            ValueError("odd"), iter([1, 2]), range(3), memoryview(b"x"), 1j, NotImplemented, sys._getframe().f_code,  # noqa: E501
        ])  # fmt: skip
        return self.random.choice(self.made) if self.made and self.random.random() < 0.5 else constant

    def arguments(self) -> tuple[Any, ...]:
        return tuple(
            self.odd() for _ in range(self.random.choice([0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 11, 40]))
        )

    def keywords(self) -> dict[str, Any]:
        names = [
            "name",
            "attributes",
            "context",
            "kind",
            "links",
            "start_time",
            "queue",
            "scope",
            "limits",
            "resource",
            "odd",
        ]
        if self.random.random() < 0.8:
            return {}
        return {name: self.odd() for name in self.random.sample(names, self.random.randint(1, 4))}

    def near(self) -> tuple[Callable[..., Any], list[Any]]:
        """A call that is right but for, perhaps, some of its arguments."""
        choice = self.random.choice
        named = [(), ("name",), (["a", ("b", 1), self.odd()],), (("a", "b"),), (self.odd(),)]
        objects = {kind: [thing for thing in self.made if isinstance(thing, kind)] for kind in self.types}

        def one(kind: type) -> Any:
            return choice(objects[kind]) if objects[kind] else self.odd()

        variable = contextvars.ContextVar("variable", default=None)
        slow = choice([lambda *a: None, len, Raises()])
        position = self.random.randint(-1, 400)
        beginning = one(choice([_spans.ClientBeginning, _spans.HandlerBeginning]))
        code = choice([None, sys._getframe().f_code])
        key = self.bent(beginning, code, position, choice([None, "name", ("a", "b"), ()]))
        named = choice([None, ("call ", "c"), (None, "c", self.odd()), (), ("call ",)])
        series = choice([None, self.odd(), {"name": self.odd()}])
        plan = self.bent(
            "title", self.odd(), {"c": self.odd()}, one(_spans.TracerBase), None, named, series, False, False
        )
        calls: list[tuple[Callable[..., Any], list[Any]]] = [
            (_spans.SpanQueue, [self.random.randint(1, 9), 1 << 16, 1]),
            (_spans.Resource, [{"a": self.odd()}, choice([None, "url"])]),
            (_spans.Scope, [one(_spans.Resource), "name", choice([None, "1"]), None, {"b": self.odd()}]),
            (_spans.ClientBeginning, [slow, variable, variable, {__name__: False}, "ping", variable, choice(["value", None]), choice([0, 1, 2, 3, 9])]),  # noqa: E501
            (_spans.HandlerBeginning, [slow, variable, variable, choice([None, {}]), slow]),
            (_spans.make_current, [self.odd(), choice([None, {}, self.odd()]), variable, 1]),
            (_spans.set_carrier, [self.odd(), choice([None, _bridge.giop_functions]), choice([None, _bridge.idl_functions])]),  # noqa: E501
            (_bridge.TraceContextScope, ["name", "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "a=b"]),
            (_bridge.set_outgoing_span, [1 << 127, 1, 1]),
            (_spans.Plans.put, [one(_spans.Plans), key, EPOCH[0], plan]),
            (_spans.Plans.get, [one(_spans.Plans), key]),
            (_spans.ClientBeginning.begin, [one(_spans.ClientBeginning), (self.odd(), *choice(named)),
                                            {"value": choice(named)} if choice([True, False]) else {},
                                            choice([None, (), self.odd()])]),
            (_spans.HandlerBeginning.begin, [one(_spans.HandlerBeginning), self.odd(), ()]),
        ]  # fmt: skip
        if "spans" not in self.steps:
            from tango_telemetry_native import spans

            provider = spans.create_native_tracer_provider({}, queue=_spans.SpanQueue(4, 1 << 16, 1))
            tracer = provider.get_tracer("odd")
            calls += [
                (tracer.start_span, ["name", None, self.odd(), {"a": self.odd()}, self.odd()]),
                (tracer.start_as_current_span, ["name", None, self.odd(), {"a": self.odd()}]),
                (spans.NativeTracer.__new__, [spans.NativeTracer]),
                (spans.NativeSpan.__new__, [spans.NativeSpan]),
            ]
        function, arguments = choice(calls)
        for at in range(len(arguments)):
            if self.random.random() < 0.08:
                arguments[at] = self.odd()
        return function, arguments

    def bent(self, *items: Any) -> tuple[Any, ...]:
        """A tuple that is right but for, perhaps, some of its items."""
        return tuple(self.odd() if self.random.random() < 0.05 else item for item in items)

    def make(self, kind: type) -> Any:
        """An object of the type by one of the ways that pass its initialiser by."""
        way = self.random.randrange(6)
        if way == 0:
            return kind.__new__(kind)  # type: ignore[call-overload]
        if way == 1:
            return kind.__new__(kind, *self.arguments())
        if way == 2:
            return object.__new__(kind)
        if way == 3:
            return kind(*self.arguments(), **self.keywords())
        own = type("Own", (kind,), {"__init__": lambda self, *a, **k: None} if way == 4 else {})
        return own(*self.arguments())

    def steps_left(self) -> None:
        step = self.steps.pop()
        if step == "spans":
            pass
        elif step == "configure_calls":
            _spans.configure_calls(self.odd(), self.odd(), self.odd(), self.odd(), EPOCH, self.odd())
        else:
            _spans.set_carrier(self.odd(), None, None)

    def use(self, thing: Any) -> Any:
        name = self.random.choice([name for name in dir(type(thing)) if name not in ("__del__", "__class__")])
        value = getattr(thing, name)
        return value(*self.arguments(), **self.keywords()) if callable(value) else value

    def call_once(self) -> Any:
        what = self.random.random()
        if self.steps and what < 0.002:
            return self.steps_left()
        if what < 0.1:
            return self.make(self.random.choice(self.types))
        if what < 0.3:
            function, arguments = self.near()
            return function(*arguments)
        ours = [thing for thing in self.made if type(thing).__module__.startswith("tango_telemetry_native")]
        if ours and what < 0.35:
            thing = self.random.choice(ours)
            return self.random.choice([
                copy.copy, copy.deepcopy, pickle.dumps, lambda x: object.__reduce_ex__(x, 2), lambda x: x.__reduce__(), repr, hash,  # noqa: E501
            ])(thing)  # fmt: skip
        if ours and what < 0.75:
            return self.use(self.random.choice(ours))
        return self.random.choice(self.functions)(*self.arguments(), **self.keywords())

    def run(self, count: int) -> None:
        for _ in range(count):
            try:
                made = self.call_once()
            except Exception:
                self.done["errors"] += 1
                continue
            self.done["values"] += 1
            self.made.append(made)
            if len(self.made) > 60:
                del self.made[self.random.randrange(len(self.made))]
        self.made.clear()
        gc.collect()


if __name__ == "__main__":
    faulthandler.enable()
    sys.setrecursionlimit(400)
    logging.disable()
    calls = Calls(int(sys.argv[1]))
    calls.run(int(sys.argv[2]))
    print("reached the end:", calls.done)
