"""A call that runs in C++: what goes wrong around it, and what is not its to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from tango_telemetry.calls.plans import Plan

calls = pytest.importorskip("tango_telemetry_native.calls")
spans = pytest.importorskip("tango_telemetry_native.spans")

TRACER: ContextVar[Any] = ContextVar("tracer", default=None)
ACTIVE: ContextVar[Any] = ContextVar("active", default=None)
EPOCH: list[object] = [object()]
SITE: ContextVar[Any] = ContextVar("site", default=None)
# With a trace state of others it is the bridge in Python that carries.
PARENT = NonRecordingSpan(SpanContext(5, 6, True, TraceFlags(1), TraceState([("vendor", "1")])))


class Bridge:
    def __init__(self, leave: Callable[[], None] = lambda: None) -> None:
        self.leave = leave

    def enter_span(self, name: str, context: SpanContext) -> int:
        return 1

    def exit(self, token: int) -> None:
        self.leave()


class Proxy:
    def __init__(self) -> None:
        self._tango_telemetry_plans = calls.Plans()
        self.provider = spans.create_native_tracer_provider({})
        self.beginning = calls.ClientBeginning(
            lambda *_: None, TRACER, ACTIVE, {__name__: False}, "ping", SITE, "value", 0
        )

    def begin(self) -> Any:
        """A call in C++: there is a plan for wherever in this function it is made."""
        tracer, code = self.provider.get_tracer("t"), Proxy.begin.__code__
        for position in range(0, len(code.co_code), 2):
            plan = Plan("ping", SpanKind.CLIENT, {}, tracer)
            self._tango_telemetry_plans.put((self.beginning, code, position, None), EPOCH[0], plan)
        return self.beginning.begin((self,), {})


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    calls.configure_calls(lambda span, error: None, lambda: True, NonRecordingSpan, dict, EPOCH)
    calls.set_carrier(Bridge(), None, None)
    token = attach(set_span_in_context(PARENT, Context()))
    yield Proxy()
    detach(token)
    calls.set_carrier(None, None, None)


def test_an_interrupt_while_the_context_is_taken_back_goes_on(proxy: Proxy) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    calls.set_carrier(Bridge(interrupt), None, None)
    before = get_current()
    call = proxy.begin()
    with pytest.raises(KeyboardInterrupt):
        call.end()
    assert (get_current(), ACTIVE.get()) == (before, None)
    assert not call.span.is_recording()
    assert proxy.provider.queue.accepted() == 1


def test_the_result_of_a_span_that_has_ended_is_not_looked_at(proxy: Proxy) -> None:
    looked: list[object] = []
    call = proxy.begin()
    call.check(lambda span, args, result: looked.append(result), (), 1)
    call.span.end()
    call.check(lambda span, args, result: looked.append(result), (), 2)
    call.leave()
    assert looked == [1]
