"""The demo's database server gets the options that its PyTango has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tango_telemetry_tools")

from tango_telemetry_tools.demo import control_system
from tango_telemetry_tools.demo.processes import ProgramError


class Started:
    """Stands in for the programs of the demo: keeps the command line."""

    def __init__(self) -> None:
        self.command: Sequence[str] = ()

    def start(self, title: str, command: Sequence[str], *rest: object) -> Any:
        self.command = command
        return self

    def wait_until(self, *rest: object) -> None:
        pass


@pytest.mark.parametrize(
    ("version", "known"),
    [("10.0.0", False), ("10.0.2", False), ("10.0.3", True), ("10.1.0rc1", True), ("10.3.1.dev0", True)],
)
def test_the_host_is_named_where_the_option_exists(
    version: str, known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_system, "version", lambda name: version)
    started = Started()
    system = control_system.ControlSystem(started, tmp_path, {}, {})  # type: ignore[arg-type]
    system.start_database()
    assert ("--host=127.0.0.1" in started.command) is known


def test_before_10_it_is_said_why_there_is_no_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_system, "version", lambda name: "9.3.6")
    system = control_system.ControlSystem(Started(), tmp_path, {}, {})  # type: ignore[arg-type]
    with pytest.raises(ProgramError, match=r"9\.3\.6"):
        system.start_database()
