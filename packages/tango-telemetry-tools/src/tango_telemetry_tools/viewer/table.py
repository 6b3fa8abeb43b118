"""Tables in the terminal that can be cut with other tools: one unit per column, nothing shortened
when piped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from . import layout
from .glyphs import Glyphs


@dataclass(frozen=True)
class Column:
    """`share` is how much of the room that is left a text column gets; 0: as wide as it needs, for numbers at
    the right.

    `optional` columns are left out where a terminal has no room for the texts, those with nothing but zeros
    first. A `name` is cut in its middle, other text at its end.
    """

    title: str
    share: int = 0
    style: str = ""
    optional: bool = False
    name: bool = False


def print_table(
    console: Console, glyphs: Glyphs, columns: Sequence[Column], rows: Sequence[Sequence[str]]
) -> None:
    """Print it. In a terminal texts are cut to fit, elsewhere never."""
    cells = [[glyphs.text(cell) for cell in row] for row in rows]
    if console.is_terminal:
        kept = _choose(columns, _needs(columns, cells), cells, console.width)
        columns = [columns[number] for number in kept]
        cells = [[row[number] for number in kept] for row in cells]
    needs = _needs(columns, cells)
    widths = _fit(columns, needs, console.width) if console.is_terminal else needs
    for number, row in enumerate([[column.title for column in columns], *cells]):
        line = Text()
        for place, (column, width, cell) in enumerate(zip(columns, widths, row, strict=True)):
            if not column.share:
                fitted = " " * (width - cell_len(cell)) + cell
            else:
                fitted = glyphs.fit_name(cell, width) if column.name else glyphs.fit(cell, width)
            style = "bold" if not number else column.style
            if number and column.title == "errors" and cell != "0":
                style = f"bold {layout.ERROR_COLOUR}"
            line.append(("  " if place else "") + fitted, style)
        line.rstrip()
        console.print(line, soft_wrap=True)


def _needs(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> list[int]:
    return [
        max([cell_len(column.title), *(cell_len(row[number]) for row in cells)])
        for number, column in enumerate(columns)
    ]


def _choose(
    columns: Sequence[Column], needs: Sequence[int], cells: Sequence[Sequence[str]], width: int
) -> list[int]:
    """Return which columns are shown: all, or without as many of the optional ones as it takes."""
    kept = list(range(len(columns)))
    spare = [number for number in kept if columns[number].optional]
    # What says nothing goes first, then the first in the row.
    spare.sort(key=lambda number: any(row[number] not in ("0", "-") for row in cells))
    for number in spare:
        if sum(needs[place] for place in kept) + 2 * (len(kept) - 1) <= width:
            break
        kept.remove(number)
    return kept


def _fit(columns: Sequence[Column], needs: Sequence[int], width: int) -> list[int]:
    fixed = sum(need for column, need in zip(columns, needs, strict=True) if not column.share)
    room = width - fixed - 2 * (len(columns) - 1)
    widths = list(needs)
    texts = [number for number, column in enumerate(columns) if column.share]
    # Who needs less than its share leaves the rest to the others.
    while texts:
        shares = sum(columns[number].share for number in texts)
        small = [
            number for number in texts if needs[number] <= max(6, room * columns[number].share // shares)
        ]
        if not small:
            for number in texts:
                widths[number] = max(6, room * columns[number].share // shares)
            break
        for number in small:
            room -= needs[number]
            texts.remove(number)
    return widths


def milliseconds(nanoseconds: int) -> str:
    """One unit for a whole column, so that it can be sorted: "0.914", "1010.000"."""
    return f"{nanoseconds / 1e6:.3f}"
