"""Jaeger, and what it answers: the demo's trace and an odd one, asked back and compared with our files."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from processes import Collector, Load, find_free_port, read_spans, wait_until
from tango_telemetry_tools.demo.control_system import ControlSystem
from tango_telemetry_tools.demo.processes import Programs
from tango_telemetry_tools.demo.signals import Signals

_KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_OF_STATUS = ("otel.status_code", "otel.status_description", "error")
_OF_SCOPE = ("otel.scope.name", "otel.scope.version")
_OURS_ONLY = (
    "otel.library.name",
    "otel.library.version",
    "w3c.tracestate",
    "span.kind",
    "internal.span.format",
)


def start(program: Path, folder: Path) -> tuple[Collector, int, int]:
    """Start Jaeger with its store in memory; return it and the ports for OTLP over gRPC and for questions."""
    otlp, questions, other = find_free_port(), find_free_port(), find_free_port()
    pipeline = {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}
    settings = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{otlp}"}}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
        "extensions": {
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 10_000}}}},
            "jaeger_query": {
                "storage": {"traces": "memory"},
                "http": {"endpoint": f"127.0.0.1:{questions}"},
                "grpc": {"endpoint": f"127.0.0.1:{other}"},
            },
        },
        "service": {"extensions": ["jaeger_storage", "jaeger_query"], "pipelines": {"traces": pipeline}},
    }
    return Collector(program, [settings], folder, name="jaeger"), otlp, questions


def ask(port: int, path: str) -> dict[str, Any]:
    """Return Jaeger's answer, or an empty one where it knows no such thing."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError:
        return {}


# --- spans in one form


def _value(value: dict[str, Any]) -> Any:
    kind, content = next(iter(value.items()))
    if kind == "arrayValue":
        return [_value(one) for one in content.get("values", [])]
    return int(content) if kind == "intValue" else content


def _attributes(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: _value(pair["value"]) for pair in pairs}


