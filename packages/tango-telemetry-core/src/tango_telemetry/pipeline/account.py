"""The figures of a pipeline, and their sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class PipelineStats:
    """Where every span of this process is: `made == delivered + queued + spooled + dropped`, at any time.

    Of another signal: every log record, every data point.

    made: sampled spans that ended. All others that ended unsampled never come to a pipeline.
    queued: in memory, not yet delivered; a batch that is being sent counts here.
    delivered: taken by the collector, or written to the file or the console.
    spooled: in a file of the spool folder; whoever delivers that file later counts it as `adopted`, if
    another process. dropped: lost, and `dropped_by_reason` says why. adopted: spans of other processes
    delivered from the spool; not part of the sum. failed_attempts: requests that did not succeed.
    """

    made: int = 0
    queued: int = 0
    delivered: int = 0
    spooled: int = 0
    dropped: int = 0
    dropped_by_reason: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    adopted: int = 0
    queued_bytes: int = 0
    failed_attempts: int = 0

    @property
    def sampled(self) -> int:
        """Sampled spans that ended: the same as `made`, since unsampled ones never get here."""
        return self.made


def sum_stats(parts: Iterable[PipelineStats]) -> PipelineStats:
    """The sum over several pipelines."""
    totals = dict.fromkeys(
        ("made", "queued", "delivered", "spooled", "dropped", "adopted", "queued_bytes", "failed_attempts"), 0
    )
    reasons: dict[str, int] = {}
    for part in parts:
        for name in totals:
            totals[name] += getattr(part, name)
        for reason, count in part.dropped_by_reason.items():
            reasons[reason] = reasons.get(reason, 0) + count
    return PipelineStats(dropped_by_reason=MappingProxyType(reasons), **totals)
