"""Python's ``logging``: every record that a logger hands to its handlers.

``Logger.callHandlers`` is where that is, after the levels and filters of the logger. A handler on the root
logger would change the program: ``logging.basicConfig`` does nothing where there is one, and warnings of a
program without handlers would not come to standard error any more. It would be gone, too, after
``basicConfig(force=True)`` or ``dictConfig``, and would miss loggers that do not propagate.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from tango_telemetry.base import originals
from tango_telemetry.base.bounded import BoundedDict
from tango_telemetry.base.guard import log_internal_error
from tango_telemetry.base.texts import cut, describe, exception_message, exception_stacktrace, type_name
from tango_telemetry.context.current import current_handler, get_owner
from tango_telemetry.logs.emit import Emitter
from tango_telemetry.logs.records import pick_attributes
from tango_telemetry.otel.api import get_current_span
from tango_telemetry.pytango.patching import Patches

__all__ = ["LONGEST_BODY", "patch_logging", "severity_of"]

LONGEST_BODY = 8192
"""Characters of a record's text."""
LONGEST_STACK = 16384
"""Characters of a stack trace."""
_LONGEST_MESSAGE = 4096
# Ours, and those that export: a failure to export must not be one more record to export.
_DEAF = ("tango_telemetry", "opentelemetry", "grpc")
_USUAL = len(vars(logging.makeLogRecord({})))
_NAMES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MOST_NAMES = 4096
# Where OpenTelemetry has its API for logs, and its handlers, which import that (1.45).
_API = "opentelemetry._logs._internal"
_HANDLERS = ("opentelemetry.sdk._logs._internal", "opentelemetry.instrumentation.logging.handler")


def severity_of(level: int) -> int:
    """Return OpenTelemetry's severity number of a level of ``logging``, 0 below ``DEBUG``.

    Source: opentelemetry-sdk 1.45, ``std_to_otel``: ten levels of ``logging`` are four of OpenTelemetry's.
    """
    if level < 10:
        return 0
    tens, more = divmod(min(level, 53), 10)
    return min(tens, 5) * 4 + 1 + min(more, 3)


def patch_logging(patches: Patches, emitter: Emitter, level: int) -> None:
    """Take the records of ``logging`` from ``level`` on, until ``patches`` is undone."""
    inner = logging.Logger.callHandlers
    take = _taker(emitter)
    own_threads = originals.own_threads

    def callHandlers(self: logging.Logger, record: logging.LogRecord) -> Any:  # noqa: N802 - logging's name
        if record.levelno >= level and record.thread not in own_threads:
            try:
                take(self, record)
            except Exception as error:
                with log_internal_error("taking a log record"):
                    raise error
        return inner(self, record)

    patches.set_attribute(logging.Logger, "callHandlers", callHandlers)


def _taker(emitter: Emitter) -> Callable[[logging.Logger, logging.LogRecord], None]:
    inside, emit = emitter.inside, emitter.emit
    modules = sys.modules
    deaf: BoundedDict[str, bool] = BoundedDict(_MOST_NAMES)
    severities: BoundedDict[tuple[int, str], tuple[int, str]] = BoundedDict(_MOST_NAMES)

    def take(logger: logging.Logger, record: logging.LogRecord) -> None:
        fields = vars(record)
        name = fields["name"]
        is_deaf = deaf.get(name)
        if is_deaf is None:
            is_deaf = deaf[name] = name.startswith(_DEAF)
        if is_deaf or getattr(inside, "on", False):
            return
        if _API in modules and _is_exported_already(logger):
            return
        kind = (fields["levelno"], fields["levelname"])
        severity = severities.get(kind)
        if severity is None:
            text = "WARN" if kind[1] == "WARNING" else str(kind[1])
            severity = severities[kind] = (severity_of(kind[0]), text)
        inside.on = True
        try:
            context = get_current_span().get_span_context()
            running = current_handler.get()
            error = fields["exc_info"]
            time = int(fields["created"] * 1e9)
            emit(
                (
                    running[0] if running is not None else get_owner(),
                    name,
                    time,
                    time,
                    severity[0],
                    severity[1],
                    _text_of(record),
                    context.trace_id,
                    context.span_id,
                    context.trace_flags,
                    fields["pathname"],
                    fields["lineno"],
                    fields["funcName"] or "",
                    fields["thread"] or 0,
                    fields["threadName"] or "",
                    None if not error or error[1] is None else _describe_error(error[1]),
                    None if len(fields) <= _USUAL else _more(fields),
                    0,
                )
            )
        finally:
            inside.on = False

    return take


def _text_of(record: logging.LogRecord) -> str:
    """The text of a record; its format as it stands where the arguments do not fit, of which ``logging``
    itself complains.
    """
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - what a user's object raises where it is asked for its text
        text = record.msg if isinstance(record.msg, str) else describe(record.msg, LONGEST_BODY)
    return text if len(text) <= LONGEST_BODY else cut(text, LONGEST_BODY)


def _more(attributes: dict[str, Any]) -> dict[str, Any] | None:
    """The attributes that a user's ``extra=`` gave."""
    return pick_attributes({k: v for k, v in attributes.items() if k not in _NAMES}) or None


def _describe_error(error: BaseException) -> tuple[str, str, str]:
    return (
        type_name(type(error)),
        exception_message(error, _LONGEST_MESSAGE),
        cut(exception_stacktrace(error, LONGEST_STACK), LONGEST_STACK),
    )


def _is_exported_already(logger: Any) -> bool:
    """Whether a handler of OpenTelemetry's gets the records of this logger."""
    kinds = tuple(
        kind
        for module in map(sys.modules.get, _HANDLERS)
        if isinstance(kind := getattr(module, "LoggingHandler", None), type)
    )
    while logger is not None:
        if any(isinstance(handler, kinds) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False
