"""An environment into which a user's pip command has put the wheels, tango-telemetry-auto among them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import Environment, build_wheels

PACKAGE = "lab_motor"


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """With tango-telemetry-auto, and with a facility's package that has a console script; nothing in it is
    edited.
    """
    wheels = tmp_path_factory.mktemp("wheelhouse")
    build_wheels(wheels)
    folder = tmp_path_factory.mktemp("auto")
    environment = Environment(folder, "10.3.1", wheels)
    environment.install("full,auto,tools")
    (site,) = folder.glob("lib/python*/site-packages")
    package = site / PACKAGE
    package.mkdir()
    source = (Path(__file__).parent / "plain_server.py").read_text()
    (package / "__init__.py").touch()
    (package / "Motor.py").write_text(source)
    (package / "__main__.py").write_text("from lab_motor.Motor import main\n\nmain()\n")
    script = folder / "bin" / "Motor"
    script.write_text(
        f"#!{environment.python}\nimport sys\nfrom lab_motor.Motor import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    yield environment
    shutil.rmtree(folder, ignore_errors=True)
