from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["install", "is_installed", "uninstall"]

class TangoFinder:
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None: ...

def install() -> None: ...
def uninstall() -> None: ...
def is_installed() -> bool: ...
