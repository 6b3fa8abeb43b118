"""The one place where anything that goes wrong in telemetry itself is swallowed, so that it never reaches user code."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["guarded", "log_internal_error"]

_T = TypeVar("_T")
_logger = logging.getLogger("tango_telemetry")
_seen: set[tuple[str, type[BaseException], int]] = set()
RAISE = "PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS"


def log_internal_error(where: str, error: BaseException) -> None:
    """Log an error of telemetry's own once per place and kind; raise it again where tests ask for that.

    :param where: what telemetry was doing, for the message
    :param error: what went wrong
    :raises BaseException: ``error``, if ``PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS`` is ``on``
    """
    if os.environ.get(RAISE, "").lower() == "on":
        raise error
    line = error.__traceback__.tb_lineno if error.__traceback__ else 0
    key = (where, type(error), line)
    if key not in _seen and len(_seen) < 256:
        _seen.add(key)
        _logger.warning("telemetry failed while %s; the call goes on without it", where, exc_info=error)


def guarded(function: Callable[..., _T], *args: Any) -> _T | None:
    """Call a function of telemetry's own; give None where it raises. This is the only broad ``except`` of the call path."""
    try:
        return function(*args)
    except Exception as error:  # noqa: BLE001 - whatever it is, the user's call must go on
        log_internal_error(getattr(function, "__qualname__", "tracing"), error)
        return None
