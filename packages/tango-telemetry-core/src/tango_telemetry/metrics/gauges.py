"""What a process says of itself beside its calls. Each is asked when metrics are exported, and costs nothing
else.

What cannot be had here, for want of a system that tells it or of the native package, is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from tango_telemetry import semantic_conventions as names
from tango_telemetry.base import system
from tango_telemetry.state import state

__all__ = ["GAUGES", "Gauge"]

Observed = list[tuple[Any, dict[str, Any]]]


class Gauge(NamedTuple):
    """A metric that is asked for. ``create`` is ``counter`` or ``up_down_counter``, of a sum."""

    name: str
    create: str
    unit: str
    description: str
    observe: Callable[[], Observed]


def _one(ask: Callable[[], int | None]) -> Observed:
    value = ask() if state.metrics is not None else None
    return [] if value is None else [(value, {})]


def _counts(metric: str) -> Observed:
    return [] if state.metrics is None else state.metrics.count_of(metric)


def _active() -> Observed:
    """Requests that have begun and not ended; counted in C++ only."""
    if state.metrics is None:
        return []
    series = dict(state.metrics)[names.RPC_SERVER_CALL_DURATION]
    active = [each.active for each in series if hasattr(each, "active")]
    return [(sum(active), {names.RPC_SYSTEM_NAME: names.TANGO})] if active else []


def _messages() -> Observed:
    """Events on the wire, those of C++ too, where events carry contexts."""
    if state.metrics is None or state.events is None:
        return []
    counters = state.events.status()["counters"]
    return [
        (counters["events_sent"], {names.NETWORK_IO_DIRECTION: "transmit"}),
        (counters["events_received"], {names.NETWORK_IO_DIRECTION: "receive"}),
    ]


GAUGES: Final = (
    Gauge(
        names.MESSAGING_SENT_MESSAGES,
        "counter",
        "{message}",
        "Events that devices have pushed in Python.",
        partial(_counts, names.MESSAGING_SENT_MESSAGES),
    ),
    Gauge(
        names.MESSAGING_CONSUMED_MESSAGES,
        "counter",
        "{message}",
        "Events that have come to callbacks, those that tell of an error too.",
        partial(_counts, names.MESSAGING_CONSUMED_MESSAGES),
    ),
    Gauge(
        names.TANGO_EVENT_MESSAGES,
        "counter",
        "{message}",
        "Events on the wire, whoever has made them.",
        _messages,
    ),
    Gauge(
        names.TANGO_POLLING_OVERRUNS,
        "counter",
        "{poll}",
        "Times that something was polled so late that a whole period was left out.",
        partial(_counts, names.TANGO_POLLING_OVERRUNS),
    ),
    Gauge(
        names.TANGO_SERVER_ACTIVE_REQUESTS,
        "up_down_counter",
        "{request}",
        "Requests whose handler runs.",
        _active,
    ),
    Gauge(
        names.PROCESS_MEMORY_USAGE,
        "up_down_counter",
        "By",
        "The amount of physical memory in use.",
        partial(_one, system.memory_in_use),
    ),
    Gauge(
        names.PROCESS_THREAD_COUNT,
        "up_down_counter",
        "{thread}",
        "Process threads count.",
        partial(_one, system.count_threads),
    ),
)
