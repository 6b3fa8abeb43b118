"""The three configurations as a user installs them, with one script and one device server that are the same
in all.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from environments import Environment
from receiver import Receiver
from support import Server, find_free_port

HERE = Path(__file__).parent
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
MISSING = {
    "none": "OpenTelemetry is not installed",
    "api-only": "needs the package of 'opentelemetry.sdk",
    "full": "",
}


class Run:
    """What one run of the server and the script gave."""

    def __init__(self, environment: Environment, folder: Path, **telemetry: str) -> None:
        for name in ("user_server.py", "user_script.py"):
            shutil.copy(HERE / name, folder)
        self.traces = folder / "traces"
        variables = environment.variables(HOME=str(folder), **telemetry)
        port = find_free_port()
        devices = "test/motor/1", "test/motor/2"
        command = [str(environment.python), "user_server.py", "test", "-nodb", "-dlist", ",".join(devices)]
        server = Server([*command, "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"], variables, folder)
        server.port = port
        try:
            server.wait_for("Ready to accept request")
            names = [server.proxy_name(device) for device in devices]
            client = subprocess.run(
                [str(environment.python), "user_script.py", *names],
                cwd=folder,
                env=variables,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            server.kill(15)
        assert client.returncode == 0, client.stderr + server.output
        self.results: dict[str, Any] = json.loads(client.stdout.splitlines()[-1])
        self.warnings = {"client": _warnings(client.stderr), "server": _warnings(server.output)}
        for output in (client.stderr, server.output):
            assert "Traceback" not in output, output
            assert "internal error" not in output, output

    def spans(self) -> list[dict[str, Any]]:
        """Every span in the files, with its resource's service."""
        found = []
        for path in self.traces.glob("*") if self.traces.exists() else ():
            for line in path.read_text().splitlines():
                for resource in json.loads(line)["resourceSpans"]:
                    for scope in resource["scopeSpans"]:
                        found += scope["spans"]
        return found


def _warnings(output: str) -> list[str]:
    return [line for line in output.splitlines() if "TelemetryWarning:" in line]


@pytest.fixture
def on(environment: Environment, tmp_path: Path) -> Run:
    """A run with telemetry asked for, into files."""
    return Run(
        environment,
        tmp_path,
        TANGO_TELEMETRY_ENABLE="on",
        TANGO_TELEMETRY_TRACES_EXPORTER="file",
        TANGO_TELEMETRY_TRACES_ENDPOINT=str(tmp_path / "traces"),
        PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT="20",
    )


def test_asked_for(on: Run, environment: Environment) -> None:
    extra = environment.extra
    assert on.results["position"] == 1.5
    assert on.results["later"] == 3
    assert all(str(environment.python.parent.parent) in module for module in on.results["modules"])
    assert on.results["enabled"] == str(extra != "none")
    _check_warnings(on, environment)
    if extra == "none":
        assert on.results["here"] == on.results["passed"] == ""
        assert on.spans() == []
    elif extra == "api-only":
        # cppTango 9 has no way of its own for the context; that takes the native package.
        reaches = environment.pytango.startswith("10.")
        untouched = f"{TRACE}-{SPAN}" if reaches else ""
        assert on.results["here"] == on.results["passed"] == untouched
        assert on.spans() == []
    else:
        _check_spans(on)


def _check_warnings(run: Run, environment: Environment) -> None:
    """One for each process, which names the command; nothing where nothing is missing."""
    expected = MISSING[environment.extra]
    for program, warnings in run.warnings.items():
        if not expected:
            assert warnings == [], program
            continue
        # On PyTango 9 a context that could travel stays at home without the native package, which is said
        # too.
        stays = environment.extra == "api-only" and environment.pytango.startswith("9.")
        assert len(warnings) == 1 + stays, warnings
        assert sum("each process makes traces of its own" in warning for warning in warnings) == stays
        assert (
            sum(
                expected in warning and 'pip install "tango-telemetry[full]"' in warning
                for warning in warnings
            )
            == 1
        )


def _check_spans(run: Run) -> None:
    spans = {span["spanId"]: span for span in run.spans()}
    names = [span["name"] for span in spans.values()]
    assert {"scan", "ask the controller", "Motor.read position", "Motor.Here", "by hand", "exercised"} <= set(
        names
    )
    assert run.results["here"].startswith(TRACE)
    assert run.results["passed"].startswith(TRACE)
    (asked,) = (span for span in spans.values() if span["name"] == "ask the controller")
    chain = []
    while asked.get("parentSpanId"):
        asked = spans[asked["parentSpanId"]]
        chain.append(asked["name"])
    assert chain == ["Motor.read position", "read_attribute position", "scan"]


def test_off(environment: Environment, tmp_path: Path) -> None:
    run = Run(environment, tmp_path, TANGO_TELEMETRY_ENABLE="off")
    assert run.results["position"] == 1.5
    assert run.results["enabled"] == "False"
    assert run.results["here"] == run.results["passed"] == ""
    assert run.warnings == {"client": [], "server": []}
    assert run.spans() == []


def test_the_doctors_verdict(environment: Environment, tmp_path: Path) -> None:
    environment.install_tools()
    with Receiver("http") as receiver:
        silent = f"http://127.0.0.1:{find_free_port()}/v1/traces"
        for endpoint, reachable in ((receiver.endpoint, True), (silent, False)):
            done = subprocess.run(
                [str(environment.python.parent / "tango-telemetry"), "doctor", "--json"],
                cwd=tmp_path,
                env=environment.variables(
                    HOME=str(tmp_path),
                    TANGO_TELEMETRY_ENABLE="on",
                    TANGO_TELEMETRY_TRACES_EXPORTER="http",
                    TANGO_TELEMETRY_TRACES_ENDPOINT=endpoint,
                ),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            found = json.loads(done.stdout)
            arrive = environment.extra == "full" and reachable
            assert (done.returncode, found["traces_arrive"]) == (0 if arrive else 1, arrive), done.stderr
            assert found["installed"]["configuration"] == environment.extra
            lines = [problem["fix"] for problem in found["problems"] if problem["severity"] == "error"]
            if environment.extra != "full":
                assert lines == ['pip install "tango-telemetry[full]"']
            elif reachable:
                assert lines == []
            else:
                (line,) = lines
                assert line.startswith("nc -vz 127.0.0.1 ")
        delivered = ["tango-telemetry doctor"] if environment.extra == "full" else []
        assert [span.name for span in receiver.spans] == delivered
