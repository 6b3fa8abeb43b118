"""What spans in C++ owe to Python's own meaning: of threads, of exceptions, of strings and of keys."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import SpanContext, TraceFlags, get_current_span

calls = pytest.importorskip("tango_telemetry_native.calls")
spans = pytest.importorskip("tango_telemetry_native.spans")
sys.path.insert(0, str(Path(__file__).parent))

from native_spans_support import drain  # noqa: E402
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, Sampler, SamplingResult  # noqa: E402
from tango_telemetry.calls.place import thread_attributes  # noqa: E402
from tango_telemetry_native import giop  # noqa: E402
from test_incoming_context import PARENT, Upcall, upcall  # noqa: E402, F401 - a fixture


@pytest.fixture
def provider() -> Any:
    return spans.create_native_tracer_provider({}, sampler=ALWAYS_ON)


# --- threads ------------------------------------------------------------------------------------------------


def told(upcall: Upcall) -> tuple[int, str]:  # noqa: F811
    """What the span of one call says of its thread."""
    upcall.tracer._set_enabled(True)
    seen: list[Any] = []
    provider = spans.create_native_tracer_provider({}, sampler=ALWAYS_ON)
    usual, upcall.tracer = upcall.tracer, provider.get_tracer("test")
    try:
        assert upcall.read(f"{PARENT}01", "") is not None
    finally:
        upcall.tracer = usual
    (span,) = drain(provider).resource_spans[0].scope_spans[0].spans
    seen = [a.value for a in span.attributes if a.key.startswith("thread.")]
    assert [a.key for a in span.attributes if a.key.startswith("thread.")] == ["thread.id", "thread.name"]
    return seen[0].int_value, seen[1].string_value


def test_a_thread_that_is_renamed(upcall: Upcall) -> None:  # noqa: F811
    thread, before = threading.current_thread(), threading.current_thread().name
    assert told(upcall) == (threading.get_ident(), before)
    try:
        for name in ("scan 1", "scan 2", before):
            thread.name = name
            assert told(upcall) == (threading.get_ident(), name)
    finally:
        thread.name = before


def test_many_threads_on_one_of_the_operating_systems(
    upcall: Upcall,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with gevent's patches, which replace `threading.get_ident` by that of greenlets."""
    greenlets = [threading.Thread(name=f"greenlet {i}") for i in range(3)]
    active = dict(enumerate(greenlets, 1 << 40))
    monkeypatch.setattr(threading, "_active", {**threading._active, **active})  # type: ignore[attr-defined]
    for ident, greenlet in [*active.items(), *active.items()]:
        monkeypatch.setattr(threading, "get_ident", lambda ident=ident: ident)
        assert told(upcall) == (ident, greenlet.name)
        assert thread_attributes() == {"thread.id": ident, "thread.name": greenlet.name}


# --- exceptions ---------------------------------------------------------------------------------------------


