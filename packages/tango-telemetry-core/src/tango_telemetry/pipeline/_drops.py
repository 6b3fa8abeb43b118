"""Says in the log when the loss of spans begins and when it ends; once each, from the worker, never from a call."""

from __future__ import annotations

import logging
import time

from tango_telemetry.pipeline._stats import PipelineStats

_logger = logging.getLogger("tango_telemetry.pipeline")
QUIET = 10.0
"""Seconds without a drop after which the loss is over."""


class DropLog:
    """Compares the account with what it was."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen = 0
        self._before = 0
        self._began = 0.0
        self._last = 0.0
        self._dropping = False

    def look(self, stats: PipelineStats) -> None:
        """Log a beginning or an end, if there is one."""
        now = time.monotonic()
        if stats.dropped > self._seen:
            if not self._dropping:
                self._dropping, self._began, self._before = True, now, self._seen
                reasons = ", ".join(f"{reason}: {count}" for reason, count in stats.dropped_by_reason.items())
                _logger.warning(
                    "tango-telemetry: spans for %s are being dropped (so far %s)", self._name, reasons
                )
            self._seen, self._last = stats.dropped, now
        elif self._dropping and now - self._last >= QUIET:
            self._dropping = False
            _logger.warning(
                "tango-telemetry: no more spans for %s are being dropped; %d were lost within %.0f s",
                self._name,
                self._seen - self._before,
                self._last - self._began,
            )
