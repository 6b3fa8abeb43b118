"""Which bridge carries the context and which tracer provider makes spans: tracing is switched on for a moment
and asked.
"""

from __future__ import annotations

import dataclasses
import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from tango_telemetry import Endpoint, TelemetryConfig, create_tracer_provider, get_context_bridge
from tango_telemetry.diagnosis import (
    activate,
    command_for_native,
    deactivate,
    import_native,
    load_native_spans,
    why_no_native,
)
from tango_telemetry.diagnosis import (
    variables as env,
)

from .model import Context, Diagnosis
from .settings import name_variable

_CARRIERS = {
    "pytango": "cppTango's client identification (IDL v6), through PyTango's own binding",
    "native": "cppTango's client identification (IDL v6), through the native package",
    "giop": "GIOP service contexts, which reach Tango 9 too",
    "noop": "nothing",
}


def look(diagnosis: Diagnosis, config: TelemetryConfig) -> None:
    """Fill in `diagnosis.context`. Changes the environment of this process, as instrument() does."""
    installed = diagnosis.installed
    if installed is None or installed.configuration == "none" or installed.pytango is None:
        why = (
            "PyTango is missing"
            if installed and installed.pytango is None
            else "OpenTelemetry is not installed"
        )
        diagnosis.context = Context("noop", why, "none", why)
        return
    asked = dataclasses.replace(
        config, enabled=True, patching_disabled=False, endpoints=_quiet(config), problems=()
    )
    with warnings.catch_warnings(record=True) as caught, _opentelemetry_lines() as lines:
        warnings.simplefilter("always")
        active = activate(asked, None)
        bridge = get_context_bridge().name
        refused_import = _why_cpptango_answers(bridge)
        provider = create_tracer_provider("tango-telemetry doctor", endpoints=_stand_ins(config))
        if active:
            deactivate()
        _try_propagators(lines)
    for line in lines:
        diagnosis.warn(*name_variable(diagnosis, line))
    name, reason = _provider(type(provider), config)
    refused = name == "none" and bool(config.endpoints) and installed.configuration == "full"
    if refused:
        reason = "OpenTelemetry's SDK does not take its settings"
    for warning in caught:
        text, _, command = str(warning.message).partition(" Type: ")
        note = diagnosis.error if refused else diagnosis.warn
        note(text, command or diagnosis.unset(env.PYTANGO_TELEMETRY_CONTEXT_BRIDGE))
    if not active:
        diagnosis.error(f"PyTango {installed.pytango} cannot be traced", "pip install --upgrade pytango")
    diagnosis.context = Context(bridge, _bridge_reason(bridge, config) + refused_import, name, reason)
    if bridge == "noop":
        diagnosis.warn("no bridge: each process makes traces of its own", _get_a_bridge(diagnosis, config))


@contextmanager
def _opentelemetry_lines() -> Iterator[list[str]]:
    """Collect what OpenTelemetry says in its log of a setting that it does not understand; it says so nowhere
    else.
    """
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, handler = logging.getLogger("opentelemetry"), Collect(logging.WARNING)
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def _try_propagators(lines: list[str]) -> None:
    """OpenTelemetry's own module for them cannot be imported if there is one that it does not know (API
    1.45).
    """
    try:
        importlib.import_module("opentelemetry.propagate")
    except ValueError as error:
        lines[:] = [*(line for line in lines if "propagator" not in line.lower()), str(error)]


def _get_a_bridge(diagnosis: Diagnosis, config: TelemetryConfig) -> str:
    if config.context_bridge == "noop":
        return diagnosis.unset(env.PYTANGO_TELEMETRY_CONTEXT_BRIDGE)
    if not set(config.propagators) - {"baggage"}:
        return diagnosis.unset("OTEL_PROPAGATORS")
    return command_for_native()


def _stand_ins(config: TelemetryConfig) -> tuple[Endpoint, ...]:
    """As many endpoints as there are, of kinds that the choice is made by, without making a folder
    for files.
    """
    nowhere = Endpoint("http", "http://localhost:4318/v1/traces")
    return tuple(nowhere if endpoint.exporter == "file" else endpoint for endpoint in config.endpoints)


def _quiet(config: TelemetryConfig) -> tuple[Endpoint, ...]:
    return tuple(endpoint for endpoint in config.endpoints if endpoint.exporter != "console")


def _bridge_reason(bridge: str, config: TelemetryConfig) -> str:
    carriers = " and ".join(_CARRIERS.get(part, part) for part in bridge.split("+"))
    forced = (
        f"; {env.PYTANGO_TELEMETRY_CONTEXT_BRIDGE}={config.context_bridge}"
        if config.context_bridge != "auto"
        else ""
    )
    if "giop" in bridge.split("+"):
        return carriers + forced
    return f"{carriers}{forced}; no GIOP: {_why_no_giop(config)}"


def _why_cpptango_answers(bridge: str) -> str:
    """Say why cppTango names spans of its own in the client identification, where the native package should
    name ours.
    """
    native = import_native() if bridge == "pytango+giop" else None
    status = native.identification.status() if native is not None else {}
    # Without a failed check it was not tried: cppTango's own spans are wanted.
    return f"; not through the native package: {status['reason']}" if status.get("tried") else ""


def _why_no_giop(config: TelemetryConfig) -> str:
    native = import_native()
    if native is None:
        return why_no_native()
    reason = str(native.giop.status()["reason"])
    return reason or f"{env.PYTANGO_TELEMETRY_CONTEXT_BRIDGE}={config.context_bridge}"


def _provider(kind: type, config: TelemetryConfig) -> tuple[str, str]:
    # The SDK's has a class of ours over it.
    modules = " ".join(base.__module__ for base in kind.__mro__)
    if "tango_telemetry_native" in modules:
        return "native", "spans are made in C++ by tango-telemetry-native"
    if "opentelemetry.sdk" in modules:
        return "sdk", f"OpenTelemetry's SDK makes the spans: {_why_not_native(config)}"
    if not config.endpoints:
        return "none", "there is no exporter"
    return "none", "OpenTelemetry's SDK is not installed: no span is emitted"


def _why_not_native(config: TelemetryConfig) -> str:
    if not config.native_spans:
        return f"{env.PYTANGO_TELEMETRY_NATIVE_SPANS} is off"
    if load_native_spans(config) is None:
        return why_no_native()
    if config.traces_per_second is not None:
        return f"{env.PYTANGO_TELEMETRY_TRACES_PER_SECOND} is set"
    if len(config.endpoints) > 1:
        return "there are several endpoints"
    return "the console shows the SDK's own form of a span"