class Failing:
    """User code that is asked and fails; where the class says so, only its ``__bool__``."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error

    __bool__ = __str__  # type: ignore[assignment]


def test_an_absorbed_error_has_its_traceback(provider: Any, caplog: pytest.LogCaptureFixture) -> None:
    reported = sys.modules["tango_telemetry_native._configure"]._reported  # type: ignore[attr-defined]
    reported.clear()
    with caplog.at_level(logging.WARNING, "tango_telemetry_native.spans"):
        provider.get_tracer("t").start_span(Failing(LookupError("no text")))
        provider.get_tracer("t").start_span("a").set_attribute("k", Failing(LookupError("no value")))
    records = [r for r in caplog.records if r.name == "tango_telemetry_native.spans"]
    assert len(records) == 2
    for record in records:
        assert record.exc_info is not None
        assert record.exc_info[2] is not None
        assert "in __str__" in logging.Formatter().formatException(record.exc_info)


class RaisingSampler(Sampler):
    def __init__(self, flag: Any) -> None:
        self.flag = flag

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        decision: Any = type("D", (), {"is_recording": lambda _: self.flag, "is_sampled": lambda _: True})()
        result = SamplingResult(Decision.RECORD_AND_SAMPLE)
        result.decision = decision
        return result

    def get_description(self) -> str:
        return "raises"


def wake_with(provider: Any, error: BaseException) -> None:
    def wake() -> None:
        raise error

    provider.queue.set_wake(wake)
    provider.get_tracer("t").start_span("a").end()


class FloatTime(float):
    error: BaseException

    def __int__(self) -> int:
        raise self.error


ASKED: dict[str, Callable[[Any, Failing], Any]] = {
    "record_exception": lambda p, f: p.get_tracer("t").start_span("a", record_exception=f),
    "set_status_on_exception": lambda p, f: p.get_tracer("t").start_span("a", set_status_on_exception=f),
    "end_on_exit": lambda p, f: (
        p.get_tracer("t")
        .start_as_current_span("a", end_on_exit=f)
        .__enter__()
        ._tracer.start_span("b", attributes=f)
    ),
    "name": lambda p, f: p.get_tracer("t").start_span(f),
    "attribute": lambda p, f: p.get_tracer("t").start_span("a").set_attribute("k", [f]),
    "wake": lambda p, f: wake_with(p, f.error),
    "sampler": lambda p, f: (
        spans.create_native_tracer_provider({}, sampler=RaisingSampler(f)).get_tracer("t").start_span("a")
    ),
}


@pytest.mark.parametrize("asked", ASKED)
def test_an_interrupt_goes_on_and_an_exception_does_not(provider: Any, asked: str) -> None:
    token = attach(Context())
    try:
        with pytest.raises(KeyboardInterrupt):
            ASKED[asked](provider, Failing(KeyboardInterrupt()))
        ASKED[asked](spans.create_native_tracer_provider({}, sampler=ALWAYS_ON), Failing(LookupError()))
    finally:
        detach(token)


def test_no_code_of_the_users_runs_for_a_time(provider: Any) -> None:
    FloatTime.error = KeyboardInterrupt()
    span = provider.get_tracer("t").start_span("a", start_time=FloatTime(5.0))
    assert span.start_time == 5


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, LookupError])
def test_an_interrupt_while_the_client_is_asked(upcall: Upcall, error: type[BaseException]) -> None:  # noqa: F811
    def get_client_ident() -> None:
        raise error

    usual = upcall.beginning
    handler: ContextVar[Any] = ContextVar("handler", default=None)
    tracer: ContextVar[Any] = ContextVar("tracer", default=None)
    upcall.beginning = calls.HandlerBeginning(upcall.begin_in_python, tracer, handler, {}, lambda ident: {})
    upcall.get_client_ident = get_client_ident  # type: ignore[attr-defined]
    provider = spans.create_native_tracer_provider({}, sampler=ALWAYS_ON)
    upcall.tracer, tracer_before = provider.get_tracer("t"), upcall.tracer
    try:
        if error is LookupError:
            assert upcall.read(f"{PARENT}01", "") is not None
        else:
            with pytest.raises(error):
                upcall.read(f"{PARENT}01", "")
        assert (handler.get(), tracer.get()) == (None, None)
        assert not get_current_span().get_span_context().is_valid
        assert provider.queue.accepted() == 1
    finally:
        upcall.beginning, upcall.tracer = usual, tracer_before
        del upcall.get_client_ident  # type: ignore[attr-defined]


def test_an_activation_entered_from_an_attribute_of_its_own(provider: Any) -> None:
    errors: list[BaseException] = []

    class Enters:
        def __str__(self) -> str:
            try:
                activation.__enter__()
            except RuntimeError as error:
                errors.append(error)
            return "entered"

    before = get_current()
    activation = provider.get_tracer("t").start_as_current_span("a", attributes={"k": Enters()})
    with activation as span:
        assert span.attributes == {"k": "entered"}
        assert get_current_span() is span
    assert get_current() == before
    assert len(errors) == 1
    assert provider.queue.accepted() == 1


# --- strings, keys and numbers ------------------------------------------------------------------------------


class Own(str):
    """Equal to nothing but itself."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Names(str, Enum):
    KEY = "key"


