"""The one gateway to ``tango_telemetry_native``: whether it is there, whether it fits, and its parts.

It is optional, and imported by name only here, so that a core without it is whole.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from tango_telemetry.base.warnings import quiet_warnings, warn
from tango_telemetry.settings.config import TelemetryConfig

__all__ = [
    "NATIVE_ABI_VERSION",
    "command_for_native",
    "import_native",
    "load_native_calls",
    "load_native_events",
    "load_native_metrics",
    "load_native_spans",
    "release_native",
    "what_brings_native",
    "why_no_native",
]

NATIVE_ABI_VERSION = 9
"""The version of the native package's interface that this core works with."""

_native_reasons: list[str] = []


def load_native_spans(config: TelemetryConfig) -> Any:
    """Return the module that records spans in C++, None where it is not installed or not wanted."""
    return _load_native("spans") if config.native_spans else None


def load_native_calls(config: TelemetryConfig) -> Any:
    """Return the module that begins and ends calls in C++, whoever makes their spans; None where that is not
    wanted.
    """
    return _load_native("calls") if config.native_calls else None


def load_native_events(config: TelemetryConfig) -> Any:
    """Return the module that has events carry contexts; None where it is not installed or not wanted."""
    return _load_native("events") if config.event_context else None


def load_native_metrics() -> Any:
    """Return the module that counts calls in C++; None where it is not installed."""
    return _load_native("metrics")


def _load_native(module: str) -> Any:
    if import_native() is None:
        return None
    try:
        with quiet_warnings():
            return importlib.import_module(f"tango_telemetry_native.{module}")
    except ImportError:
        return None


def release_native() -> None:
    """Leave the client identification to cppTango again."""
    native = sys.modules.get("tango_telemetry_native")
    identification = getattr(native, "identification", None)
    if identification is not None:
        identification.disable()


def import_native() -> Any:
    """Return the native package, or None.

    One that is installed and cannot be used here is refused, with one warning for each process. One that was
    installed without its extension modules counts as not installed: pip has said so.
    """
    try:
        with quiet_warnings():
            native = importlib.import_module("tango_telemetry_native")
    except ImportError as error:
        if error.name != "tango_telemetry_native":
            _refuse_native(str(error))
        elif not isinstance(error, ModuleNotFoundError):
            _native_reasons[:] = [str(error)]
        return None
    found = getattr(native, "ABI_VERSION", None)
    if found != NATIVE_ABI_VERSION:
        _refuse_native(
            f"it has interface version {found}, this core needs {NATIVE_ABI_VERSION}. "
            'Type: pip install --upgrade "tango-telemetry[full]"'
        )
        return None
    return native


def why_no_native() -> str:
    """Return why :func:`import_native` gave None."""
    return (
        f"tango-telemetry-native is not used: {_native_reasons[-1]}"
        if _native_reasons
        else "tango-telemetry-native is not installed"
    )


def what_brings_native() -> str:
    """Return what would bring the native package, as a sentence, where :func:`import_native` gave None."""
    if _native_reasons:
        return why_no_native()
    command = command_for_native()
    return f"Type: {command}" if command else f"There is no native package for {sys.platform}."


def command_for_native() -> str:
    """Return what to type for the native package, where :func:`import_native` gave None.

    It is "" where nothing helps.
    """
    reason = _native_reasons[-1] if _native_reasons else ""
    if reason or sys.platform != "linux":
        return reason.partition("Type: ")[2]
    return "pip install tango-telemetry-native"


def _refuse_native(reason: str) -> None:
    if reason not in _native_reasons:
        _native_reasons.append(reason)
        warn(f"tango-telemetry-native is not used: {reason}", 3)
