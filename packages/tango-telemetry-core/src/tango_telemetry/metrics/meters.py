"""The durations of calls for a meter provider of the user's: its own histograms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry._version import VERSION
from tango_telemetry.metrics.calls import Attributes, CreateSeries
from tango_telemetry.metrics.gauges import GAUGES
from tango_telemetry.metrics.source import SCOPE
from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.otel.api import set_span_in_context

__all__ = ["DESCRIPTIONS", "create_meter_series", "observe_gauges"]

DESCRIPTIONS = {
    names.RPC_CLIENT_CALL_DURATION: "Measures the duration of outbound remote procedure calls (RPC).",
    names.RPC_SERVER_CALL_DURATION: "Measures the duration of inbound remote procedure calls (RPC).",
    names.TANGO_POLLING_DELAY: "How much later than its period something was polled.",
}
# The conventions advise boundaries from 5 ms on, below which most Tango calls are (1.45).
_BOUNDARIES = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025),
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
)


class MeterSeries:
    """A histogram of the user's provider, with the attributes of one series."""

    __slots__ = ("_attributes", "_fail", "_record")

    def __init__(
        self, record: Callable[..., None], attributes: dict[str, Any], fail: Callable[[BaseException], Any]
    ) -> None:
        self._record = record
        self._attributes = attributes
        self._fail = fail

    def begin(self) -> None:
        """A call begins."""

    def fail(self, error: BaseException) -> Any:
        """It fails; give what counts it instead."""
        return self._fail(error)

    def record(self, took: int, span: Any) -> None:
        """It has taken so many nanoseconds."""
        context = None if span is None else set_span_in_context(span)
        self._record(took / 1e9, self._attributes, context)


def observe_gauges(provider: Any) -> None:
    """Have a provider observe what is not a call; the account of the pipelines does so by itself."""
    otel_sdk.observe_metrics(provider.get_meter(SCOPE, VERSION), GAUGES)


def create_meter_series(provider: Any) -> CreateSeries:
    """Return what makes the series of calls for a provider."""
    meter = provider.get_meter(SCOPE, VERSION)
    histograms = {
        name: otel_sdk.create_histogram(meter, name, "s", text, _BOUNDARIES)
        for name, text in DESCRIPTIONS.items()
    }

    def create(metric: str, told: Attributes, fail: Callable[[BaseException], Any]) -> MeterSeries:
        return MeterSeries(histograms[metric].record, dict(told), fail)

    return create
