"""What the demo is doing: a moving line in a terminal while a step lasts, one plain line when it is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from ..viewer.glyphs import ASCII, Glyphs


@dataclass
class Step:
    """One step; `note` is what its line says behind the title."""

    note: str = ""


class Steps:
    """Shows steps on `console`."""

    def __init__(self, console: Console, glyphs: Glyphs) -> None:
        self._console = console
        self._glyphs = glyphs

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show `title` while the block runs; if it fails, its line says so."""
        step = Step()
        start = time.monotonic()
        mark, style = self._glyphs.cross, "red"
        try:
            with self._console.status(Text(title), spinner="line" if self._glyphs is ASCII else "dots"):
                yield step
            mark, style = self._glyphs.tick, "green"
        finally:
            seconds = time.monotonic() - start
            line = Text.assemble(
                (mark, style), f" {title:<28}", (f"{seconds:5.1f} s", "dim"), f"  {step.note}"
            )
            self._console.print(line, no_wrap=True, overflow="ellipsis", crop=True)

    def quote(self, line: str) -> None:
        """Show a line that a program wrote."""
        self._console.print(
            Text(f"  {self._glyphs.line}{self._glyphs.text(line)}", style="dim"), overflow="fold"
        )
