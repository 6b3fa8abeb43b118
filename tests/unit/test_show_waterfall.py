"""The pictures in the terminal, character by character; colours only as far as they mean something."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from tango_telemetry_tools.viewer.glyphs import ASCII, UNICODE, Glyphs
from tango_telemetry_tools.viewer.layout import clean, device_of, error_origins, format_duration
from tango_telemetry_tools.viewer.model import Attributes, Resource, Span
from tango_telemetry_tools.viewer.tree import build_forest
from tango_telemetry_tools.viewer.waterfall import Waterfall

MS = 1_000_000
BASE = 1_700_000_000 * 1000 * MS


def make(
    span_id: str, parent_id: str, name: str, service: str, start: float, end: float, **fields: object
) -> Span:
    resource = Resource(service, "")
    times = (BASE + int(start * MS), BASE + int(end * MS))
    return Span("4bf9" * 8, span_id, parent_id, name, "internal", *times, resource, **fields)  # type: ignore[arg-type]


def draw(
    spans: list[Span],
    width: int = 80,
    glyphs: Glyphs = UNICODE,
    skip: int = 5,
    depth: int = 0,
    **options: object,
) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, **options)  # type: ignore[arg-type]
    console.print(Waterfall(build_forest(spans), glyphs, depth), soft_wrap=True)
    return out.getvalue().splitlines()[skip:]


OPERATION = [
    make("a", "", "check", "my.app", 0, 20),
    make("b", "a", "command_inout On", "pytango.client", 2, 10),
    make("c", "b", "Leader.On", "Leader", 4, 8),
    make(
        "d",
        "a",
        "read_attribute x",
        "pytango.client",
        10,
        20,
        is_error=True,
        status_message="API_Off: is off",
    ),
    make("e", "d", "Leader.read x", "Leader", 19.99, 20, is_error=True, status_message="API_Off: is off"),
]


def test_picture_at_80_columns() -> None:
    lines = draw(OPERATION, skip=0)
    assert lines[0] == "my.app: check"
    assert lines[1] == f"trace {'4bf9' * 8}"
    assert lines[2].endswith(" · 20.0 ms · 5 spans · 3 services · 2 errors")
    assert lines[3].split() == ["■", "my.app", "■", "pytango.client", "■", "Leader"]
    assert lines[4] == ""
    assert lines[5] == " " * 45 + "0             10.0 ms       20.0 ms"
    assert lines[6:] == [
        "check                my.app          20.0 ms ███████████████████████████████████",
        "├╴command_inout On   pytango.client  8.00 ms ···▐█████████████▌·················",
        "│ ╰╴Leader.On        Leader          4.00 ms ·······███████·····················",
        "╰╴✗ read_attribute x pytango.client  10.0 ms ·················▐█████████████████",
        "  ╰╴✗ Leader.read x  Leader          10.0 µs ··································▐",
        "      ✗ API_Off: is off",
    ]


def test_picture_in_plain_ascii() -> None:
    lines = draw(OPERATION, glyphs=ASCII, skip=0)
    assert all(line.isascii() for line in lines)
    assert lines[6:] == [
        "check                my.app          20.0 ms ===================================",
        "|-command_inout On   pytango.client  8.00 ms ...===============.................",
        "| `-Leader.On        Leader          4.00 ms .......=======.....................",
        "`-x read_attribute x pytango.client  10.0 ms .................==================",
        "  `-x Leader.read x  Leader          10.0 us ..................................=",
        "      x API_Off: is off",
    ]


@pytest.mark.parametrize("width", [20, 40, 55, 56, 80, 109, 110, 200])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_no_line_is_wider_than_the_terminal(width: int, glyphs: Glyphs) -> None:
    deep = [
        make(str(n), str(n - 1) if n else "", f"名前 {n} " + "long " * 20, "service" * 5, n, 60)
        for n in range(50)
    ]
    deep.append(make("x", "gone", "lost", "s", 1, 2, is_error=True, status_message="very " * 90))
    console = Console(width=width)
    for line in draw(deep, width=width, glyphs=glyphs, skip=0):
        assert console.measure(line).maximum <= width if width >= 40 else True
    assert draw(deep, width=width, glyphs=glyphs)


def test_a_missing_parent_is_a_line_of_its_own() -> None:
    lines = draw([make("a", "", "root", "s", 0, 4), make("b", "0123456789abcdef", "lost", "s", 2, 4)], skip=6)
    assert lines[3].startswith("! 1 span waits for a parent that is not there: ")
    assert [line[:33].rstrip() for line in lines[:3]] == [
        "root",
        "? missing parent 0123456789abcdef",
        "╰╴lost",
    ]


def test_every_span_has_a_bar_within_the_axis() -> None:
    spans = [make("a", "", "a", "s", 0, 100)]
    spans += [make(str(n), "a", f"n{n}", "s", n, n) for n in range(101)]
    for line in draw(spans, skip=6):
        assert len(line) == 80
        assert any(mark in line for mark in "█▐▌")


def test_names_cannot_steer_the_terminal() -> None:
    lines = draw([make("a", "", "evil\x1b[2J\r\n\u202e\ud800", "ser\x07vice", 0, 1)], skip=0)
    text = "".join(lines)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert lines[0] == "ser\ufffdvice: evil\ufffd[2J\ufffd\ufffd\ufffd\ufffd"
    text.encode()


def test_markup_in_names_is_text() -> None:
    assert draw([make("a", "", "[bold]x[/]", "s", 0, 1)], skip=6)[0].startswith("[bold]x[/] ")


def test_one_colour_for_each_service_and_none_when_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = "\n".join(draw(OPERATION, force_terminal=True, color_system="truecolor"))
    legend = draw(OPERATION, skip=3, force_terminal=True, color_system="truecolor")[0]
    colours = {part.split("m", 1)[0] for part in legend.split("\x1b[38;2;")[1:]}
    assert len(colours) == 3
    assert all(colour in coloured for colour in colours)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "38;2;" not in "\n".join(draw(OPERATION, force_terminal=True, color_system="truecolor"))


def test_a_reason_is_told_once_where_it_began() -> None:
    assert error_origins(build_forest(OPERATION)) == {"e"}
    other = [*OPERATION[:4], make("e", "d", "x", "Leader", 19, 20, is_error=True, status_message="another")]
    assert error_origins(build_forest(other)) == {"d", "e"}


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0 ns"), (999, "999 ns"), (1_500, "1.50 µs"), (12_345_678, "12.3 ms"), (999_999_999, "1000 ms"), (2 * 10**9, "2.00 s"),  # noqa: E501
     (90 * 10**9, "1.50 min"), (5400 * 10**9, "1.50 h"), (400 * 3600 * 10**9, "400 h")],
)  # fmt: skip
def test_durations(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("text", "cleaned"), [("plain", "plain"), ("tab\there", "tab\ufffdhere"), ("é 名", "é 名")]
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    ("attributes", "instance", "device"),
    [
        ((("tango.device.name", "a/b/1"),), "demo/leader/1", "a/b/1"),
        ((), "demo/leader/1", "demo/leader/1"),
        ((), "e4b7bff4-2737-423d-bb1f-ccb531e88e77", ""),
    ],
)
def test_the_device_of_a_span(attributes: Attributes, instance: str, device: str) -> None:
    span = Span("t", "a", "", "n", "client", 0, 1, Resource("s", instance), attributes=attributes)
    assert device_of(span) == device


def polled(count: int, **fields: object) -> list[Span]:
    spans = [make("a", "", "scan", "s", 0, 100)]
    for n in range(count):
        spans.append(make(f"c{n}", "a", "read_attribute p", "s", n, n + (9 if n == 3 else 1), **fields))
        spans.append(make(f"s{n}", f"c{n}", "Gauge.read p", "Gauge", n + 0.1, n + 0.9))
    return spans


def test_equal_siblings_are_one_line() -> None:
    lines = draw(polled(24), skip=6)
    assert lines[1].startswith("╰╴24 × read_attribute p")
    assert " 32.0 ms " in lines[1]
    assert lines[2].strip() == "longest 9.00 ms"
    assert len(lines) == 3
    assert len(draw(polled(3), skip=6)) == 7


def test_what_failed_is_not_folded() -> None:
    spans = polled(9)
    spans[9] = make(
        "c4", "a", "read_attribute p", "s", 4, 5, is_error=True, status_message="API_X: " + "why " * 60
    )
    lines = draw(spans, skip=6)
    assert [line[:22] for line in lines if "×" in line] == [
        "├╴4 × read_attribute p",
        "╰╴4 × read_attribute p",
    ]
    # The whole text, wrapped.
    assert sum(line.count("why") for line in lines) == 60


def test_the_device_is_shown_at_80_columns_and_both_at_120() -> None:
    device = (("tango.device.name", "sys/tg_test/1"),)
    spans = [make("a", "", "read_attribute p", "service", 0, 4, attributes=device)]
    assert "sys/tg_test/1" in draw(spans, skip=6)[0]
    assert "service" not in draw(spans, skip=6)[0]
    assert "service" in draw(spans, skip=6, width=120)[0]


def test_clocks_that_differ_are_said() -> None:
    lines = draw([make("a", "", "a", "s", 5, 9), make("b", "a", "b", "s", 2, 4)], skip=8)
    assert " ".join(lines).startswith("! 1 span begins before its parent, by up to 3.00 ms: the clocks")


def test_what_is_deeper_than_asked_for_is_counted() -> None:
    names = [line[:26].rstrip() for line in draw(OPERATION, skip=6, depth=2)]
    assert names == ["check", "├╴command_inout On +1", "╰╴✗ read_attribute x +1 ✗1"]
    assert draw(OPERATION, skip=6, depth=3) == draw(OPERATION, skip=6)
