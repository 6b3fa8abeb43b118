"""Where spans, logs and metrics go: which of Tango's two families of variables counts, and which exporter has
which endpoint.

Tango 10.0 has one exporter and one endpoint, Tango 10.3 comma-separated lists under other names. Which family
the user speaks, and how a list of exporters goes with a list of endpoints, is decided here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from tango_telemetry.pipeline import Endpoint, Signal, signals
from tango_telemetry.pipeline.settings import default_target
from tango_telemetry.settings import variables as env
from tango_telemetry.settings.reader import Reader, show_value

__all__ = [
    "EXPORTERS",
    "LOGS",
    "TRACES",
    "Family",
    "asks_for_logs",
    "choose_family",
    "pair",
    "read_endpoints",
    "read_log_endpoints",
    "read_metric_endpoints",
]

EXPORTERS: Final = ("console", "grpc", "http", "file", "none")
_OTLP_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_OTLP_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OTLP_EXPORTERS: Final = "OTEL_TRACES_EXPORTER"
# The exporters of the Python SDK that are ours too, by its names (1.45).
_OF_SDK: Final = {
    "otlp": "otlp",
    "otlp_proto_grpc": "grpc",
    "otlp_proto_http": "http",
    "console": "console",
    "none": "none",
}


class Family(NamedTuple):
    """The two variables that say where something goes."""

    exporters: str
    endpoints: str


TRACES: Final = (
    Family(env.TANGO_TELEMETRY_TRACING_EXPORTERS, env.TANGO_TELEMETRY_TRACING_ENDPOINTS),
    Family(env.TANGO_TELEMETRY_TRACES_EXPORTER, env.TANGO_TELEMETRY_TRACES_ENDPOINT),
)
"""The families for traces, of Tango 10.3 and of Tango 10.0."""
LOGS: Final = (
    Family(env.TANGO_TELEMETRY_LOGGING_EXPORTERS, env.TANGO_TELEMETRY_LOGGING_ENDPOINTS),
    Family(env.TANGO_TELEMETRY_LOGS_EXPORTER, env.TANGO_TELEMETRY_LOGS_ENDPOINT),
)
"""The families for logs, likewise."""


def choose_family(values: Mapping[str, str], families: tuple[Family, Family] = TRACES) -> Family:
    """Return the family that the user speaks: where both are set, 10.3's, as in cppTango 10.3."""
    newer, older = families
    speaks_newer = newer.exporters in values or (newer.endpoints in values and older.exporters not in values)
    return newer if speaks_newer else older


def pair(exporters: str, endpoints: str) -> list[tuple[str, str]]:
    """Return the exporters of a comma-separated list with their endpoints, ``""`` where there is none;
    bounded.
    """
    listed = [item.strip().lower() for item in exporters[:4096].split(",")]
    where = [item.strip() for item in endpoints.split(",", len(listed))]
    return [(exporter, where[i] if i < len(where) else "") for i, exporter in enumerate(listed)]


def read_endpoints(reader: Reader, signal: Signal = signals.TRACES) -> tuple[Endpoint, ...]:
    """Return where spans go; an endpoint that cannot be used is left out after one warning.

    Where no variable of Tango's says it, OpenTelemetry's do, and where none of these is set either, it is the
    console, as in cppTango.

    :param signal: of which Tango's variables are read
    """
    families = TRACES if signal == signals.TRACES else LOGS
    family = choose_family(reader.mapping, families)
    endpoints = reader.text(family.endpoints) or ""
    exporters = reader.text(family.exporters)
    pairs = pair(exporters or ("console" if endpoints else _opentelemetrys_exporter(reader)), endpoints)
    if (given := endpoints.count(",") + 1) > len(pairs):
        reader.warnings.append(
            f"{family.endpoints} names {given} endpoints for {len(pairs)} exporters in {family.exporters}; "
            "those beyond are left out."
        )
    found = (_check_endpoint(reader, family, exporter, target, signal) for exporter, target in pairs)
    return tuple(dict.fromkeys(endpoint for endpoint in found if endpoint is not None))


