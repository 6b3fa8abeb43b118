"""The list of traces in the terminal, newest first."""

from __future__ import annotations

from collections.abc import Collection

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from . import layout
from .glyphs import UNICODE, Glyphs
from .summary import TraceSummary

_DIM = Style(dim=True)
_BOLD = Style(bold=True)
_ERROR = Style(color=layout.ERROR_COLOUR, bold=True)

# Eight digits of a trace id tell traces of one folder apart, and --trace takes them.
_ID_DIGITS = 8
# The year says nothing new in a list of what is there now.
_TIME_WIDTH = 14
_NUMBERS = (("spans", 5), ("errors", 6), ("duration", 8))


class TraceList:
    """A renderable for rich: one line for each trace."""

    def __init__(self, traces: Collection[TraceSummary], glyphs: Glyphs = UNICODE) -> None:
        self._traces = traces
        self._glyphs = glyphs

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        fit = self._glyphs.fit
        room = options.max_width - _TIME_WIDTH - _ID_DIGITS - 2 - sum(width + 1 for _, width in _NUMBERS) - 1
        # Both get what they need if there is room for both, else what the other leaves, or at least their share.
        names_need = max(8, *(cell_len(self._glyphs.text(trace.name)) for trace in self._traces))
        services_need = max(8, max(cell_len(self._services(trace)) for trace in self._traces))
        services = max(8, min(services_need, max(room - names_need, room * 45 // 100)))
        name = max(8, room - services)
        heading = f"{'started':<{_TIME_WIDTH}} {'trace':<{_ID_DIGITS}} {fit('root', name)} {fit('services', services)}"
        yield Segment(heading + "".join(f" {title:>{width}}" for title, width in _NUMBERS), _BOLD)
        yield Segment.line()
        for trace in self._traces:
            yield Segment(f"{layout.format_time(trace.start)[-_TIME_WIDTH:]} ", _DIM)
            yield Segment(f"{trace.trace_id[:_ID_DIGITS]} {fit(self._glyphs.text(trace.name), name)} ")
            yield Segment(fit(self._services(trace), services), _DIM)
            yield Segment(f" {trace.spans:>{_NUMBERS[0][1]}}")
            yield Segment(f" {trace.errors or '':>{_NUMBERS[1][1]}}", _ERROR)
            duration = self._glyphs.text(layout.format_duration(trace.duration))
            yield Segment(f" {duration:>{_NUMBERS[2][1]}}")
            yield Segment.line()

    def _services(self, trace: TraceSummary) -> str:
        return self._glyphs.text(", ".join(trace.services))
