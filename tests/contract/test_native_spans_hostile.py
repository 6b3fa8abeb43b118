"""User code that runs in the middle of a span's operation, and memory that ends: a span stays whole, a caller
unharmed.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tango_telemetry_native._spans", reason="tango-telemetry-native is not built here")
pytest.importorskip("opentelemetry.exporter.otlp.proto.common.trace_encoder")
sys.path.insert(0, str(Path(__file__).parent))

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_spans_support import CountingIds, drain
from opentelemetry.trace import Link, Span, SpanContext, StatusCode
from tango_telemetry_native.spans import NativeTracerProvider, create_native_tracer_provider

EXAMPLES = int(os.environ.get("TANGO_TELEMETRY_TEST_EXAMPLES", "300"))

# What user code does to the span that is being changed.
INTERFERENCES: dict[str, Callable[[Span], object]] = {
    "nothing": lambda span: None,
    "end": lambda span: span.end(5),
    "set": lambda span: span.set_attribute("inner", "x" * 300),
    "set same": lambda span: span.set_attribute("key", [1, "y" * 200]),
    "set many": lambda span: span.set_attributes({f"many{i}": [i] for i in range(200)}),
    "event": lambda span: span.add_event("inner", {"a": ["b"]}),
    "link": lambda span: span.add_link(SpanContext(3, 4, True), {"a": ["b"]}),
    "name": lambda span: span.update_name("inner" * 50),
    "status": lambda span: span.set_status(StatusCode.ERROR, "inner"),
    "exception": lambda span: span.record_exception(ValueError("inner")),
    "raise": lambda span: 1 / 0,
    "recurse": lambda span: span.set_attribute("inner", Hostile(span, "recurse")),
    "read": lambda span: (span.attributes, span.events, span.links, repr(span), span.status),
    "child": lambda span: span._tracer.start_span("child", attributes={"c": [1]}).end(7),
}


class Hostile:
    """Its text and truth are user code."""

    def __init__(self, span: Span, what: str) -> None:
        self.span, self.what = span, what

    def __str__(self) -> str:
        INTERFERENCES[self.what](self.span)
        return "hostile"

    def __bool__(self) -> bool:
        INTERFERENCES[self.what](self.span)
        return True


class HostileSequence(Sequence):
    def __init__(self, span: Span, what: str) -> None:
        self.span, self.what = span, what

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: Any) -> Any:
        INTERFERENCES[self.what](self.span)
        if index >= 3:
            raise IndexError
        return index


class HostileMapping(Mapping):
    def __init__(self, span: Span, what: str) -> None:
        self.span, self.what = span, what

    def __len__(self) -> int:
        INTERFERENCES[self.what](self.span)
        return 2

    def __iter__(self) -> Iterator[str]:
        INTERFERENCES[self.what](self.span)
        return iter(["m1", "m2"])

    def __getitem__(self, key: str) -> Any:
        INTERFERENCES[self.what](self.span)
        return Hostile(self.span, self.what)


class HostileError(Exception):
    span: Any = None
    what = "nothing"

    def __str__(self) -> str:
        if self.span is not None:
            INTERFERENCES[self.what](self.span)
        return "hostile"


class HostileText(str):
    __slots__ = ()

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")


class Changing(list):
    """Empties itself while it is read."""

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            self.clear()
            yield item


def check(provider: NativeTracerProvider) -> None:
    """What was sent decodes, and says what could have been meant."""
    for resource_spans in drain(provider).resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                assert span.name in ("s", "inner" * 50, "child", "hostile")
                keys = [attribute.key for attribute in span.attributes]
                assert len(set(keys)) == len(keys) <= 128
                for key in keys:
                    assert key.startswith(
                        ("key", "inner", "many", "m1", "m2", "fine", "a", "c", "hostile", "T")
                    )


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def hostile_value(span: Span, what: str, shape: int) -> Any:
    one = Hostile(span, what)
    changing: list[Any] = []
    changing.extend([one, Emptying(changing), "after"])
    return [
        one,
        [1, one, "x"],
        {"a": one, one: 1},
        HostileSequence(span, what),
        HostileMapping(span, what),
        (one, [one], {"k": [one]}),
        Changing([one, 2, 3]),
        changing,
        HostileText("T"),
    ][shape]


class Emptying:
    def __init__(self, target: list[Any]) -> None:
        self.target = target

    def __str__(self) -> str:
        self.target.clear()
        return "emptied"


whats = st.sampled_from(sorted(INTERFERENCES))
shapes = st.integers(0, 8)


def operate(span: Span, operation: int, what: str, shape: int) -> None:
    value = hostile_value(span, what, shape)
    error = HostileError()
    error.span, error.what = span, what
    [
        lambda: span.set_attribute("key", value),
        lambda: span.set_attribute(value, 1),
        lambda: span.set_attributes({"key": value, "fine": 1}),
        lambda: span.set_attributes(HostileMapping(span, what)),
        lambda: span.set_attributes({Hostile(span, what): 1, "key": value}),
        lambda: span.add_event("e", {"key": value}),
        lambda: span.add_event(Hostile(span, what), HostileMapping(span, what)),
        lambda: span.add_link(SpanContext(1, 2, False), {"key": value}),
        lambda: span.add_link(value),
        lambda: span.update_name(Hostile(span, what)),
        lambda: span.set_status(StatusCode.ERROR, Hostile(span, what)),
        lambda: span.set_status(value),
        lambda: span.record_exception(error),
        lambda: span.record_exception(error, HostileMapping(span, what)),
        lambda: span.record_exception(value),
        lambda: span.__exit__(HostileError, error, None),
        lambda: span._tracer.start_span("child", None, value, value, value, value, value).end(value),
        lambda: span._tracer.start_span(
            "child",
            attributes=HostileMapping(span, what),
            links=[value, Link(SpanContext(1, 2, False), value)],
        ).end(7),
        lambda: span._tracer.start_as_current_span("child", attributes={"key": value}).__enter__().end(7),
        lambda: span.add_event("e", None, value),
    ][operation]()


@settings(max_examples=EXAMPLES * 3, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 19), whats, shapes), min_size=1, max_size=4))
def test_user_code_cannot_break_a_span(steps: list[tuple[int, str, int]]) -> None:
    provider = create_native_tracer_provider({})
    tracer = provider.get_tracer("t")
    token = __import__("opentelemetry.context").context.get_current()
    span = tracer.start_span("s", start_time=1)
    # Nothing raises, not even what the SDK would let through: a wrong value costs itself.
    for operation, what, shape in steps:
        if operation == 18:
            with tracer.start_as_current_span("child", attributes={"key": hostile_value(span, what, shape)}):
                pass
        else:
            operate(span, operation, what, shape)
    if span.is_recording():
        span.end(9)
    assert __import__("opentelemetry.context").context.get_current() == token
    check(provider)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_is_not_an_exception_goes_on(error: type[BaseException]) -> None:
    class Interrupting:
        def __str__(self) -> str:
            raise error

        def __bool__(self) -> bool:
            raise error

    class InterruptingError(Exception):
        def __str__(self) -> str:
            raise error

    provider = create_native_tracer_provider({})
    span = provider.get_tracer("t").start_span("s")
    for operation in (
        lambda: span.set_attribute("k", Interrupting()),
        lambda: span.set_attributes({"k": [Interrupting()], "l": 1}),
        lambda: span.add_event("e", {"k": Interrupting()}),
        lambda: span.add_link(SpanContext(1, 2, False), {"k": Interrupting()}),
        lambda: span.update_name(Interrupting()),
        lambda: span.record_exception(InterruptingError()),
        lambda: provider.get_tracer("t").start_span("s", attributes={"k": Interrupting()}),
        lambda: provider.get_tracer("t").start_span("s", attributes=Interrupting()),
        lambda: provider.get_tracer("t").start_span("s", links=Interrupting()),
        lambda: provider.get_tracer("t").start_span("s", links=[Interrupting()]),
    ):
        with pytest.raises(error):
            operation()
    span.set_attribute("fine", 1)
    span.end()
    (sent,) = drain(provider).resource_spans[0].scope_spans[0].spans
    assert "fine" in [attribute.key for attribute in sent.attributes]


def test_an_interrupt_of_an_id_generator_goes_on() -> None:
    class Ids(CountingIds):
        def is_trace_id_random(self) -> bool:
            raise KeyboardInterrupt

    tracer = create_native_tracer_provider({}, id_generator=Ids()).get_tracer("t")
    with pytest.raises(KeyboardInterrupt):
        tracer.start_span("s")


def test_one_bad_value_costs_itself_only() -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError("no")

    provider = create_native_tracer_provider({})
    span = provider.get_tracer("t").start_span("s", attributes={"a": 1, "broken": Broken(), "b": 2})
    span.set_attribute("c", Broken())
    assert span.attributes == {"a": 1, "b": 2}


def test_endless_values_end() -> None:
    class Endless(Sequence):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: Any) -> str:
            return "x" * 100_000

    span = create_native_tracer_provider({}).get_tracer("t").start_span("s")
    itself: list[Any] = []
    itself.extend([itself, itself])
    twice: Any = "x"
    for _ in range(23):
        twice = [twice, twice, twice]
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    for value in (itself, twice, deep, Endless(), "x" * (1 << 26), {"k": itself}):
        span.set_attribute("endless", value)
    span.set_attribute("fine", 1)
    assert list(span.attributes) == ["fine"]
    deep = None


def test_keys_with_their_own_hash() -> None:
    span = create_native_tracer_provider({}).get_tracer("t").start_span("s")
    span.set_attribute(HostileText("k"), 1)
    span.set_attribute(HostileText("k"), 2)
    assert span.attributes == {"k": 2}


def test_a_log_handler_may_use_the_span() -> None:
    provider = create_native_tracer_provider({})
    span = provider.get_tracer("t").start_span("s")
    calls = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if len(calls) < 5:
                calls.append(record)
                span.set_attribute(f"from handler {len(calls)}", object())

    handler = Handler()
    logging.disable(logging.NOTSET)
    logging.getLogger("opentelemetry").addHandler(handler)
    try:
        span.set_attributes({"a": object(), "b": 1, 5: 6})
    finally:
        logging.getLogger("opentelemetry").removeHandler(handler)
        logging.disable(logging.CRITICAL)
    span.end()
    (sent,) = drain(provider).resource_spans[0].scope_spans[0].spans
    assert {"a", "b", "5", "from handler 1"} <= {attribute.key for attribute in sent.attributes}


EXIT = """
import atexit, sys
from tango_telemetry_native.spans import create_native_tracer_provider
provider = create_native_tracer_provider({})
tracer = provider.get_tracer("t")
span = tracer.start_span("s", attributes={"a": [1]})
class Late:
    def __del__(self):
        span.set_attribute("late", [1]); span.end(); tracer.start_span("later")
