"""What a process says of its telemetry, and how another one asks it: over Tango itself, without a login.

The question is an entry of the ``tracestate`` that travels with a request for a device's Status; whoever runs
``tango-telemetry-server`` answers it in the Status's place. No command, attribute or property is added for
it, and a server without us gives its Status as ever.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from tango_telemetry._native import import_native
from tango_telemetry._version import VERSION
from tango_telemetry.otel.api import get_current_span
from tango_telemetry.pipeline import pipeline_stats
from tango_telemetry.pipeline.redact import redact_url
from tango_telemetry.pytango.version import tango_version
from tango_telemetry.settings.config import Endpoint
from tango_telemetry.settings.sources import read_environment, redact_setting
from tango_telemetry.settings.variables import NOT_FOR_USERS, VARIABLES
from tango_telemetry.state import state

__all__ = ["BEGINNING", "QUESTION", "create_report", "is_asked"]

QUESTION = "tango-telemetry"
"""The key in the ``tracestate`` that asks; its value is the device that is asked, in lower case.

What is called on the way to an answer has the same ``tracestate``, and another name.
"""
BEGINNING = '{"tango_telemetry": '
"""How every answer begins."""


def is_asked(device: str) -> bool:
    """Return whether the request that runs here asks for :func:`create_report`.

    :param device: the device's name in lower case
    """
    return get_current_span().get_span_context().trace_state.get(QUESTION) == device


def create_report(
    device: str,
    device_class: str,
    server: str,
    traced: bool,
    provider: Any,
    endpoints: tuple[Endpoint, ...] | None,
) -> str:
    """Return what this process does for one device, as JSON without secrets.

    :param traced: whether the device makes spans
    :param provider: its tracer provider, None if it has none yet
    :param endpoints: where its spans go; None: where the settings of the process say
    """
    config = state.config
    stats = pipeline_stats()
    made_by = type(provider).__module__.partition(".")[0] if provider is not None else ""
    return json.dumps(
        {
            "tango_telemetry": VERSION,
            "device": device,
            "device_class": device_class,
            "server": server,
            "pid": os.getpid(),
            "python": ".".join(map(str, sys.version_info[:3])),
            "pytango": ".".join(map(str, tango_version())),
            "native": getattr(import_native(), "__version__", None),
            "traced": traced and config.enabled is not False,
            "spans_by": {"tango_telemetry_native": "native", "opentelemetry": "sdk"}.get(made_by, made_by),
            "context_bridge": state.bridge.name,
            "endpoints": [
                f"{each.exporter} {redact_url(each.target)}"
                for each in (config.endpoints if endpoints is None else endpoints)
            ],
            "settings": {
                name: redact_setting(name, value)
                for name, value in read_environment().items()
                if (name in VARIABLES or name.startswith("OTEL_")) and name not in NOT_FOR_USERS
            },
            "spans": {
                name: getattr(stats, name) for name in ("made", "delivered", "queued", "spooled", "dropped")
            },
        }
    )
