"""Which PyTango is installed, found without importing it: an import of ``tango`` takes 0.2 s."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import sys
from typing import Any

from tango_telemetry.base.guard import log_internal_error
from tango_telemetry.pytango.builtin_tracing import import_pytango

__all__ = ["find_device_base", "import_tango", "tango_version"]


def import_tango() -> Any:
    """Return PyTango, for a process that is at work with it.

    No module of core imports it while it is loaded itself.
    """
    return importlib.import_module("tango")


def find_device_base() -> type | None:
    """Return ``tango.DeviceImpl``; None where PyTango is not loaded."""
    return getattr(sys.modules.get("tango"), "DeviceImpl", None)


def tango_version() -> tuple[int, ...]:
    """Return the version of the installed PyTango, empty if there is none.

    Imports it only where its metadata is missing, as in programs that were frozen or stripped: that says
    nothing about whether PyTango is there.
    """
    text = getattr(sys.modules.get("tango"), "__version__", None) or _version_beside_package()
    if text is None:
        # Imported only where it is needed: with what it imports itself it takes 15 ms.
        metadata = importlib.import_module("importlib.metadata")
        try:
            text = metadata.version("pytango")
        except metadata.PackageNotFoundError:
            text = _version_of_package()
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _version_of_package() -> str:
    """Ask PyTango itself; empty if it cannot be imported."""
    tango: Any = sys.modules.get("tango")
    with log_internal_error("asking PyTango for its version", foreign=True), contextlib.suppress(ImportError):
        if tango is None:
            tango = import_pytango()
        # The last is cppTango's; the two are released together.
        for place, name in (("", "__version__"), ("Release", "version"), ("constants", "TgLibVers")):
            text = getattr(getattr(tango, place, None) if place else tango, name, None)
            if isinstance(text, str) and text[:1].isdigit():
                return text
    return ""


def _version_beside_package() -> str | None:
    """Read the version off the name of the folder that pip writes beside the package; None unless there is
    just one.
    """
    spec = importlib.util.find_spec("tango")
    if spec is None or spec.origin is None:
        return None
    try:
        beside = os.listdir(os.path.dirname(os.path.dirname(spec.origin)))
    except OSError:
        return None
    found = [name for name in beside if name[:8].lower() == "pytango-" and name.endswith(".dist-info")]
    return found[0][8 : -len(".dist-info")] if len(found) == 1 else None
