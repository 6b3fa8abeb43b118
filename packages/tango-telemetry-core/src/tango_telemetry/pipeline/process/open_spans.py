"""The spans that have not ended when the process does: ended, marked and sent, so that their children have a
parent.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry.base.guard import log_internal_error
from tango_telemetry.pipeline.noise import expect_ended_spans

MOST = 4096
"""How many open spans the end of a process waits for: each takes some 20 microseconds."""
sources: list[Callable[[], Iterable[Any]]] = []
"""Each gives open spans of this process, those of one provider of the SDK's with the youngest first."""


def end_open_spans(reason: str) -> None:
    """End every open span, the youngest first, with the status ERROR where it has none.

    The status keeps whoever reads the trace from taking for complete what was broken off.
    """
    expect_ended_spans()
    for source in (*sources, _native_spans):
        with log_internal_error("ending the spans that are open", foreign=True):
            for span in source():
                _end(span, reason)


def _end(span: Any, reason: str) -> None:
    with log_internal_error("ending a span that is open", foreign=True):
        status = sys.modules["opentelemetry.trace"].StatusCode
        span.set_attribute(names.SPAN_ENDED_BY, reason)
        if span.status.status_code is status.UNSET:
            span.set_status(status.ERROR, f"the process was ended by {reason} while the span was open")
        span.end()


def _native_spans() -> Iterable[Any]:
    native = sys.modules.get("tango_telemetry_native.spans")
    find = getattr(native, "open_spans", None)  # one of an earlier build does not know them
    return find(MOST) if find is not None else ()
