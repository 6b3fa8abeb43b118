"""Whose call it is: what OpenTelemetry's context says of it, and what it does not cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import baggage
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from tango_telemetry.calls.traced_call import TracedCall
from tango_telemetry.context.current import current_handler, get_owner, with_owner
from tango_telemetry.providers.tracers import get_calling_tracer
from tango_telemetry.state import state
from tango_telemetry_client import _calls
from tango_telemetry_client._callbacks import Origin


class Tracer:
    """Makes spans that are valid and not recorded, and remembers the contexts that they were made in."""

    def start_span(self, name: str, context: Context, *args: Any, **kwargs: Any) -> NonRecordingSpan:
        return NonRecordingSpan(SpanContext(1, 2, False, TraceFlags(1)))


class Device:
    """An owner."""

    def __init__(self) -> None:
        self.tracer = Tracer()

    def get_tracer(self) -> Any:
        return self.tracer

    def renew(self, *, retire: bool) -> None: ...


class Bridge:
    """Notes by which of its two ways it was entered."""

    def __init__(self) -> None:
        self.ways: list[str] = []

    def enter(self, name: str, *texts: str) -> None:
        self.ways.append("texts")

    def enter_span(self, name: str, span_context: SpanContext) -> None:
        self.ways.append("span")

    def exit(self, token: None) -> None: ...


def owned(context: Context) -> Context:
    return with_owner(context, Device())


def with_baggage(context: Context) -> Context:
    return baggage.set_baggage("scan", "7", context)


def without_baggage_again(context: Context) -> Context:
    return baggage.clear(with_baggage(context))


def with_a_key_of_somebody_else(context: Context) -> Context:
    return Context({**context, "other": 1})


@pytest.mark.parametrize(
    ("fill", "way"),
    [
        (Context, "span"),
        (owned, "span"),
        (with_a_key_of_somebody_else, "span"),
        (without_baggage_again, "span"),
        (with_baggage, "texts"),
        (lambda context: with_baggage(owned(context)), "texts"),
    ],
)
def test_only_baggage_is_carried_by_the_slow_way(
    monkeypatch: pytest.MonkeyPatch, fill: Callable[[Context], Context], way: str
) -> None:
    bridge = Bridge()
    monkeypatch.setattr(state, "bridge", bridge)
    monkeypatch.setattr(state, "baggage", True)
    tracer: Any = Tracer()
    TracedCall(tracer, "ping", SpanKind.CLIENT, {}, fill(Context()), "DeviceProxy.ping").end()
    assert bridge.ways == [way]


def test_a_call_belongs_to_the_owner_that_the_context_names() -> None:
    device = Device()
    assert get_calling_tracer(with_owner(Context(), device)) is device.tracer


def test_what_runs_in_a_handler_belongs_to_its_device_whatever_the_context_says() -> None:
    device, other = Device(), Device()
    token = attach(with_owner(Context(), other))
    running = current_handler.set((device, "Device.TurnOn"))
    try:
        assert get_owner() is device
    finally:
        current_handler.reset(running)
        detach(token)


def test_a_callback_that_was_given_where_only_the_context_came_belongs_to_the_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = Device()
    # As in a thread, a greenlet or another callback of the device.
    token = attach(with_owner(Context(), device))
    try:
        origin = Origin("push_event", SpanKind.CONSUMER, {"tango.operation": "push_event"}, Context())
    finally:
        detach(token)
    monkeypatch.setattr(_calls.switch, "on", True)
    call = origin.begin(object())
    assert call is not None
    try:
        assert get_owner() is device
        assert get_calling_tracer(call.context) is device.tracer
    finally:
        call.end()
    assert get_owner() is None
