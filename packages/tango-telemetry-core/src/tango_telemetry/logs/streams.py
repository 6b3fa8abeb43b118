"""Tango's streams: ``info_stream`` and its kin, ``print(..., file=self.log_info)``, ``InfoIt``, and loggers.

All of them end in a method of C++ with a formatted text, which is where they are taken: PyTango has found the
place then, and what it does with the text stays what it is. The level that counts is the device's, which
``-v``, the property ``logging_level`` and ``SetLoggingLevel`` set.
"""

from __future__ import annotations

import inspect
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from tango_telemetry.base.guard import log_internal_error
from tango_telemetry.base.texts import cut
from tango_telemetry.context.current import get_owner
from tango_telemetry.logs.emit import Emitter
from tango_telemetry.logs.python_logging import LONGEST_BODY
from tango_telemetry.logs.text import describe_context
from tango_telemetry.otel.api import get_current_span
from tango_telemetry.pytango.patching import Patches

__all__ = ["patch_streams"]

_DEVICE: Final = "_tango_telemetry_device"
"""Where a device has its ``DeviceTelemetry`` (the server's ``_device``)."""


class _Stream(NamedTuple):
    name: str
    logger: str
    level: int
    severity: int
    text: str


_STREAMS: Final = (
    _Stream("__debug_stream", "__debug", 10, 5, "DEBUG"),
    _Stream("__info_stream", "__info", 20, 9, "INFO"),
    _Stream("__warn_stream", "__warn", 30, 13, "WARN"),
    _Stream("__error_stream", "__error", 40, 17, "ERROR"),
    _Stream("__fatal_stream", "__fatal", 50, 21, "FATAL"),
)
_PASSED_OVER = frozenset(("tango.device_server", "tango.log4tango", "tango._instrumentation", __name__))


def patch_streams(patches: Patches, tango: Any, emitter: Emitter | None, level: int, in_text: bool) -> None:
    """Take what devices write, until ``patches`` is undone.

    :param emitter: where it goes as records; None: nowhere
    :param level: of ``logging``; what is below is not taken
    :param in_text: whether the trace is written behind the text, on the console and wherever the text goes
    """
    for stream in _STREAMS:
        for owner, name in ((tango.DeviceImpl, stream.name), (tango.Logger, stream.logger)):
            inner = vars(owner).get(name)
            if inner is not None:
                take = _taker(stream, emitter) if emitter is not None and stream.level >= level else None
                is_enabled = f"is_{stream.text.lower()}_enabled"
                patches.set_attribute(owner, name, _wrap(inner, is_enabled, take, in_text))


def _wrap(
    inner: Callable[..., Any], is_enabled: str, take: Callable[[Any, str], None] | None, in_text: bool
) -> Callable[..., Any]:
    def stream(self: Any, *args: Any) -> Any:
        try:
            # A device has a logger, a logger has none.
            get_logger = getattr(self, "get_logger", None)
            logger = self if get_logger is None else get_logger()
            if getattr(logger, is_enabled)() and args and isinstance(args[-1], str):
                if take is not None:
                    take(self, args[-1])
                if in_text and (context := describe_context()):
                    args = (*args[:-1], f"{args[-1]} {context}")
        except Exception as error:
            with log_internal_error("taking a log record of a device"):
                raise error
        return inner(self, *args)

    stream.__name__ = stream.__qualname__ = getattr(inner, "__name__", "stream")
    return stream


def _taker(stream: _Stream, emitter: Emitter) -> Callable[[Any, str], None]:
    emit, inside = emitter.emit, emitter.inside
    _, _, _, severity, level = stream

    def take(writer: Any, text: str) -> None:
        if getattr(inside, "on", False):
            return
        inside.on = True
        try:
            context = get_current_span().get_span_context()
            now = time.time_ns()
            owner: Any = getattr(writer, "__dict__", {}).get(_DEVICE) or get_owner()
            emit(
                (
                    owner,
                    "tango" if owner is None else f"tango.{owner.class_name}",
                    now,
                    now,
                    severity,
                    level,
                    text if len(text) <= LONGEST_BODY else cut(text, LONGEST_BODY),
                    context.trace_id,
                    context.span_id,
                    context.trace_flags,
                    *_place(),
                    threading.get_ident(),
                    threading.current_thread().name,
                    None,
                    None,
                    0,
                )
            )
        finally:
            inside.on = False

    return take


def _place() -> tuple[str, int, str]:
    """Where a device wrote it: file, line and function; of a decorated method its first line, as PyTango has
    it.
    """
    frame: Any = sys._getframe(3)
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module not in _PASSED_OVER:
            code = frame.f_code
            return code.co_filename, frame.f_lineno, getattr(code, "co_qualname", code.co_name)
        if module == "tango.log4tango" and "f" in frame.f_code.co_freevars:
            function = inspect.unwrap(frame.f_locals["f"])
            code = getattr(function, "__code__", None)
            if code is not None:
                return code.co_filename, code.co_firstlineno, function.__qualname__
        frame = frame.f_back
    return "", 0, ""
