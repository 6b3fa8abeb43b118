"""One trace as a waterfall in the terminal: the tree at the left, a bar on the time axis at the right.

Lines are put together by hand and not by rich's Table, which needs several seconds for ten thousand rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from . import layout
from .fold import Line, fold
from .glyphs import UNICODE, Glyphs, wrap
from .model import Span
from .notes import find_notes
from .related import Related, log_line
from .tree import Forest, Row

_DIM = Style(dim=True)
_BOLD = Style(bold=True)
_ERROR = Style(color=layout.ERROR_COLOUR, bold=True)
_DURATION_WIDTH = 8
_GAP = " "


@dataclass(frozen=True)
class _Columns:
    name: int
    service: int
    device: int
    bar: int


class Waterfall:
    """A renderable for rich: `console.print(Waterfall(forest, glyphs))`."""

    def __init__(
        self,
        forest: Forest,
        glyphs: Glyphs = UNICODE,
        depth: int = 0,
        groups: bool = True,
        now: float = 0.0,
        related: Related | None = None,
    ) -> None:
        """`depth` is how many levels are drawn, 0 for all; `groups`: equal siblings become one line.

        `related`: links and log records to draw under their spans.
        """
        self._forest = forest
        self._now = now
        self._related = related or Related(forest)
        self.lines = fold(forest, depth, groups, self._related.logs)
        self._glyphs = glyphs
        self._styles = {
            name: Style(color=colour) for name, colour in layout.choose_colours(forest.services).items()
        }
        self._origins = layout.error_origins(forest)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        columns = self._measure(width)
        yield from self._heading(width)
        yield from self._axis(columns)
        for line in self.lines:
            yield from self._row(line, columns)
            row = line.row
            if row.span and row.span.span_id in self._origins:
                yield from self._below(row, f"{self._glyphs.cross} {row.span.error_line}", _ERROR, width)
            if line.count > 1:
                yield from self._below(row, f"longest {layout.format_duration(line.longest)}", _DIM, width)
            yield from self._belongings(line, width)
        for record in self._related.loose:
            yield from self._below(None, f"(no span) {log_line(record, self._forest.start)}", _DIM, width)
        for note in find_notes(self._forest, self._now):
            for number, part in enumerate(wrap(self._glyphs.text(note), max(20, width - 2))):
                yield Segment(("  " if number else "! ") + part, _DIM)
                yield Segment.line()

    def _belongings(self, line: Line, width: int) -> RenderResult:
        for text in self._related.lines(line.members, self._glyphs):
            yield from self._below(line.row, text, _DIM, width)
        for span_id in line.members:
            for record in self._related.logs.get(span_id, ()):
                style = _ERROR if record.is_error else None
                yield from self._below(line.row, log_line(record, self._forest.start), style, width)

    def _measure(self, width: int) -> _Columns:
        # At least 20, so that short names too leave room for the lines of the tree.
        names = max([20, *(2 * min(line.row.depth, 12) + cell_len(self._name(line)) for line in self.lines)])
        services = devices = 0
        if width >= 56:
            # The colour says the service, so where there is room for one of them it is the device.
            devices = max((cell_len(self._device(span)) for span in self._forest.spans), default=0)
            if width >= 110 or not devices:
                services = max(map(cell_len, map(self._glyphs.text, self._forest.services)), default=0)
        name = min(names, max(12, width * 45 // 100 if width < 110 else width * 38 // 100))
        service = min(services, 14 if width < 110 else 24)
        device = min(devices, 20 if width < 110 else 28)
        used = name + _DURATION_WIDTH + sum(column + 1 for column in (service, device) if column) + 2
        return _Columns(name, service, device, max(4, width - used))

    def _heading(self, width: int) -> RenderResult:
        forest, dot = self._forest, f" {self._glyphs.dot} "
        top = next((row for row in forest.rows if row.span), None)
        if top is None or top.span is None:
            return
        facts = [
            layout.format_time(forest.start),
            self._glyphs.text(layout.format_duration(forest.duration)),
            layout.count(len(forest.spans), "span"),
            layout.count(len(forest.services), "service"),
        ]
        yield from self._fitted([(self._glyphs.text(f"{top.span.service}: {top.span.name}"), _BOLD)], width)
        yield from self._fitted([(f"trace {top.span.trace_id}", _DIM)], width)
        parts: list[tuple[str, Style | None]] = [(dot.join(facts), None)]
        if forest.errors:
            parts += [(dot, None), (layout.count(forest.errors, "error"), _ERROR)]
        yield from self._fitted(parts, width)
        legend: list[tuple[str, Style | None]] = []
        for service, style in self._styles.items():
            legend += [(f"{self._glyphs.square} {self._glyphs.text(service)}", style), ("  ", None)]
        yield from self._fitted(legend, width)
        yield Segment.line()

    def _axis(self, columns: _Columns) -> RenderResult:
        """The time axis: 0 at its left end, the trace's duration at the right, what is between where
        it fits.
        """
        left = columns.name + sum(column + 1 for column in (columns.service, columns.device) if column)
        ticks = 4 if columns.bar >= 60 else 2 if columns.bar >= 32 else 1
        axis = [" "] * columns.bar
        for tick in range(ticks + 1):
            label = (
                self._glyphs.text(layout.format_duration(self._forest.duration * tick // ticks))
                if tick
                else "0"
            )
            end = columns.bar * tick // ticks
            begin = min(
                max(0, end - len(label)) if tick == ticks else max(0, end - len(label) // 2), columns.bar
            )
            axis[begin : begin + len(label)] = label
        yield Segment(" " * (left + _DURATION_WIDTH + 2) + "".join(axis[: columns.bar]), _DIM)
        yield Segment.line()

    def _row(self, line: Line, columns: _Columns) -> RenderResult:
        row = line.row
        span = row.span
        levels = max(0, min(row.depth, (columns.name - 10) // 2))
        guides = self._guides(row, levels)
        room = columns.name - cell_len(guides)
        yield Segment(guides, _DIM)
        if span is None:
            yield Segment(self._glyphs.fit(self._name(line), room), _ERROR)
            yield Segment.line()
            return
        style = self._styles[span.service]
        duration, end = (line.total, line.end) if line.count > 1 else (span.duration, span.end)
        yield Segment(self._glyphs.fit(self._name(line), room), _ERROR if span.is_error else None)
        if columns.service:
            yield Segment(_GAP + self._glyphs.fit(self._glyphs.text(span.service), columns.service), style)
        if columns.device:
            yield Segment(
                _GAP + self._glyphs.fit_name(self._device(span), columns.device),
                _DIM if columns.service else style,
            )
        yield Segment(
            _GAP + self._glyphs.text(layout.format_duration(duration)).rjust(_DURATION_WIDTH) + _GAP
        )
        yield from self._bar(span.start, end, columns.bar, style)
        yield Segment.line()

    def _bar(self, start: int, stop: int, width: int, style: Style) -> RenderResult:
        """Two steps to a character: half blocks at the ends. Even the shortest span is one step long."""
        glyphs, total = self._glyphs, max(1, self._forest.duration)
        begin = min((start - self._forest.start) * 2 * width // total, 2 * width - 1)
        end = min(max(begin + 1, -(-(stop - self._forest.start) * 2 * width // total)), 2 * width)
        bar = glyphs.right_half if begin % 2 else ""
        first = begin + begin % 2
        bar += glyphs.full * ((end - first) // 2)
        if end > first and (end - first) % 2:
            bar += glyphs.left_half
        before = begin // 2
        yield Segment(glyphs.track * before, _DIM)
        yield Segment(bar, style)
        yield Segment(glyphs.track * (width - before - len(bar)), _DIM)

    def _below(self, row: Row | None, text: str, style: Style | None, width: int) -> RenderResult:
        """A remark on a row, in whole, under it; without a row under all of them."""
        guides, below = "", ""
        if row is not None:
            levels = max(0, min(row.depth, (width - 40) // 2, 16))
            guides = "".join("  " if last else self._glyphs.line for last in row.last[:levels])
            below = self._glyphs.line if row.descendants else "  "
        for number, part in enumerate(wrap(self._glyphs.text(text), max(10, width - cell_len(guides) - 4))):
            yield Segment(guides + below, _DIM)
            yield Segment(("  " if number else "") + part, style)
            yield Segment.line()

    def _guides(self, row: Row, levels: int) -> str:
        if not levels:
            return ""
        parts = ["  " if last else self._glyphs.line for last in row.last[: levels - 1]]
        if levels < row.depth or len(row.last) < levels:
            # Deeper than there is room for: the number says how many levels are not drawn.
            return "".join(parts[: levels - 1]) + f"+{row.depth - levels} "
        return "".join(parts) + (self._glyphs.last if row.last[levels - 1] else self._glyphs.tee)

    def _device(self, span: Span) -> str:
        return self._glyphs.text(layout.device_of(span))

    def _name(self, line: Line) -> str:
        row = line.row
        if row.span is None:
            return f"? missing parent {row.missing_id}"
        mark = f"{self._glyphs.cross} " if row.span.is_error else ""
        if line.count > 1:
            mark = f"{line.count} {self._glyphs.times} "
        below = f" +{line.hidden}" if line.hidden else ""
        if line.failed:
            below += f" {self._glyphs.cross}{line.failed}"
        return mark + (self._glyphs.text(row.span.name) or "(no name)") + below

    def _fitted(self, parts: list[tuple[str, Style | None]], width: int) -> RenderResult:
        for text, style in parts:
            fitted = self._glyphs.fit(text, width, pad=False)
            yield Segment(fitted, style)
            width -= cell_len(fitted)
        yield Segment.line()
