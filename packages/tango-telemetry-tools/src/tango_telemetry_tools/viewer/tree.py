"""The spans of one trace as a forest, and what is wrong with it.

No recursion: a trace may be ten thousand levels deep.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

from .model import Span

# Rows remember the tree's lines for this many levels: all levels of a trace that is one long chain would be
# quadratic.
MAX_GUIDES = 32


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the picture: a span, or (`span` None) a parent that is missing.

    `depth` is 0 at the top. `last` says for each level from 1 to the row's own (at most MAX_GUIDES), whether
    the row there is the last of its siblings: what is needed to draw the lines of the tree. `descendants`
    counts all spans below.
    """

    span: Span | None
    missing_id: str
    depth: int
    last: tuple[bool, ...]
    descendants: int


@dataclass(frozen=True)
class Forest:
    """All rows from the top down, and the facts that a check asks for."""

    rows: tuple[Row, ...]
    spans: tuple[Span, ...]
    roots: tuple[Span, ...]
    orphans: tuple[Span, ...]
    loops: tuple[Span, ...]

    @cached_property
    def start(self) -> int:
        """Nanoseconds since 1970 at which the first span started."""
        return min((span.start for span in self.spans), default=0)

    @cached_property
    def end(self) -> int:
        """Nanoseconds since 1970 at which the last span ended."""
        return max((span.end for span in self.spans), default=0)

    @cached_property
    def duration(self) -> int:
        """Nanoseconds from the first start to the last end."""
        return max(0, self.end - self.start)

    @cached_property
    def errors(self) -> int:
        """How many spans failed."""
        return sum(span.is_error for span in self.spans)

    @cached_property
    def services(self) -> tuple[str, ...]:
        """Service names, in the order in which they appear from the top down."""
        return tuple(dict.fromkeys(row.span.service for row in self.rows if row.span))

    @cached_property
    def depth(self) -> int:
        """How many levels there are."""
        return max((row.depth + 1 for row in self.rows), default=0)


def build_forest(spans: Iterable[Span]) -> Forest:
    """Arrange spans of one trace by parent, siblings by start. A span that comes twice is taken once."""
    by_id: dict[str, Span] = {}
    for span in spans:
        by_id.setdefault(span.span_id, span)
    ordered = sorted(by_id.values(), key=lambda span: (span.start, span.end, span.span_id))
    children: dict[str, list[Span]] = {}
    roots: list[Span] = []
    orphans: list[Span] = []
    for span in ordered:
        if not span.parent_id:
            roots.append(span)
        else:
            children.setdefault(span.parent_id, []).append(span)
            if span.parent_id not in by_id:
                orphans.append(span)
    missing = dict.fromkeys(span.parent_id for span in orphans)
    loops = _find_loops(ordered, children, roots, orphans)
    looping = {span.span_id for span in loops}
    tops: list[tuple[Span | None, str, int]] = [(span, "", span.start) for span in (*roots, *loops)]
    tops += [(None, parent_id, children[parent_id][0].start) for parent_id in missing]
    tops.sort(key=lambda top: top[2])
    rows = _rows(tops, children, looping)
    return Forest(rows, tuple(ordered), tuple(roots), tuple(orphans), loops)


def _find_loops(
    ordered: Collection[Span], children: dict[str, list[Span]], roots: list[Span], orphans: list[Span]
) -> tuple[Span, ...]:
    """Spans that reach no top because their ancestors form a ring: the earliest of each ring, to be shown as
    a top.
    """
    reached: set[str] = set()
    loops: list[Span] = []

    def reach(top: Span) -> None:
        stack = [top]
        while stack:
            span = stack.pop()
            if span.span_id not in reached:
                reached.add(span.span_id)
                stack.extend(children.get(span.span_id, ()))

    for span in (*roots, *orphans):
        reach(span)
    for span in ordered:
        if span.span_id not in reached:
            loops.append(span)
            reach(span)
    return tuple(loops)


def _rows(
    tops: list[tuple[Span | None, str, int]], children: dict[str, list[Span]], looping: set[str]
) -> tuple[Row, ...]:
    flat: list[tuple[Span | None, str, int, tuple[bool, ...]]] = []
    stack: list[tuple[Span | None, str, int, tuple[bool, ...]]]
    stack = [(span, missing, 0, ()) for span, missing, _ in reversed(tops)]
    while stack:
        span, missing, depth, last = stack.pop()
        flat.append((span, missing, depth, last))
        below = [
            child
            for child in children.get(span.span_id if span else missing, ())
            if child.span_id not in looping
        ]
        for index, child in enumerate(reversed(below)):
            guides = (*last, index == 0) if depth < MAX_GUIDES else last
            stack.append((child, "", depth + 1, guides))
    # From the bottom up, a row's descendants are what has gathered one level below it.
    waiting: dict[int, int] = {}
    rows: list[Row] = []
    for span, missing, depth, last in reversed(flat):
        below_here = waiting.pop(depth + 1, 0)
        waiting[depth] = waiting.get(depth, 0) + below_here + 1
        rows.append(Row(span, missing, depth, last, below_here))
    return tuple(reversed(rows))
