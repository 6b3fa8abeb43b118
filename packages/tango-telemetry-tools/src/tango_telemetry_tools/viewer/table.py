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
    """

    title: str
    share: int = 0
    style: str = ""


def print_table(
    console: Console, glyphs: Glyphs, columns: Sequence[Column], rows: Sequence[Sequence[str]]
) -> None:
    """Print it. In a terminal texts are cut to fit, elsewhere never."""
    cells = [[glyphs.text(cell) for cell in row] for row in rows]
    needs = [
        max([cell_len(column.title), *(cell_len(row[number]) for row in cells)])
        for number, column in enumerate(columns)
    ]
    widths = _fit(columns, needs, console.width) if console.is_terminal else needs
    for number, row in enumerate([[column.title for column in columns], *cells]):
        line = Text()
        for place, (column, width, cell) in enumerate(zip(columns, widths, row, strict=True)):
            fitted = glyphs.fit(cell, width) if column.share else " " * (width - cell_len(cell)) + cell
            style = "bold" if not number else column.style
            if number and column.title == "errors" and cell != "0":
                style = f"bold {layout.ERROR_COLOUR}"
            line.append(("  " if place else "") + fitted, style)
        line.rstrip()
        console.print(line, soft_wrap=True)


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
