"""The settings, read once into a frozen model. ``TelemetryConfig.from_env`` is pure; where values come from is separate."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tango_telemetry.base.warnings import TelemetryWarning
from tango_telemetry.pipeline import Endpoint, PipelineSettings, WireSettings
from tango_telemetry.pipeline.redact import redact_url
from tango_telemetry.settings import variables as env
from tango_telemetry.settings.exclusion import check_pattern

__all__ = [
    "Endpoint",
    "TelemetryConfig",
    "TelemetryWarning",
    "as_the_user_set_it",
    "read_environment",
    "read_note",
]

_T = TypeVar("_T")

_TRUE = frozenset({"on", "1", "true", "yes", "y"})
_FALSE = frozenset({"off", "0", "false", "no", "n", ""})
EXPORTERS = ("console", "grpc", "http", "file", "none")
_LOG_LEVELS = ("critical", "fatal", "error", "warning", "warn", "info", "debug", "notset")
BRIDGES = ("auto", "pytango", "native", "giop", "noop")
# Numbers that C takes too: the queue's in 64 bits, poll()'s milliseconds in 32.
_MOST = 10**15
_MOST_SECONDS = 10**6
# What the SDK, or opentelemetry-instrument, would do with a setting that says nothing here. None: whatever its value.
_NOT_FOLLOWED: dict[str, tuple[str | None, str]] = {
    "OTEL_CONFIG_FILE": (None, "Set the variables of tango-telemetry and OTEL_* instead, or unset it"),
    "OTEL_EXPERIMENTAL_CONFIG_FILE": (
        None,
        "Set the variables of tango-telemetry and OTEL_* instead, or unset it",
    ),
    "OTEL_PYTHON_ID_GENERATOR": (
        "random",
        "Give instrument() a tracer_provider with that id generator, or unset it",
    ),
}
_OTLP_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def _shown(value: str) -> str:
    """Give a value as it may stand in a message: bounded, without credentials."""
    shown = redact_url(value)  # before it is cut: credentials are known by the @ behind them
    return repr(shown if len(shown) <= 80 else f"{shown[:77]}...")


class _Reader:
    """Reads one mapping, notes where each value came from and collects one warning for each bad one."""

    def __init__(self, mapping: Mapping[str, str]) -> None:
        self.mapping = mapping
        self.warnings: list[str] = []

    def text(self, name: str) -> str | None:
        value = self.mapping.get(name)
        return None if value is None else value.strip()

    def switch(self, name: str, default: _T) -> bool | _T:
        value = self.text(name)
        if value is None:
            return default
        if value.lower() in _TRUE:
            return True
        if value.lower() not in _FALSE:
            self.warnings.append(
                f"{name}={_shown(value)} is neither 'on' nor 'off'; it counts as 'off'. Set it to 'on' or 'off'."
            )
        return False

    def choice(self, name: str, choices: tuple[str, ...], default: _T) -> str | _T:
        value = self.text(name)
        if not value:
            return default
        if value.lower() in choices:
            return value.lower()
        listed = ", ".join(choices)
        self.warnings.append(
            f"{name}={_shown(value)} is not one of {listed}; the default ({default or 'unset'}) is used instead."
        )
        return default

    def number(self, name: str, default: _T, convert: Callable[[str], Any] = float, most: int = _MOST) -> Any:
        value = self.text(name)
        if not value:
            return default
        try:
            number = convert(value)
            if not 0 <= number <= most:
                raise ValueError(value)
        except (ValueError, OverflowError):
            self.warnings.append(
                f"{name}={_shown(value)} is not a number from 0 to {most}; {default} is used instead."
            )
            return default
        return number

    def names(self, name: str, choices: tuple[str, ...]) -> tuple[str, ...]:
        """A comma-separated list; unknown items are left out with a warning."""
        value = self.text(name)
        if not value:
            return ()
        items = [item.strip().lower() for item in value[:4096].split(",") if item.strip()]
        if unknown := [item for item in items if item not in choices]:
            self.warnings.append(
                f"{name}: {_shown(', '.join(unknown))} is not one of {', '.join(choices)}; it is left out."
            )
        return tuple(dict.fromkeys(item for item in items if item in choices))


def _read_endpoints(reader: _Reader, exporters_name: str, endpoints_name: str) -> tuple[Endpoint, ...]:
    exporters = [
        item.strip().lower() for item in (reader.text(exporters_name) or "console")[:4096].split(",")
    ]
    targets = [item.strip() for item in (reader.text(endpoints_name) or "").split(",")]
    if len(targets) > len(exporters):
        reader.warnings.append(
            f"{endpoints_name} names {len(targets)} endpoints for {len(exporters)} exporters in {exporters_name}; "
            "those beyond are left out."
        )
    endpoints: list[Endpoint] = []
    for index, exporter in enumerate(exporters):
        target = targets[index] if index < len(targets) else ""
        endpoint = _check_endpoint(reader, exporters_name, endpoints_name, exporter, target)
        if endpoint is not None and endpoint not in endpoints:
            endpoints.append(endpoint)
    return tuple(endpoints)


def _check_endpoint(
    reader: _Reader, exporters_name: str, endpoints_name: str, exporter: str, target: str
) -> Endpoint | None:
    """Give the endpoint, or None after one warning. The program runs on without that exporter."""
    without = "No spans are sent there; the program runs on."
    if exporter == "none":
        return None
    if exporter not in EXPORTERS:
        reader.warnings.append(
            f"{exporters_name}={_shown(exporter)} is not one of {', '.join(EXPORTERS)}. {without}"
        )
        return None
    if exporter == "console":
        if target.lower() not in ("", "cout", "cerr"):
            reader.warnings.append(
                f"{endpoints_name}={_shown(target)}: 'console' knows cout and cerr; cout is used instead."
            )
            target = ""
        return Endpoint("console", target.lower() or "cout")
    if exporter == "file":
        if target:
            return Endpoint("file", target.removeprefix("file://"))
        reader.warnings.append(f"{endpoints_name} is not set, and 'file' needs a directory there. {without}")
        return None
    if not target:
        endpoints_name, target = _opentelemetrys_endpoint(reader, exporter, endpoints_name)
    if not target:
        example = "grpc://localhost:4317" if exporter == "grpc" else "http://localhost:4318/v1/traces"
        reader.warnings.append(
            f"{endpoints_name} is not set, and {exporter!r} needs a URL there, such as {example}. {without}"
        )
        return None
    schemes = ("grpc", "grpcs", "http", "https") if exporter == "grpc" else ("http", "https")
    try:
        parts = urlsplit(target)
        good = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        # Without a scheme OTEL_EXPORTER_OTLP_INSECURE decides about TLS, as in the SDK.
        good = good or (exporter == "grpc" and endpoints_name in _OTLP_ENDPOINTS and "://" not in target)
    except ValueError:
        good = False
    if not good or len(target) > 2048:
        reader.warnings.append(
            f"{endpoints_name}={_shown(target)} is not a URL that {exporter!r} can use ({', '.join(s + '://' for s in schemes)}). {without}"
        )
        return None
    return Endpoint(exporter, target)


def _opentelemetrys_endpoint(reader: _Reader, exporter: str, endpoints_name: str) -> tuple[str, str]:
    """Give where OpenTelemetry's own variables say that spans go, with the name of the one that says it.

    Source: OTLP exporter specification 1.45: the general endpoint gets the signal's path over HTTP, the one for traces
    is taken as it stands.
    """
    for_traces, general = _OTLP_ENDPOINTS
    if target := reader.text(for_traces):
        return for_traces, target
    if target := reader.text(general):
        return general, f"{target.rstrip('/')}/v1/traces" if exporter == "http" else target
    return endpoints_name, ""


@dataclass(frozen=True)
class TelemetryConfig:
    """The settings of telemetry in this process. Made by :meth:`from_env`, changed only by :func:`configure`.

    ``enabled`` is None where ``TANGO_TELEMETRY_ENABLE`` is not set: an explicit ``instrument()`` then still traces.
    Times are in seconds, sizes in bytes. ``problems`` holds one line for each setting that could not be used.
    """

    enabled: bool | None = None
    endpoints: tuple[Endpoint, ...] = (Endpoint("console", "cout"),)
    kernel: bool | None = None
    types: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    client_service_name: str = "pytango.client"
    span_processor: str | None = None
    patching_disabled: bool = False
    context_bridge: str = "auto"
    native_spans: bool = True
    native_calls: bool = True
    capture_arguments: bool = False
    exclude: tuple[str, ...] = ()
    polling: bool = True
    state_status: bool = True
    traces_per_second: float | None = None
    propagators: tuple[str, ...] = ("tracecontext", "baggage")
    pipeline: PipelineSettings = PipelineSettings()
    problems: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_env(cls, mapping: Mapping[str, str]) -> TelemetryConfig:
        """Parse the settings from a mapping such as ``os.environ``. Pure: reads nothing else, raises nothing.

        Both families of Tango's variables are read; where both are set, 10.3's wins, as in cppTango 10.3.
        """
        mapping = as_the_user_set_it(mapping)
        reader = _Reader(mapping)
        newer = env.TANGO_TELEMETRY_TRACING_EXPORTERS in mapping or (
            env.TANGO_TELEMETRY_TRACING_ENDPOINTS in mapping
            and env.TANGO_TELEMETRY_TRACES_EXPORTER not in mapping
        )
        exporters, targets = (
            (env.TANGO_TELEMETRY_TRACING_EXPORTERS, env.TANGO_TELEMETRY_TRACING_ENDPOINTS)
            if newer
            else (env.TANGO_TELEMETRY_TRACES_EXPORTER, env.TANGO_TELEMETRY_TRACES_ENDPOINT)
        )
        enabled = reader.switch(env.TANGO_TELEMETRY_ENABLE, None)
        if enabled is False and env.TANGO_TELEMETRY_ENABLE not in mapping:
            enabled = None
        _check_followed(reader)
        return cls(
            enabled=enabled,
            # A process with telemetry off must not be bothered about where spans would have gone.
            endpoints=_read_endpoints(reader, exporters, targets) if enabled is not False else (),
            kernel=reader.switch(env.TANGO_TELEMETRY_KERNEL_ENABLE, None),
            types=reader.names(env.TANGO_TELEMETRY_TYPES, ("tracing", "logging", "none")),
            topics=reader.names(env.TANGO_TELEMETRY_TOPICS, ("all", "user", "polling", "events", "database")),
            client_service_name=(reader.text(env.PYTANGO_TELEMETRY_CLIENT_SERVICE_NAME) or "pytango.client")[
                :256
            ],
            span_processor=reader.choice(
                env.PYTANGO_TELEMETRY_SPAN_PROCESSOR_TYPE, ("simple", "batch"), None
            ),
            patching_disabled=reader.switch(env.PYTANGO_DISABLE_TELEMETRY_PATCHING, False),
            context_bridge=reader.choice(env.PYTANGO_TELEMETRY_CONTEXT_BRIDGE, BRIDGES, "auto"),
            native_spans=reader.switch(env.PYTANGO_TELEMETRY_NATIVE_SPANS, True),
            native_calls=reader.switch(env.PYTANGO_TELEMETRY_NATIVE_CALLS, True),
            capture_arguments=reader.switch(env.PYTANGO_TELEMETRY_CAPTURE_ARGUMENTS, False),
            exclude=_read_exclusion(reader),
            polling=reader.switch(env.PYTANGO_TELEMETRY_POLLING, True),
            state_status=reader.switch(env.PYTANGO_TELEMETRY_STATE_STATUS, True),
            traces_per_second=reader.number(env.PYTANGO_TELEMETRY_TRACES_PER_SECOND, None),
            propagators=_read_propagators(reader),
            pipeline=_read_pipeline_settings(reader),
            problems=tuple(reader.warnings),
        )


def _read_exclusion(reader: _Reader) -> tuple[str, ...]:
    """The patterns of what is not traced; one that says nothing is left out with a warning."""
    text = (reader.text(env.PYTANGO_TELEMETRY_EXCLUDE) or "")[:65536]
    patterns = []
    for item in (part.strip().lower() for part in text.split(",")):
        problem = check_pattern(item) if item else None
        if problem is not None:
            reader.warnings.append(f"{env.PYTANGO_TELEMETRY_EXCLUDE}: {problem}; it is left out.")
        elif item:
            patterns.append(item)
    return tuple(patterns)


def _check_followed(reader: _Reader) -> None:
    """Say which settings of OpenTelemetry's are not followed: their users must not believe that they are."""
    for name, (default, advice) in _NOT_FOLLOWED.items():
        value = reader.text(name)
        if value and value != default:
            reader.warnings.append(
                f"{name}={_shown(value)} is not followed by the tracer providers of tango-telemetry, only by one that the "
                f"program, or opentelemetry-instrument, has made from it. {advice}."
            )


