"""Tables in a terminal: what is left of names and columns where there is no room for all of them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from tango_telemetry_tools.viewer.glyphs import ASCII, UNICODE, Glyphs, wrap
from tango_telemetry_tools.viewer.table import Column, print_table

COLUMNS = [
    Column("device", 2, name=True),
    Column("text", 3),
    Column("p50", optional=True),
    Column("p95"),
    Column("errors", optional=True),
]
ROWS = [[f"lab/long-family/{number}", "no answer after 3 s", "1.234", "5.678", "0"] for number in (1, 2)]


def draw(
    width: int, rows: list[list[str]] = ROWS, glyphs: Glyphs = UNICODE, terminal: bool = True
) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None, highlight=False)
    print_table(console, glyphs, COLUMNS, rows)
    return out.getvalue().splitlines()


def test_all_is_shown_where_there_is_room() -> None:
    assert draw(60)[0].split() == ["device", "text", "p50", "p95", "errors"]


def test_optional_columns_make_room_those_of_zeros_first() -> None:
    assert draw(59)[0].split() == ["device", "text", "p50", "p95"]
    failed = [[*row[:-1], "3"] for row in ROWS]
    assert draw(59, failed)[0].split() == ["device", "text", "p95", "errors"]
    assert draw(44)[0].split() == ["device", "text", "p95"]


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_names_keep_both_ends_and_texts_their_beginning(glyphs: Glyphs) -> None:
    assert [line.split("  ")[:2] for line in draw(36, glyphs=glyphs)[1:]] == [
        [f"lab{glyphs.ellipsis}mily/{number}", f"no answer after{glyphs.ellipsis}"] for number in (1, 2)
    ]


@pytest.mark.parametrize("width", range(25, 64))
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    wide = [["名前/名前/名前/1", "名前" * 9, "1.234", "5.678", "0"]]
    for line in draw(width, wide + ROWS):
        assert Console().measure(line).maximum <= width


def test_piped_nothing_is_cut() -> None:
    assert draw(20, terminal=False)[1].split("  ", 4) == [*ROWS[0][:4], "     0"]


def test_texts_without_a_space_are_broken_at_once_however_long() -> None:
    # Where each line cost as much as all of the text, this took minutes.
    text = "ab名" * 500_000
    lines = wrap(text, 80)
    assert "".join(lines) == text
    assert {Console().measure(line).maximum for line in lines[:-1]} <= {79, 80}
    assert UNICODE.fit_name(text, 21) == "ab名ab …ab名ab名ab名 "
