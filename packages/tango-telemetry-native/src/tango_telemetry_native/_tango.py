"""Where PyTango's extension module was loaded from, without importing PyTango."""

from __future__ import annotations

import sys
from types import ModuleType

EXTENSION = "tango._tango"


def get_extension() -> ModuleType | None:
    """Return PyTango's extension module if this process has imported it; its name is the same from 9.3.6 to
    10.3.1.
    """
    return sys.modules.get(EXTENSION)


def get_extension_path() -> str:
    """Return the file of PyTango's extension module, "" if PyTango is not imported."""
    return getattr(get_extension(), "__file__", None) or ""
