"""What a peer sends, read in C++: taken only where `tango_telemetry.context.w3c.extract` takes it, and as
that does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanKind
from tango_telemetry.calls.place import thread_attributes
from tango_telemetry.calls.plans import ANY_PLACE, Plan
from tango_telemetry.context.w3c import NO_TRACE_STATE, extract
from tango_telemetry.state import state

calls = pytest.importorskip("tango_telemetry_native.calls")
spans = pytest.importorskip("tango_telemetry_native.spans")

TRACER: ContextVar[Any] = ContextVar("tracer", default=None)
HANDLER: ContextVar[Any] = ContextVar("handler", default=None)
TRACE, SPAN, OTHER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-"


class Text(ctypes.Structure):
    _fields_ = (("data", ctypes.c_char_p), ("size", ctypes.c_size_t))

    @classmethod
    def of(cls, text: bytes) -> Text:
        return cls(text, len(text))


SINK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, Text, Text)


class IdlFunctions(ctypes.Structure):
    """`tango_telemetry::IdlFunctions` (bridge_functions.h), without the two that clients need."""

    _fields_ = (
        ("writes", ctypes.CFUNCTYPE(ctypes.c_bool)),
        ("has_read", ctypes.CFUNCTYPE(ctypes.c_bool)),
        ("is_ready", ctypes.CFUNCTYPE(ctypes.c_bool)),
        ("get_context", ctypes.CFUNCTYPE(None, SINK, ctypes.c_void_p)),
        ("open_scope", ctypes.c_void_p),
        ("close_scope", ctypes.c_void_p),
    )
    NAME = b"tango_telemetry_native._bridge.idl_functions"


class Upcall:
    """A handler whose request came with two strings."""

    def __init__(self) -> None:
        self.sent = (b"", b"")
        self.ready = True
        self.has_read = False
        fields: dict[str, Any] = dict(IdlFunctions._fields_)
        self.functions = IdlFunctions(
            fields["writes"](lambda: False),
            fields["has_read"](lambda: self.has_read),
            fields["is_ready"](lambda: self.ready),
            fields["get_context"](self.get_context),
            None,
            None,
        )
        provider = spans.create_native_tracer_provider({}, sampler=ALWAYS_ON, queue=spans.create_span_queue())
        self.tracer = provider.get_tracer("test")
        self.beginning = calls.HandlerBeginning(self.begin_in_python, TRACER, HANDLER, None, None)

    def get_context(self, sink: Any, target: int) -> None:
        sink(target, *map(Text.of, self.sent))

    def create_capsule(self) -> Any:
        create = ctypes.pythonapi.PyCapsule_New
        create.restype, create.argtypes = (
            ctypes.py_object,
            (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p),
        )
        return create(ctypes.addressof(self.functions), IdlFunctions.NAME, None)

    def begin_in_python(self, device: Any, args: tuple[Any, ...]) -> None:
        return None

    def read(self, traceparent: str, tracestate: str) -> Any:
        """Return the parent that was found in C++, None where Python was asked."""
        self.sent = (traceparent.encode(), tracestate.encode())
        plans = self.__dict__["_tango_telemetry_plans"] = calls.Plans()
        plan = Plan("t", SpanKind.SERVER, {}, self.tracer, (1, "t"))
        plans.put((self.beginning, None, ANY_PLACE, None), state.epoch[0], plan)
        token = attach(Context())
        try:
            call = self.beginning.begin(self, ())
            if call is None:
                return None
            call.end()
            return call.span.parent
        finally:
            detach(token)


@pytest.fixture(scope="module", params=["read from the request", "read by cppTango"])
def upcall(request: pytest.FixtureRequest) -> Iterator[Upcall]:
    made = Upcall()
    made.has_read = request.param == "read from the request"
    made.ready = not made.has_read
    calls.configure_calls(
        lambda span, error: None, lambda: True, NonRecordingSpan, thread_attributes, state.epoch
    )
    calls.set_carrier(made, None, made.create_capsule())
    yield made
    calls.set_carrier(None, None, None)


def ours(flags: str, entry: str = SPAN) -> tuple[str, str]:
    return f"{PARENT}{flags}", f"tango={entry}-{flags}"


@pytest.mark.parametrize(
    ("traceparent", "tracestate", "span_id"),
    [
        (*ours("01"), SPAN),
        (*ours("03"), SPAN),
        (*ours("00", OTHER), OTHER),
        (f"{PARENT}02", f"tango={OTHER}-03", OTHER),  # cppTango 10.3.1, topic `user`: the entry is the parent
        (f"{PARENT}01", "", SPAN),  # cppTango's own span is recorded
        (f"{PARENT}01", f"tango={OTHER}-01", SPAN),
    ],
)
def test_what_our_peers_send_is_read_in_cpp(
    upcall: Upcall, traceparent: str, tracestate: str, span_id: str
) -> None:
    parent = upcall.read(traceparent, tracestate)
    assert parent == extract(traceparent, tracestate)
    assert (f"{parent.trace_id:032x}", f"{parent.span_id:016x}") == (TRACE, span_id)
    assert parent.is_remote


digits = st.sampled_from("0123456789abcdefABCDEFg -_+\0\u0661\xff")
bad_text = st.text(digits, max_size=70) | st.text(max_size=600)
near = st.builds(
    lambda text, at, new: text[:at] + new + text[at + 1 :],
    st.sampled_from([*ours("01"), *ours("00", OTHER), f"{PARENT}ff", f"01-{TRACE}-{SPAN}-01-x", "vendor=1,tango=", ""]),  # noqa: E501
    st.integers(0, 60),
    st.text(digits, max_size=2),
)  # fmt: skip


@given(near | bad_text, near | bad_text)
@example(f"00-{'0' * 32}-{SPAN}-01", "")
@example(f"00-{TRACE}-{'0' * 16}-01", "")
@example(f"{PARENT}00", f"tango={'0' * 16}-01")
@example(f"{PARENT}01", f"tango={SPAN}-01,vendor=value")
def test_anything_else_is_left_to_python(upcall: Upcall, traceparent: str, tracestate: str) -> None:
    parent = upcall.read(traceparent, tracestate)
    if parent is not None:
        assert parent == extract(traceparent, tracestate)
        assert parent.trace_state is NO_TRACE_STATE


def test_a_thread_without_cpptangos_telemetry_is_left_to_python(upcall: Upcall) -> None:
    before = upcall.ready, upcall.has_read
    upcall.ready = upcall.has_read = False
    assert upcall.read(*ours("01")) is None
    upcall.ready, upcall.has_read = before
    assert upcall.read(*ours("01")) is not None


def test_a_tracer_with_a_start_of_its_own_is_asked(upcall: Upcall) -> None:
    started = []

    class Own(spans.NativeTracer):  # type: ignore[misc,name-defined]
        def start_span(self, name: str, *args: Any, **kwargs: Any) -> Any:
            started.append(name)
            return super().start_span(name, *args, **kwargs)

    usual = upcall.tracer
    provider = spans.create_native_tracer_provider({}, sampler=ALWAYS_ON)
    upcall.tracer = Own(provider, ("test", "", None, None))
    try:
        assert upcall.read(*ours("01")) == extract(*ours("01"))
    finally:
        upcall.tracer = usual
    assert started == ["t"]
