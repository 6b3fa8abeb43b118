"""What is kept for later: callbacks, links, tracers by name, names of devices."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from tango_telemetry import get_tracer
from tango_telemetry.state import State, state
from tango_telemetry_client import _calls
from tango_telemetry_client._attributes import plain_device_name
from tango_telemetry_client._callbacks import Origin
from tango_telemetry_client._events import Subscription


@pytest.mark.parametrize(
    "written",
    [
        "sys/x/1",
        "SYS/X/1",
        "tango://host:10000/Sys/X/1#dbase=no",
        "TANGO://host:1/sys/x/1",
        "host:10000/sys/x/1",
        "sys/x/1#dbase=yes",
        "sys/x/1/position",
    ],
)
def test_a_device_has_one_name_however_it_is_written(written: str) -> None:
    assert plain_device_name(written) == "sys/x/1"


@pytest.mark.parametrize(("flags", "linked"), [(0, False), (2, False), (1, True), (3, True)])
def test_a_link_names_a_subscription_that_was_sampled(flags: int, linked: bool) -> None:
    proxy = SimpleNamespace(
        get_green_mode=lambda: SimpleNamespace(name="Synchronous"), dev_name=lambda: "sys/x/1"
    )
    subscription = Subscription(proxy, "x", "CHANGE_EVENT", SpanContext(1, 2, False, TraceFlags(flags)))
    assert bool(subscription.links) is linked


def failed(reason: str) -> Any:
    return SimpleNamespace(err=True, errors=(SimpleNamespace(reason=reason),))


def test_a_failure_that_repeats_by_itself_is_told_once_until_it_is_over() -> None:
    origin = Origin("push_event", SpanKind.CONSUMER, {}, Context(), None, set())
    told = [origin._repeats(failed(reason)) for reason in ("timeout", "dead", "timeout", "dead", "dead")]
    assert told == [False, False, True, True, True]
    assert not origin._repeats(SimpleNamespace(err=False))
    assert not origin._repeats(failed("timeout"))
    assert sum(not origin._repeats(failed(f"reason {number}")) for number in range(1000)) < 10


def test_the_failure_of_each_asynchronous_call_is_told() -> None:
    origin = Origin("cmd_ended", SpanKind.INTERNAL, {}, Context())
    assert not any(origin._repeats(failed("timeout")) for _ in range(3))


def test_a_callback_makes_no_span_while_clients_are_not_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_calls.switch, "on", False)
    assert Origin("push_event", SpanKind.CONSUMER, {}, Context()).begin(failed("any")) is None


def test_a_version_tells_tracers_apart_and_made_up_names_take_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state, "active", 1)
    monkeypatch.setattr(state, "tracers", State().tracers)
    assert get_tracer("scan", "1") is not get_tracer("scan", "2")
    assert get_tracer("scan", "1") is get_tracer("scan", "1")
    for number in range(3000):
        get_tracer(f"scan {number}")
    assert len(state.tracers) <= 1024
