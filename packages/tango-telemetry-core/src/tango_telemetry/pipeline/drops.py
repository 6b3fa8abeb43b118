"""Says in the log when the loss of spans, or of another signal's items, begins and when it ends; once each,
from the worker, never from a call.
"""

from __future__ import annotations

import logging
import time

from tango_telemetry.pipeline.account import PipelineStats

_logger = logging.getLogger("tango_telemetry.pipeline")
QUIET = 10.0
"""Seconds without a drop after which the loss is over."""


_SAID_ELSEWHERE = ("rejected", "no_exporter", "shutdown")


class DropLog:
    """Compares the account with what it was.

    The sender says what a collector refused, with its words; what is lost at the end is said at the end.
    """

    def __init__(self, name: str, items: str = "spans") -> None:
        self._name = name
        self._items = items
        self._seen = 0
        self._reasons: set[str] = set()
        self._before = 0
        self._began = 0.0
        self._last = 0.0
        self._dropping = False

    def look(self, stats: PipelineStats) -> None:
        """Log a beginning or an end, if there is one."""
        now = time.monotonic()
        lost = {reason: n for reason, n in stats.dropped_by_reason.items() if reason not in _SAID_ELSEWHERE}
        dropped = sum(lost.values())
        if dropped > self._seen:
            if not self._dropping:
                self._began, self._before = now, self._seen
                self._reasons.clear()
            if not self._dropping or lost.keys() - self._reasons:
                reasons = ", ".join(f"{reason}: {count}" for reason, count in lost.items())
                _logger.warning(
                    "tango-telemetry: %s for %s are being dropped (so far %s)",
                    self._items,
                    self._name,
                    reasons,
                )
            self._dropping = True
            self._reasons.update(lost)
            self._seen, self._last = dropped, now
        elif self._dropping and now - self._last >= QUIET:
            self._dropping = False
            _logger.warning(
                "tango-telemetry: no more %s for %s are being dropped; %d were lost within %.0f s",
                self._items,
                self._name,
                self._seen - self._before,
                self._last - self._began,
            )
