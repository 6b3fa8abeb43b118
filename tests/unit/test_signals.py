"""Logs, metrics and links, from OTLP in files to the terminal: under their spans, and found from both
ends.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tango_telemetry_tools.__main__ import main
from tango_telemetry_tools.store.criteria import Criteria
from tango_telemetry_tools.store.database import Store
from tango_telemetry_tools.store.feed import Feeder
from tango_telemetry_tools.store.queries import device_map, top
from tango_telemetry_tools.store.signals import find_logs, logs_of_trace, metrics, quantile, relations
from tango_telemetry_tools.viewer.model import LogRecord, Point, Relation
from tango_telemetry_tools.viewer.otlp import parse_request
from tango_telemetry_tools.viewer.otlp_values import MalformedError
from tango_telemetry_tools.viewer.reader import Problems
from tango_telemetry_tools.viewer.trace_data import as_data
from tango_telemetry_tools.viewer.tree import build_forest
from trace_files import MS, SECOND, append, attributes, call, line, log, log_line, metric_line, span

NOW = 1_760_000_000 * SECOND
EVIL = "\x1b[2J\u202e</script><b>"


def fill(folder: Path, **files: str | tuple[str, ...]) -> Store:
    for name, texts in files.items():
        append(folder / f"{name}.jsonl", *([texts] if isinstance(texts, str) else texts))
    store = Store()
    problems = Problems()
    Feeder(store, [folder], problems).poll()
    assert problems.found == []
    return store


def run(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    return status, out.getvalue(), err.getvalue()


# -- logs --


def test_logs_that_the_sdk_writes(tmp_path: Path) -> None:
    module = pytest.importorskip("opentelemetry.exporter.otlp.json.file._log_exporter")
    from opentelemetry._logs import LogRecord as Record
    from opentelemetry._logs import SeverityNumber
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    provider = LoggerProvider(Resource({"service.name": "Motor", "service.instance.id": "lab/motor/1"}))
    provider.add_log_record_processor(
        SimpleLogRecordProcessor(module.FileLogExporter(tmp_path / "service-1-logs-1.jsonl"))
    )
    with TracerProvider().get_tracer("t").start_as_current_span("Motor.Move") as current:
        context = current.get_span_context()
        provider.get_logger("motor").emit(
            Record(
                timestamp=NOW,
                severity_number=SeverityNumber.ERROR,
                severity_text="ERROR",
                body={"axis": 1, "text": "é"},
                attributes={"code.line.number": 7},
            )
        )
    provider.shutdown()
    store = fill(tmp_path)
    (record,), total = find_logs(store, Criteria())
    assert total == 1
    assert (record.time, record.severity, record.word, record.is_error) == (NOW, 17, "ERROR", True)
    assert (record.trace_id, record.span_id) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    assert record.text == '{"axis": 1, "text": "é"}'
    assert (record.scope, record.attributes) == ("motor", (("code.line.number", 7),))
    assert record.resource.instance == "lab/motor/1"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"severityNumber": "SEVERITY_NUMBER_WARN2"}, {"severity": 14, "word": "WARN"}),
        ({"severityText": "notice"}, {"word": "NOTICE"}),
        ({"severityNumber": 0}, {"word": "", "is_error": False}),
        ({"timeUnixNano": "0", "observedTimeUnixNano": "5"}, {"time": 5}),
        ({"traceId": "S/kvNXezTaajzpKdDg5HNg=="}, {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}),
        ({"traceId": "0" * 32, "spanId": ""}, {"trace_id": "", "span_id": ""}),
        ({"body": None, "eventName": "device.started"}, {"text": "device.started"}),
        ({"body": {"arrayValue": {"values": [{"intValue": "1"}]}}}, {"text": "[1]"}),
    ],
)
def test_other_spellings_of_a_record(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    record = {**log(NOW, "text", trace=7, number=8), **changes}
    (item,) = parse_request({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]})
    assert isinstance(item, LogRecord)
    assert {name: getattr(item, name) for name in expected} == expected


@pytest.mark.parametrize(
    "changes", [{"severityNumber": 99}, {"severityNumber": "loud"}, {"traceId": "xyz"}, {"timeUnixNano": -1}, {"attributes": 5}]  # noqa: E501
)  # fmt: skip
def test_a_bad_record_does_not_take_its_neighbours_along(changes: dict[str, Any]) -> None:
    records = [log(NOW, "first"), {**log(NOW, "bad"), **changes}, log(NOW, "last")]
    items = list(parse_request(json.loads(log_line("s", records))))
    assert [type(item) for item in items] == [LogRecord, MalformedError, LogRecord]


def test_a_record_counts_once_however_it_comes(tmp_path: Path) -> None:
    same = log_line("Motor", [log(NOW, "moving", 9, 1, 2)], "lab/motor/1")
    later = log_line("Motor", [log(NOW + 1, "moving", 9, 1, 2)], "lab/motor/1")
    store = fill(tmp_path, a=(same, later), b=("\n", same))
    store.add(item for item in parse_request(json.loads(same)) if isinstance(item, LogRecord))
    store.flush()
    assert find_logs(store, Criteria())[1] == 2


@pytest.mark.parametrize(
    ("criteria", "texts"),
    [
        (Criteria(), ["c", 'b É"x', "a"]),
        (Criteria(errors=True), ["c"]),
        (Criteria(device="LAB/motor/*"), ["c", 'b É"x']),
        (Criteria(service="gui"), ["a"]),
        (Criteria(text='É"X'), ['b É"x']),
        (Criteria(since=NOW + 1, until=NOW + 1), ['b É"x']),
        (Criteria(text="nowhere"), []),
    ],
)
def test_logs_are_found(tmp_path: Path, criteria: Criteria, texts: list[str]) -> None:
    store = fill(
        tmp_path,
        a=log_line("gui", [log(NOW, "a")]),
        b=log_line("Motor", [log(NOW + 1, 'b É"x'), log(NOW + 2, "c", 17)], "lab/motor/1"),
    )
    assert [record.text for record in find_logs(store, criteria)[0]] == texts


def test_records_stand_under_their_spans(tmp_path: Path) -> None:
    fill(
        tmp_path,
        a=call(1, 11, "Move", "lab/motor/1", NOW, 10 * MS),
        b=log_line(
            "Motor",
            [
                log(NOW + 2 * MS, "moving\nfast", 9, 1, 12),
                log(NOW + 3 * MS, f"stuck {EVIL}", 17, 1, 12),
                log(NOW + 4 * MS, "not sampled", 9, 1, 99),
                log(NOW + 5 * MS, "outside"),
            ],
            "lab/motor/1",
        ),
    )
    status, out, _ = run("show", str(tmp_path), "--logs")
    assert status == 0
    assert out.count("\x1b") == out.count("\u202e") == 0
    below = out[out.index("Motor.Move ") :].splitlines()
    assert "+2.00 ms INFO: moving fast" in below[1]
    assert "+3.00 ms ERROR: stuck" in below[2]
    assert "(no span) +4.00 ms INFO: not sampled" in below[3]
    assert "outside" not in out
    # Without being asked it only says that they are there.
    _, out, _ = run("show", str(tmp_path))
    assert "moving" not in out
    assert "3 log records: --logs draws them" in out
    _, out, _ = run("show", str(tmp_path), "--list", "--logs", "--errors", "--json")
    assert [(found["level"], found["span_id"]) for found in json.loads(out)] == [("ERROR", f"{12:016x}")]
    _, out, _ = run("show", str(tmp_path), "--list", "--logs", "-n", "1")
    assert "outside" in out
    assert "stuck" not in out
    _, out, _ = run("show", str(tmp_path), "--logs", "--json")
    assert [len(found["logs"]) for found in json.loads(out)] == [0, 2]


def test_what_has_logs_is_not_folded_away(tmp_path: Path) -> None:
    reads = [span(1, 10 + n, "read", NOW + n * MS, MS, 1) for n in range(9)]
    fill(
        tmp_path,
        a=line("app", [span(1, 1, "root", NOW, SECOND), *reads]),
        b=log_line("app", [log(NOW, "here", 9, 1, 14)]),
    )
    _, out, _ = run("show", str(tmp_path))
    assert "9 × read" in out
    _, out, _ = run("show", str(tmp_path), "--logs")
    assert "4 × read" in out
    assert "here" in out


def test_logs_of_the_page(tmp_path: Path) -> None:
    store = fill(
        tmp_path,
        a=line("app", [span(1, 1, EVIL, NOW, SECOND)]),
        b=log_line("app", [log(NOW + MS, "x" * 20_000, 17, 1, 1, note=EVIL), log(NOW, "loose", 9, 1, 5)]),
    )
    trace = f"{1:032x}"
    data = as_data(build_forest(store.trace(trace)), relations(store, trace), logs_of_trace(store, trace))
    (record,) = data["rows"][0]["logs"]
    assert (record["at"], record["bad"], record["attrs"]) == (MS, True, [("note", EVIL)])
    assert len(record["text"]) < 10_002
    assert [loose["text"] for loose in data["loose"]] == ["loose"]


def test_a_folder_of_logs_alone(tmp_path: Path) -> None:
    append(tmp_path / "a-logs-1.jsonl", log_line("app", [log(NOW, "alone")]))
    assert run("show", str(tmp_path), "--list", "--logs")[0] == 0
    status, _, errors = run("show", str(tmp_path))
    assert status == 1
    assert "no spans found" in errors


# -- metrics --


def histogram(kind: str = "histogram", temporality: int = 2, **point: Any) -> dict[str, Any]:
    values = {"rpc.method": "Motor/Move"} | point.pop("labels", {})
    data = {"startTimeUnixNano": "1", "timeUnixNano": "2", "attributes": attributes(values), **point}
    return {
        "name": "rpc.server.call.duration",
        "unit": "s",
        kind: {"aggregationTemporality": temporality, "dataPoints": [data]},
    }


def explicit(count: int, **point: Any) -> dict[str, Any]:
    counts = [str(count // 2), str(count - count // 2), "0"]
    return histogram(count=count, sum=count * 0.001, max=0.002, bucketCounts=counts, explicitBounds=[0.001, 0.01], **point)  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    "labels", [{"rpc.method": "Motor/Move"}, {"rpc.method": "Move", "tango.device.class": "Motor"}]
)
def test_metrics_that_the_sdk_writes(tmp_path: Path, labels: dict[str, str]) -> None:
    module = pytest.importorskip("opentelemetry.exporter.otlp.json.file.metric_exporter")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
    from opentelemetry.sdk.resources import Resource

    exporter = module.FileMetricExporter(tmp_path / "service-1-metrics-1.jsonl")
    exponential = ExponentialBucketHistogramAggregation(max_scale=2)
    provider = MeterProvider(
        [PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)],
        Resource({"service.name": "Motor", "service.instance.id": "lab/motor/1"}),
        views=[View(instrument_name="exponential", aggregation=exponential)],
    )
    meter = provider.get_meter("t")
    for name in ("exponential", "explicit"):
        durations = meter.create_histogram(
            name, unit="s", explicit_bucket_boundaries_advisory=[0.001, 0.01, 0.1]
        )
        for number in range(100):
            durations.record(0.003 if number < 96 else 0.5, labels)
        durations.record(0.003, {**labels, "error.type": "DevFailed"})
    meter.create_counter("events").add(3)
    meter.create_up_down_counter("threads").add(4)
    meter.create_gauge("waiting").set(2.5)
    assert provider.force_flush()
    provider.shutdown()
    found = {metric.name: metric for metric in metrics(fill(tmp_path))}
    for name, within in (("exponential", 0.19), ("explicit", 1.0)):
        metric = found[name]
        assert (metric.member, metric.source, metric.count, metric.errors) == ("Motor/Move", "Motor", 101, 1)
        assert metric.p50 == pytest.approx(0.003, rel=within)
        assert metric.longest == 0.5
    assert (found["events"].value, found["events"].kind, found["events"].source) == (3, "sum", "Motor")
    # What may go down is a level of one device.
    assert (found["threads"].value, found["threads"].source) == (4, "lab/motor/1")
    assert (found["waiting"].value, found["waiting"].source) == (2.5, "lab/motor/1")


@pytest.mark.parametrize(
    ("points", "count"),
    [
        ([explicit(4), explicit(6, timeUnixNano="3")], 6),
        ([explicit(6, timeUnixNano="3"), explicit(4)], 6),
        ([explicit(4), explicit(3, startTimeUnixNano="9", timeUnixNano="10")], 7),
        (
            [explicit(4, temporality=1), explicit(3, temporality=1, startTimeUnixNano="2", timeUnixNano="3")],
            7,
        ),
        ([explicit(4), explicit(4)], 4),
        ([explicit(4), explicit(2, labels={"error.type": "DevFailed"})], 6),
        ([explicit(4), {**explicit(9), "unit": "ms"}], 4),
    ],
    ids=["cumulative", "late", "restart", "delta", "twice", "errors", "other-unit"],
)
def test_counts_are_added_up_once(tmp_path: Path, points: list[dict[str, Any]], count: int) -> None:
    store = fill(tmp_path, a=tuple(metric_line("Motor", [point]) for point in points))
    found = [metric for metric in metrics(store) if metric.unit == "s"]
    assert [metric.count for metric in found] == [count]


def test_what_may_go_down_is_what_it_was_last(tmp_path: Path) -> None:
    def level(value: int, time: int, start: int) -> dict[str, Any]:
        point = {"asInt": str(value), "timeUnixNano": str(time), "startTimeUnixNano": str(start)}
        return {"name": "active", "sum": {"aggregationTemporality": 2, "dataPoints": [point]}}

    store = fill(tmp_path, a=metric_line("Motor", [level(5, 2, 1), level(3, 9, 8), level(4, 5, 1)]))
    assert [(metric.kind, metric.value) for metric in metrics(store)] == [("gauge", 3)]


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        (((0.0, 1.0, 2), (1.0, 2.0, 2)), 0.5, 1.0),
        (((0.0, 1.0, 2), (1.0, 2.0, 2)), 0.75, 1.5),
        (((-math.inf, 1.0, 4),), 0.5, 0.5),
        (((1.0, math.inf, 4),), 0.5, 2.0),
        ((), 0.5, 3.0),
    ],
)
def test_quantiles_lie_within_their_bucket(buckets: Any, share: float, expected: float) -> None:
    assert quantile(buckets, share, 3.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    "metric",
    [
        explicit(4) | {"histogram": {"dataPoints": [{"bucketCounts": ["1"], "explicitBounds": [1, 2]}]}},
        histogram("exponentialHistogram", scale=99),
        {"name": "x", "gauge": {"dataPoints": [{"asDouble": "many"}]}},
        {"name": "x", "sum": {"dataPoints": 5}},
        {"name": "x", "gauge": {"dataPoints": [{"asInt": "9" * 400}]}},
    ],
)
def test_a_bad_metric_does_not_take_its_neighbours_along(metric: dict[str, Any]) -> None:
    items = list(parse_request(json.loads(metric_line("s", [explicit(1), metric, explicit(1)]))))
    assert [type(item) for item in items] in ([Point, MalformedError, Point], [Point, Point, Point])
    assert isinstance(items[0], Point)


def test_exponents_beyond_all_numbers(tmp_path: Path) -> None:
    sides = {
        "positive": {"offset": 2**31 - 1, "bucketCounts": ["1"]},
        "negative": {"offset": -(2**31), "bucketCounts": ["2"]},
    }
    metric = histogram("exponentialHistogram", scale=-10, count=3, sum="NaN", zeroCount="4", **sides)
    store = fill(
        tmp_path,
        a=metric_line(EVIL, [metric, {"name": EVIL, "gauge": {"dataPoints": [{"asDouble": "NaN"}]}}]),
    )
    assert len(metrics(store)) == 2
    status, out, _ = run("show", str(tmp_path), "--metrics", "--json")
    assert status == 0
    assert json.loads(out, parse_constant=pytest.fail)
    status, out, _ = run("show", str(tmp_path), "--metrics")
    assert status == 0
    assert out.count("\x1b") == out.count("\u202e") == 0


def test_the_table_of_metrics(tmp_path: Path) -> None:
    append(tmp_path / "a.jsonl", metric_line("Motor", [explicit(4), explicit(2, labels={"error.type": "E"})]))
    status, out, _ = run("show", str(tmp_path), "--metrics")
    assert status == 0
    title, values = (text.split() for text in out.splitlines())
    found = dict(zip(title, values, strict=True))
    assert (found["member"], found["count"], found["errors"], found["unit"]) == ("Motor/Move", "6", "2", "ms")
    assert (found["mean"], found["longest"]) == ("1.000", "2.000")
    assert run("show", str(tmp_path), "--metrics", "--operation", "Stop")[0] == 1


# -- links --


def linked(item: dict[str, Any], *targets: tuple[int, int, str]) -> dict[str, Any]:
    item["links"] = [
        {"traceId": f"{trace:032x}", "spanId": f"{number:016x}"}
        | ({"attributes": attributes({"tango.link": kind})} if kind else {})
        for trace, number, kind in targets
    ]
    return item


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """A command that pushes three events, of which two set a callback off; each in a file and trace of its
    own.
    """
    pushes = [
        span(1, 20 + n, "Motor.push_change_event position", NOW + n * MS, MS, 11, 4, "lab/motor/1")
        for n in range(3)
    ]
    append(
        tmp_path / "motor.jsonl",
        line("Motor", [span(1, 11, "Motor.Move", NOW, SECOND, 0, 2, "lab/motor/1"), *pushes], "lab/motor/1"),
    )
    for number in range(2):
        callback = span(
            10 + number, 30 + number, "push_event position", NOW + SECOND, MS, 0, 5, "lab/motor/1"
        )
        links = ((1, 20 + number, "producer"), (77, 7, ""))
        append(tmp_path / "alarm.jsonl", line("Alarm", [linked(callback, *links)], "lab/alarm/1"))
    return tmp_path


def test_from_the_push_to_who_reacted_and_back(events: Path) -> None:
    _, out, _ = run("show", str(events), "--trace", f"{1:032x}", "--all")
    below = {text.strip(" │├╴╰") for text in out.splitlines() if "→" in text or "←" in text}
    assert below == {"→ reached lab/alarm/1: push_event position, trace 00000000"}
    assert out.count("→ reached") == 2
    _, out, _ = run("show", str(events), "--trace", f"{10:032x}")
    assert "← set off by lab/motor/1: Motor.push_change_event position, trace 00000000" in out
    assert f"← linked to span {7:016x}, which is not here, trace 00000000" in out
    _, out, _ = run("show", str(events), "--trace", f"{10:032x}", "-v", "--json")
    (found,) = json.loads(out)
    assert [link["span_id"] for link in found["links"]] == [f"{20:016x}", f"{7:016x}"]
    _, out, _ = run("show", str(events), "--trace", f"{1:032x}", "--json")
    assert [(item["span_id"], item["by"]) for found in json.loads(out) for item in found["linked_from"]] == [
        (f"{30:016x}", "lab/alarm/1"),
        (f"{31:016x}", "lab/alarm/1"),
    ]


def test_folded_pushes_tell_whom_they_reached_together(tmp_path: Path) -> None:
    pushes = [span(1, 20 + n, "push", NOW + n * MS, MS, 11, 4) for n in range(9)]
    callbacks = [
        linked(span(10 + n, 40 + n, "push_event p", NOW, MS, 0, 5), (1, 20 + n, "producer")) for n in range(8)
    ]
    append(tmp_path / "a.jsonl", line("Motor", [span(1, 11, "Move", NOW, SECOND), *pushes]))
    append(tmp_path / "b.jsonl", line("gui", callbacks))
    _, out, _ = run("show", str(tmp_path), "--trace", f"{1:032x}")
    assert "→ reached gui: push_event p × 8, trace 00000000, ..." in out


def test_links_of_the_store_know_both_ends(events: Path) -> None:
    store = fill(events)
    (first, second) = relations(store, f"{1:032x}")
    trace, other = f"{10:032x}", f"{30:016x}"
    assert first == Relation(
        f"{20:016x}", False, "producer", trace, other, "push_event position", "lab/alarm/1"
    )
    assert second.span_id == f"{21:016x}"
    data = as_data(build_forest(store.trace(f"{1:032x}")), [first, second])
    assert [row["from"][0]["name"] for row in data["rows"] if "from" in row] == 2 * [
        "lab/alarm/1: push_event position"
    ]
    back = {relation.other: relation.name for relation in relations(store, f"{10:032x}")}
    assert back == {f"{20:016x}": "Motor.push_change_event position", f"{7:016x}": ""}


def test_a_span_that_comes_twice_has_its_links_once(events: Path) -> None:
    store = fill(events)
    for path in events.iterdir():
        for text in path.read_text().splitlines():
            store.add(
                item for item in parse_request(json.loads(text)) if not isinstance(item, MalformedError)
            )
    store.flush()
    assert len(relations(store, f"{1:032x}")) == 2


def test_pushes_that_reach_nobody_are_counted_where_events_carry_their_sender(events: Path) -> None:
    found = device_map(fill(events), Criteria())
    assert {(edge.caller, edge.callee, edge.what): edge.calls for edge in found.edges} == {
        ("lab/motor/1", "lab/alarm/1", "position"): 2,
        ("lab/motor/1", "", "position"): 1,
    }


@pytest.mark.parametrize(
    ("ask", "of"), [(lambda store: top(store, Criteria(), "caller"), 0), (device_map, 1)]
)
def test_scripts_are_called_by_the_names_of_their_tracers(
    tmp_path: Path, ask: Callable[..., Any], of: int
) -> None:
    lines = []
    for number, (name, process) in enumerate((("nightly", "a-1"), ("operator", "b-2"), ("", "c-3"))):
        lines.append(
            call(
                number + 1,
                10 * number + 1,
                "Move",
                "lab/motor/1",
                NOW,
                MS,
                caller=("pytango.client", process),
            )
        )
        if name:
            lines.append(line(name, [span(50 + number, 500 + number, "step", NOW, MS)], process))
    store = fill(tmp_path, a=tuple(lines))
    answer = ask(store) if of == 0 else ask(store, Criteria()).edges
    callers = sorted(row.key[0] if of == 0 else row.caller for row in answer)
    assert callers == ["nightly", "operator", "pytango.client"]
