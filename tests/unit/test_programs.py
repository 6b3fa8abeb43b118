"""PYTANGO_TELEMETRY_SERVERS: how a program is named, and which patterns choose it."""

from __future__ import annotations

import pytest
from tango_telemetry.settings.programs import is_chosen, name_of_coming_server, name_of_program


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


@pytest.mark.parametrize(
    ("arguments", "classes", "name"),
    [
        (["/opt/ds/motor.py", "test"], ["__main__:Motor"], "Motor/test"),
        (["/opt/venv/bin/Motor", "test"], ["lab.devices:Motor", "lab.devices:Shutter"], "Motor/test"),
        (["motor.py", "test"], ["__main__:Motor", "__main__:Shutter"], "Motor/test"),
        (["stage.py", "id-00.a"], ["__main__:Axis"], "Axis/id-00.a"),
        (["stage.py", "1"], ["__main__:Axis", "__main__:Shutter"], "stage/1"),
        (["scan.py", "1"], ["lab.devices:Motor"], ""),
        (["stage.py"], ["__main__:Axis"], ""),
        (["stage.py", "-?"], ["__main__:Axis"], ""),
        (["stage.py", "sys/motor/1"], ["__main__:Axis"], ""),
        (["-c", "1"], ["__main__:Axis"], ""),
        (["device.py", "1"], ["tango.server:Device"], ""),
        (["motor.py", "1"], [], ""),
    ],
)
def test_a_server_before_tango_names_it(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], classes: list[str], name: str
) -> None:
    base = type("DeviceImpl", (), {"__module__": "tango._tango"})
    between = type("Device", (base,), {"__module__": "tango.server"})
    kept = []
    for described in classes:
        module, _, class_name = described.partition(":")
        kept.append(type(class_name, (between,), {"__module__": module}))
    monkeypatch.setattr("sys.argv", arguments)
    assert name_of_coming_server(base) == name
