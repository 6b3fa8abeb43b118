"""Limits and samplers are those that the SDK reads from the same environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("tango_telemetry_native._spans", reason="tango-telemetry-native is not built here")
pytest.importorskip("opentelemetry.sdk.trace")
sys.path.insert(0, str(Path(__file__).parent))

from hypothesis import given, settings
from hypothesis import strategies as st
from native_spans_support import drain
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits as SdkLimits
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.trace import SpanContext, StatusCode, TraceFlags, Tracer, TraceState
from tango_telemetry.providers.sampling import TokenBucket, limit_new_traces
from tango_telemetry_native._span_settings import (
    ALWAYS,
    NEVER,
    PYTHON,
    RATIO,
    SamplerRule,
    SpanLimits,
    encode_limits,
)
from tango_telemetry_native.spans import create_native_tracer_provider, read_settings

VARIABLES = [
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
]


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(VARIABLES), st.sampled_from(["", " ", "0", "7", " 12 ", "-1", "x", "1.5"])
    )
)
def test_limits_are_those_of_the_sdk(environ: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for variable in VARIABLES:
            patch.delenv(variable, raising=False)
        for variable, text in environ.items():
            patch.setenv(variable, text)
        expected: object
        try:
            expected = encode_limits(SdkLimits())
        except ValueError:
            expected = ValueError
    if expected is ValueError:
        with pytest.raises(ValueError, match="must be a non-negative integer but got") as caught:
            SpanLimits.from_env(environ)
        assert str(caught.value).split(" must")[0] in environ
        return
    assert encode_limits(SpanLimits.from_env(environ)) == expected


def test_limits_may_be_larger_than_anything() -> None:
    limits = SdkLimits(max_span_attributes=10**30, max_events=2**63, max_attribute_length=2**64)
    tracer = create_native_tracer_provider({}, span_limits=limits).get_tracer("t")
    span = tracer.start_span("s", attributes={"text": "x" * 300})
    span.add_event("event")
    assert (span.attributes, len(span.events)) == ({"text": "x" * 300}, 1)


@pytest.mark.parametrize("name", [None, "", "always_on", "always_off", "TraceIdRatio", "parentbased_always_on",  # noqa: E501
                                  "parentbased_always_off", "parentbased_traceidratio", "parentbased_", "nonsense"])  # fmt: skip  # noqa: E501
@pytest.mark.parametrize("argument", [None, "", "0", "0.25", "1", "1.0", "2", "-1", "x", "nan"])
def test_samplers_of_the_environment_are_those_of_the_sdk(
    name: str | None, argument: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {}
    for variable, text in (("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)):
        monkeypatch.delenv(variable, raising=False)
        if text is not None:
            environ[variable] = text
            monkeypatch.setenv(variable, text)
    official = sampling._get_from_env_or_default()
    if argument == "nan" and name and "ratio" in name.lower():
        pytest.skip("the SDK cannot make a sampler of it")
    assert SamplerRule.from_env(environ) == SamplerRule.from_sampler(official)


def test_only_the_samplers_of_the_sdk_become_rules() -> None:
    class Mine(sampling.TraceIdRatioBased):
        pass

    assert SamplerRule.from_sampler(sampling.ALWAYS_ON) == SamplerRule(ALWAYS, False)
    assert SamplerRule.from_sampler(sampling.DEFAULT_OFF) == SamplerRule(NEVER, True)
    assert SamplerRule.from_sampler(sampling.ParentBasedTraceIdRatio(0.5)) == SamplerRule(RATIO, True, 2**63)
    assert SamplerRule.from_sampler(Mine(0.5)).root == PYTHON
    other_parents = sampling.ParentBased(sampling.ALWAYS_ON, remote_parent_sampled=sampling.ALWAYS_OFF)
    assert SamplerRule.from_sampler(other_parents).root == PYTHON
    assert SamplerRule.from_sampler(sampling.AlwaysRecordSampler(sampling.ALWAYS_OFF)).root == PYTHON


RECORD_ONLY = sampling.StaticSampler(sampling.Decision.RECORD_ONLY)


@pytest.mark.parametrize(
    "sampler",
    [
        RECORD_ONLY,
        sampling.ParentBased(RECORD_ONLY),
        sampling.ParentBased(sampling.ALWAYS_OFF, remote_parent_sampled=RECORD_ONLY),
        sampling.ParentBased(sampling.ALWAYS_OFF, local_parent_not_sampled=RECORD_ONLY),
    ],
    ids=["root", "root of ParentBased", "remote parent", "local parent"],
)
def test_a_sampler_that_only_records_is_asked(sampler: sampling.Sampler) -> None:
    assert SamplerRule.from_sampler(sampler) == SamplerRule(PYTHON, False, 0, sampler)


def test_what_is_only_recorded_is_not_sent() -> None:
    provider = create_native_tracer_provider({}, sampler=RECORD_ONLY)
    span = provider.get_tracer("t").start_span("s")
    assert span.is_recording()
    assert not span.get_span_context().trace_flags.sampled
    span.end()
    assert provider.queue.accepted() == 0


class FixedIds:
    def __init__(self, trace_id: int) -> None:
        self.trace_id = trace_id

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return 1


@settings(max_examples=500, deadline=None)
@given(rate=st.one_of(st.sampled_from([0.0, 1.0, 0.5, 2**-64, 1 - 2**-53]), st.floats(0, 1)), data=st.data())
def test_the_ratio_has_the_exact_bound_of_the_sdk(rate: float, data: st.DataObject) -> None:
    official = sampling.TraceIdRatioBased(rate)
    low = data.draw(
        st.one_of(
            st.integers(0, 2**64 - 1),
            st.integers(-2, 2).map(lambda near: min(max(official.bound + near, 0), 2**64 - 1)),
        )
    )
    trace_id = (5 << 64) + low
    tracer = create_native_tracer_provider({}, sampler=official, id_generator=FixedIds(trace_id)).get_tracer(
        "t"
    )
    decision = official.should_sample(None, trace_id, "s").decision
    assert tracer.start_span("s").is_recording() == decision.is_recording()


@pytest.mark.parametrize("parent_flags", [0, 1, 2, 3])
@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("sampler", ["ALWAYS_ON", "ALWAYS_OFF", "DEFAULT_ON", "DEFAULT_OFF"])
def test_parents_decide_as_with_the_sdk(parent_flags: int, remote: bool, sampler: str) -> None:
    from opentelemetry.sdk.trace import TracerProvider

    official = getattr(sampling, sampler)
    state = TraceState([("tango", "1"), ("other", "2")])
    parent = SpanContext(0x11 << 100, 0x22, remote, TraceFlags(parent_flags), state)
    context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    native = create_native_tracer_provider({}, sampler=official).get_tracer("t").start_span("s", context)
    sdk = TracerProvider(sampler=official, shutdown_on_exit=False).get_tracer("t").start_span("s", context)
    ours, theirs = native.get_span_context(), sdk.get_span_context()
    assert native.is_recording() == sdk.is_recording()
    assert (ours.trace_id, ours.trace_flags, ours.trace_state) == (
        theirs.trace_id,
        theirs.trace_flags,
        theirs.trace_state,
    )
    assert isinstance(native, trace.NonRecordingSpan) == isinstance(sdk, trace.NonRecordingSpan)
    if sdk.is_recording():
        assert native.parent == sdk.parent == parent


def _begin_traces(tracer: Tracer) -> list[tuple[bool, bool]]:
    """Two roots, each with a child; a root that fails, with a child that fails too."""
    seen = []
    for name, fails in (("first", False), ("second", False), ("third", True)):
        with tracer.start_as_current_span(name) as root, tracer.start_as_current_span(f"in {name}") as child:
            for span in (root, child):
                seen.append((span.is_recording(), span.get_span_context().trace_flags.sampled))
                if fails:
                    span.set_status(StatusCode.ERROR)
    return seen


def test_new_traces_are_bounded_as_by_the_sampler_in_python() -> None:
    now = [0.0]
    native = create_native_tracer_provider({}, settings=read_settings(TokenBucket(0.5, lambda: now[0])))
    bounded = limit_new_traces(sampling.ParentBased(sampling.ALWAYS_ON), TokenBucket(0.5, lambda: now[0]))
    expected = _begin_traces(TracerProvider(sampler=bounded).get_tracer("lab"))
    assert expected == [(True, True)] * 2 + [(True, False), (False, False)] * 2
    assert _begin_traces(native.get_tracer("lab")) == expected
    now[0] = 2.0  # another may begin: the next
    assert _begin_traces(native.get_tracer("lab"))[:3] == [(True, True), (True, True), (True, False)]
    spans = drain(native).resource_spans[0].scope_spans[0].spans
    # Beyond the bound what failed is kept.
    assert [span.name for span in spans] == ["in first", "first", "third"] * 2


class _Broken:
    def take(self) -> bool:
        raise RuntimeError("no bucket")


def test_a_bound_that_fails_costs_no_span(caplog: pytest.LogCaptureFixture) -> None:
    native = create_native_tracer_provider({}, settings=read_settings(_Broken()))
    with native.get_tracer("lab").start_as_current_span("root") as root:
        assert root.get_span_context().trace_flags.sampled
