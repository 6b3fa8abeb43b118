from __future__ import annotations
from pathlib import Path
from ._tree import Forest
def write_page(path: Path, forest: Forest) -> None:
    path.write_text("")
