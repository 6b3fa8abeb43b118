"""Where a record goes: to our pipeline, or to the ``LoggerProvider`` that the user has set."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry._version import VERSION
from tango_telemetry.logs.records import LogSource, Record
from tango_telemetry.otel import api as otel
from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.pipeline import Endpoint, configure_pipelines, get_pipeline
from tango_telemetry.providers.tracers import describe_process
from tango_telemetry.settings.config import TelemetryConfig

__all__ = ["Emitter", "users_provider"]

_API = "opentelemetry._logs._internal"


def users_provider() -> Any:
    """Return the ``LoggerProvider`` that somebody has set for the process; None if nobody did.

    One that stands for nothing but the absence of an exporter does not count: ``opentelemetry-instrument``
    sets one in any case (opentelemetry-sdk 1.45). Source of the name: opentelemetry-api 1.45; there is no
    public one that does not make a provider.
    """
    module = sys.modules.get(_API)
    provider = getattr(module, "_LOGGER_PROVIDER", None)
    if provider is None or (otel.is_launched() and _exports_nothing()):
        return None
    return provider


def _exports_nothing() -> bool:
    return os.environ.get("OTEL_LOGS_EXPORTER", "none").strip().lower() in ("", "none")


class Emitter:
    """Gives each record to whoever exports it. Imports what exports when it is made."""

    def __init__(self, config: TelemetryConfig) -> None:
        configure_pipelines(config.pipeline)
        sources = tuple(_source_for(endpoint, config) for endpoint in config.logs_endpoints)
        self._put = sources[0].put if len(sources) == 1 else partial(_put_all, sources)
        self.inside = threading.local()
        """Whether this thread (or greenlet) is making a record: what that logs is not taken."""
        self._loggers: dict[tuple[int, str], Any] = {}

    def emit(self, record: Record) -> None:
        """Hand a record on."""
        if _API in sys.modules and (provider := users_provider()) is not None:
            self._emit_to(provider, record)
        else:
            self._put(record)

    def _emit_to(self, provider: Any, record: Record) -> None:
        key = (id(provider), record[1])
        logger = self._loggers.get(key)
        if logger is None:
            if len(self._loggers) > 1024:
                self._loggers.clear()
            logger = self._loggers[key] = provider.get_logger(record[1], VERSION)
        _, _, time, observed, severity, level, body, *_ = record
        otel_sdk.emit_log(logger, time, observed, severity, level, body, _all_attributes(record))


def _put_all(sources: tuple[LogSource, ...], record: Record) -> None:
    for source in sources:
        source.put(record)


def _all_attributes(record: Record) -> dict[str, Any]:
    """The attributes of a record for a provider that knows one resource for the whole process."""
    owner = record[0]
    *_, path, line, function, thread, thread_name, error, more, _ = record
    attributes: dict[str, Any] = {
        names.CODE_FILE_PATH: path,
        names.CODE_LINE_NUMBER: line,
        names.CODE_FUNCTION_NAME: function,
        names.THREAD_ID: thread,
        names.THREAD_NAME: thread_name,
    }
    if owner is not None:
        attributes[names.TANGO_DEVICE_NAME] = owner.lower_name
        attributes[names.TANGO_DEVICE_CLASS] = owner.class_name
    if error is not None:
        (
            attributes[names.EXCEPTION_TYPE],
            attributes[names.EXCEPTION_MESSAGE],
            attributes[names.EXCEPTION_STACKTRACE],
        ) = error
    if more is not None:
        attributes.update(more)
    return attributes


_sources: dict[Endpoint, LogSource] = {}


def _source_for(endpoint: Endpoint, config: TelemetryConfig) -> LogSource:
    """The source that the pipeline of an endpoint drains: one for the life of the process."""
    source = _sources.get(endpoint)
    if source is None:
        processor = config.span_processor or ("simple" if endpoint.exporter == "console" else "batch")
        bounds = config.pipeline
        options = {"wake_every": 1} if processor == "simple" else {}
        source = LogSource(_resource_of, bounds.max_queue_spans, bounds.max_queue_bytes, **options)
        _sources[endpoint] = source
        get_pipeline(endpoint, processor).accept_encoded(source)
    return source


_described: dict[tuple[int, str], Mapping[str, Any]] = {}


def _resource_of(owner: Any) -> Mapping[str, Any]:
    """Give the resource attributes of a record: those of its device's spans, or of the client's.

    The same object as long as they are the same.
    """
    attributes = getattr(getattr(getattr(owner, "provider", None), "resource", None), "attributes", None)
    if attributes:
        return attributes  # type: ignore[no-any-return]
    service = (owner.class_name, owner.device_name) if owner is not None else None
    key = (os.getpid(), str(service))
    found = _described.get(key)
    if found is None:
        if len(_described) > 1024:
            _described.clear()
        found = _described[key] = describe_process(*service) if service else describe_process()
    return found
