"""tango-telemetry's core: settings, tracer providers and tracers, and what goes with them.

A script needs ``import tango_telemetry_client``, a device server ``import tango_telemetry_server``. This
package is for spans of your own and for settings at run time, and ``Span``, ``Tracer`` and ``TracerProvider``
are OpenTelemetry's classes where they are installed and stubs of the same shape where not; everything a user
may import is listed in ``__all__``.

PYTEST_DONT_REWRITE: pytest marks what a plugin's distribution holds for rewriting, and warns of what was
imported before it (9.2), which ends a session under ``filterwarnings = error``. This word, in this place,
says that there is nothing to rewrite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tango_telemetry._version import VERSION as __version__
from tango_telemetry.activation import configure
from tango_telemetry.otel.api import Span, Tracer, TracerProvider
from tango_telemetry.pipeline import pipeline_stats
from tango_telemetry.providers.tracers import (
    TracerProviderFactory,
    create_tracer_provider,
    get_client_tracer,
    get_tracer,
    get_tracer_provider_factory,
    set_tracer_provider_factory,
)
from tango_telemetry.settings.config import Endpoint, TelemetryConfig, TelemetryWarning
from tango_telemetry.state import get_config, get_context_bridge
from tango_telemetry.threads import carry_context, instrument_threads, uninstrument_threads

if TYPE_CHECKING:
    from tango_telemetry.logs.text import LOG_FORMAT, TraceContextFilter

__all__ = [
    "LOG_FORMAT",
    "Endpoint",
    "Span",
    "TelemetryConfig",
    "TelemetryWarning",
    "TraceContextFilter",
    "Tracer",
    "TracerProvider",
    "TracerProviderFactory",
    "__version__",
    "carry_context",
    "configure",
    "create_tracer_provider",
    "get_client_tracer",
    "get_config",
    "get_context_bridge",
    "get_tracer",
    "get_tracer_provider_factory",
    "instrument_threads",
    "pipeline_stats",
    "set_tracer_provider_factory",
    "uninstrument_threads",
]


def __getattr__(name: str) -> Any:
    # What most programs do not need is imported when it is asked for.
    if name in ("LOG_FORMAT", "TraceContextFilter"):
        from tango_telemetry.logs import text

        return getattr(text, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
