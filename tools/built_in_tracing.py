"""What PyTango's built-in tracing does with each variable, and what we do: the table of
docs/reference/built-in.md, measured.

Usage: python tools/built_in_tracing.py      measure it all anew, for two minutes, and write it down

The cells are what `measure_built_in` has seen of a program that ran with the setting, and stand in
tools/built_in_measured.json. `tests/docs/test_built_in.py` measures some of them again, or all of them, and
looks the names of the variables up in what is installed, so that none is forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from measure_built_in import FOLDER, GRPC, HTTP, REFUSED, Probe, measure

MEASURED = Path(__file__).parent / "built_in_measured.json"
SAME = "same"

_T, _P = "TANGO_TELEMETRY_", "PYTANGO_TELEMETRY_"


def _probe(variable: str, *facts: str, tangorc: bool = False, **settings: str) -> Probe:
    """Make a probe; settings are named without the beginning that Tango's variables share."""
    given = {
        name if name.startswith(("OTEL", "PYTANGO")) else f"{_T}{name}": value
        for name, value in settings.items()
    }
    return Probe(variable, given, facts, tangorc)


_REFUSED = {"TRACING_EXPORTERS": "http", "TRACING_ENDPOINTS": HTTP + REFUSED}
_OTLP = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": HTTP}

PROBES: Sequence[Probe] = (
    _probe(_T + "ENABLE", "traces", "logs", "kernel", ENABLE="on"),
    _probe(_T + "ENABLE", "traces", "logs", "kernel", ENABLE="off"),
    _probe(_T + "ENABLE", "traces", tangorc=True, ENABLE="on"),
    _probe(_T + "TRACING_EXPORTERS", "traces"),
    _probe(_T + "TRACING_EXPORTERS", "traces", TRACING_EXPORTERS="grpc"),
    _probe(_T + "TRACING_EXPORTERS", "traces", TRACING_EXPORTERS="http"),
    _probe(_T + "TRACING_EXPORTERS", "traces", TRACING_EXPORTERS="grpc,http"),
    _probe(_T + "TRACING_EXPORTERS", "traces", "warnings", TRACING_EXPORTERS="none"),
    _probe(_T + "TRACING_EXPORTERS", "traces", "warnings", TRACING_EXPORTERS="zipkin"),
    _probe(
        _T + "TRACING_EXPORTERS",
        *("traces", "warnings"),
        TRACING_EXPORTERS="file",
        TRACING_ENDPOINTS=FOLDER,
    ),
    _probe(_T + "TRACING_ENDPOINTS", "traces", TRACING_EXPORTERS="console", TRACING_ENDPOINTS="cerr"),
    _probe(_T + "TRACING_ENDPOINTS", "traces", TRACING_EXPORTERS="grpc", TRACING_ENDPOINTS=GRPC),
    _probe(
        _T + "TRACING_ENDPOINTS",
        "traces",
        TRACING_EXPORTERS="http",
        TRACING_ENDPOINTS=f"{HTTP}/v1/traces",
    ),
    _probe(_T + "TRACING_ENDPOINTS", "traces", **_OTLP),
    _probe(_T + "TRACES_EXPORTER", "traces", "warnings", TRACES_EXPORTER="http"),
    _probe(
        _T + "TRACES_ENDPOINT",
        *("traces", "warnings"),
        TRACES_EXPORTER="http",
        TRACES_ENDPOINT=f"{HTTP}/v1/traces",
    ),
    _probe(_T + "KERNEL_ENABLE", "kernel"),
    _probe(_T + "KERNEL_ENABLE", "kernel", KERNEL_ENABLE="on"),
    _probe(_T + "TYPES", "traces", "logs"),
    _probe(_T + "TYPES", "traces", "logs", TYPES="tracing"),
    _probe(_T + "TYPES", "traces", "logs", TYPES="logging"),
    _probe(_T + "TYPES", "traces", "logs", TYPES="tracing,logging"),
    _probe(_T + "TYPES", "traces", "logs", TYPES="none"),
    _probe(_T + "TOPICS", "kernel", "warnings", KERNEL_ENABLE="on", TOPICS="user"),
    _probe(_T + "TOPICS", "kernel", "warnings", KERNEL_ENABLE="on", TOPICS="all"),
    _probe(_T + "LOGGING_EXPORTERS", "logs", LOGGING_EXPORTERS="grpc"),
    _probe(_T + "LOGGING_EXPORTERS", "logs", LOGGING_EXPORTERS="http"),
    _probe(_T + "LOGGING_EXPORTERS", "logs", LOGGING_EXPORTERS="none"),
    _probe(_T + "LOGGING_ENDPOINTS", "logs", LOGGING_EXPORTERS="http", LOGGING_ENDPOINTS=f"{HTTP}/v1/logs"),
    _probe(_T + "LOGS_EXPORTER", "logs", "warnings", LOGS_EXPORTER="http"),
    _probe(
        _T + "LOGS_ENDPOINT",
        *("logs", "warnings"),
        LOGS_EXPORTER="http",
        LOGS_ENDPOINT=f"{HTTP}/v1/logs",
    ),
    _probe(_P + "CLIENT_SERVICE_NAME", "client"),
    _probe(_P + "CLIENT_SERVICE_NAME", "client", PYTANGO_TELEMETRY_CLIENT_SERVICE_NAME="scan"),
    _probe(_P + "SPAN_PROCESSOR_TYPE", "when"),
    _probe(_P + "SPAN_PROCESSOR_TYPE", "when", PYTANGO_TELEMETRY_SPAN_PROCESSOR_TYPE="batch"),
    _probe(_P + "SDK_LOG_LEVEL", "errors", **_REFUSED),
    _probe(_P + "SDK_LOG_LEVEL", "errors", **_REFUSED, PYTANGO_TELEMETRY_SDK_LOG_LEVEL="critical"),
    _probe(
        _P + "SDK_LOGGER_NAMES",
        "errors",
        **_REFUSED,
        PYTANGO_TELEMETRY_SDK_LOG_LEVEL="critical",
        PYTANGO_TELEMETRY_SDK_LOGGER_NAMES="opentelemetry.sdk.metrics",
    ),
    _probe(_P + "EMIT_KERNEL_SPANS", "kernel", PYTANGO_TELEMETRY_EMIT_KERNEL_SPANS="on"),
    _probe("PYTANGO_DISABLE_TELEMETRY_PATCHING", "traces", PYTANGO_DISABLE_TELEMETRY_PATCHING="on"),
)
OFTEN = frozenset(
    (
        f"`{_T}ENABLE=on`",
        f"`{_T}ENABLE=on` in `tangorc`",
        f"`{_T}TRACING_EXPORTERS=grpc`",
        f"`{_T}TRACING_EXPORTERS=zipkin`",
        f"`{_T}TYPES=logging`",
        f"`{_T}LOGGING_EXPORTERS=http`",
        f"`{_T}LOGS_EXPORTER=http`",
    )
)
"""What is measured in each run of the tests."""


