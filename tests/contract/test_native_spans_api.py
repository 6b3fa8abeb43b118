"""The tracer provider in C++ behaves, through OpenTelemetry's API, as the SDK's does."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
import threading
import time
import weakref
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

pytest.importorskip("tango_telemetry_native._spans", reason="tango-telemetry-native is not built here")
pytest.importorskip("opentelemetry.exporter.otlp.proto.common.trace_encoder")
sys.path.insert(0, str(Path(__file__).parent))

from native_spans_support import RESOURCE, Finished, drain
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.trace import Span, SpanContext, SpanKind, StatusCode, TraceFlags, Tracer, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from tango_telemetry_native.spans import NativeTracerProvider, create_native_tracer_provider


@pytest.fixture
def provider() -> NativeTracerProvider:
    return create_native_tracer_provider(RESOURCE)


@pytest.fixture
def tracer(provider: NativeTracerProvider) -> Tracer:
    return provider.get_tracer("library", "1.0")


def test_everything_is_a_true_subclass(provider: NativeTracerProvider, tracer: Tracer) -> None:
    span = tracer.start_span("s")
    dropped = create_native_tracer_provider({}, sampler=sampling.ALWAYS_OFF).get_tracer("t").start_span("s")
    assert trace.TracerProvider in type(provider).__mro__
    assert trace.Tracer in type(tracer).__mro__
    assert trace.Span in type(span).__mro__
    assert trace.NonRecordingSpan in type(dropped).__mro__
    for kind in (type(provider), type(tracer), type(span), type(dropped)):
        assert not kind.__abstractmethods__


def test_spans_are_made_by_tracers_only() -> None:
    from tango_telemetry_native import spans

    for kind in (spans.NativeSpan, spans.NativeDroppedSpan):
        with pytest.raises(TypeError, match="via a tracer"):
            kind()


def test_a_span_is_current_inside_its_block(provider: NativeTracerProvider, tracer: Tracer) -> None:
    with tracer.start_as_current_span("outer") as outer:
        assert trace.get_current_span() is outer
        with tracer.start_as_current_span("inner") as inner:
            assert trace.get_current_span() is inner
            assert inner.parent == outer.get_span_context()
        assert trace.get_current_span() is outer
    assert trace.get_current_span() is trace.INVALID_SPAN
    spans = drain(provider).resource_spans[0].scope_spans[0].spans
    assert [span.name for span in spans] == ["inner", "outer"]


def test_other_values_of_the_context_stay(tracer: Tracer) -> None:
    token = otel_context.attach(otel_context.set_value("mine", 5))
    with tracer.start_as_current_span("s"):
        assert otel_context.get_value("mine") == 5
        assert type(otel_context.get_current()) is otel_context.Context
    otel_context.detach(token)


def test_children_across_implementations(tracer: Tracer) -> None:
    sdk = TracerProvider(shutdown_on_exit=False).get_tracer("sdk")
    with (
        sdk.start_as_current_span("sdk") as outer,
        tracer.start_as_current_span("native") as middle,
        sdk.start_as_current_span("sdk again") as inner,
    ):
        assert middle.parent == outer.get_span_context()
        assert inner.parent == middle.get_span_context()
        assert inner.get_span_context().trace_id == outer.get_span_context().trace_id


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("options", [{}, {"record_exception": False}, {"set_status_on_exception": False}])
@pytest.mark.parametrize("how", ["start_as_current_span", "start_span", "use_span"])
def test_exceptions_leave_what_the_sdk_leaves(
    error: BaseException, options: dict[str, bool], how: str
) -> None:
    def outcome(tracer: Tracer, finished: Finished) -> Any:
        if how == "use_span":
            block = trace.use_span(tracer.start_span("s"), end_on_exit=True, **options)
        else:
            block = getattr(tracer, how)("s", **options)
        with pytest.raises(type(error)), block:
            raise error
        (span,) = finished.spans
        events = [(event.name, {**event.attributes, "exception.stacktrace": ""}) for event in span.events]
        return events, span.status.status_code, span.status.description

    outcomes = []
    for made in (create_native_tracer_provider({}), TracerProvider(shutdown_on_exit=False)):
        finished = Finished()
        made.add_span_processor(finished)
        outcomes.append(outcome(made.get_tracer("t"), finished))
    assert outcomes[0] == outcomes[1]


class _Renamed(type):
    __name__ = "Renamed"  # type: ignore[assignment]


@pytest.mark.parametrize(
    "kind",
    [OSError, type("with.dots", (Exception,), {}), _Renamed("Plain", (Exception,), {})],
    ids=["of C", "dots", "a name of the metaclass"],
)
@pytest.mark.parametrize("how", ["start_as_current_span", "start_span"])
def test_a_status_names_the_class_as_the_sdk_does(kind: type[Exception], how: str) -> None:
    descriptions = []
    for made in (create_native_tracer_provider({}), TracerProvider(shutdown_on_exit=False)):
        with pytest.raises(kind), getattr(made.get_tracer("t"), how)("s") as span:
            raise kind("no")
        descriptions.append(span.status.description)
    assert descriptions[0] == descriptions[1] == f"{kind.__name__}: no"


def test_end_on_exit_false_leaves_the_span_open(tracer: Tracer) -> None:
    with tracer.start_as_current_span("s", end_on_exit=False) as span:
        pass
    assert span.is_recording()
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_decorators(provider: NativeTracerProvider, tracer: Tracer) -> None:
    @tracer.start_as_current_span("plain")
    def add(a: int, b: int = 1) -> tuple[int, Span]:
        """Adds."""
        return a + b, trace.get_current_span()

    @tracer.start_as_current_span("coroutine")
    async def wait() -> Span:
        span = trace.get_current_span()
        await asyncio.sleep(0.001)
        assert trace.get_current_span() is span
        assert span.is_recording()
        return span

    async def several() -> list[Span]:
        return await asyncio.gather(*[wait() for _ in range(5)])

    assert (add.__name__, add.__doc__) == ("add", "Adds.")
    assert [add(1)[0], add(1, b=4)[0]] == [2, 5]
    assert add(1)[1] is not add(1)[1]
    assert len({span.get_span_context().span_id for span in asyncio.run(several())}) == 5
    names = [span.name for span in drain(provider).resource_spans[0].scope_spans[0].spans]
    assert names == ["plain"] * 4 + ["coroutine"] * 5


def test_a_block_left_in_another_context_is_logged_and_no_more(
    tracer: Tracer, caplog: pytest.LogCaptureFixture
) -> None:
    block = tracer.start_as_current_span("s")
    span = contextvars.copy_context().run(block.__enter__)
    block.__exit__(None, None, None)
    assert not span.is_recording()
    assert "Failed to detach context" in caplog.text


def test_w3c_context_goes_through(tracer: Tracer) -> None:
    carrier = {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "tango=00f067aa0ba902b7-01,other=x",
    }
    propagator = TraceContextTextMapPropagator()
    with tracer.start_as_current_span("s", propagator.extract(carrier)) as span:
        out: dict[str, str] = {}
        propagator.inject(out)
    context = span.get_span_context()
    assert out == {
        "traceparent": f"00-0af7651916cd43dd8448eb211c80319c-{context.span_id:016x}-01",
        "tracestate": carrier["tracestate"],
    }
    assert span.parent.is_remote
    assert not context.is_remote


def test_ids_are_random_and_flagged_so(tracer: Tracer) -> None:
    contexts = [tracer.start_span("s").get_span_context() for _ in range(2000)]
    assert len({context.trace_id for context in contexts}) == 2000
    assert len({context.span_id for context in contexts}) == 2000
    assert all(context.is_valid and context.trace_flags == 3 for context in contexts)
    bits = 0
    for context in contexts:
        bits |= context.trace_id
    assert bits == 2**128 - 1


@pytest.mark.parametrize(
    ("trace_id", "span_id"), [(0, 1), (1, 0), (0, 0)], ids=["no trace id", "no span id", "neither"]
)
def test_an_invalid_parent_is_none(tracer: Tracer, trace_id: int, span_id: int) -> None:
    invalid = trace.NonRecordingSpan(SpanContext(trace_id, span_id, True, TraceFlags(1)))
    span = tracer.start_span("s", trace.set_span_in_context(invalid))
    assert span.parent is None
    assert span.get_span_context().is_valid


def test_a_parent_that_is_no_span_context_is_refused_as_by_the_sdk(tracer: Tracer) -> None:
    class Odd(trace.NonRecordingSpan):
        def get_span_context(self) -> Any:
            return "nonsense"

    odd = Odd(trace.INVALID_SPAN_CONTEXT)
    with pytest.raises(TypeError, match="must be a SpanContext"):
        tracer.start_span("s", trace.set_span_in_context(odd))


def test_arguments_are_checked(tracer: Tracer) -> None:
    for call in (
        lambda: tracer.start_span(),
        lambda: tracer.start_span("s", nme=1),
        lambda: tracer.start_span("s", name="s"),
        lambda: tracer.start_span(*range(9)),
        lambda: tracer.start_span("s").set_attribute("k"),
        lambda: tracer.start_span("s").end(1, 2),
    ):
        with pytest.raises(TypeError):
            call()
    # Every keyword of the API, also one that is not interned.
    keywords = {
        "".join(["na", "me"]): "s",
        "context": None,
        "kind": SpanKind.SERVER,
        "attributes": {},
        "links": (),
    }
    assert (
        tracer.start_span(
            **keywords, start_time=5, record_exception=True, set_status_on_exception=True
        ).start_time
        == 5
    )


def test_times_that_cannot_be_used_are_replaced(tracer: Tracer) -> None:
    before = time.time_ns()
    for wrong in (-1, 2**64, "now", object()):
        span = tracer.start_span("s", start_time=wrong)
        assert before <= span.start_time <= time.time_ns()
        span.end(wrong)
        assert before <= span.end_time <= time.time_ns() + 1000


def test_the_end_is_not_before_the_start(tracer: Tracer) -> None:
    for _ in range(1000):
        with tracer.start_span("s") as span:
            span.add_event("e")
        assert span.start_time <= span.end_time


def test_a_python_sampler_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    asked = []

    class Mine(sampling.Sampler):
        def should_sample(self, *arguments: Any) -> sampling.SamplingResult:
            asked.append(arguments)
            name = arguments[2]
            if name == "broken":
                raise ValueError("no")
            decision = getattr(sampling.Decision, name)
            return sampling.SamplingResult(decision, {"from": "sampler"}, TraceState([("a", "b")]))

        def get_description(self) -> str:
            return "AlwaysOnSampler"

    provider = create_native_tracer_provider({}, sampler=Mine())
    finished = Finished()
    provider.add_span_processor(finished)
    tracer = provider.get_tracer("t")
    sampled = tracer.start_span("RECORD_AND_SAMPLE", attributes={"given": 1})
    recorded = tracer.start_span("RECORD_ONLY")
    dropped = tracer.start_span("DROP")
    broken = tracer.start_span("broken")
    assert asked[0] == (
        None,
        sampled.get_span_context().trace_id,
        "RECORD_AND_SAMPLE",
        SpanKind.INTERNAL,
        {"given": 1},
        (),
    )
    assert [span.is_recording() for span in (sampled, recorded, dropped, broken)] == [
        True,
        True,
        False,
        False,
    ]
    assert [span.get_span_context().trace_flags for span in (sampled, recorded, dropped, broken)] == [
        3,
        2,
        2,
        2,
    ]
    assert sampled.attributes == {"from": "sampler"}
    assert dropped.get_span_context().trace_state == TraceState([("a", "b")])
    for span in (sampled, recorded, dropped, broken):
        span.end()
    # Only what is sampled is exported; a processor sees what is recorded.
    assert [span.name for span in finished.spans] == ["RECORD_AND_SAMPLE", "RECORD_ONLY"]
    (exported,) = drain(provider).resource_spans[0].scope_spans[0].spans
    assert (exported.name, exported.trace_state) == ("RECORD_AND_SAMPLE", "a=b")


def test_span_processors_see_readable_spans() -> None:
    exported = Finished()
    provider = create_native_tracer_provider(RESOURCE)
    starts: list[tuple[str, Any]] = []

    class Starts(SimpleSpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            span.set_attribute("seen", True)
            starts.append((span.name, parent_context))

    batch = BatchSpanProcessor(Finished(), schedule_delay_millis=10)
    provider.add_span_processor(Starts(exported))
    provider.add_span_processor(batch)
    tracer = provider.get_tracer("library", "1.0", "https://example.org", {"scope": 1})
    context = otel_context.set_value("k", "v")
    span = tracer.start_span("s", context, SpanKind.CLIENT, {"a": [1]})
    span.add_event("e", {"x": 1}, 7)
    span.end()
    (view,) = exported.spans
    assert starts == [("s", context)]
    assert isinstance(view, ReadableSpan)
    assert not isinstance(view, trace.Span)
    assert view.attributes == {"a": (1,), "seen": True}
    assert view.events[0].attributes == {"x": 1}
    assert view.resource is RESOURCE
    assert view.instrumentation_scope.attributes == {"scope": 1}
    assert '"seen": true' in view.to_json()
    assert provider.force_flush(5000)
    assert [sent.name for sent in batch.span_exporter.spans] == ["s"]
    provider.shutdown()


def test_a_processor_added_late_is_called_for_earlier_tracers(
    provider: NativeTracerProvider, tracer: Tracer
) -> None:
    finished = Finished()
    provider.add_span_processor(finished)
    tracer.start_span("s").end()
    assert [span.name for span in finished.spans] == ["s"]


def test_a_failing_processor_does_not_reach_the_user(
    provider: NativeTracerProvider, tracer: Tracer, caplog: pytest.LogCaptureFixture
) -> None:
    from tango_telemetry_native import _configure

    class Broken(Finished):
        def on_end(self, span: ReadableSpan) -> None:
            raise ValueError("no")

    _configure._reported.clear()
    provider.add_span_processor(Broken())
    for _ in range(3):
        tracer.start_span("s").end()
    assert caplog.text.count("a span processor failed in on_end: ValueError") == 1
    assert provider.queue.pending()[0] == 3


def test_one_tracer_for_the_same_scope(provider: NativeTracerProvider) -> None:
    assert provider.get_tracer("a") is provider.get_tracer("a", "")
    assert provider.get_tracer("a", attributes={"x": 1, "y": [1]}) is provider.get_tracer(
        "a", attributes={"y": [1], "x": 1}
    )
    different = {
        id(provider.get_tracer(*scope))
        for scope in (("a",), ("a", "1"), ("a", "1", "u"), ("a", "1", "u", {"x": 1}))
    }
    assert len(different) == 4


def test_the_sdk_switch_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", " TRUE ")
    assert isinstance(create_native_tracer_provider({}).get_tracer("t"), trace.NoOpTracer)


def test_a_disabled_tracer_hands_the_parent_on(tracer: Any) -> None:
    parent = SpanContext(5, 6, True, TraceFlags(1))
    context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    tracer._set_enabled(False)
    assert tracer.start_span("s", context).get_span_context() is parent
    assert tracer.start_span("s").get_span_context() == trace.INVALID_SPAN_CONTEXT
    tracer._set_enabled(True)
    assert tracer.start_span("s", context).is_recording()


def test_suppression_is_for_instrumentations_as_with_the_sdk(tracer: Tracer) -> None:
    """The key tells those who make spans for others; a tracer itself does not look at it, neither ours nor
    the SDK's.
    """
    from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

    token = otel_context.attach(otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        sdk = TracerProvider(shutdown_on_exit=False).get_tracer("t")
        assert tracer.start_span("s").is_recording() == sdk.start_span("s").is_recording()
    finally:
        otel_context.detach(token)


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int, str]]:
    found = [(record.name, record.levelno, record.getMessage()) for record in caplog.records]
    caplog.clear()
    return found


def test_warnings_are_those_of_the_sdk(caplog: pytest.LogCaptureFixture) -> None:
    from opentelemetry.sdk.trace import SpanLimits

    class Odd:
        pass

    def provoke(tracer: Tracer) -> None:
        span = tracer.start_span("s", attributes={"a": Odd, "long": "xxxxxx", 5: 1, "": 2})
        span.set_attribute("", 1)
        span.set_attribute("list", [Odd, {"": 1, 3: "xxxxxxx"}])
        span.set_attributes({"b": 1, "c": 2, "d": 3})
        span.add_event("e", {"": 1})
        span.set_status(StatusCode.OK, "needless")
        span.set_status(trace.Status(StatusCode.ERROR), "too late")
        tracer.start_span("t").set_status(trace.Status(StatusCode.ERROR), "ignored")
        span.end()
        span.end()
        span.set_attribute("x", 1)
        span.set_attributes({"x": 1})
        span.add_event("x")
        span.add_link(SpanContext(1, 2, False))
        span.update_name("x")
        span.set_status(StatusCode.OK)

    span_limits = SpanLimits(max_span_attributes=4, max_attribute_length=5)
    caplog.set_level(logging.DEBUG)
    provoke(create_native_tracer_provider({}, span_limits=span_limits).get_tracer("t"))
    ours = messages(caplog)
    provoke(TracerProvider(span_limits=span_limits, shutdown_on_exit=False).get_tracer("t"))
    # Within one call the SDK's truncations come before what fills the list, ours as they happen.
    assert sorted(ours) == sorted(messages(caplog))


def test_integers_that_cannot_be_sent_are_logged(
    provider: NativeTracerProvider, tracer: Tracer, caplog: pytest.LogCaptureFixture
) -> None:
    tracer.start_span("s", attributes={"big": 2**63, "list": [1, 2**70], "fine": 1}).end()
    (span,) = drain(provider).resource_spans[0].scope_spans[0].spans
    assert [attribute.key for attribute in span.attributes] == ["fine"]
    assert [message for _, _, message in messages(caplog)] == [
        "Failed to encode key big: an integer of more than 64 bits",
        "Failed to encode key list: an integer of more than 64 bits",
    ]


def test_nothing_is_kept_alive() -> None:
    class Attached:
        pass

    provider = create_native_tracer_provider({})
    tracer = provider.get_tracer("t")
    span = tracer.start_span("s", attributes={"a": 1})
    # A cycle through everything: a span, its tracer, the provider's hooks, and back to the span.
    attached = Attached()
    finished = Finished()
    provider.add_span_processor(finished)
    attached.span, attached.provider, finished.attached = span, provider, attached  # type: ignore[attr-defined]
    alive = [weakref.ref(thing) for thing in (attached, provider, tracer, span)]
    del provider, tracer, span, attached, finished
    gc.collect()
    assert [reference() for reference in alive] == [None] * 4


@pytest.mark.parametrize("kind", [dict, MappingProxyType], ids=["dict", "other mapping"])
def test_resources_need_no_sdk(kind: Any) -> None:
    provider = create_native_tracer_provider(kind({"service.name": "x"}))
    provider.get_tracer("t").start_span("s").end()
    (attribute,) = drain(provider).resource_spans[0].resource.attributes
    assert (attribute.key, attribute.value.string_value) == ("service.name", "x")
    assert provider.resource == Resource({"service.name": "x"})


def test_flush_reaches_the_pipeline() -> None:
    calls: list[float] = []

    def flush(seconds: float) -> bool:
        calls.append(seconds)
        return False

    provider = create_native_tracer_provider({}, flush=flush)
    assert not provider.force_flush(2000)
    provider.shutdown()
    assert 1.9 < calls[0] <= 2.0
    assert calls[1] == 1.0
    assert create_native_tracer_provider({}).force_flush()


def test_without_a_resource_it_is_the_sdk_that_makes_one() -> None:
    assert create_native_tracer_provider().resource.attributes["telemetry.sdk.language"] == "python"


def test_threads_may_share_one_span(provider: NativeTracerProvider, tracer: Tracer) -> None:
    """8 threads change one span while it ends: what is sent is whole, whatever it holds."""
    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(6):
            span = tracer.start_span("shared")
            barrier = threading.Barrier(9)

            class Slow:
                def __str__(self) -> str:
                    return str(sum(range(50)))

            def mutate(number: int, span: Span = span, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                for i in range(100):
                    span.set_attribute(f"k{number}.{i % 7}", [Slow(), "x" * i, {"n": i}])
                    span.set_attributes({f"m{i % 40}": Slow(), "n": i})
                    span.add_event("e", {"i": i, "s": Slow()})
                    span.add_link(SpanContext(number + 1, i + 1, True), {"i": i})
                    span.update_name(f"name {i}")
                    span.set_status(StatusCode.ERROR, f"{number} {i}")
                    span.attributes, span.events, span.links

            threads = [threading.Thread(target=mutate, args=(number,)) for number in range(8)]
            logging.disable(logging.CRITICAL)
            for thread in threads:
                thread.start()
            barrier.wait()
            time.sleep(0.005)
            span.end()
            for thread in threads:
                thread.join()
            (sent,) = drain(provider).resource_spans[0].scope_spans[0].spans
            assert len(sent.attributes) <= 128
            assert len(sent.events) <= 128
            assert len({attribute.key for attribute in sent.attributes}) == len(sent.attributes)
            assert all(event.name == "e" and len(event.attributes) == 2 for event in sent.events)
    finally:
        logging.disable(logging.NOTSET)
        sys.setswitchinterval(old)
