"""Keeps the SDK's and the exporters' loggers from filling a log."""

from __future__ import annotations

import contextlib
import io
import logging
import time

from tango_telemetry.base import originals
from tango_telemetry.base.originals import is_own_thread

INTERVAL = 60.0
"""Seconds for which the same message of the same logger is not repeated."""
MOST_OF_A_KIND = 4
"""How many messages with the same text and different arguments are let through meanwhile: each may be another
defect.
"""
_LOGGERS = (
    "opentelemetry.attributes",
    "opentelemetry.baggage",
    "opentelemetry.baggage.propagation",
    "opentelemetry.context",
    "opentelemetry.sdk.trace",
    "opentelemetry.sdk.resources",
    "opentelemetry.exporter.otlp.json.file.trace_exporter",
    "opentelemetry.exporter.otlp.json.file._internal",
    "opentelemetry.exporter.otlp.proto.common._internal",
    "opentelemetry.trace.span",
    "opentelemetry.trace.status",
)


class _Kind:
    """What was said since `since` with one text."""

    __slots__ = ("held_back", "said", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.said: set[str] = set()
        self.held_back = 0


class RateLimit(logging.Filter):
    """Lets a message through once per INTERVAL, and of those that differ only in what they are about the
    first few.

    The next one of its kind after that time says how many were held back.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[str, _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = str(record.msg)[:200]
        now = time.monotonic()
        kind = self._kinds.get(key)
        held_back = 0
        if kind is None or now - kind.since >= INTERVAL:
            if len(self._kinds) >= 256:
                self._kinds.clear()
            held_back = kind.held_back if kind is not None else 0
            since = kind.since if kind is not None else now
            kind = self._kinds[key] = _Kind(now)
        message = str(record.args)[:200]
        if message in kind.said or len(kind.said) >= MOST_OF_A_KIND:
            kind.held_back += 1
            return False
        kind.said.add(message)
        if held_back:
            record.msg = f"{record.msg} [and {held_back} more of these in {now - since:.0f} s]"
        return True


class OurRequests(logging.Filter):
    """Holds back what HTTP libraries log about our own requests: their debug lines quote paths and
    queries.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not is_own_thread()


class ReadConsole(logging.Filter):
    """Holds back a message of ours while the console that it would go to is full and nobody reads it.

    Whoever writes there waits with the lock of the stream, which the interpreter needs at its end (3.11: it
    aborts then).
    """

    def filter(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = logging.getLogger(record.name)
        handlers: list[logging.Handler] = []
        while logger is not None:
            handlers += logger.handlers
            logger = logger.parent if logger.propagate else None
        if not handlers and logging.lastResort is not None:
            handlers = [logging.lastResort]
        return all(_has_room(getattr(handler, "stream", None)) for handler in handlers)


class EndedByUs(logging.Filter):
    """Holds back what the SDK says when a program ends a span that the end of the process has ended."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "ended span" not in str(record.msg)


def _has_room(stream: object) -> bool:
    """Whether a few lines can be written without waiting; True for what is not a console or a pipe."""
    if type(stream) is not io.TextIOWrapper or isinstance(stream.buffer, io.BytesIO):
        return True
    with contextlib.suppress(OSError, ValueError):
        wait = originals.poll_for_writing(stream.fileno())
        return wait is None or bool(wait(0))
    return True


def _add_once(logger: logging.Logger, kind: type[logging.Filter]) -> None:
    if not any(isinstance(present, kind) for present in logger.filters):
        logger.addFilter(kind())


def expect_ended_spans() -> None:
    """Have nothing said of spans that are ended twice: the end of the process ended those that were open."""
    _add_once(logging.getLogger("opentelemetry.sdk.trace"), EndedByUs)


def calm_sdk_loggers(level: str) -> None:
    """Rate-limit the loggers of the SDK and the exporters, and set their level if `level` names one."""
    for name in _LOGGERS:
        _add_once(logging.getLogger(name), RateLimit)
    for name in ("urllib3.connectionpool", "requests", "grpc"):
        _add_once(logging.getLogger(name), OurRequests)
    for name in ("tango_telemetry", "tango_telemetry.pipeline"):
        _add_once(logging.getLogger(name), ReadConsole)
    number = logging.getLevelName(level.strip().upper()) if level else None
    if isinstance(number, int):
        for name in ("opentelemetry", "grpc", "urllib3"):
            logging.getLogger(name).setLevel(number)
    elif level:
        logging.getLogger("tango_telemetry.pipeline").warning(
            "tango-telemetry: PYTANGO_TELEMETRY_SDK_LOG_LEVEL=%.50r is not one of DEBUG, INFO, WARNING, "
            "ERROR, CRITICAL;"
            " the level is left as it is",
            level,
        )
