"""Where spans go: which of Tango's two families of variables counts, and which exporter has which endpoint.

Tango 10.0 has one exporter and one endpoint, Tango 10.3 comma-separated lists under other names. Which family
the user speaks, and how a list of exporters goes with a list of endpoints, is decided here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from tango_telemetry.pipeline import Endpoint
from tango_telemetry.settings import variables as env
from tango_telemetry.settings.reader import Reader, show_value

__all__ = ["EXPORTERS", "LOGS", "TRACES", "Family", "choose_family", "pair", "read_endpoints"]

EXPORTERS: Final = ("console", "grpc", "http", "file", "none")
_OTLP_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
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
# Where the built-in tracing of PyTango 10.3.1 sends to if an exporter has no endpoint.
_LOCAL: Final = {"grpc": "grpc://localhost:4317", "http": "http://localhost:4318/v1/traces"}
_WITHOUT: Final = "No spans are sent there; the program runs on."


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


def read_endpoints(reader: Reader) -> tuple[Endpoint, ...]:
    """Return where spans go; an endpoint that cannot be used is left out after one warning.

    Where no variable of Tango's says it, OpenTelemetry's do, and where none of these is set either, it is the
    console, as in cppTango.
    """
    family = choose_family(reader.mapping)
    endpoints = reader.text(family.endpoints) or ""
    exporters = reader.text(family.exporters)
    pairs = pair(exporters or ("console" if endpoints else _opentelemetrys_exporter(reader)), endpoints)
    if (given := endpoints.count(",") + 1) > len(pairs):
        reader.warnings.append(
            f"{family.endpoints} names {given} endpoints for {len(pairs)} exporters in {family.exporters}; "
            "those beyond are left out."
        )
    found = (_check_endpoint(reader, family, exporter, target) for exporter, target in pairs)
    return tuple(dict.fromkeys(endpoint for endpoint in found if endpoint is not None))


def _check_endpoint(reader: Reader, family: Family, exporter: str, target: str) -> Endpoint | None:
    """Return the endpoint, or None after one warning. The program runs on without that exporter."""
    if exporter == "none":
        return None
    if exporter not in EXPORTERS:
        reader.warnings.append(
            f"{family.exporters}={show_value(exporter)} is not one of {', '.join(EXPORTERS)}. {_WITHOUT}"
        )
        return None
    if exporter == "console":
        if target.lower() not in ("", "cout", "cerr"):
            reader.warnings.append(
                f"{family.endpoints}={show_value(target)}: 'console' knows cout and cerr; cout is used "
                "instead."
            )
            target = ""
        return Endpoint("console", target.lower() or "cout")
    if exporter == "file":
        if target:
            return Endpoint("file", target.removeprefix("file://"))
        reader.warnings.append(
            f"{family.endpoints} is not set, and 'file' needs a directory there. {_WITHOUT}"
        )
        return None
    return _check_url(reader, family.endpoints, exporter, target)


def _check_url(reader: Reader, name: str, exporter: str, target: str) -> Endpoint | None:
    if not target:
        name, target = _opentelemetrys_endpoint(reader, exporter, name)
    target = target or _LOCAL[exporter]
    schemes = ("grpc", "grpcs", "http", "https") if exporter == "grpc" else ("http", "https")
    try:
        parts = urlsplit(target)
        good = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        # Without a scheme OTEL_EXPORTER_OTLP_INSECURE decides about TLS, as in the SDK.
        good = good or (exporter == "grpc" and name in _OTLP_ENDPOINTS and "://" not in target)
    except ValueError:
        good = False
    if not good or len(target) > 2048:
        listed = ", ".join(f"{scheme}://" for scheme in schemes)
        reader.warnings.append(
            f"{name}={show_value(target)} is not a URL that {exporter!r} can use ({listed}). {_WITHOUT}"
        )
        return None
    return Endpoint(exporter, target)


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


def _opentelemetrys_endpoint(reader: Reader, exporter: str, name: str) -> tuple[str, str]:
    """Return the name of OpenTelemetry's own variable that says where spans go, and what it says.

    Source: OTLP exporter specification 1.45: the general endpoint gets the signal's path over HTTP, the one
    for traces is taken as it stands.
    """
    for_traces, general = _OTLP_ENDPOINTS
    if target := reader.text(for_traces):
        return for_traces, target
    if target := reader.text(general):
        return general, f"{target.rstrip('/')}/v1/traces" if exporter == "http" else target
    return name, ""
