"""sequencer.py in both forms of monkey patching, with telemetry loaded before gevent patches and after it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from spans import read_spans
from support import HERE, SPANS, run_motor

OURS = ("tango_telemetry_client", "tango_telemetry_server")


@pytest.mark.parametrize("loaded", ["before", "after"])
@pytest.mark.parametrize("form", ["thread=False", "all"])
def test_sequence(form: str, loaded: str, tmp_path: Path) -> None:
    environment = dict(os.environ)
    plugins: tuple[str, ...] = ()
    if loaded == "after" and OURS[0] in sys.modules:
        environment["TANGO_TELEMETRY_SOFTWARE_LOAD"] = "no"
        plugins = OURS
    if SPANS in os.environ:
        folder = Path(os.environ[SPANS]) / f"sequencer-{form}-{loaded}"
        folder.mkdir()
        environment["TANGO_TELEMETRY_TRACES_ENDPOINT"] = str(folder)
    with run_motor(tmp_path / "motor.log") as motor:
        command = [sys.executable, str(HERE / "sequencer.py"), form, motor, *plugins]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=45)
    assert result.returncode == 0, result.stderr
    assert "LoopExit" not in result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == {
        "steps": 20,
        "read": True,
        "refused": True,
        "position": 7.5,
        "pool": 6,
        "events": True,
    }
    if SPANS in os.environ:
        # 20 steps that move and read, the refused move, the write and the last read.
        assert len([span for span in read_spans(folder) if span["kind"] == 3]) >= 43
