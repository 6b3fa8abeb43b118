"""The characters that a terminal can show, and text made to fit them and its columns."""

from __future__ import annotations

import os
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from .layout import clean


@dataclass(frozen=True)
class Glyphs:
    """What lines, bars and marks are drawn with. `encoding` is that of the terminal."""

    encoding: str
    line: str
    last: str
    tee: str
    cross: str
    tick: str
    square: str
    dot: str
    ellipsis: str
    full: str
    right_half: str
    left_half: str
    track: str
    times: str
    towards: str
    back: str

    def text(self, text: str) -> str:
        """Return `text` without anything that this terminal cannot show or should not get."""
        text = clean(text)
        if text.isascii() or self.encoding == "utf-8":
            return text
        return text.replace("µ", "u").encode("ascii", "replace").decode("ascii")

    def fit(self, text: str, width: int, pad: bool = True) -> str:
        """Cut `text` to `width` columns, with a mark where it was cut; else fill it up, if `pad`."""
        if width <= 0:
            return ""
        length = cell_len(text)
        if length > width:
            return set_cell_size(text, width - 1) + self.ellipsis
        return text + " " * (width - length) if pad else text

    def fit_name(self, text: str, width: int) -> str:
        """Cut a name as `fit` does, but in its middle.

        Devices of a family differ in their last letters, and so do operations of a class.
        """
        excess = cell_len(text) - width
        if excess <= 0 or width < _LEAST_NAME:
            return self.fit(text, width)
        head = set_cell_size(text, width // 3)
        tail = text[len(head) :][-width:]
        while cell_len(tail) > width - width // 3 - 1:
            tail = tail[1:]
        return self.fit(head + self.ellipsis + tail, width)


# Cut names shorter than this tell nothing at either end.
_LEAST_NAME = 6


def wrap(text: str, width: int) -> list[str]:
    """Break `text` into lines of at most `width` columns, at spaces where there are any; at least one
    line.
    """
    lines: list[str] = []
    current = ""
    for word in text.split(" "):
        joined = f"{current} {word}" if current else word
        if _fits(joined, width):
            current = joined
            continue
        if current:
            lines.append(current)
        # By its place in the word: an attribute may have megabytes without a space.
        begin = 0
        while not _fits(word[begin : begin + width + 1], width):
            head = set_cell_size(word[begin : begin + width], width).rstrip()
            # A wide character does not fit half.
            head = head or word[begin]
            lines.append(head)
            begin += len(head)
        current = word[begin:]
    return [*lines, current] if current or not lines else lines


def _fits(text: str, width: int) -> bool:
    return len(text) <= width and cell_len(text) <= width


UNICODE = Glyphs("utf-8", "│ ", "╰╴", "├╴", "✗", "✓", "■", "·", "…", "█", "▐", "▌", "·", "×", "→", "←")  # noqa: RUF001  the sign for "times"
ASCII = Glyphs("ascii", "| ", "`-", "|-", "x", "*", "#", "-", "~", "=", "=", "=", ".", "x", "->", "<-")


def choose_glyphs(console: Console) -> Glyphs:
    """Plain ASCII for a terminal that says it can do no better."""
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return ASCII if dumb or console.options.ascii_only else UNICODE
