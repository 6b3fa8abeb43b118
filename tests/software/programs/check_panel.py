"""panel.py off screen, with a database and a motor's device server."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import tango
from support import HERE, MOTOR, add_device, run_database, run_program, wait_until


@pytest.fixture(scope="module")
def motor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("panel")
    with run_database(folder / "database.log") as database:
        add_device(database, "motor/test", "Motor", MOTOR)
        with run_program(folder / "motor.log", sys.executable, str(HERE / "motor.py"), "test"):
            wait_until(lambda: tango.DeviceProxy(MOTOR).ping() > 0, "motor.py")
            yield MOTOR


def test_panel(motor: str) -> None:
    for _ in range(3):
        tango.DeviceProxy(motor).Move(0.0)
        result = subprocess.run(
            [sys.executable, str(HERE / "panel.py"), motor], capture_output=True, text=True, timeout=60
        )
        assert result.returncode == 0, result.stderr + result.stdout
        assert "shown: 0.00 mm then 3.25 mm" in result.stdout