def read_log_endpoints(reader: Reader, traces: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """Return where logs go: as Tango's variables for them say, else beside the traces."""
    signal = signals.LOGS
    if any(reader.text(name) for family in LOGS for name in family):
        return read_endpoints(reader, signal)
    return _read_beside(reader, signal, traces, f"{LOGS[0].exporters}=http and {LOGS[0].endpoints}")


def read_metric_endpoints(reader: Reader, traces: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """Return where metrics go: beside the traces, for Tango has no variables for them; nowhere where
    OpenTelemetry's SDK is to do nothing.
    """
    if (reader.text(env.OTEL_SDK_DISABLED) or "").lower() == "true":
        return ()
    return _read_beside(reader, signals.METRICS, traces, _otlp_endpoint(signals.METRICS))


def _read_beside(
    reader: Reader, signal: Signal, traces: tuple[Endpoint, ...], variables: str
) -> tuple[Endpoint, ...]:
    """Return where a signal goes beside the traces, or where OpenTelemetry's own variable for it says.

    :param variables: those that say it where the endpoint of the traces does not
    """
    found = []
    for endpoint in traces:
        own = reader.text(_otlp_endpoint(signal)) if endpoint.exporter in ("grpc", "http") else None
        beside = _check_url(reader, _otlp_endpoint(signal), endpoint.exporter, own, signal) if own else None
        beside = beside or endpoint.of(signal)
        if beside.target == endpoint.target and endpoint.exporter == "http":
            reader.warnings.append(
                f"Traces go to {endpoint}, which does not end in {endpoint.signal.path}, so it does not say "
                f"where {signal} go. Set {variables}. {_without(signal)}"
            )
        else:
            found.append(beside)
    return tuple(dict.fromkeys(found))


def asks_for_logs(reader: Reader, types: tuple[str, ...], choice: str) -> str:
    """Return which logs are exported: ``choice``, unless that was not set and Tango's variables ask for logs.

    Naming an exporter for logs asks for them, as it does in PyTango without us (10.3.1), unless
    ``TANGO_TELEMETRY_TYPES`` leaves them out; so does ``logging`` among the types.
    """
    if reader.text(env.PYTANGO_TELEMETRY_LOGS) or (types and "logging" not in types):
        return choice
    exporters = reader.listed(choose_family(reader.mapping, LOGS).exporters)
    asked = any(exporter != "none" for exporter in exporters) or (not exporters and "logging" in types)
    return "streams" if asked else choice


def _without(signal: Signal) -> str:
    return f"No {signal.items} are sent there; the program runs on."


def _check_endpoint(
    reader: Reader, family: Family, exporter: str, target: str, signal: Signal
) -> Endpoint | None:
    """Return the endpoint, or None after one warning. The program runs on without that exporter."""
    if exporter == "none":
        return None
    if exporter not in EXPORTERS:
        reader.warnings.append(
            f"{family.exporters}={show_value(exporter)} is not one of {', '.join(EXPORTERS)}. "
            f"{_without(signal)}"
        )
        return None
    if exporter == "console":
        if target.lower() not in ("", "cout", "cerr"):
            reader.warnings.append(
                f"{family.endpoints}={show_value(target)}: 'console' knows cout and cerr; cout is used "
                "instead."
            )
            target = ""
        return Endpoint("console", target.lower() or "cout", signal)
    if exporter == "file":
        if target:
            return Endpoint("file", target.removeprefix("file://"), signal)
        reader.warnings.append(
            f"{family.endpoints} is not set, and 'file' needs a directory there. {_without(signal)}"
        )
        return None
    return _check_url(reader, family.endpoints, exporter, target, signal)


def _check_url(reader: Reader, name: str, exporter: str, target: str, signal: Signal) -> Endpoint | None:
    if not target:
        name, target = _opentelemetrys_endpoint(reader, exporter, name, signal)
    # Where the built-in tracing of PyTango 10.3.1 sends to if an exporter has no endpoint.
    target = target or ("grpc://localhost:4317" if exporter == "grpc" else default_target("http", signal))
    schemes = ("grpc", "grpcs", "http", "https") if exporter == "grpc" else ("http", "https")
    try:
        parts = urlsplit(target)
        good = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        # Without a scheme OTEL_EXPORTER_OTLP_INSECURE decides about TLS, as in the SDK.
        good = good or (
            exporter == "grpc" and name in (_otlp_endpoint(signal), _OTLP_ENDPOINT) and "://" not in target
        )
    except ValueError:
        good = False
    if not good or len(target) > 2048:
        listed = ", ".join(f"{scheme}://" for scheme in schemes)
        reader.warnings.append(
            f"{name}={show_value(target)} is not a URL that {exporter!r} can use ({listed}). "
            f"{_without(signal)}"
        )
        return None
    return Endpoint(exporter, target, signal)


def _opentelemetrys_exporter(reader: Reader) -> str:
    """Return the exporters that OpenTelemetry's own variables ask for, ``console`` where they name none and
    no endpoint.

    Source: OTLP exporter specification 1.45. Where no protocol is named the port tells: 4317 is that of gRPC,
    and the specification's default is ``http/protobuf``.
    """
    listed = [_OF_SDK[item] for item in reader.listed(_OTLP_EXPORTERS) if item in _OF_SDK]
    name, target = _opentelemetrys_endpoint(reader, "http", "")
    if not name and not listed:
        return "console"
    if listed:
        return ",".join(_otlp_exporter(reader, target) if item == "otlp" else item for item in listed)
    return _otlp_exporter(reader, target)


def _otlp_exporter(reader: Reader, target: str) -> str:
    """Return whether OTLP goes over gRPC or HTTP."""
    protocol = next((value for value in map(reader.text, _OTLP_PROTOCOLS) if value), "")
    grpc = protocol.lower() == "grpc" if protocol else ":4317" in target
    return "grpc" if grpc else "http"


def _otlp_endpoint(signal: Signal) -> str:
    return f"OTEL_EXPORTER_OTLP_{signal.name.upper()}_ENDPOINT"


def _opentelemetrys_endpoint(
    reader: Reader, exporter: str, name: str, signal: Signal = signals.TRACES
) -> tuple[str, str]:
    """Return the name of OpenTelemetry's own variable that says where a signal goes, and what it says.

    Source: OTLP exporter specification 1.45: the general endpoint gets the signal's path over HTTP, the one
    for a signal is taken as it stands.
    """
    own = _otlp_endpoint(signal)
    if target := reader.text(own):
        return own, target
    if target := reader.text(_OTLP_ENDPOINT):
        return _OTLP_ENDPOINT, f"{target.rstrip('/')}{signal.path}" if exporter == "http" else target
    return name, ""