def _read_propagators(reader: _Reader) -> tuple[str, ...]:
    """What travels with a call. The names and the default are OpenTelemetry's; ``none`` is alone."""
    text = reader.text("OTEL_PROPAGATORS")
    if text is None or not text:
        return ("tracecontext", "baggage")
    listed = tuple(dict.fromkeys(item.strip().lower() for item in text[:4096].split(",") if item.strip()))
    return () if "none" in listed else listed


def _read_pipeline_settings(reader: _Reader) -> PipelineSettings:
    """The bounds of the span pipeline; those that OpenTelemetry's SDK defines are in milliseconds there."""
    default = PipelineSettings()

    def at_least_one(name: str, value: int) -> int:
        return max(1, int(reader.number(name, value, int)))

    def milliseconds(name: str, value: float) -> float:
        return max(1e-3, float(reader.number(name, value * 1000, most=_MOST_SECONDS * 1000)) / 1000)

    def seconds(name: str, value: float) -> float:
        return float(reader.number(name, value, most=_MOST_SECONDS))

    timeout = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"
    return PipelineSettings(
        max_queue_spans=at_least_one("OTEL_BSP_MAX_QUEUE_SIZE", default.max_queue_spans),
        max_queue_bytes=at_least_one(env.PYTANGO_TELEMETRY_QUEUE_MAX_BYTES, default.max_queue_bytes),
        max_batch_spans=at_least_one("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", default.max_batch_spans),
        schedule_delay=milliseconds("OTEL_BSP_SCHEDULE_DELAY", default.schedule_delay),
        # seconds in the Python SDK's exporters (1.45), milliseconds in the specification: the SDK's meaning is kept
        export_timeout=max(
            1e-3,
            seconds(
                timeout if reader.text(timeout) else "OTEL_EXPORTER_OTLP_TIMEOUT", default.export_timeout
            ),
        ),
        shutdown_timeout=seconds(env.PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT, default.shutdown_timeout),
        spool_dir=reader.text(env.PYTANGO_TELEMETRY_SPOOL_DIR) or "",
        spool_max_bytes=at_least_one(env.PYTANGO_TELEMETRY_SPOOL_MAX_BYTES, default.spool_max_bytes),
        max_batch_bytes=at_least_one(env.PYTANGO_TELEMETRY_BATCH_MAX_BYTES, default.max_batch_bytes),
        retry_max=max(1e-3, seconds(env.PYTANGO_TELEMETRY_RETRY_MAX, default.retry_max)),
        spool_file_bytes=at_least_one(env.PYTANGO_TELEMETRY_SPOOL_FILE_BYTES, default.spool_file_bytes),
        file_max_bytes=at_least_one(env.PYTANGO_TELEMETRY_FILE_MAX_BYTES, default.file_max_bytes),
        file_max_count=at_least_one(env.PYTANGO_TELEMETRY_FILE_MAX_COUNT, default.file_max_count),
        wire=WireSettings.from_env(reader.mapping),
        sdk_log_level=reader.choice(env.PYTANGO_TELEMETRY_SDK_LOG_LEVEL, _LOG_LEVELS, ""),
    )


