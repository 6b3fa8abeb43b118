"""The Leader and its Followers over every exporter and with both tracer providers: always the same forest,
exactly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from receiver import ReceivedSpan, Receiver
from tango_telemetry_tools.viewer.tree import build_forest
from test_demo import EXPECTED, assert_nothing_left, create_place, find_trace_id, load, needs_database

pytestmark = needs_database
Row = tuple[int, str, str, str]


def expected_rows() -> list[Row]:
    lines = [line for line in EXPECTED.splitlines() if line]
    parts = [(line, re.split(r"  +", line.strip())) for line in lines]
    return [((len(line) - len(line.lstrip())) // 2, *fields) for line, fields in parts]  # type: ignore[misc]


def received_rows(spans: Sequence[ReceivedSpan], trace_id: str) -> list[Row]:
    """Depth, name, kind and service of every span of a trace, in the order of a waterfall."""
    own = sorted((span for span in spans if span.trace_id == trace_id), key=lambda span: span.start_ns)
    ids = {span.span_id for span in own}
    rows: list[Row] = []

    def walk(parent_id: str, depth: int) -> None:
        for span in own:
            if (span.parent_span_id if span.parent_span_id in ids else "") == parent_id:
                rows.append((depth, span.name, span.kind.lower(), span.service))
                walk(span.span_id, depth + 1)

    walk("", 0)
    assert len(rows) == len(own)
    return rows


@pytest.mark.parametrize("native", ["on", "off"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_collector_gets_the_whole_trace(protocol: str, native: str, tmp_path: Path) -> None:
    place = create_place(tmp_path)
    with Receiver(protocol) as receiver:
        result = place.run(
            "--exporter", protocol, "--endpoint", receiver.endpoint, PYTANGO_TELEMETRY_NATIVE_SPANS=native
        )
        assert result.returncode == 0, result.stdout + result.stderr
        wanted = expected_rows()
        trace_id = find_trace_id(result.stdout)
        assert received_rows(receiver.spans, trace_id) == wanted
    assert_nothing_left(place, result.stdout)


def test_files_hold_the_same_from_the_sdk(tmp_path: Path) -> None:
    """``test_demo`` reads what the provider in C++ has written; this is OpenTelemetry's own."""
    place = create_place(tmp_path)
    result = place.run("--endpoint", str(tmp_path / "spans"), PYTANGO_TELEMETRY_NATIVE_SPANS="off")
    assert result.returncode == 0, result.stdout + result.stderr
    forest = build_forest(load(tmp_path / "spans", find_trace_id(result.stdout)))
    rows = [(row.depth, row.span.name, row.span.kind, row.span.service) for row in forest.rows if row.span]
    assert rows == expected_rows()
