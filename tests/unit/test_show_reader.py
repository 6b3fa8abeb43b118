"""Files to spans: the official exporter's lines, other writers' spellings, and everything that can be wrong
with a file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tango_telemetry_tools.viewer import reader
from tango_telemetry_tools.viewer.model import Event, Link, Span
from tango_telemetry_tools.viewer.reader import MAX_PROBLEMS_PER_FILE, Problems, find_files, read_spans

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def line(*spans: dict[str, Any], service: str = "Leader") -> str:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return (
        json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}) + "\n"
    )


def span(**changes: Any) -> dict[str, Any]:
    times = {"startTimeUnixNano": "1000", "endTimeUnixNano": "3000"}
    return {"traceId": TRACE, "spanId": SPAN, "name": "ping", **times, **changes}


def read(*places: Path) -> tuple[list[Span], list[str]]:
    problems = Problems()
    spans = list(read_spans(find_files(places, problems), problems))
    return spans, [str(problem) for problem in problems.found]


def read_text(folder: Path, text: str | bytes) -> tuple[list[Span], list[str]]:
    path = folder / "a.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    spans, problems = read(path)
    return spans, [problem.replace(str(path), "a.jsonl") for problem in problems]


def test_what_the_official_exporter_writes(tmp_path: Path) -> None:
    trace_exporter = pytest.importorskip("opentelemetry.exporter.otlp.json.file.trace_exporter")
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.trace import SpanKind, Status, StatusCode

    provider = TracerProvider(
        resource=Resource({"service.name": "Leader", "service.instance.id": "demo/leader/1"})
    )
    provider.add_span_processor(SimpleSpanProcessor(trace_exporter.FileSpanExporter(tmp_path / "real.jsonl")))
    tracer = provider.get_tracer("scope")
    attributes = {"text": "é<", "number": 7, "real": 0.5, "yes": True, "list": ["a", "b"]}
    with (
        tracer.start_as_current_span("outer", attributes=attributes) as outer,
        tracer.start_as_current_span("inner", kind=SpanKind.CLIENT) as inner,
    ):
        inner.set_status(Status(StatusCode.ERROR, "API_DeviceTimedOut: too slow"))
        inner.add_event("exception", {"exception.type": "DevFailed"}, timestamp=5)
        inner.add_link(outer.get_span_context(), {"why": "test"})
    provider.shutdown()

    (first, second), problems = read(tmp_path)

    assert problems == []
    assert (first.name, first.kind, first.parent_id) == ("inner", "client", second.span_id)
    assert (first.is_error, first.error_line) == (True, "API_DeviceTimedOut: too slow")
    assert first.events == (Event(5, "exception", (("exception.type", "DevFailed"),)),)
    assert first.links == (Link(second.trace_id, second.span_id, (("why", "test"),)),)
    assert (second.name, second.kind, second.parent_id, second.is_error) == ("outer", "internal", "", False)
    assert dict(second.attributes) == {**attributes, "list": ("a", "b")}
    assert (second.service, second.resource.instance, second.scope) == ("Leader", "demo/leader/1", "scope")
    assert second.trace_id == f"{outer.get_span_context().trace_id:032x}"
    assert second.duration == outer.end_time - outer.start_time  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "changes",
    [
        {"traceId": TRACE.upper(), "spanId": SPAN.upper()},
        {"traceId": "S/kvNXezTaajzpKdDg5HNg==", "spanId": "APBnqgupArc="},
        {"startTimeUnixNano": 1000, "endTimeUnixNano": 3000},
        {"parentSpanId": ""},
        {"parentSpanId": "0000000000000000"},
        {"kind": "SPAN_KIND_INTERNAL"},
        {"attributes": [], "events": None, "status": {}},
    ],
    ids=["upper-case", "base64", "numbers", "empty-parent", "zero-parent", "enum-name", "empty-fields"],
)
def test_other_spellings_mean_the_same(tmp_path: Path, changes: dict[str, Any]) -> None:
    spans, problems = read_text(tmp_path, line(span(**changes)))
    (expected,), _ = read_text(tmp_path, line(span()))
    assert (spans, problems) == ([expected], [])


def test_bad_lines_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    text = (
        line(span(name="first"))
        + '{"resourceSpans": [\n'
        + "[1, 2]\n"
        + '{"level": "info", "message": "hello"}\n'
        + "\n"
        + '{"resourceLogs": []}\n'
        + line(span(name="last"))
        + line(span())[:40]
    )
    spans, problems = read_text(tmp_path, text)
    assert [found.name for found in spans] == ["first", "last"]
    assert problems == [
        "a.jsonl:2: not JSON: Expecting value (column 20)",
        "a.jsonl:3: JSON, but not OTLP: an object was expected, found [1, 2]",
        'a.jsonl:4: JSON, but not OTLP: there is no "resourceSpans", "resourceLogs" or "resourceMetrics"',
        "a.jsonl:8: the last line is cut off (is it still being written?): not JSON: Unterminated string "
        "starting at (column 34)",
    ]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ({"traceId": "xyz"}, "no valid traceId: 'xyz'"),
        ({"traceId": None}, "no valid traceId: nothing"),
        ({"spanId": 12}, "no valid spanId: 12"),
        ({"parentSpanId": [1]}, "no valid parentSpanId: [1]"),
        ({"startTimeUnixNano": "soon"}, "startTimeUnixNano is not an integer: 'soon'"),
        ({"startTimeUnixNano": -1}, "startTimeUnixNano is out of range: -1"),
        ({"endTimeUnixNano": str(1 << 64)}, "endTimeUnixNano is out of range: 18446744073709551616"),
        ({"attributes": {"a": 1}}, "\"attributes\" is not a list but {'a': 1}"),
        ({"attributes": ["a"]}, "\"attribute\" is not an object but 'a'"),
        ({"events": [3]}, '"event" is not an object but 3'),
        ({"status": "ok"}, "\"status\" is not an object but 'ok'"),
        (
            {"attributes": [{"key": "n", "value": {"intValue": "9" * 5000}}]},
            "intValue is not an integer: '" + "9" * 36 + "...",
        ),
    ],
)
def test_a_bad_span_does_not_take_its_neighbours_along(
    tmp_path: Path, bad: dict[str, Any], problem: str
) -> None:
    spans, problems = read_text(tmp_path, line(span(name="a"), span(**bad), span(name="b")))
    assert [found.name for found in spans] == ["a", "b"]
    assert problems == [f"a.jsonl:1: {problem}"]


@pytest.mark.parametrize("document", ['{"resourceSpans": 5}', '{"resourceSpans": [5]}', '{"resourceSpans": [{"resource": 5}]}',  # noqa: E501
    '{"resourceSpans": [{"scopeSpans": 5}]}', '{"resourceSpans": [{"scopeSpans": [5]}]}',
    '{"resourceSpans": [{"scopeSpans": [{"spans": 5}]}]}', '{"resourceSpans": [{"scopeSpans": [{"spans": [5]}]}]}'])  # fmt: skip  # noqa: E501
def test_wrong_shapes_at_every_level(tmp_path: Path, document: str) -> None:
    spans, problems = read_text(tmp_path, document + "\n" + line(span()))
    assert len(spans) == 1
    assert len(problems) == 1
    assert problems[0].startswith("a.jsonl:1: ")
    assert problems[0].endswith(" but 5")


def test_deep_nesting_is_a_problem_of_its_line(tmp_path: Path) -> None:
    spans, problems = read_text(tmp_path, "[" * 200_000 + "\n" + line(span()))
    assert len(spans) == 1
    assert problems == ["a.jsonl:1: not JSON: nested too deeply"]


def test_binary_is_said_a_few_times_only(tmp_path: Path) -> None:
    spans, problems = read_text(tmp_path, b"\x89PNG\xff\xfe\n" * 1000 + line(span()).encode())
    assert len(spans) == 1
    assert problems == [
        *(
            f"a.jsonl:{number}: not text: OTLP JSON is UTF-8"
            for number in range(1, MAX_PROBLEMS_PER_FILE + 1)
        ),
        "a.jsonl: more such lines, not listed",
    ]


def test_a_huge_line_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_LINE_BYTES", 1 << 20)
    spans, problems = read_text(tmp_path, "{" + "x" * (3 << 20) + "\n" + line(span()))
    assert len(spans) == 1
    assert problems == ["a.jsonl:1: longer than 1 MB: skipped"]


def test_a_second_pass_reports_nothing_again(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("x\n" * 9)
    reported: list[str] = []
    problems = Problems(report=lambda problem: reported.append(str(problem)))
    for _ in range(2):
        assert list(read_spans(find_files([tmp_path], problems), problems)) == []
    assert len(reported) == MAX_PROBLEMS_PER_FILE + 1


def test_places(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.json", "c.jsonl.1", "notes.txt"):
        (tmp_path / name).write_text(line(span()))
    (tmp_path / "sub.json").mkdir()
    empty = tmp_path / "empty"
    empty.mkdir()
    problems = Problems()
    found = find_files(
        [tmp_path, tmp_path / "b.jsonl", tmp_path / "notes.txt", empty, tmp_path / "no", Path(os.devnull)],
        problems,
    )
    assert [path.name for path in found] == ["a.json", "b.jsonl", "c.jsonl.1", "notes.txt"]
    assert [str(problem) for problem in problems.found] == [
        f"{empty}: no *.jsonl or *.json file in this folder",
        f"{tmp_path / 'no'}: No such file or directory",
        f"{os.devnull}: neither a file nor a folder",
    ]


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_text(line(span()))
    (tmp_path / "b.jsonl").write_text(line(span()))
    real_open = Path.open

    def open_or_refuse(self: Path, *arguments: Any, **options: Any) -> Any:
        # Tests may run as root, to whom every file opens.
        if self.name == "a.jsonl":
            raise PermissionError(13, "Permission denied", str(self))
        return real_open(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_or_refuse)
    spans, problems = read(tmp_path)
    assert len(spans) == 1
    assert problems == [f"{tmp_path / 'a.jsonl'}: Permission denied"]
