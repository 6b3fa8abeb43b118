"""A bound on the new traces of one process, as a sampler around the one that the user's settings ask for."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

from tango_telemetry.base.originals import Lock
from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.otel.api import get_current_span

__all__ = ["TokenBucket", "limit_new_traces", "new_traces"]


class TokenBucket:
    """Lets through at most ``rate`` events per second on average, and a second's worth at once."""

    def __init__(self, rate: float, clock: Any = time.monotonic) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate)
        self._clock = clock
        self._tokens = self._capacity if rate > 0 else 0.0
        self._at = clock()
        self._lock = Lock()
        self.refused = 0

    def take(self) -> bool:
        """Whether one more event may pass now."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if self._rate <= 0 or self._tokens < 1.0:
                self.refused += 1
                return False
            self._tokens -= 1.0
            return True


@lru_cache(maxsize=8)
def new_traces(rate: float | None) -> TokenBucket | None:
    """Return what says whether one more trace may begin, one for each rate and process: a thousand devices
    share the bound. None for None, which is no bound.
    """
    return None if rate is None else TokenBucket(rate)


@lru_cache(maxsize=1)
def _sampler_class() -> Any:
    sampling: Any = otel_sdk.load("opentelemetry.sdk.trace.sampling", "limiting traces")
    base: Any = sampling.Sampler
    decision = sampling.Decision

    class NewTracesPerSecond(base):  # type: ignore[misc]
        """Asks the user's sampler, then bounds how many new traces it may begin.

        A span with a parent is none of its business. The first span of a trace beyond the bound is recorded
        without being sampled, so that it can still be kept should the operation fail; its children are not
        recorded.
        """

        def __init__(self, inner: Any, bucket: TokenBucket) -> None:
            self._inner = inner
            self._bucket = bucket

        def should_sample(self, parent_context: Any, *args: Any, **kwargs: Any) -> Any:
            result = self._inner.should_sample(parent_context, *args, **kwargs)
            if result.decision is not decision.RECORD_AND_SAMPLE:
                return result
            if get_current_span(parent_context).get_span_context().is_valid or self._bucket.take():
                return result
            return sampling.SamplingResult(decision.RECORD_ONLY, result.attributes, result.trace_state)

        def get_description(self) -> str:
            return f"NewTracesPerSecond{{{self._inner.get_description()}}}"

    return NewTracesPerSecond


def limit_new_traces(inner: Any, bucket: TokenBucket) -> Any:
    """Return a sampler that lets ``inner`` begin a trace only where ``bucket`` says so."""
    return _sampler_class()(inner, bucket)
