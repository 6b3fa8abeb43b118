"""PYTANGO_TELEMETRY_SERVERS: how a program is named, and which patterns choose it."""

from __future__ import annotations

import pytest
from tango_telemetry.settings.programs import is_chosen, name_of_program


@pytest.mark.parametrize(
    ("arguments", "original", "name"),
    [
        (["/opt/ds/Motor.py", "test", "-v4"], [], "Motor/test"),
        (["/opt/venv/bin/Motor", "1"], [], "Motor/1"),
        (["scan.py"], [], "scan"),
        (["scan.py", "--fast"], [], "scan"),
        (["-m", "test"], ["/usr/bin/python3", "-u", "-m", "lab.devices.Motor", "test"], "Motor/test"),
        (["-m", "x"], ["python3", "-m", "lab_motor.__main__", "x"], "lab_motor/x"),
        (["/site/lab_motor/__main__.py", "x"], [], "lab_motor/x"),
        (["-c", "x"], [], "-c/x"),
        ([""], [], ""),
        ([], [], ""),
    ],
)
def test_name(arguments: list[str], original: list[str], name: str) -> None:
    assert name_of_program(arguments, original) == name


@pytest.mark.parametrize(
    ("patterns", "name", "chosen"),
    [
        ((), "Motor/test", True),
        (("motor/*",), "Motor/TEST", True),
        (("motor",), "Motor/test", True),
        (("mot*",), "Motor/test", True),
        (("motor/t",), "Motor/test", False),
        (("!motor",), "Motor/test", False),
        (("!motor",), "Shutter/test", True),
        (("motor", "!motor/1"), "Motor/1", False),
        (("motor", "!motor/1"), "Motor/2", True),
        (("motor", "!motor/1"), "Shutter/2", False),
        (("[ms]*",), "Shutter/2", True),
    ],
)
def test_chosen(patterns: tuple[str, ...], name: str, chosen: bool) -> None:
    assert is_chosen(patterns, name) is chosen
