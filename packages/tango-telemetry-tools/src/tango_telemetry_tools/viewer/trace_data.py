"""One trace as the data that the page's script draws: rows from the top down, times as nanoseconds since the
first start.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from . import layout
from .model import Attributes, Span
from .notes import find_notes
from .tree import Forest, Row

# JavaScript's numbers hold integers up to here.
_MAX_EXACT = (1 << 53) - 1


def as_data(forest: Forest) -> dict[str, Any]:
    """Give what TraceView.mount takes."""
    index = {service: number for number, service in enumerate(forest.services)}
    colours = layout.choose_colours(index)
    spans = Counter(span.service for span in forest.spans)
    resources: dict[int, int] = {}
    distinct: list[Attributes] = []
    rows = []
    for row in forest.rows:
        if row.span is not None and id(row.span.resource) not in resources:
            resources[id(row.span.resource)] = len(distinct)
            distinct.append(row.span.resource.attributes)
        rows.append(_row(row, forest, index, resources))
    facts: list[tuple[str, str, bool]] = [
        ("Started", layout.format_time(forest.start), False),
        ("Duration", layout.format_duration(forest.duration), False),
        ("Spans", str(len(forest.spans)), False),
        ("Depth", str(forest.depth), False),
        ("Errors", str(forest.errors), bool(forest.errors)),
    ]
    return {
        "trace": forest.spans[0].trace_id if forest.spans else "",
        "duration": forest.duration,
        "facts": facts,
        "notes": find_notes(forest),
        "services": [
            {"name": layout.clean(name), "colour": colours[name], "spans": spans[name]} for name in index
        ],
        "resources": [_pairs(attributes) for attributes in distinct],
        "depths": [min(forest.depth, 24)],
        "rows": rows,
    }


def _row(row: Row, forest: Forest, index: dict[str, int], resources: dict[int, int]) -> dict[str, Any]:
    span = row.span
    if span is None:
        return {
            "d": row.depth,
            "n": row.descendants,
            "missing": layout.clean(row.missing_id),
            "s": 0,
            "t": 0,
            "attrs": [],
        }
    data: dict[str, Any] = {
        "d": row.depth,
        "n": row.descendants,
        "id": span.span_id,
        "name": layout.clean(span.name),
        "svc": index[span.service],
        "dev": layout.clean(layout.device_of(span)),
        "kind": span.kind,
        "s": span.start - forest.start,
        "t": span.duration,
        "res": resources[id(span.resource)],
        "attrs": _pairs(span.attributes),
    }
    if span.is_error:
        data |= {"err": True, "why": layout.clean(span.error_line), "text": _safe(_whole_reason(span))}
    optional = {"parent": span.parent_id, "scope": _safe(span.scope), "state": _safe(span.trace_state)}
    data |= {name: value for name, value in optional.items() if value}
    if span.events:
        data["events"] = [
            {
                "name": _safe(event.name),
                "at": max(0, event.time - span.start),
                "attrs": _pairs(event.attributes),
            }
            for event in span.events
        ]
    if span.links:
        data["links"] = [
            {"trace": link.trace_id, "span": link.span_id, "attrs": _pairs(link.attributes)}
            for link in span.links
        ]
    return data


def _whole_reason(span: Span) -> str:
    return span.status_message.strip() or span.error_line


def _pairs(attributes: Attributes) -> list[tuple[str, Any]]:
    return [(_safe(key), _safe(value)) for key, value in attributes]


def _safe(value: Any) -> Any:
    """Give what every JSON reader takes: no NaN, no lone surrogates, no integer that would change."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) <= _MAX_EXACT else str(value)
    if isinstance(value, tuple | list):
        return [_safe(item) for item in value]
    if isinstance(value, dict):
        return {str(_safe(key)): _safe(item) for key, item in value.items()}
    return value
