"""The settings in force, as a frozen model. What each field is read from stands in ``variables``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tango_telemetry.base.warnings import TelemetryWarning
from tango_telemetry.pipeline import LOGS, METRICS, Endpoint, PipelineSettings, WireSettings
from tango_telemetry.settings.endpoints import (
    asks_for_logs,
    read_endpoints,
    read_log_endpoints,
    read_metric_endpoints,
)
from tango_telemetry.settings.reader import Reader, show_value
from tango_telemetry.settings.sources import as_the_user_set_it
from tango_telemetry.settings.variables import NOT_FOLLOWED, OPENTELEMETRYS, VARIABLES

__all__ = ["Endpoint", "TelemetryConfig", "TelemetryWarning", "get_field"]

_PIPELINE = "pipeline."


@dataclass(frozen=True)
class TelemetryConfig:
    """The settings of telemetry in this process. Made by :meth:`from_env`, changed only by :func:`configure`.

    ``enabled`` is None where ``TANGO_TELEMETRY_ENABLE`` is not set: an explicit ``instrument()`` then still
    traces. Times are in seconds, sizes in bytes. ``problems`` holds one line for each setting that could not
    be used.
    """

    enabled: bool | None = None
    endpoints: tuple[Endpoint, ...] = (Endpoint("console", "cout"),)
    kernel: bool | None = None
    types: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    client_service_name: str = ""
    span_processor: str | None = None
    patching_disabled: bool = False
    context_bridge: str = "auto"
    native_spans: bool = True
    native_calls: bool = True
    event_context: bool = True
    event_parent: str = "link"
    capture_arguments: bool = False
    exclude: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    polling: bool = True
    state_status: bool = True
    traces_per_second: float | None = None
    logs: str = "off"
    logs_level: str = "info"
    logs_endpoints: tuple[Endpoint, ...] = ()
    logs_trace_id: bool = False
    metrics: bool = False
    metrics_interval: float = 60.0
    metrics_by_device: bool = False
    metrics_endpoints: tuple[Endpoint, ...] = ()
    propagators: tuple[str, ...] = ("tracecontext", "baggage")
    pipeline: PipelineSettings = PipelineSettings()
    problems: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_env(cls, mapping: Mapping[str, str]) -> TelemetryConfig:
        """Return the settings that a mapping such as ``os.environ`` asks for. Pure: reads nothing else,
        raises nothing.

        Both families of Tango's variables are read; where both are set, 10.3's wins, as in cppTango 10.3.
        """
        reader = Reader(as_the_user_set_it(mapping))
        values: dict[str, Any] = {}
        for variable in (*VARIABLES.values(), *OPENTELEMETRYS.values()):
            if variable.read is not None:
                default = get_field(_DEFAULTS, variable.field)
                values[variable.field] = variable.read(reader, variable.name, default)
        for name, (followed, advice) in NOT_FOLLOWED.items():
            value = (reader.text(name) or "").lower()
            if value and value != followed:
                reader.warnings.append(
                    f"{name}={show_value(value)} is not followed by the tracer providers of tango-telemetry, "
                    "only by "
                    f"one that the program, or opentelemetry-instrument, has made from it. {advice}."
                )
        bounds = {
            name.removeprefix(_PIPELINE): values.pop(name)
            for name in tuple(values)
            if name.startswith(_PIPELINE)
        }
        # A process with telemetry off must not be bothered about where spans would have gone.
        off = values["enabled"] is False
        beside = () if off else read_endpoints(reader)
        # PyTango 10.3.1 exports no span where the types leave traces out.
        endpoints = beside if not values["types"] or "tracing" in values["types"] else ()
        values["logs"] = asks_for_logs(reader, values["types"], values["logs"])
        logs_endpoints = () if off or values["logs"] == "off" else read_log_endpoints(reader, beside)
        metrics_endpoints = read_metric_endpoints(reader, beside) if values["metrics"] and not off else ()
        pipeline = PipelineSettings(
            **bounds,
            wire=WireSettings.from_env(reader.mapping),
            other_wires=tuple(
                (signal, WireSettings.from_env(reader.mapping, signal)) for signal in (LOGS, METRICS)
            ),
        )
        return cls(
            **values,
            endpoints=endpoints,
            logs_endpoints=logs_endpoints,
            metrics_endpoints=metrics_endpoints,
            pipeline=pipeline,
            problems=tuple(reader.warnings),
        )


_DEFAULTS = TelemetryConfig()


def get_field(config: TelemetryConfig, name: str) -> Any:
    """Return the value of a field as a :class:`~tango_telemetry.settings.variables.Variable` names it."""
    owner = config.pipeline if name.startswith(_PIPELINE) else config
    return getattr(owner, name.removeprefix(_PIPELINE))
