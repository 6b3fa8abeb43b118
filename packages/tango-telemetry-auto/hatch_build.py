"""Puts the start files beside an editable installation; an ordinary wheel has them by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StartFiles(BuildHookInterface[Any]):
    """Adds the ``.pth`` and the ``.start`` file to editable wheels (hatchling 1.27: only
    ``force_include_editable`` does).
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files in ``build_data``."""
        source = Path(self.root) / "src"
        if version == "editable":
            names = ("tango_telemetry_auto.pth", "tango_telemetry_auto.start")
            build_data["force_include_editable"] = {str(source / name): name for name in names}