def read_note(mapping: Mapping[str, str]) -> dict[str, tuple[str, str | None]]:
    """Give what a process handed to cppTango through the environment (see ``_cpptango``), and what the user had there."""
    try:
        note = json.loads(mapping.get(env.PYTANGO_TELEMETRY_HANDED_ON) or "{}")
        return {
            str(name): (str(given), None if original is None else str(original))
            for name, (given, original) in note.items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}


def as_the_user_set_it(mapping: Mapping[str, str]) -> Mapping[str, str]:
    """Undo what this process or its parent handed to cppTango through the environment."""
    note = read_note(mapping)
    if not note:
        return mapping
    restored = dict(mapping)
    for name, (given, original) in note.items():
        if restored.get(name, "") != given:
            continue  # somebody has set it since: that is the user's word
        if original is None:
            restored.pop(name, None)
        else:
            restored[name] = original
    return restored


def _read_tangorc(path: Path) -> dict[str, str]:
    """Read ``NAME=value`` lines as cppTango's ``ApiUtil::get_env_var`` does (10.3): ``#`` starts a comment."""
    values: dict[str, str] = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")[:1_000_000]
    except OSError:
        return values
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator and not name.lstrip().startswith("#") and "TELEMETRY" in name.upper():
            values[name.strip().upper()] = (
                value.split("#", 1)[0].strip() if "://" not in value else value.strip()
            )
    return values


def tangorc_paths() -> tuple[Path, ...]:
    """The files that cppTango 10.3 looks a variable up in when the environment has it not, first one first."""
    return (Path(os.path.expanduser("~/.tangorc")), Path("/etc/tangorc"))


def read_environment() -> dict[str, str]:
    """Give the environment of the process, as the user set it, over what the tangorc files say about telemetry."""
    merged: dict[str, str] = {}
    for path in reversed(tangorc_paths()):
        merged.update(_read_tangorc(path))
    merged.update(as_the_user_set_it(os.environ))
    merged.pop(env.PYTANGO_TELEMETRY_HANDED_ON, None)
    return merged
