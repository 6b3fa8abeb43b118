"""What of the logs is on, following the settings."""

from __future__ import annotations

from typing import Final

from tango_telemetry.base.guard import guarded
from tango_telemetry.logs.emit import Emitter
from tango_telemetry.logs.python_logging import patch_logging
from tango_telemetry.logs.streams import patch_streams
from tango_telemetry.pytango.patching import Patches
from tango_telemetry.pytango.version import import_tango
from tango_telemetry.settings.config import TelemetryConfig

__all__ = ["switch_logs"]

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "critical": 50, "fatal": 50}

_patches = Patches()


def switch_logs(config: TelemetryConfig | None) -> None:
    """Take the logs that ``config`` asks for, and no others; None: none."""
    _patches.undo()
    if config is None or config.enabled is False:
        return
    wanted = config.logs if config.logs_endpoints else "off"
    emitter = Emitter(config) if wanted != "off" else None
    level = LEVELS[config.logs_level]
    if emitter is not None and wanted in ("logging", "all"):
        guarded(patch_logging, _patches, emitter, level)
    streams = emitter if wanted in ("streams", "all") else None
    if streams is not None or config.logs_trace_id:
        guarded(patch_streams, _patches, import_tango(), streams, level, config.logs_trace_id)
