"""The pipelines of this process."""

from __future__ import annotations

import logging
import time
from typing import Any

from tango_telemetry.base.guard import log_internal_error
from tango_telemetry.base.originals import RLock, forget_threads, get_ident
from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.otel.sdk import MissingPackageError
from tango_telemetry.pipeline.account import PipelineStats, sum_stats
from tango_telemetry.pipeline.delivery import Exporter
from tango_telemetry.pipeline.exporters.choice import create_exporter
from tango_telemetry.pipeline.noise import calm_sdk_loggers
from tango_telemetry.pipeline.pipeline import Pipeline
from tango_telemetry.pipeline.process.exit import ExitHooks
from tango_telemetry.pipeline.settings import EXPORTERS, PROCESSORS, Endpoint, PipelineSettings
from tango_telemetry.pipeline.signals import Signal

LOADING_PAUSE = 1.0
"""Seconds that a fork may wait for an import in one of our threads, which there is once in the life of a
process.
"""

_logger = logging.getLogger("tango_telemetry.pipeline")


class Registry:
    """All pipelines, by endpoint and processor."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._pipelines: dict[tuple[Endpoint, str], Pipeline] = {}
        self.settings = PipelineSettings()
        self.patient = False
        self._exit_hooks = ExitHooks(self)
        self._has_metrics = False
        # Keyed by thread: a second thread that forks at the same time, and did not get the lock, must not
        # release this one's.
        self._loading: dict[int, Any] = {}

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
                pipeline = self._create(endpoint, processor)
                self._pipelines[endpoint, processor] = pipeline
            return pipeline

    def _create(self, endpoint: Endpoint, processor: str) -> Pipeline:
        if not self._pipelines:
            self.install_exit_hooks()
            calm_sdk_loggers(self.settings.sdk_log_level)
        exporter = self._create_exporter(endpoint)
        return Pipeline(
            endpoint,
            processor,
            self.settings,
            exporter,
            self._exit_hooks.watchdog,
            patient=lambda: self.patient,
            after_first_work=self._register_metrics,
            before_release=self._exit_hooks.register_again,
        )

    def _register_metrics(self) -> None:
        """Once per process, by the first pipeline that has sent something: it imports what a server's start
        can do without.
        """
        if not self._has_metrics:
            with otel_sdk.loading:
                from tango_telemetry.pipeline import metrics

                self._has_metrics = metrics.register(self.all)

    def install_exit_hooks(self) -> None:
        """Flush at exit and on SIGTERM, start afresh in forked children.

        Idempotent; done with the first pipeline.
        """
        self._exit_hooks.install()

    def _create_exporter(self, endpoint: Endpoint) -> Exporter | None:
        # What is imported may raise anything: protobuf TypeError, gRPC RuntimeError, where their versions do
        # not fit.
        with log_internal_error("making an exporter", foreign=True):
            try:
                exporter = create_exporter(endpoint, self.settings)
                if not self.patient:
                    exporter.prepare(encoding=False)
                return exporter
            except (ValueError, MissingPackageError, OSError) as error:
                _logger.warning(
                    "tango-telemetry: %s=%.100r with %s=%.200r cannot be used: %s (exporters: %s, none). "
                    "%s for it are counted and discarded; the program runs on.",
                    endpoint.signal.exporters[0],
                    endpoint.exporter,
                    endpoint.signal.exporters[1],
                    str(endpoint).partition(":")[2],
                    error,
                    ", ".join(EXPORTERS),
                    endpoint.signal.items.capitalize(),
                )
        return None

    def all(self) -> list[Pipeline]:
        """Every pipeline of the process."""
        return list(self._pipelines.values())

    def stats(self, signal: Signal) -> PipelineStats:
        """The sum over all pipelines of a signal."""
        return sum_stats(pipeline.stats() for pipeline in self.all() if pipeline.endpoint.signal == signal)

    def flush(self, timeout: float) -> bool:
        """All pipelines together: send what waits; True if it left within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        waits = [pipeline.begin_flush() for pipeline in self.all()]
        left = [wait for wait in waits if not wait(max(0.0, deadline - time.monotonic()))]
        return not left

    def shutdown(self, timeout: float) -> bool:
        """All pipelines together: send what waits, count what is left as dropped. Idempotent."""
        # The SDK's provider may have been shut down already, and would say on standard error that it gives no
        # meter.
        self._has_metrics = True
        deadline = time.monotonic() + timeout
        pipelines = self.all()
        for pipeline in pipelines:
            pipeline.begin_shutdown(deadline)
        left = [pipeline for pipeline in pipelines if not pipeline.finish_shutdown(deadline)]
        return not left

    def send_before_end(self, timeout: float) -> None:
        """All pipelines together: the last sending of a process that may survive; then `resume` follows."""
        deadline = time.monotonic() + timeout
        pipelines = self.all()
        for pipeline in pipelines:
            pipeline.begin_shutdown(deadline)
        for pipeline in pipelines:
            pipeline.finish_sending(deadline)

    def resume(self) -> None:
        """The process has not ended: all pipelines go on as before."""
        for pipeline in self.all():
            pipeline.resume()

    def pause_for_fork(self, timeout: float) -> None:
        """Before a fork: hold the threads where nothing is half done, waiting at most `timeout` seconds in
        all.
        """
        loading = otel_sdk.loading
        if loading.acquire(timeout=LOADING_PAUSE):
            self._loading[get_ident()] = loading
        deadline = time.monotonic() + timeout
        for pipeline in self.all():
            pipeline.pause_for_fork(deadline)

    def resume_after_fork(self) -> None:
        """In the parent, after a fork."""
        loading = self._loading.pop(get_ident(), None)
        if loading is not None:
            loading.release()
        for pipeline in self.all():
            pipeline.resume_after_fork()

    def reset_after_fork(self) -> None:
        """In a forked child: every pipeline starts from nothing."""
        forget_threads()
        self._lock = RLock()
        self._loading.clear()
        otel_sdk.reset_after_fork()
        self.patient = False
        for pipeline in self.all():
            pipeline.reset_after_fork()


registry = Registry()