def pairs(attributes: Any) -> list[tuple[str, int]]:
    return [(a.key, a.value.int_value) for a in attributes]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a\ud800", "a\N{REPLACEMENT CHARACTER}"),
        ("b\N{REPLACEMENT CHARACTER}", "b\udfff"),
        ("c\ud800", "c\udc00"),
        ("\u2603\ud800", "\u2603\ufffd"),
        ("\U0001f600\ud800", "\U0001f600\ufffd"),
        (Own("key"), "key"),
        (Own("caf\u00e9"), Own("caf\u00e9")),
        (Names.KEY, "key"),
    ],
)
def test_keys_that_are_equal_in_utf8_are_one(provider: Any, first: str, second: str) -> None:
    span = provider.get_tracer("t").start_span("a", attributes={first: 1, second: 2})
    span.set_attribute("nested", {first: 1, second: 2})
    span.add_event("e", {first: 1, second: 2})
    span.set_attribute("one", 1)
    span.end()
    one = provider.get_tracer("t").start_span("b")
    one.set_attribute(first, 1)
    one.set_attribute(second, 2)
    one.end()
    first_span, second_span = drain(provider).resource_spans[0].scope_spans[0].spans
    key = re.sub("[\ud800-\udfff]", "\ufffd", second)
    assert pairs(first_span.attributes)[0] == (key, 2)
    assert [a.key for a in first_span.attributes] == [key, "nested", "one"]
    assert pairs(first_span.attributes[1].value.kvlist_value.values) == [(key, 2)]
    assert pairs(first_span.events[0].attributes) == [(key, 2)]
    assert pairs(second_span.attributes) == [(key, 2)]


@pytest.fixture
def outgoing() -> Iterator[None]:
    yield
    giop.restore_outgoing(None)


@pytest.mark.parametrize("kind", [str, Own])
def test_subclasses_of_str_are_strings(outgoing: None, kind: type[str]) -> None:
    parent, state = f"{PARENT}01", "vendor=1"
    assert giop.set_outgoing(kind(parent), kind(state)) is None
    assert giop.get_incoming() == (parent, state)
    giop.restore_outgoing((kind(parent), kind("other=1")))
    assert giop.get_incoming() == (parent, "other=1")
    giop.set_outgoing(kind(parent), kind("caf\u00e9"))
    assert giop.get_incoming() is None


@pytest.mark.parametrize("number", [-1, -(1 << 127), 1 << 128, 1 << 200])
def test_an_id_that_does_not_fit_is_an_overflow_on_every_python(outgoing: None, number: int) -> None:
    with pytest.raises(OverflowError):
        giop.set_outgoing_span(number, 1, 1)
    with pytest.raises(OverflowError):
        giop.set_outgoing_span(1, number, 1)


def test_ids_of_a_generator_that_do_not_fit_are_replaced(caplog: pytest.LogCaptureFixture) -> None:
    sys.modules["tango_telemetry_native._configure"]._reported.clear()  # type: ignore[attr-defined]

    class Ids:
        def generate_trace_id(self) -> int:
            return -5

        def generate_span_id(self) -> int:
            return 1 << 64

    made = spans.create_native_tracer_provider({}, sampler=ALWAYS_ON, id_generator=Ids())
    context = made.get_tracer("t").start_span("a").get_span_context()
    assert context.is_valid
    assert [r.exc_info[0] for r in caplog.records if r.exc_info] == [OverflowError]


def test_the_link_of_a_context_with_a_negative_id_is_left_out(provider: Any) -> None:
    span = provider.get_tracer("t").start_span("a")
    span.add_link(SpanContext(-1, 2, True, TraceFlags(1)))
    span.add_link(SpanContext(1, 2, True, TraceFlags(1)))
    assert [link.context.trace_id for link in span.links] == [1]
