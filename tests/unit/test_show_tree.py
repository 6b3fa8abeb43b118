"""Spans to a forest: order, holes, rings, depth; the summary of many traces; the check of the demo's own
trace.
"""

from __future__ import annotations

import pytest
from tango_telemetry_tools.demo.check import find_faults
from tango_telemetry_tools.viewer.model import Event, Resource, Span
from tango_telemetry_tools.viewer.tree import MAX_GUIDES, Forest, build_forest


def make(
    span_id: str, parent_id: str = "", start: int = 0, end: int = 10, service: str = "s", **fields: object
) -> Span:
    trace_id = str(fields.pop("trace_id", "t"))
    resource = Resource(service, "")
    return Span(trace_id, span_id, parent_id, f"name {span_id}", "internal", start, end, resource, **fields)  # type: ignore[arg-type]


def outline(forest: Forest) -> list[str]:
    return [
        ". " * row.depth + (row.span.span_id if row.span else f"missing {row.missing_id}")
        for row in forest.rows
    ]


def test_children_follow_their_parent_in_the_order_of_their_start() -> None:
    forest = build_forest(
        [make("c", "a", 5), make("b", "a", 1), make("d", "b", 2), make("a"), make("e", "c", 6)]
    )
    assert outline(forest) == ["a", ". b", ". . d", ". c", ". . e"]
    assert [row.last for row in forest.rows] == [(), (False,), (False, True), (True,), (True, True)]
    assert [row.descendants for row in forest.rows] == [4, 1, 0, 1, 0]
    assert [span.span_id for span in forest.roots] == ["a"]
    assert (forest.orphans, forest.loops, forest.depth) == ((), (), 3)


def test_a_span_that_comes_twice_is_shown_once() -> None:
    forest = build_forest([make("a"), make("b", "a"), make("b", "a"), make("a")])
    assert outline(forest) == ["a", ". b"]


def test_orphans_hang_under_the_parent_that_is_missing() -> None:
    forest = build_forest(
        [make("a", start=1), make("b", "x", 2), make("c", "x", 3), make("d", "y", 0), make("e", "b", 4)]
    )
    assert outline(forest) == ["missing y", ". d", "a", "missing x", ". b", ". . e", ". c"]
    assert [span.span_id for span in forest.orphans] == ["d", "b", "c"]
    assert forest.rows[3].descendants == 3


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([make("a", "a")], ["a"]),
        ([make("a", "b", 1), make("b", "a", 2)], ["a", ". b"]),
        (
            [make("r"), make("a", "c", 1), make("b", "a", 2), make("c", "b", 3), make("d", "c", 4)],
            ["r", "a", ". b", ". . c", ". . . d"],
        ),
    ],
    ids=["own-parent", "pair", "ring-with-tail"],
)
def test_rings_are_shown_and_end(spans: list[Span], expected: list[str]) -> None:
    forest = build_forest(spans)
    assert outline(forest) == expected
    assert [span.span_id for span in forest.loops] == ["a"]


def test_a_chain_of_ten_thousand_levels() -> None:
    forest = build_forest(make(str(level), str(level - 1) if level else "", level) for level in range(10_000))
    assert [row.depth for row in forest.rows] == list(range(10_000))
    assert forest.rows[0].descendants == 9_999
    assert max(len(row.last) for row in forest.rows) == MAX_GUIDES


def test_an_empty_forest_has_no_extent() -> None:
    forest = build_forest([])
    assert (forest.rows, forest.start, forest.end, forest.duration, forest.services, forest.depth) == (
        (),
        0,
        0,
        0,
        (),
        0,
    )


def test_services_in_the_order_of_the_picture() -> None:
    forest = build_forest(
        [make("b", "a", 1, service="two"), make("a", service="one"), make("c", "b", 2, service="one")]
    )
    assert forest.services == ("one", "two")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ""),
        ({"is_error": True}, "error"),
        ({"is_error": True, "status_message": "  why\nand more"}, "why"),
        ({"is_error": True, "attributes": (("error.type", "API_Timeout"),)}, "API_Timeout"),
        (
            {
                "is_error": True,
                "events": (Event(0, "exception", (("exception.type", "E"), ("exception.message", "m\nn"))),),
            },
            "E: m",
        ),
        ({"status_message": "fine"}, ""),
    ],
)
def test_the_reason_of_an_error_is_one_line(fields: dict[str, object], expected: str) -> None:
    assert make("a", **fields).error_line == expected


def test_faults() -> None:
    whole = build_forest([make("a", service="app"), make("b", "a", service="dev")])
    assert find_faults(whole, ["app", "dev"]) == []
    broken = build_forest([make("a"), make("r"), make("b", "x"), make("l", "l")])
    assert find_faults(broken, ["s", "app"]) == [
        "one root was expected, there are 2: name a, name r",
        "the parent is missing of 1 span: name b",
        "1 ring of spans that are their own ancestors",
        "no span of app",
    ]
    assert find_faults(build_forest([]), ["app"]) == ["the trace has no spans"]
