"""Keeping PyTango's own tracing out of the way while ours is on, whichever was imported first.

PyTango >= 10 traces itself. Its wrappers stay where they are, so that they are back in force after
``uninstrument()``; they are made to do nothing, and ours go around them, not through them.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from tango_telemetry.base.warnings import quiet_warnings
from tango_telemetry.otel import api as otel
from tango_telemetry.otel.noop import NoOpTracer, NoOpTracerProvider
from tango_telemetry.pytango.patching import Patches
from tango_telemetry.settings.variables import PYTANGO_DISABLE_TELEMETRY_PATCHING

__all__ = [
    "complete_pytango",
    "force_tracing_needed",
    "import_pytango",
    "leave_builtin_tracing_out",
    "silence_builtin_tracing",
]

# What PyTango says when it is imported of settings that we follow and it does not: the exporter `file` and
# 10.0's names (10.3.1). What is wrong with them we say ourselves.
_SAYS_OF_SETTINGS = (
    r"(Unknown value '.*' for TANGO_TELEMETRY_|TANGO_TELEMETRY_\w+ is deprecated|"
    r"Ignoring extra endpoint values from TANGO_TELEMETRY_)"
)


def import_pytango() -> ModuleType | None:
    """Import ``tango`` without what it says of settings that are ours to follow; None where it is not
    installed.

    :raises Exception: what the import of PyTango raises, apart from ``ImportError``
    """
    loaded = sys.modules.get("tango")
    if loaded is not None:
        return loaded
    warnings.filterwarnings("ignore", _SAYS_OF_SETTINGS)
    ours = warnings.filters[0]
    try:
        return _loaded("tango")
    finally:
        # Only ours: what the import, or another thread, has changed meanwhile stays.
        with contextlib.suppress(ValueError):
            warnings.filters.remove(ours)  # type: ignore[attr-defined]


def _loaded(name: str) -> ModuleType | None:
    # What PyTango warns of when it is loaded is no reason for its import by us to fail (10.3.1: a deprecated
    # variable).
    try:
        with quiet_warnings():
            return importlib.import_module(name)
    except ImportError:
        return None


@contextlib.contextmanager
def _nothing(*args: Any, **kwargs: Any) -> Iterator[None]:
    yield


def silence_builtin_tracing(patches: Patches) -> None:
    """Make PyTango's wrappers do nothing until ``patches`` is undone.

    Source: PyTango 10.3 keeps its state in ``tango._telemetry._telemetry_runtime``, 10.0 and 10.1 in globals
    of ``tango.utils``; 9.x has none.
    """
    telemetry = _loaded("tango._telemetry")
    runtime = getattr(telemetry, "_telemetry_runtime", None)
    if runtime is not None:
        patches.set_attribute(runtime, "_runtime_available", False)
        patches.set_attribute(runtime, "_telemetry_active", False)
        patches.set_attribute(runtime, "refresh_from_env", lambda: None)
        return
    utils = _loaded("tango.utils")
    if utils is not None and hasattr(utils, "_telemetry_active"):
        patches.set_attribute(utils, "_telemetry_active", False)
        if hasattr(utils, "_telemetry_client_tracer"):
            nothing = otel.NoOpTracerProvider().get_tracer("tango_telemetry.silenced")
            patches.set_attribute(utils, "_telemetry_client_tracer", nothing)
            patches.set_attribute(utils, "_span_to_cpptango", _nothing)


def leave_builtin_tracing_out() -> None:
    """Keep PyTango's own tracing from costing anything in a process whose telemetry is off.

    Its wrappers read a dozen variables at every client call as soon as OpenTelemetry is installed (10.3.1: a
    call takes three times as long). If PyTango is not loaded yet, it is loaded without them; if it is, they
    are silenced.
    """
    if "tango" in sys.modules:
        silence_builtin_tracing(_off)
        return
    before = os.environ.get(PYTANGO_DISABLE_TELEMETRY_PATCHING)
    os.environ[PYTANGO_DISABLE_TELEMETRY_PATCHING] = "on"
    try:
        import_pytango()
    finally:
        if before is None:
            del os.environ[PYTANGO_DISABLE_TELEMETRY_PATCHING]
        else:
            os.environ[PYTANGO_DISABLE_TELEMETRY_PATCHING] = before


_off = Patches()


def force_tracing_needed() -> bool:
    """Whether a debugger or coverage run needs PyTango's wrapper around every handler (9.3 to 10.3)."""
    for name in ("tango._instrumentation", "tango.utils"):
        module = sys.modules.get(name)
        for flag in (
            "_traced_coverage_run_active",
            "_traced_debug_run_active",
            "_coverage_run_active",
            "_debug_run_active",
        ):
            if getattr(module, flag, False):
                return True
    return False


def complete_pytango() -> None:
    """Give every PyTango the names that code written for 10.3 asks for, and stubs that can be used.

    ``tango.constants.TELEMETRY_SUPPORTED`` does not exist before 10.0. ``start_span`` of PyTango's own stub
    tracer gives None (10.0 to 10.3.1), on which ``.end()`` fails exactly when telemetry is off; ours gives a
    span. No class is changed: the stub is replaced by name in the modules that make one.
    """
    constants = _loaded("tango.constants")
    if constants is not None and not hasattr(constants, "TELEMETRY_SUPPORTED"):
        constants.TELEMETRY_SUPPORTED = False  # type: ignore[attr-defined]
    provider: Any = otel.NoOpTracerProvider if otel.API_AVAILABLE else NoOpTracerProvider
    tracer: Any = type(provider().get_tracer("")) if otel.API_AVAILABLE else NoOpTracer
    for name in ("tango._telemetry", "tango.utils", "tango.server"):
        module = sys.modules.get(name)
        for stub, ours in (("_DummyTracer", tracer), ("_DummyTracerProvider", provider)):
            if module is not None and hasattr(module, stub):
                setattr(module, stub, ours)
    _keep_beyond_the_end()


_kept = False


def _keep_beyond_the_end() -> None:
    """Give one reference away for ever, once, to a function of Boost.Python's that PyTango's C++ holds in a
    static object.

    C++ lets go of it after Python has ended. Where that is the last reference the process ends by SIGSEGV,
    and what a program does decides whether it is (PyTango 9.5.1 and 10.0.3 on Python 3.12 and 3.13, also
    without us).
    """
    global _kept
    function = getattr(_loaded("tango._tango"), "__on_callback_parent_fades", None)
    if function is not None and not _kept:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(function))
        _kept = True
