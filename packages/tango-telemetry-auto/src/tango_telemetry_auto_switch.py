"""Switches tango-telemetry on when a program imports ``tango``, as if the program's first line imported our
packages.

``tango_telemetry_server`` imports ``tango`` itself, in its own way, and the program's import then gets that
module. ``importlib.util.find_spec("tango")`` only looks, and switches nothing on. Where no setting asks for
telemetry nothing of ours is loaded, and no class of PyTango's is touched.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

__all__ = ["find_tango", "switch_on"]

_PACKAGES = ("tango_telemetry_server", "tango_telemetry_client")
_ENABLE = "TANGO_TELEMETRY_ENABLE"
_OFF = ("off", "0", "false", "no", "n", "")


def find_tango(finder: Any, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    """Return what the finders behind ``finder`` find, with :class:`TangoLoader` around its loader."""
    finders = list(sys.meta_path)
    behind = finders[finders.index(finder) + 1 :] if finder in finders else finders
    for other in behind:
        find = getattr(other, "find_spec", None)
        spec: ModuleSpec | None = find("tango", path, target) if find is not None else None
        if spec is not None:
            if hasattr(spec.loader, "exec_module"):  # else a namespace, or a loader of the old kind
                spec.loader = cast("Any", TangoLoader(spec.loader, finder))
            return spec
    return None


class TangoLoader:
    """Loads ``tango`` once: by switching telemetry on, which imports it, or as it is loaded without us."""

    def __init__(self, loader: Any, finder: Any) -> None:
        self._loader = loader
        self._finder = finder
        self._loaded: ModuleSpec | None = None

    def __getattr__(self, name: str) -> Any:
        if name in ("_loader", "_finder", "_loaded"):  # a copy that is being made has them not yet
            raise AttributeError(name)
        return getattr(self._loader, name)  # resources, source and whatever else is asked of a loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return ``tango`` where switching telemetry on has imported it; else what its own loader makes."""
        # The import lock of `tango` is this thread's, which may take it again; other threads wait for the
        # whole.
        if self._finder in sys.meta_path:  # else what switches telemetry on would come here again
            sys.meta_path.remove(self._finder)
        switch_on()
        module = sys.modules.get("tango")
        if module is not None:
            self._loaded = module.__spec__
            return module
        spec.loader = self._loader
        found: ModuleType | None = self._loader.create_module(spec)
        return found

    def exec_module(self, module: ModuleType) -> None:
        """Execute ``tango``, unless that has been done."""
        if self._loaded is None:
            self._loader.exec_module(module)
        else:
            # The import system has written the specification of the program's own import there (CPython 3.10
            # to 3.14).
            module.__spec__ = self._loaded
            module.__loader__ = self._loaded.loader


def switch_on() -> None:
    """Import what traces devices and clients, if the settings ask for it. Never raises."""
    try:
        if not _is_asked_for():
            return
        from tango_telemetry import get_config

        config = get_config()
        if config.patching_disabled:
            return
        # A program that PYTANGO_TELEMETRY_SERVERS leaves out has PyTango's own tracing switched off as well.
        for name in _PACKAGES if config.enabled else _PACKAGES[1:]:
            __import__(name)
    except Exception as error:
        _say(error)


def _is_asked_for() -> bool:
    """Return whether a setting asks for telemetry here: to read them all costs 20 ms, in programs that are
    not traced too.
    """
    # Written out: what knows the words `on` and `off` in all their forms is in the package that is not loaded
    # yet.
    if os.environ.get("PYTANGO_TELEMETRY_AUTO", "on").strip().lower() in _OFF:
        return False
    if _ENABLE in os.environ:
        return os.environ[_ENABLE].strip().lower() not in _OFF
    return any(map(_names_telemetry, (os.path.expanduser("~/.tangorc"), "/etc/tangorc")))


def _names_telemetry(path: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return _ENABLE in file.read(1_000_000).upper()
    except OSError:
        return False


def _say(error: Exception) -> None:
    """Say once, on standard error, that this program is not traced, why, and what to type."""
    text = f"tango-telemetry-auto: this program is not traced: {type(error).__name__}: {error}. "
    if sys.stderr is not None:
        sys.stderr.write(text + "Type: pip check; or export PYTANGO_TELEMETRY_AUTO=off\n")