def read_measured() -> dict[str, list[str]]:
    """Return the two texts of each probe."""
    measured: dict[str, list[str]] = json.loads(MEASURED.read_text())
    return measured


def built_in_page(note: str, measured: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return docs/reference/built-in.md."""
    lines = [
        "# Beside the built-in tracing\n",
        note,
        "What PyTango 10.3.1 does by itself with each variable that Tango or PyTango knows, and what it does "
        "with `import tango_telemetry_server`. Each row is what came of the same program, a device whose "
        "attribute is read once and which logs a line, run with what stands in the first column and, unless "
        "another value stands there, `TANGO_TELEMETRY_ENABLE=on`. Spans are those made in Python; cppTango's "
        "own are told apart.\n",
        "| set | built-in, PyTango 10.3.1 | with tango-telemetry |",
        "|---|---|---|",
    ]
    for probe in PROBES:
        theirs, ours = (read_measured() if measured is None else measured)[probe.title]
        lines.append(f"| {probe.title} | {theirs} | {SAME if theirs == ours else ours} |")
    lines += [
        "",
        "The largest difference is where log records go when nobody says a word about logs: the built-in "
        "tracing prints them, and here they are exported where an exporter for them is named or "
        "`TANGO_TELEMETRY_TYPES` asks for them. `TANGO_TELEMETRY_KERNEL_ENABLE=on` brings cppTango's own "
        "spans back. The endpoint of OpenTelemetry's serves only where no variable of Tango's names an "
        "exporter or an endpoint.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure everything and write it down."""
    unique = list({probe.title: probe for probe in PROBES}.values())
    MEASURED.write_text(json.dumps(measure(unique), indent=1) + "\n")
    print(f"written: {MEASURED}; now type: python tools/make_reference.py")


if __name__ == "__main__":
    main()
