"""The span pipeline: spans of the SDK or of the C++ recorder in, OTLP payloads out.

One pipeline per endpoint, signal and process, shared by all tracer providers. It never blocks the code that
ends a span, holds a bounded number of spans and bytes, tries again while the collector is away, and knows
where every span is. Log records and metrics go the same way, each signal in a pipeline of its own.

    registry        the pipelines of this process
    pipeline        one pipeline: its ends, its threads, its last moments
    signals         traces, logs, metrics: what differs between their pipelines
    span_processor  the SDK's end: a span processor for each tracer provider
    queue           the middle: what waits, and the bounds
    account         where every span is
    worker          the thread that encodes
    sender          the thread that sends and tries again
    spool           what could not be delivered, on disk
    exporters/      the far ends: http, grpc, file, console; `delivery` says what they answer
    process/        the life of the process: exit, signals, forks, open spans, the watchdog

Importing this package imports nothing of OpenTelemetry, starts no thread and reads no environment variable.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tango_telemetry.pipeline.account import PipelineStats, sum_stats
from tango_telemetry.pipeline.settings import Endpoint, PipelineSettings, WireSettings
from tango_telemetry.pipeline.signals import LOGS, METRICS, SIGNALS, TRACES, Signal

if TYPE_CHECKING:
    from tango_telemetry.pipeline.delivery import EncodedSource
    from tango_telemetry.pipeline.pipeline import Pipeline
    from tango_telemetry.pipeline.registry import Registry

__all__ = [
    "LOGS",
    "METRICS",
    "TRACES",
    "EncodedSource",
    "Endpoint",
    "Pipeline",
    "PipelineSettings",
    "PipelineStats",
    "Signal",
    "WireSettings",
    "account",
    "configure_pipelines",
    "flush",
    "get_pipeline",
    "pipeline_stats",
    "shutdown",
    "wait_for_start",
]


# None: no pipeline was ever made. Those who ask for what there is import nothing, which fails while the
# interpreter ends.
_loaded: Registry | None = None


def _get_registry() -> Registry:
    """The pipelines of this process.

    Imported when first asked for: the settings alone cost 5 ms, all of it 30.
    """
    global _loaded
    from tango_telemetry.pipeline.registry import registry

    _loaded = registry
    return registry


def __getattr__(name: str) -> Any:
    if name == "EncodedSource":
        from tango_telemetry.pipeline.delivery import EncodedSource

        return EncodedSource
    if name == "Pipeline":
        from tango_telemetry.pipeline.pipeline import Pipeline

        return Pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def configure_pipelines(settings: PipelineSettings) -> None:
    """Set the bounds of the pipelines that are made from now on; those that exist keep theirs."""
    _get_registry().configure(settings)


def get_pipeline(endpoint: Endpoint, processor: str = "batch") -> Pipeline:
    """The pipeline of this process for `endpoint`; `processor` is "simple" or "batch".

    Never raises. Where the exporter's package is missing, the target is unusable or the folder cannot be
    written, one warning says so and the pipeline that comes back discards spans and counts them as dropped
    for "no_exporter".
    """
    return _get_registry().get(endpoint, processor)


def wait_for_start() -> None:
    """Say that this process is a device server that is starting: what exports is imported when the first
    export is due.

    Elsewhere it is imported with the first pipeline: a script may end any moment, and then there is no time
    for that.
    """
    _get_registry().patient = True


def pipeline_stats(signal: str = "traces") -> PipelineStats:
    """Where every span of this process is: the sums over all pipelines of a signal.

    :param signal: ``traces``, or ``logs`` for the account of log records, ``metrics`` for that of data points
    :raises ValueError: for another word
    """
    for known in SIGNALS:
        if signal == known.name:
            return _loaded.stats(known) if _loaded is not None else sum_stats(())
    raise ValueError(f"signal={signal!r} is not one of {', '.join(known.name for known in SIGNALS)}")


def account() -> Iterable[Any]:
    """Yield the account of all pipelines as instruments of metrics (``pipeline.metrics.Instrument``)."""
    from tango_telemetry.pipeline.metrics import instruments

    return instruments(_get_registry().all)


def flush(timeout: float) -> bool:
    """Send what waits in all pipelines; True if it left within `timeout` seconds. Each gets one attempt."""
    return _loaded is None or _loaded.flush(timeout)


def shutdown(timeout: float) -> bool:
    """Send what waits, within `timeout` seconds for all pipelines together, and count the rest as dropped.

    Idempotent. Spans that end later are counted as dropped for "shutdown".
    """
    return _loaded is None or _loaded.shutdown(timeout)