def from_file(span: dict[str, Any]) -> dict[str, Any]:
    """Return a span of the exporter ``file`` in the form in which two can be compared."""
    status = span.get("status", {})
    return {
        "name": span["name"],
        "kind": _KINDS[span["kind"]],
        "parent": span.get("parentSpanId", ""),
        "start": int(span["startTimeUnixNano"]) // 1000,
        "duration": (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) // 1000,
        "status": {0: "UNSET", 1: "OK", 2: "ERROR"}[status.get("code", 0)],
        "description": status.get("message", ""),
        "attributes": _attributes(span.get("attributes", [])),
        "resource": _attributes(span["resource"]),
        "scope": span["scope"],
        "events": [
            (one["name"], int(one["timeUnixNano"]) // 1000, _attributes(one.get("attributes", [])))
            for one in span.get("events", [])
        ],
        "links": sorted((one["traceId"], one["spanId"]) for one in span.get("links", [])),
    }


def _tags(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    # Jaeger (1.76) keeps arrays as the text of their JSON, and answers with the digits of an integer beyond
    # 2**53.
    def read(kind: str, value: Any) -> Any:
        if kind == "int64":
            return int(value)
        return json.loads(value) if kind == "string" and value.startswith("[") else value

    return {pair["key"]: read(pair["type"], pair["value"]) for pair in pairs}


def from_jaeger(span: dict[str, Any], processes: dict[str, Any]) -> dict[str, Any]:
    """Return a span of Jaeger's API, whose words for many things are its own, in the same form."""
    tags = _tags(span["tags"])
    process = processes[span["processID"]]
    references = [(one["refType"], one["traceID"], one["spanID"]) for one in span["references"]]
    parent = next((one for one in references if one[0] == "CHILD_OF" and one[1] == span["traceID"]), None)
    ours = {key: value for key, value in tags.items() if key not in (*_OF_STATUS, *_OF_SCOPE, *_OURS_ONLY)}
    events = []
    for log in span["logs"]:
        fields = _tags(log["fields"])
        events.append((fields.pop("event", ""), log["timestamp"], fields))
    return {
        "name": span["operationName"],
        "kind": tags.get("span.kind", "internal"),
        "parent": parent[2] if parent else "",
        "start": span["startTime"],
        "duration": span["duration"],
        "status": tags.get("otel.status_code", "UNSET"),
        "description": tags.get("otel.status_description", ""),
        "attributes": ours,
        "resource": {"service.name": process["serviceName"], **_tags(process["tags"])},
        "scope": tags.get("otel.scope.name", ""),
        "events": events,
        "links": sorted((one[1], one[2]) for one in references if one != parent),
    }


def differences(sent: dict[str, dict[str, Any]], kept: dict[str, dict[str, Any]]) -> list[str]:
    """Return what differs between spans by their ids."""
    found = [f"{span} is not in Jaeger" for span in sent.keys() - kept.keys()]
    found += [f"{span} is not in the file" for span in kept.keys() - sent.keys()]
    for span in sorted(sent.keys() & kept.keys()):
        found += [
            f"{sent[span]['name']}: {what} {value!r} came back as {kept[span][what]!r}"
            for what, value in sent[span].items()
            if value != kept[span][what]
        ]
    return found


# --- rows


def compare(program: Path, folder: Path) -> Iterator[Any]:
    """Return rows: the demo's trace, and one with events, links and attributes of every type."""
    from rows import Row, ended

    folder.mkdir()
    server, otlp, questions = start(program, folder)
    with ended(server):
        for name, make in (("demo's trace", run_demo), ("events, links, types", make_odd)):
            files = folder / make.__name__
            telemetry = {
                "TANGO_TELEMETRY_ENABLE": "on",
                "TANGO_TELEMETRY_TRACING_EXPORTERS": "file,grpc",
                "TANGO_TELEMETRY_TRACING_ENDPOINTS": f"{files},grpc://127.0.0.1:{otlp}",
            }
            make(folder, telemetry)
            spans = {span["spanId"]: span for span in read_spans(files)}
            traces = {span["traceId"] for span in spans.values()}
            sent = {key: from_file(span) for key, span in spans.items()}

            def keep(traces: set[str] = traces) -> dict[str, Any]:
                kept = {}
                for trace in traces:
                    for one in ask(questions, f"/api/traces/{trace}").get("data") or []:
                        for span in one["spans"]:
                            kept[span["spanID"]] = from_jaeger(span, one["processes"])
                return kept

            wait_until("Jaeger has the trace", lambda keep=keep, sent=sent: len(keep()) >= len(sent))
            kept = keep()
            found = differences(sent, kept)
            services = {one["resource"]["service.name"] for one in sent.values()}
            failed = sum(one["status"] == "ERROR" for one in sent.values())
            links = sum(len(one["links"]) for one in sent.values())
            note = f"{len(services)} services, {failed} errors, {links} links"
            (folder / f"{make.__name__}-differences").write_text("\n".join(found))
            note += "; equal in all that was sent" if not found else f"; {len(found)} differ: {found[0]}"
            yield Row(f"Jaeger: {name} asked back", len(sent), len(kept), 0, bool(sent) and not found, note)


def run_demo(folder: Path, telemetry: dict[str, str]) -> None:
    """Run the programs of ``tango-telemetry demo``."""
    home = folder / "home"
    home.mkdir()
    with Signals() as signals, Programs(signals) as programs:
        system = ControlSystem(programs, home, telemetry, os.environ)
        system.start_database()
        system.register_devices(2)
        system.start_servers()
        system.run_client(2, home / "report.json")


def make_odd(folder: Path, telemetry: dict[str, str]) -> None:
    """Let a program make the odd trace."""
    load = Load(folder, telemetry)
    load.order("odd")
    load.order("settle", seconds=10)
    load.leave()
