"""Equal siblings as one line: "24 x read_attribute pressure, longest 80 ms". What failed is never folded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from .layout import device_of
from .tree import Forest, Row

# Fewer are quicker to read one by one than to unfold.
MIN_GROUP = 4


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the picture: `count` equal siblings, of which `row` is the first. Times are nanoseconds.

    `members` are the ids of the spans that it stands for. `hidden` spans are below it and not drawn, of which
    `failed` failed.
    """

    row: Row
    count: int = 1
    total: int = 0
    longest: int = 0
    end: int = 0
    members: tuple[str, ...] = ()
    hidden: int = 0
    failed: int = 0


def fold(forest: Forest, depth: int = 0, groups: bool = True, apart: Collection[str] = ()) -> list[Line]:
    """Return the lines of a picture: at most `depth` levels (0: all), runs of equal siblings as one where
    `groups`. The spans whose ids are in `apart` stay lines of their own.
    """
    rows = forest.rows
    sizes = [row.descendants + 1 for row in rows]
    signatures = _signatures(rows, apart) if groups else []
    lines: list[Line] = []
    index = 0
    while index < len(rows):
        row = rows[index]
        if depth and row.depth >= depth:
            index += sizes[index]
            continue
        run = [index]
        if groups and row.depth and row.span and signatures[index]:
            following = index + sizes[index]
            while (
                following < len(rows)
                and rows[following].depth == row.depth
                and signatures[following] == signatures[index]
            ):
                run.append(following)
                following += sizes[following]
        if len(run) < MIN_GROUP:
            members = (row.span.span_id,) if row.span else ()
            hidden = rows[index + 1 : index + sizes[index]] if row.depth + 1 == depth else ()
            failed = sum(below.span.is_error for below in hidden if below.span)
            lines.append(Line(row, members=members, hidden=len(hidden), failed=failed))
            index += 1
            continue
        spans = [span for number in run if (span := rows[number].span)]
        lines.append(
            Line(
                # Nothing is drawn below it, and it stands where the last of the run would.
                replace(row, last=rows[run[-1]].last, descendants=0),
                len(run),
                sum(span.duration for span in spans),
                max(span.duration for span in spans),
                max(span.end for span in spans),
                tuple(span.span_id for span in spans),
            )
        )
        index = run[-1] + sizes[run[-1]]
    return lines


def _signatures(rows: Sequence[Row], apart: Collection[str]) -> list[int]:
    """A number for what a row and all below it look like; 0 where something failed or is missing."""
    known: dict[tuple[object, ...], int] = {}
    signatures = [0] * len(rows)
    below: dict[int, list[int]] = {}
    for index in range(len(rows) - 1, -1, -1):
        row = rows[index]
        children = below.pop(row.depth + 1, [])
        if row.span is not None and not row.span.is_error and row.span.span_id not in apart and all(children):
            key = (row.span.name, row.span.service, device_of(row.span), *children)
            signatures[index] = known.setdefault(key, len(known) + 1)
        below.setdefault(row.depth, []).append(signatures[index])
    return signatures