sys.modules["keep"] = Late()
late = Late()
atexit.register(span.add_event, "exit")
span.me = span
print("done")
"""


def test_spans_that_outlive_their_module() -> None:
    result = subprocess.run(
        [sys.executable, "-X", "dev", "-c", EXIT], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr


MEMORY = """
import sys
import _testcapi
from tango_telemetry_native.spans import create_native_tracer_provider
import logging; logging.disable(logging.CRITICAL)
provider = create_native_tracer_provider({})
tracer = provider.get_tracer("t")
from opentelemetry.trace import SpanContext, StatusCode
def work():
    with tracer.start_as_current_span("s", attributes={"a": 1, "b": ["x", 2]}) as span:
        span.set_attribute("k", {"x": [1, 2.5, "y"]})
        span.add_event("e", {"a": "b"})
        span.add_link(SpanContext(1, 2, True), {"a": [1]})
        span.set_status(StatusCode.ERROR, "no")
    span.attributes
    provider.queue.drain(1 << 20)
work()
for start in range(0, 400):
    _testcapi.set_nomemory(start, start + 1)
    try:
        work()
    except MemoryError:
        pass
    finally:
        _testcapi.remove_mem_hooks()
    work()
print("done")
"""


def test_allocations_of_python_that_fail() -> None:
    """Each of the first 400 allocations that Python makes fails once; the interpreter lives.

    Without record_exception: CPython 3.12.1 itself crashes where the traceback module makes a function
    without memory.
    """
    pytest.importorskip("_testcapi")
    result = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr[-3000:]


HUGE = """
import ctypes, gc
from tango_telemetry_native.spans import create_native_tracer_provider, create_span_queue

def resident():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def work(tracer, size):
    with tracer.start_span("s") as span:
        span.add_event("\N{EURO SIGN}" * size)
        span.set_attribute("\N{EURO SIGN}" * size, 1)

tracer = create_native_tracer_provider({}, queue=create_span_queue(max_bytes=1000)).get_tracer("t")
work(tracer, 10)
before = resident()
work(tracer, 10_000_000)
grown = resident() - before
print("given back" if grown < 10_000_000 else grown)
"""


@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer keeps what is freed"
)
def test_memory_of_huge_texts_is_given_back() -> None:
    result = subprocess.run([sys.executable, "-c", HUGE], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "given back\n"), result.stderr
