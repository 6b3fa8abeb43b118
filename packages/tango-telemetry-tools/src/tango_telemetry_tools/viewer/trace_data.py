"""One trace as the data that the page's script draws: rows from the top down, times as nanoseconds since the
first start.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from . import layout
from .model import Attributes, LogRecord, Relation, Span
from .notes import find_notes
from .related import Related, about, phrase
from .tree import Forest, Row

if TYPE_CHECKING:
    from ..store.signals import Metric

# JavaScript's numbers hold integers up to here.
_MAX_EXACT = (1 << 53) - 1
# A page of thousands of records must stay one that a browser opens.
_MAX_TEXT = 10_000


def as_data(
    forest: Forest, relations: Iterable[Relation] | None = None, logs: Sequence[LogRecord] = ()
) -> dict[str, Any]:
    """Return what TraceView.mount takes: the spans, and the links and log records that belong to them."""
    related = Related(forest, relations, logs)
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
        rows.append(_row(row, forest, index, resources, related))
    facts: list[tuple[str, str, bool]] = [
        ("Started", layout.format_time(forest.start), False),
        ("Duration", layout.format_duration(forest.duration), False),
        ("Spans", str(len(forest.spans)), False),
        ("Depth", str(forest.depth), False),
        ("Failed spans", str(forest.errors), bool(forest.errors)),
    ]
    if logs:
        bad = sum(record.is_error for record in logs)
        facts.append(("Logs", str(len(logs)) + (f", {layout.count(bad, 'error')}" if bad else ""), bool(bad)))
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
        "loose": [_log(record, forest.start) for record in related.loose],
    }


def _row(
    row: Row, forest: Forest, index: dict[str, int], resources: dict[int, int], related: Related
) -> dict[str, Any]:
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
        data |= {"err": True, "why": layout.clean(span.error_line), "text": json_safe(_whole_reason(span))}
    optional = {
        "parent": span.parent_id,
        "scope": json_safe(span.scope),
        "state": json_safe(span.trace_state),
    }
    data |= {name: value for name, value in optional.items() if value}
    if span.events:
        data["events"] = [
            {
                "name": json_safe(event.name),
                "at": max(0, event.time - span.start),
                "attrs": _pairs(event.attributes),
            }
            for event in span.events
        ]
    found = related.relations.get(span.span_id, ())
    if span.links:
        names = {(item.trace, item.other): item for item in found if item.forwards}
        data["links"] = [
            {
                "trace": link.trace_id,
                "span": link.span_id,
                "attrs": _pairs(link.attributes),
                **_other(names.get((link.trace_id, link.span_id))),
            }
            for link in span.links
        ]
    backwards = [
        {"trace": item.trace, "span": item.other, **_other(item)} for item in found if not item.forwards
    ]
    if backwards:
        data["from"] = backwards
    if span.span_id in related.logs:
        data["logs"] = [_log(record, forest.start) for record in related.logs[span.span_id]]
    return data


def _other(relation: Relation | None) -> dict[str, Any]:
    if relation is None:
        return {"word": "linked to"}
    return {"word": phrase(relation), "name": layout.clean(about(relation)) if relation.name else ""}


def _log(record: LogRecord, start: int) -> dict[str, Any]:
    text = json_safe(record.text)
    return {
        "at": record.time - start,
        "bad": record.is_error,
        "level": layout.clean(record.word),
        "text": text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…",
        "scope": json_safe(record.scope),
        "attrs": _pairs(record.attributes),
    }


def log_as_data(record: LogRecord) -> dict[str, Any]:
    """Return a line of the list of logs. The time is in milliseconds since 1970."""
    from ..store.records import device_of

    return {
        **_log(record, 0),
        "at": record.time / 1e6,
        "trace": record.trace_id,
        "span": record.span_id,
        "device": layout.clean(device_of(record)),
        "service": layout.clean(record.resource.service),
    }


def metric_as_data(metric: Metric) -> dict[str, Any]:
    """Return a line of the table of metrics."""
    data: dict[str, Any] = json_safe(asdict(metric))
    return data


def _whole_reason(span: Span) -> str:
    return span.status_message.strip() or span.error_line


def _pairs(attributes: Attributes) -> list[tuple[str, Any]]:
    return [(json_safe(key), json_safe(value)) for key, value in attributes]


def json_safe(value: Any) -> Any:
    """Return what every JSON reader takes: no NaN, no lone surrogates, no integer that would change."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) <= _MAX_EXACT else str(value)
    if isinstance(value, tuple | list):
        return [json_safe(item) for item in value]
    if isinstance(value, dict):
        return {str(json_safe(key)): json_safe(item) for key, item in value.items()}
    return value
