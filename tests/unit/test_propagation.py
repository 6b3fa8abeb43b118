"""The two strings: what we send, what we believe, and what a hostile peer may send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags, TraceState
from tango_telemetry.context import w3c

TRACE = 0xABCDEF0123456789ABCDEF0123456789
SPAN = 0x1122334455667788


def make(flags: int = 1, state: TraceState | None = None) -> SpanContext:
    return SpanContext(TRACE, SPAN, False, TraceFlags(flags), state or TraceState())


def test_injected_strings_are_w3c_with_our_entry_in_front():
    traceparent, tracestate = w3c.inject(make(1, TraceState([("vendor", "x"), ("tango", "old")])))
    assert traceparent == f"00-{TRACE:032x}-{SPAN:016x}-01"
    assert tracestate == f"tango={SPAN:016x}-01,vendor=x"


@given(
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.integers(0, 3),
    st.dictionaries(
        st.sampled_from(["a", "b", "vendor"]), st.text("xyz012", min_size=1, max_size=20), max_size=3
    ),
)
def test_what_is_injected_is_extracted(trace_id, span_id, flags, state):
    context = SpanContext(trace_id, span_id, False, TraceFlags(flags), TraceState(list(state.items())))
    found = w3c.extract(*w3c.inject(context))
    assert found is not None
    assert (found.trace_id, found.span_id, found.trace_flags) == (trace_id, span_id, flags)
    assert found.is_remote
    assert dict(found.trace_state) == state


def test_recorded_spans_of_cpptango_are_the_parent():
    found = w3c.extract(f"00-{TRACE:032x}-00000000000000aa-01", f"tango={SPAN:016x}-01")
    assert found is not None
    assert found.span_id == 0xAA
    assert "tango" not in found.trace_state


def test_unrecorded_spans_of_cpptango_give_way_to_our_entry():
    found = w3c.extract(f"00-{TRACE:032x}-00000000000000aa-00", f"tango={SPAN:016x}-01,vendor=x")
    assert found is not None
    assert found.span_id == SPAN
    assert found.trace_flags == 1
    assert found.trace_state.get("vendor") == "x"


def test_a_trace_that_cpptango_began_by_itself_is_no_parent():
    assert w3c.extract(f"00-{TRACE:032x}-00000000000000aa-02", "") is None


@pytest.mark.parametrize(
    "traceparent",
    [
        "x",
        "00-" + "0" * 32 + "-1122334455667788-01",
        "00-" + "a" * 32 + "-" + "0" * 16 + "-01",
        "00-" + "a" * 32 + "-1122334455667788-zz",
        "ff-" + "a" * 32 + "-1122334455667788-01",
        "00-" + " +1" * 10 + "ab-1122334455667788-01",
        "00-" + "a" * 32 + "-11223344_5667788-01",
        "00-" + "A" * 32 + "-1122334455667788-01",
        "00_" + "a" * 32 + "-1122334455667788-01",
    ],
)
def test_malformed_input_is_dropped_and_counted(traceparent):
    before = w3c.rejected()
    assert w3c.extract(traceparent, "") is None
    assert w3c.rejected() == before + 1


@pytest.mark.parametrize(
    "entry", ["tango=zzzzzzzzzzzzzzzz-01", "tango=0000000000000000-01", "tango=1122334455667788_01"]
)
def test_a_malformed_entry_is_dropped_and_counted(entry):
    before = w3c.rejected()
    assert w3c.extract(f"00-{TRACE:032x}-00000000000000aa-00", entry) is None
    assert w3c.rejected() == before + 1


def test_an_oversized_tracestate_is_dropped_and_counted():
    before = w3c.rejected()
    found = w3c.extract(f"00-{TRACE:032x}-00000000000000aa-01", "a=" + "b" * 100_000)
    assert found is not None
    assert not found.trace_state
    assert w3c.rejected() == before + 1


@given(st.text(max_size=70), st.text(max_size=600))
def test_no_input_raises(traceparent, tracestate):
    found = w3c.extract(traceparent, tracestate)
    assert found is None or found.is_valid


@given(st.text(max_size=600))
def test_no_tracestate_raises(tracestate):
    found = w3c.extract(f"00-{TRACE:032x}-{SPAN:016x}-01", tracestate)
    assert found is not None
    assert found.trace_id == TRACE
