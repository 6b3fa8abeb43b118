"""The account as OpenTelemetry metrics, under the names that the specification gives an SDK's own metrics.

Asynchronous instruments on the global meter: they cost nothing until the program sets a meter provider, and
then they are read when that provider collects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.pipeline.signals import METRICS, SIGNALS, Signal

if TYPE_CHECKING:
    from tango_telemetry.pipeline.pipeline import Pipeline

# Spans lost before they came to an exporter, by the specification's word for it; all other losses are the
# exporter's.
_PROCESSOR_REASONS = {"queue_full": "queue_full", "encoding": "encoding", "no_exporter": "no_exporter"}
_OTLP = {"grpc": "otlp_grpc", "http": "otlp_http"}


class Instrument(NamedTuple):
    """One instrument of the account. ``create`` is ``counter`` or ``up_down_counter``."""

    name: str
    create: str
    unit: str
    description: str
    observe: Callable[[], list[tuple[int, dict[str, str]]]]


def instruments(pipelines: Callable[[], list[Pipeline]]) -> Iterable[Instrument]:
    """Yield the account of every signal."""
    for signal in SIGNALS:
        unit = "{data_point}" if signal == METRICS else f"{{{signal.item}}}"
        for name, create, values, component, text in _INSTRUMENTS:
            if component is _processor and signal == METRICS:
                continue  # the specification has none
            yield Instrument(
                name.format(signal.item),
                create,
                unit,
                text.format(signal.items),
                partial(_observe, pipelines, signal, values, component),
            )


def _observe(
    pipelines: Callable[[], list[Pipeline]],
    signal: Signal,
    values: Callable[[Pipeline], Iterable[tuple[int, str]]],
    component: Callable[[Pipeline], str],
) -> list[tuple[int, dict[str, str]]]:
    observed = []
    for number, pipeline in enumerate(p for p in pipelines() if p.endpoint.signal == signal):
        kind = component(pipeline)
        names = {"otel.component.type": kind, "otel.component.name": f"{kind}/{number}"}
        for value, error in values(pipeline):
            observed.append((value, {**names, "error.type": error} if error else names))
    return observed


def register(pipelines: Callable[[], list[Pipeline]]) -> bool:
    """Create the instruments; False without OpenTelemetry's API."""
    api = otel_sdk.load_metrics_api()
    if api is None:
        return False
    otel_sdk.observe_metrics(api.get_meter("tango_telemetry.pipeline"), instruments(pipelines))
    return True


def _processor(pipeline: Pipeline) -> str:
    kind = "simple" if pipeline.processor == "simple" else "batching"
    return f"{kind}_{pipeline.endpoint.signal.component}_processor"


def _exporter(pipeline: Pipeline) -> str:
    kind = pipeline.endpoint.exporter
    return f"{_OTLP.get(kind, kind)}_{pipeline.endpoint.signal.component}_exporter"


def _processed(pipeline: Pipeline) -> Iterable[tuple[int, str]]:
    stats = pipeline.stats()
    lost = {
        reason: count for reason, count in stats.dropped_by_reason.items() if reason in _PROCESSOR_REASONS
    }
    yield stats.made - stats.queued - sum(lost.values()), ""
    yield from ((count, _PROCESSOR_REASONS[reason]) for reason, count in lost.items())


def _exported(pipeline: Pipeline) -> Iterable[tuple[int, str]]:
    stats = pipeline.stats()
    yield stats.delivered, ""
    yield from (
        (count, reason)
        for reason, count in stats.dropped_by_reason.items()
        if reason not in _PROCESSOR_REASONS
    )


_INSTRUMENTS: tuple[tuple[str, str, Any, Any, str], ...] = (
    (
        "otel.sdk.processor.{}.processed",
        "counter",
        _processed,
        _processor,
        "Items whose processing has finished: {}",
    ),
    ("otel.sdk.exporter.{}.exported", "counter", _exported, _exporter, "Items whose export has finished: {}"),
    (
        "otel.sdk.exporter.{}.inflight",
        "up_down_counter",
        lambda pipeline: [(pipeline.in_flight, "")],
        _exporter,
        "Items that are being exported: {}",
    ),
    (
        "otel.sdk.processor.{}.queue.size",
        "up_down_counter",
        lambda pipeline: [(pipeline.stats().queued, "")],
        _processor,
        "Items in the queue: {}",
    ),
    (
        "otel.sdk.processor.{}.queue.capacity",
        "up_down_counter",
        lambda pipeline: [(pipeline.capacity, "")],
        _processor,
        "Items that the queue can hold: {}",
    ),
)
