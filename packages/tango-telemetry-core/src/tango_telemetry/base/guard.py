"""The one place where telemetry swallows an exception it did not expect.

Telemetry must never raise into the user's code, and a defect of ours must not go unseen either. Whoever has
to keep going whatever happens wraps the risky part in `log_internal_error`; besides it only the texts of the
user's values and exceptions, which may fail without being a defect, are under a broad ``except``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from traceback import walk_tb
from types import TracebackType
from typing import Any, TypeVar

from tango_telemetry.base.originals import is_own_thread
from tango_telemetry.base.texts import exception_message, exception_stacktrace, type_name

_T = TypeVar("_T")

RAISE_INTERNAL_ERRORS = "PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS"
"""Environment variable: ``on`` raises internal errors again after logging them.

For the tests of this product.
"""

_logger = logging.getLogger("tango_telemetry")
_seen: set[tuple[str, str, str, int]] = set()
_MAX_SEEN = 256
_TEXT = 1024


def _place_of(error: BaseException) -> tuple[str, int]:
    """The file and line where an error arose: the innermost of its traceback."""
    trace = error.__traceback__
    if trace is None:
        return "", 0
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename, trace.tb_lineno


_OWN = frozenset(("tango_telemetry", "tango_telemetry_client", "tango_telemetry_server", "opentelemetry"))
_RAISED_BY_OURS = _OWN | {
    "builtins",
    "tango",
    "PyTango",
    "tango_telemetry_native",
    "_queue",
    "queue",
    "socket",
    "json",
}


def _first_time(where: str, error: BaseException) -> bool:
    """Whether this error, from this place, is new: the same defect at each span must not fill a log."""
    key = (where, type_name(type(error)), *_place_of(error))
    if key in _seen or len(_seen) >= _MAX_SEEN:
        return False
    _seen.add(key)
    return True


def _is_from_outside(error: BaseException) -> bool:
    """Whether something outside raised this into our code, where nothing failed: the user waits for it.

    A signal's handler does (``signal.alarm`` with a ``TimeoutError`` is how many limit a time), and another
    thread with ``PyThreadState_SetAsyncExc``, which a class of the user's own in a frame of ours betrays:
    none of ours raises such.
    """
    traceback = error.__traceback__
    if traceback is None:
        return False
    codes = {id(frame.f_code) for frame, _ in walk_tb(traceback)}
    for number in signal.valid_signals() if threading.current_thread() is threading.main_thread() else ():
        handler = signal.getsignal(number)
        if callable(handler):
            code = getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
            if id(code) in codes:
                return True
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    where = traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0]
    return where in _OWN and type(error).__module__.partition(".")[0] not in _RAISED_BY_OURS


class log_internal_error:  # noqa: N801 - reads as a verb where it is used
    """Context manager that swallows any error of the block and logs it once per place and kind.

    `where` says what was being done, in words for a log. Under ``PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS=on``
    the error goes on after it was logged. `failed` tells whether the block ended in an error. BaseException
    is swallowed on our own threads, where nobody else could (an exporter that raises SystemExit must not end
    the worker), but not on the user's, whose Ctrl-C it might be. `foreign`: the block runs code that is not
    ours, an exporter's say, whose errors are no defects of ours and are never raised again.
    """

    __slots__ = ("_foreign", "_where", "failed")

    def __init__(self, where: str, *, foreign: bool = False) -> None:
        self._where = where
        self._foreign = foreign
        self.failed = False

    def __enter__(self) -> log_internal_error:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is None:
            return False
        self.failed = True
        outside = not isinstance(error, Exception) or (not self._foreign and _is_from_outside(error))
        if outside and not is_own_thread():
            return False
        if _first_time(self._where, error):
            what = "error" if self._foreign else "internal error"
            # The error may be the user's, whose text may fail or be huge: the logger is given texts, and not
            # the error.
            name, text = type_name(type(error)), exception_message(error, _TEXT)
            trace = exception_stacktrace(error, _TEXT).rstrip("\n")
            with contextlib.suppress(Exception):  # a filter or a handler of the user's
                _logger.error(
                    "tango-telemetry: %s while %s: %s: %s\n%s", what, self._where, name, text, trace
                )
        return self._foreign or os.environ.get(RAISE_INTERNAL_ERRORS, "").lower() not in ("on", "1", "true")


def guarded(function: Callable[..., _T], *args: Any) -> _T | None:
    """Call a function of telemetry's own on the path of a user's call; give None where it raises.

    The same as `log_internal_error`, a third of a microsecond cheaper: this stands on the hot path.
    """
    try:
        return function(*args)
    except Exception as error:
        with log_internal_error(getattr(function, "__qualname__", type(function).__qualname__)):
            raise error
    return None
