"""What of the metrics is on, following the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from tango_telemetry._native import load_native_metrics, what_brings_native
from tango_telemetry.base import system
from tango_telemetry.base.guard import guarded
from tango_telemetry.metrics.calls import Attributes, CallMetrics, CreateSeries
from tango_telemetry.metrics.gauges import GAUGES
from tango_telemetry.metrics.meters import DESCRIPTIONS, create_meter_series, observe_gauges
from tango_telemetry.metrics.source import (
    COUNTER,
    HISTOGRAM,
    LEVEL,
    Collected,
    MetricSource,
    encode_number,
)
from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.pipeline import Endpoint, account, configure_pipelines, get_pipeline
from tango_telemetry.pipeline.exporters.attributes import encode_attributes
from tango_telemetry.providers.tracers import describe_process
from tango_telemetry.settings.config import TelemetryConfig
from tango_telemetry.state import state, warn_once

__all__ = ["switch_metrics"]

_known: dict[Any, CallMetrics] = {}
"""What has counted so far goes on where it was, when it is switched on again: by who is told, and by what."""
_sources: dict[Endpoint, MetricSource] = {}


_observed: dict[int, Any] = {}
"""The meter providers that have our gauges."""


def switch_metrics(config: TelemetryConfig | None) -> None:
    """Count the calls that ``config``, or a meter provider of the user's, asks for; None: none."""
    state.metrics = None
    for source in _sources.values():
        source.stop()
    if config is not None and config.enabled is not False:
        state.metrics = _find(config)
    state.changed()


def _find(config: TelemetryConfig) -> CallMetrics | None:
    provider = state.meter_provider
    if provider is None and not config.metrics:
        return None
    key = (id(provider), config.metrics_by_device)
    found = _known.get(key)
    if found is None:
        found = _known[key] = CallMetrics(config.metrics_by_device)
    found.switch_on(partial(_begin, provider, config))
    return found


def _begin(provider: Any, config: TelemetryConfig) -> CreateSeries | None:
    """Give what makes series: for the meter provider, given or by now the global one, or for our export."""
    if provider is None:
        provider = otel_sdk.configured_meter_provider()
    if provider is not None:
        if id(provider) not in _observed:
            # For its life: instruments cannot be taken back. Where metrics are off they observe nothing.
            _observed[id(provider)] = provider
            observe_gauges(provider)
        return create_meter_series(provider)
    native = load_native_metrics()
    if native is None:
        warn_once(
            "Metrics were asked for, and are counted by the native package or by a meter provider of the "
            f"program's: none are exported. {what_brings_native()}"
        )
        return None
    configure_pipelines(config.pipeline)
    for endpoint in config.metrics_endpoints:
        _source_for(endpoint, config).start()

    def create(metric: str, told: Attributes, fail: Callable[[BaseException], Any]) -> Any:
        return native.Durations(encode_attributes(dict(told), b"\x0a"), fail)

    return create if config.metrics_endpoints else None


def _source_for(endpoint: Endpoint, config: TelemetryConfig) -> MetricSource:
    """The source that the pipeline of an endpoint drains: one for the life of the process."""
    source = _sources.get(endpoint)
    if source is None:
        source = _sources[endpoint] = MetricSource(_collect, describe_process, config.metrics_interval)
        get_pipeline(endpoint, "batch").accept_encoded(source, source.collect)
    source.interval = config.metrics_interval
    return source


def _collect(start: int, now: int) -> Iterable[Collected]:
    if state.metrics is not None:
        for metric, series in state.metrics:
            points = [each.encode(start, now) for each in series if each.count]
            yield Collected(metric, "s", DESCRIPTIONS[metric], HISTOGRAM, points)
        for each in (*GAUGES, *account()):
            points = [encode_number(value, attributes, start, now) for value, attributes in each.observe()]
            kind = COUNTER if each.create == "counter" else LEVEL
            yield Collected(each.name, each.unit, each.description, kind, points)


def _after_fork() -> None:
    for metrics in _known.values():
        metrics.reset()
    guarded(state.changed)


system.register_at_fork(after_in_child=_after_fork)
