"""What PyTango's built-in tracing does with each variable, and what we do: the table of
docs/reference/built-in.md.

`tests/docs/test_reference.py` looks the names up in what is installed, so that none is forgotten; the cells
about exporters, endpoints, services and tangorc are tried by tests/integration/test_built_in.py, with the
same program under both; those about logs are what tests/unit/test_cpptango.py asserts.
"""

from __future__ import annotations

SAME = "same"

BUILT_IN = {
    "TANGO_TELEMETRY_ENABLE": ("`on` traces; from the environment", "same, and from `tangorc`"),
    "TANGO_TELEMETRY_TRACING_EXPORTERS": (
        "`console` (default), `grpc`, `http`, comma-separated; with `none` and with any other word cppTango "
        "raises `DevFailed` at each `DeviceProxy`",
        "same, and `none`, `file`; another one sends nothing, with a warning",
    ),
    "TANGO_TELEMETRY_TRACING_ENDPOINTS": (
        "unset: `cout`, `grpc://localhost:4317`, `http://localhost:4318/v1/traces`",
        "same; where no variable of Tango's names an exporter or endpoint, `OTEL_EXPORTER_OTLP_…` serve",
    ),
    "TANGO_TELEMETRY_TRACES_EXPORTER": (
        "10.0's name: a DeprecationWarning, not followed",
        "followed, unless 10.3's is set",
    ),
    "TANGO_TELEMETRY_TRACES_ENDPOINT": (
        "10.0's name: a DeprecationWarning, not followed",
        "followed, unless 10.3's is set",
    ),
    "TANGO_TELEMETRY_KERNEL_ENABLE": (
        "10.0's name, not known: kernel spans are left to topics",
        "`on`: cppTango's own spans are in the trace; else they are not where the context travels without "
        "them",
    ),
    "TANGO_TELEMETRY_TYPES": (
        "unset: traces and logs",
        "unset: traces, and logs where log exporters are named; else same",
    ),
    "TANGO_TELEMETRY_TOPICS": ("which spans cppTango makes", "same, with `TANGO_TELEMETRY_KERNEL_ENABLE=on`"),
    "TANGO_TELEMETRY_LOGGING_EXPORTERS": (
        "cppTango's log records; `none` ends the process",
        "same; what cppTango cannot parse is kept from it, with `none` there are no log records",
    ),
    "TANGO_TELEMETRY_LOGGING_ENDPOINTS": (
        "unset: `cout`, `grpc://localhost:4317`, `http://localhost:4318/v1/logs`",
        SAME,
    ),
    "TANGO_TELEMETRY_LOGS_EXPORTER": (
        "10.0's name: a DeprecationWarning, not followed",
        "followed, unless 10.3's is set",
    ),
    "TANGO_TELEMETRY_LOGS_ENDPOINT": (
        "10.0's name: a DeprecationWarning, not followed",
        "followed, unless 10.3's is set",
    ),
    "PYTANGO_TELEMETRY_CLIENT_SERVICE_NAME": (
        "service of all client calls, a device's too; unset: `pytango.client`",
        "service of those outside devices' handlers; unset: the server in a device server, else "
        "`pytango.client`",
    ),
    "PYTANGO_TELEMETRY_SPAN_PROCESSOR_TYPE": (
        "`simple` or `batch`; unset: batch, but simple for `console`",
        SAME,
    ),
    "PYTANGO_TELEMETRY_SDK_LOG_LEVEL": ("level of the SDK's loggers", SAME),
    "PYTANGO_TELEMETRY_SDK_LOGGER_NAMES": ("which loggers that are", "not followed: the SDK's and our own"),
    "PYTANGO_TELEMETRY_EMIT_KERNEL_SPANS": (
        "`on`: cppTango's spans around PyTango's client calls",
        "not followed: `TANGO_TELEMETRY_KERNEL_ENABLE=on`",
    ),
    "PYTANGO_DISABLE_TELEMETRY_PATCHING": ("`on`: PyTango patches nothing", "same, and ours nothing either"),
}
"""The variable, PyTango 10.3.1's meaning, ours."""


def built_in_page(note: str) -> str:
    """Return docs/reference/built-in.md."""
    rows = "\n".join(f"| `{name}` | {theirs} | {ours} |" for name, (theirs, ours) in BUILT_IN.items())
    return (
        "# Beside the built-in tracing\n\n"
        f"{note}\nEach variable that Tango or PyTango knows, what PyTango 10.3.1 does with it by itself, and "
        "what happens with "
        "tango-telemetry.\n\n| variable | built-in, PyTango 10.3.1 | with tango-telemetry |\n|---|---|---|\n"
        f"{rows}\n"
    )
