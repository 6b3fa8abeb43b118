"""The one place that warns.

A filter that makes errors of warnings is for the program, and must not end it for telemetry.
"""

from __future__ import annotations

import logging
import warnings

from tango_telemetry.base.guard import log_internal_error

__all__ = ["TelemetryWarning", "quiet_warnings", "warn"]

_logger = logging.getLogger("tango_telemetry")


class TelemetryWarning(UserWarning):
    """Something in the settings or the installation keeps telemetry from doing what was asked for."""


def warn(message: str, stacklevel: int = 1) -> None:
    """Issue a :class:`TelemetryWarning`; never raises.

    Under ``-W error`` and its like the message is logged instead.

    :param message: names the thing, its value and what to do
    :param stacklevel: 1 shows the line that calls this, 2 the caller's caller, as in :func:`warnings.warn`
    """
    with log_internal_error("warning", foreign=True):
        try:
            warnings.warn(message, TelemetryWarning, stacklevel=stacklevel + 1)
        except TelemetryWarning:
            _logger.warning("tango-telemetry: %s", message)


class quiet_warnings:  # noqa: N801 - reads as a verb where it is used
    """Keep the warnings of what telemetry imports and calls from becoming exceptions.

    The filters are those of the whole process, and putting them back undoes what another thread has changed
    meanwhile. So they are only touched where some warning would be an exception.
    """

    def __init__(self) -> None:
        self._filters: warnings.catch_warnings[None] | None = None

    def __enter__(self) -> None:
        if any(entry[0] == "error" for entry in warnings.filters):
            self._filters = warnings.catch_warnings()
            self._filters.__enter__()
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", TelemetryWarning)  # `warn` logs those

    def __exit__(self, *error: object) -> None:
        if self._filters is not None:
            self._filters.__exit__(*error)  # type: ignore[arg-type]
