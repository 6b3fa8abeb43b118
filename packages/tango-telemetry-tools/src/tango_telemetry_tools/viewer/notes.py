"""What a reader of a trace should know: parents that are not there, rings, clocks that differ."""

from __future__ import annotations

from .layout import count, format_duration
from .tree import Forest

# Seconds. Programs hand spans over a second after their end: the client's may be there before the server's.
_FRESH = 2.0


def find_notes(forest: Forest, now: float = 0.0) -> list[str]:
    """Return sentences, none where there is nothing to say.

    `now`, in seconds since 1970: more spans may be on their way.
    """
    notes = []
    age = now - forest.end / 1e9
    if forest.orphans:
        number = count(len(forest.orphans), "span")
        wait = "wait" if len(forest.orphans) > 1 else "waits"
        notes.append(
            f"{number} {wait} for a parent that is not there: a span is written when it ends and handed over "
            "up to a second"
            " later, or the program above is not traced, not among these files, or its span was dropped"
        )
    elif forest.spans and -_FRESH < age < _FRESH:
        notes.append(
            f"this trace ended {max(0.0, age):.1f} s ago: device servers hand their spans over up to a "
            "second later, so more may come"
        )
    if forest.loops:
        notes.append(
            f"{count(len(forest.loops), 'ring')} of spans that are their own ancestors: the file is wrong"
        )
    by_id = {span.span_id: span for span in forest.spans}
    early = [
        by_id[span.parent_id].start - span.start
        for span in forest.spans
        if span.parent_id in by_id and span.start < by_id[span.parent_id].start
    ]
    if early:
        one = len(early) == 1
        notes.append(
            f"{count(len(early), 'span')} "
            f"{'begins before its parent' if one else 'begin before their parents'}, by up to"
            f" {format_duration(max(early))}: the clocks of the machines differ"
        )
    return notes
