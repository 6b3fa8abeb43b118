"""The pipelines of this process."""

from __future__ import annotations

import logging
import threading
import time

from tango_telemetry._otel_sdk import MissingPackageError
from tango_telemetry.pipeline import _exit
from tango_telemetry.pipeline._delivery import Exporter
from tango_telemetry.pipeline._exporters import create_exporter
from tango_telemetry.pipeline._pipeline import Pipeline
from tango_telemetry.pipeline._settings import EXPORTERS, PROCESSORS, Endpoint, PipelineSettings
from tango_telemetry.pipeline._stats import PipelineStats, sum_stats

_logger = logging.getLogger("tango_telemetry.pipeline")


class Registry:
    """All pipelines, by endpoint and processor."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pipelines: dict[tuple[Endpoint, str], Pipeline] = {}
        self.settings = PipelineSettings()

    def configure(self, settings: PipelineSettings) -> None:
        """Bounds for the pipelines made from now on."""
        self.settings = settings

    def get(self, endpoint: Endpoint, processor: str) -> Pipeline:
        """The pipeline for `endpoint`; made if need be. Never raises."""
        with self._lock:
            if processor not in PROCESSORS:
                _logger.warning(
                    "tango-telemetry: PYTANGO_TELEMETRY_SPAN_PROCESSOR_TYPE=%r is not one of %s; using batch",
                    processor[:100],
                    ", ".join(PROCESSORS),
                )
                processor = "batch"
            pipeline = self._pipelines.get((endpoint, processor))
            if pipeline is None:
                pipeline = Pipeline(endpoint, processor, self.settings, self._create_exporter(endpoint))
                self._pipelines[endpoint, processor] = pipeline
                _exit.install_exit_hooks()
            return pipeline

    def _create_exporter(self, endpoint: Endpoint) -> Exporter | None:
        try:
            return create_exporter(endpoint, self.settings)
        except (ValueError, MissingPackageError, OSError) as error:
            _logger.warning(
                "tango-telemetry: TANGO_TELEMETRY_TRACES_EXPORTER=%.100r with TANGO_TELEMETRY_TRACES_ENDPOINT=%.200r cannot"
                " be used: %s (exporters: %s, none). Spans for it are counted and discarded; the program runs on.",
                endpoint.exporter,
                str(endpoint).partition(":")[2],
                error,
                ", ".join(EXPORTERS),
            )
            return None

    def all(self) -> list[Pipeline]:
        """Every pipeline of the process."""
        return list(self._pipelines.values())

    def stats(self) -> PipelineStats:
        """The sum over all pipelines."""
        return sum_stats(pipeline.stats() for pipeline in self.all())

    def flush(self, timeout: float) -> bool:
        """All pipelines together: send what waits; True if it left within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        waits = [pipeline.begin_flush() for pipeline in self.all()]
        left = [wait for wait in waits if not wait(max(0.0, deadline - time.monotonic()))]
        return not left

    def shutdown(self, timeout: float) -> bool:
        """All pipelines together: send what waits, count what is left as dropped. Idempotent."""
        deadline = time.monotonic() + timeout
        pipelines = self.all()
        for pipeline in pipelines:
            pipeline.begin_shutdown(deadline)
        left = [pipeline for pipeline in pipelines if not pipeline.finish_shutdown(deadline)]
        return not left

    def reset_after_fork(self) -> None:
        """In a forked child: every pipeline starts from nothing."""
        self._lock = threading.RLock()
        for pipeline in self.all():
            pipeline.reset_after_fork()


registry = Registry()
