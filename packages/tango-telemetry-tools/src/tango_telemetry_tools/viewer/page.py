"""One trace as one self-contained HTML page: a trace viewer that works offline.

Nothing is loaded from elsewhere, and the page's content security policy says so to the browser. Names in a trace are
other people's: the rows are escaped here, the details travel as JSON and become text nodes in the browser, and only
the one script whose hash the policy names may run, so that even an escape forgotten here could not execute anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections import Counter
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from . import layout
from .model import Attributes, Span
from .tree import Forest, Row

_TICKS = 4


def write_page(path: Path, forest: Forest) -> None:
    """Write the page, all of it or nothing. Raises OSError."""
    page = render_page(forest)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(page)
        # mkstemp makes a file for its owner alone; a page is for showing, as the user's umask allows.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def render_page(forest: Forest) -> str:
    """Give the page as text."""
    assets = files(__package__).joinpath("assets")
    script = assets.joinpath("page.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    index = {service: number for number, service in enumerate(forest.services)}
    root = next((row.span for row in forest.rows if row.span), None)
    name = layout.clean(root.name) if root else "empty trace"
    service = layout.clean(root.service) if root else ""
    return Template(assets.joinpath("page.html").read_text("utf-8")).substitute(
        script_hash=f"sha256-{digest}",
        title=escape(f"{service}: {name}"),
        style=assets.joinpath("page.css").read_text("utf-8"),
        colours="\n".join(
            f".s{index[service]} {{ --c: {colour}; }}"
            for service, colour in layout.choose_colours(index).items()
        ),
        root_colour=index[root.service] if root else 0,
        root_service=escape(service),
        root_name=escape(name),
        trace_id=root.trace_id if root else "",
        facts=_facts(forest),
        legend=_legend(forest, index),
        errors_hidden="" if forest.errors else " hidden",
        ticks="".join(_tick(forest, number) for number in range(_TICKS + 1)),
        rows="\n".join(_row(row, forest, index) for row in forest.rows),
        details=_json(_details(forest)),
        script=script,
    )


def _facts(forest: Forest) -> str:
    facts = [
        ("Started", layout.format_time(forest.start), ""),
        ("Duration", layout.format_duration(forest.duration), ""),
        ("Services", str(len(forest.services)), ""),
        ("Depth", str(forest.depth), ""),
        ("Spans", str(len(forest.spans)), ""),
        ("Errors", str(forest.errors), "bad" if forest.errors else ""),
    ]
    if forest.orphans:
        facts.append(("Without their parent", str(len(forest.orphans)), "bad"))
    return "".join(
        f'<div class="{kind}"><dt>{name}</dt><dd>{escape(text)}</dd></div>' for name, text, kind in facts
    )


def _legend(forest: Forest, index: dict[str, int]) -> str:
    spans = Counter(span.service for span in forest.spans)
    return "".join(
        f'<span class="s{number}"><i></i>{escape(layout.clean(service))} <em>{spans[service]}</em></span>'
        for service, number in index.items()
    )


def _tick(forest: Forest, number: int) -> str:
    text = layout.format_duration(forest.duration * number // _TICKS) if number else "0"
    return f'<span style="--l:{100 * number / _TICKS:g}%">{escape(text)}</span>'


def _row(row: Row, forest: Forest, index: dict[str, int]) -> str:
    caret = '<button class="caret" type="button" tabindex="-1" aria-label="Collapse"></button>'
    caret = caret if row.descendants else '<span class="caret leaf"></span>'
    hidden = f'<span class="hidden-count">{row.descendants}</span>' if row.descendants else ""
    expanded = ' aria-expanded="true"' if row.descendants else ""
    guides = f'<span class="guides" style="--d:{min(row.depth, 40)}"></span>' if row.depth else ""
    start = f'role="treeitem" tabindex="0" aria-level="{row.depth + 1}"{expanded}'
    span = row.span
    if span is None:
        name = f"missing parent {escape(layout.clean(row.missing_id))}"
        tree = f'<div class="tree">{guides}{caret}<span class="name">{name}</span>{hidden}</div>'
        return f'<div class="row missing" {start}>{tree}<div class="time"></div></div>'
    total = max(1, forest.duration)
    left = 100 * (span.start - forest.start) / total
    width = min(100 * span.duration / total, 100 - left)
    label = "right" if left + width < 82 else "left" if left > 18 else "inside"
    device = escape(layout.clean(layout.device_of(span)))
    service = escape(layout.clean(span.service))
    name = escape(layout.clean(span.name)) or "(no name)"
    who = f"{service} &middot; {device}" if device else service
    return (
        f'<div class="row {label} s{index[span.service]}{" err" if span.is_error else ""}" {start}'
        f' style="--l:{left:.3f}%;--w:{width:.3f}%"><div class="tree">{guides}{caret}<span class="mark"></span>'
        f'<span class="name" title="{name}">{name}</span>{hidden}<span class="who">{who}</span></div>'
        f'<div class="time"><span class="bar"></span>'
        f'<span class="dur">{escape(layout.format_duration(span.duration))}</span></div></div>'
    )


def _details(forest: Forest) -> dict[str, Any]:
    """What a click on a row opens. Resources stand once each: they are most of what a span carries."""
    resources: dict[int, int] = {}
    distinct: list[Attributes] = []
    spans: list[dict[str, Any] | None] = []
    for row in forest.rows:
        if row.span is None:
            spans.append(None)
            continue
        number = resources.setdefault(id(row.span.resource), len(distinct))
        if number == len(distinct):
            distinct.append(row.span.resource.attributes)
        spans.append({**_detail(row.span, forest), "resource": number})
    return {"spans": spans, "resources": [_pairs(attributes) for attributes in distinct]}


def _detail(span: Span, forest: Forest) -> dict[str, Any]:
    facts = [
        ("service", span.service),
        ("kind", span.kind),
        ("start", f"+{layout.format_duration(span.start - forest.start)}"),
        ("duration", layout.format_duration(span.duration)),
        ("span id", span.span_id),
        ("parent id", span.parent_id),
        ("scope", span.scope),
        ("trace state", span.trace_state),
    ]
    return {
        "error": span.status_message or span.error_line if span.is_error else "",
        "attributes": _pairs(span.attributes),
        "span": [fact for fact in facts if fact[1]],
        "events": [
            {
                "title": f"Event: {event.name} at +{layout.format_duration(max(0, event.time - span.start))}",
                "attributes": _pairs(event.attributes),
            }
            for event in span.events
        ],
        "links": [
            {
                "title": "Link",
                "attributes": [
                    ("trace id", link.trace_id),
                    ("span id", link.span_id),
                    *_pairs(link.attributes),
                ],
            }
            for link in span.links
        ],
    }


def _pairs(attributes: Attributes) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in attributes]


def _json(value: object) -> str:
    """JSON that can stand in a script element: no "<" can end the element or open a comment."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
