"""All that spans carry, as text: `tango-telemetry show --trace ID -v`."""

from __future__ import annotations

import json

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from . import layout
from .fold import Line
from .glyphs import Glyphs, wrap
from .model import Attributes, AttributeValue, Span
from .related import Related, about, log_line, phrase
from .tree import Forest

_BOLD = Style(bold=True)
_DIM = Style(dim=True)
_ERROR = Style(color=layout.ERROR_COLOUR, bold=True)


class Details:
    """A renderable for rich: attributes, events, links and whole error texts of each span."""

    def __init__(
        self, forest: Forest, lines: list[Line], glyphs: Glyphs, related: Related | None = None
    ) -> None:
        self._forest = forest
        self._related = related or Related(forest)
        self._lines = lines
        self._glyphs = glyphs

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._lines:
            if line.row.span is not None:
                yield from self._span(line.row.span, options.max_width)

    def _span(self, span: Span, width: int) -> RenderResult:
        at = layout.format_duration(span.start - self._forest.start)
        device = layout.device_of(span)
        title = f"{span.name}  {span.service}{f'  {device}' if device else ''}"
        yield Segment.line()
        yield from self._text(title, width, 0, _ERROR if span.is_error else _BOLD)
        yield from self._text(
            f"+{at}, {layout.format_duration(span.duration)}, {span.kind}, span {span.span_id}"
            + (f", parent {span.parent_id}" if span.parent_id else "")
            + (f", scope {span.scope}" if span.scope else ""),
            width,
            2,
            _DIM,
        )
        for part in span.status_message.splitlines() if span.is_error else ():
            yield from self._text(f"{self._glyphs.cross} {part}", width, 2, _ERROR)
        yield from self._pairs(span.attributes, width, 2)
        for event in span.events:
            moment = layout.format_duration(max(0, event.time - span.start))
            yield from self._text(f"event {event.name} at +{moment}", width, 2)
            yield from self._pairs(event.attributes, width, 4)
        found = self._related.relations.get(span.span_id, ())
        names = {(item.trace, item.other): item for item in found if item.forwards}
        for link in span.links:
            relation = names.get((link.trace_id, link.span_id))
            text = f"{phrase(relation)} {about(relation)}," if relation else "link to"
            yield from self._text(f"{text} trace {link.trace_id} span {link.span_id}", width, 2)
            yield from self._pairs(link.attributes, width, 4)
        for relation in found:
            if not relation.forwards:
                text = f"{phrase(relation)} {about(relation)}, trace {relation.trace} span {relation.other}"
                yield from self._text(text, width, 2)
        for record in self._related.logs.get(span.span_id, ()):
            style = _ERROR if record.is_error else None
            yield from self._text(f"log {log_line(record, self._forest.start)}", width, 2, style)
            yield from self._pairs(record.attributes, width, 4)

    def _pairs(self, pairs: Attributes, width: int, indent: int) -> RenderResult:
        for key, value in pairs:
            first, *rest = _plain(value).splitlines() or [""]
            yield from self._text(f"{key} = {first}", width, indent)
            for part in rest:
                yield from self._text(part, width, indent + 4)

    def _text(self, text: str, width: int, indent: int, style: Style | None = None) -> RenderResult:
        for number, part in enumerate(wrap(self._glyphs.text(text), max(20, width - indent - 2))):
            yield Segment(" " * (indent + (2 if number else 0)) + part, style)
            yield Segment.line()


def _plain(value: AttributeValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
