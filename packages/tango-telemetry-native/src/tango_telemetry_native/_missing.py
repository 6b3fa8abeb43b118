"""What an installation without the extension modules lacks.

Where the extension modules could not be compiled, pip installs a wheel without them (``pyproject.toml``), so
that everything else of ``tango-telemetry[full]`` is installed all the same.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

__all__ = ["what_is_missing"]

# Without the cache, where pip keeps the wheel that it made without a compiler.
_BUILD_AGAIN = "pip install --force-reinstall --no-cache-dir --no-deps tango-telemetry-native"
_MODULES = ("tango_telemetry_native._bridge", "tango_telemetry_native._spans")


def what_is_missing() -> str:
    """Return "" where the extension modules are there, else what is missing and what to do, as one line."""
    if all(name in sys.modules or importlib.util.find_spec(name) for name in _MODULES):
        return ""
    if sys.platform != "linux":
        return f"it was installed without its extension modules, which need Linux; this is {sys.platform}"
    missing = []
    if not _has_compiler():
        missing.append("a C++17 compiler (Debian: g++)")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        missing.append("Python's headers (Debian: python3-dev)")
    need = f"Install {' and '.join(missing)}. " if missing else ""
    return (
        "it was installed without its extension modules, which could not be compiled. "
        f"{need}Type: {_BUILD_AGAIN}"
    )


def _has_compiler() -> bool:
    # scikit-build-core 1.1 takes the one that the interpreter was built with, where $CXX names none.
    named = os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++"
    return shutil.which(shlex.split(named)[0]) is not None
