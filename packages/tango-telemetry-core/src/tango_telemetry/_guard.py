"""The one place where telemetry swallows an exception it did not expect.

Telemetry must never raise into the user's code, and a defect of ours must not go unseen either. Whoever has to keep
going whatever happens wraps the risky part in `log_internal_error`; besides it only the texts of the user's values and
exceptions, which may fail without being a defect, are under a broad ``except``.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from tango_telemetry._texts import exception_message, exception_stacktrace, type_name

_T = TypeVar("_T")

RAISE_INTERNAL_ERRORS = "PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS"
"""Environment variable: ``on`` raises internal errors again after logging them. For the tests of this product."""

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


def _first_time(where: str, error: BaseException) -> bool:
    """Whether this error, from this place, is new: the same defect at each span must not fill a log."""
    key = (where, type_name(type(error)), *_place_of(error))
    if key in _seen or len(_seen) >= _MAX_SEEN:
        return False
    _seen.add(key)
    return True


class log_internal_error:  # noqa: N801 - reads as a verb where it is used
    """Context manager that swallows any error of the block and logs it once per place and kind.

    `where` says what was being done, in words for a log. Under ``PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS=on`` the
    error goes on after it was logged. `failed` tells whether the block ended in an error. BaseException is swallowed
    on our own threads, where nobody else could (an exporter that raises SystemExit must not end the worker), but not on
    the user's, whose Ctrl-C it might be. `foreign`: the block runs code that is not ours, an exporter's say, whose errors
    are no defects of ours and are never raised again.
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
        ours = threading.current_thread().name.startswith("tango-telemetry")
        if not ours and not isinstance(error, Exception):
            return False
        if _first_time(self._where, error):
            what = "error" if self._foreign else "internal error"
            # The error may be the user's, whose text may fail or be huge: the logger is given texts, and not the error.
            name, text = type_name(type(error)), exception_message(error, _TEXT)
            trace = exception_stacktrace(error, _TEXT).rstrip("\n")
            _logger.error("tango-telemetry: %s while %s: %s: %s\n%s", what, self._where, name, text, trace)
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
