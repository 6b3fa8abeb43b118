"""Windows and macOS, as far as Linux can stand in for them: what they lack is taken away before a program
starts.

There is no native package for either. The cppTango of PyTango's wheel for Windows was compiled without
telemetry; that of the wheel for macOS has it (10.3.1).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from receiver import Receiver
from support import PYTANGO, Server, find_free_port

# Read by the interpreter before anything else. What a module lacks, each new instance of it lacks.
PATCH = """
import importlib.machinery, importlib.util, sys

class Patched:
    def __init__(self, loader, change):
        self.create_module = loader.create_module
        self._execute, self._change = loader.exec_module, change
    def exec_module(self, module):
        self._execute(module)
        self._change(module)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name not in changes:
            return None
        others = [one for one in sys.meta_path if one is not self]
        spec = next(found for one in others if (found := one.find_spec(name, path, target)))
        spec.loader = Patched(spec.loader, changes[name])
        return spec

changes = {}
sys.meta_path.insert(0, Finder())
sys.modules["tango_telemetry_native"] = None
"""
WINDOWS = """
import os, select, signal

def remove(module, names):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

def without_kernel(module):
    if hasattr(module, "_telemetry"):
        module._telemetry.TELEMETRY_ENABLED = False
        module.constants.TELEMETRY_SUPPORTED = False

changes["tango._tango"] = without_kernel
changes["select"] = lambda module: remove(module, "poll epoll POLLOUT PIPE_BUF")
changes["select"](select)
remove(os, "fork forkpty register_at_fork getloadavg geteuid getuid set_blocking killpg getpgid setsid"
           " O_CLOEXEC O_NOFOLLOW O_NONBLOCK O_DIRECTORY")
remove(signal, "SIGHUP SIGKILL SIGALRM SIGUSR1 SIGUSR2 SIGCHLD SIGPIPE pthread_sigmask pthread_kill alarm"
               " setitimer sigwait siginterrupt")
sys.modules["fcntl"] = None
"""
SYSTEMS = {
    "windows": PATCH + WINDOWS,
    "macos": PATCH,
}
SERVER = """
import tango_telemetry_server
from tango.server import Device, command

class Motor(Device):
    @command(dtype_out=int)
    def Go(self):
        return 1

if __name__ == "__main__":
    Motor.run_server()
"""
CLIENT = """
import sys
import tango, tango_telemetry_client
from tango_telemetry import get_tracer
with get_tracer("scan").start_as_current_span("scan"):
    print(tango.DeviceProxy(sys.argv[1]).command_inout("Go"))
"""


@pytest.fixture(params=["windows", "macos"])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The variables of a program that runs there."""
    folder = tmp_path / "system"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SYSTEMS[request.param])
    kept = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    return {
        **kept,
        "PYTHONPATH": str(folder),
        "PYTHONUNBUFFERED": "1",
        "PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS": "on",
    }


class Exporter:
    """The settings of one exporter, and what comes out of it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder / "traces"
        self.receiver = Receiver(kind) if kind in ("http", "grpc") else None
        endpoint = {"file": str(self.folder), "console": "cout"}.get(kind, "")
        self.variables = {
            "TANGO_TELEMETRY_ENABLE": "off" if kind == "off" else "on",
            "TANGO_TELEMETRY_TRACES_EXPORTER": "none" if kind == "off" else kind,
            "TANGO_TELEMETRY_TRACES_ENDPOINT": self.receiver.endpoint if self.receiver else endpoint,
        }

    def traces(self, *outputs: str) -> dict[str, str]:
        """Return the trace of each span by the span's name; `outputs` are what the programs have written."""
        if self.receiver is not None:
            return {span.name: span.trace_id for span in self.receiver.spans}
        text = "\n".join(outputs)
        if self.kind == "file":
            text = "\n".join(path.read_text() for path in self.folder.glob("*.jsonl"))
            return {name: trace for trace, name in re.findall(r'"traceId":"(\w+)".*?"name":"([^"]+)"', text)}
        return dict(re.findall(r'"name": "([^"]+)",\s+"context": \{\s+"trace_id": "(\w+)"', text))


@pytest.fixture
def exporter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Exporter]:
    """Each exporter, and none with telemetry off."""
    made = Exporter(str(request.param), tmp_path)
    yield made
    if made.receiver is not None:
        made.receiver.close()


def run(
    folder: Path, body: str, variables: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    program = folder / "program.py"
    program.write_text(body)
    command = [sys.executable, str(program), *arguments]
    return subprocess.run(
        command, env=variables, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("system", "exporter"),
    [*(("windows", kind) for kind in ("http", "grpc", "file", "console", "off")), ("macos", "http")],
    indirect=True,
)
def test_both_sides_are_traced_and_end_well_and_each_says_once_whether_no_context_travels(
    system: dict[str, str], exporter: Exporter, tmp_path: Path
) -> None:
    variables = {**system, **{name: value for name, value in exporter.variables.items() if value}}
    (tmp_path / "motor.py").write_text(SERVER)
    port = find_free_port()
    endpoint = f"giop:tcp:127.0.0.1:{port}"
    command = [
        sys.executable,
        "motor.py",
        "test",
        "-nodb",
        "-dlist",
        "test/motor/1",
        "-ORBendPoint",
        endpoint,
    ]
    server = Server(command, variables, tmp_path)
    server.port = port
    try:
        server.wait_for("Ready to accept request")
        client = run(tmp_path, CLIENT, variables, server.proxy_name("test/motor/1"))
        server.process.send_signal(signal.SIGTERM)  # cppTango's own handler, as Ctrl-C on Windows
        server.wait_for_end()
    finally:
        server.kill()
    outputs = (client.stdout + client.stderr, server.output)
    assert client.returncode == 0, client.stderr
    for output in outputs:
        assert "Traceback" not in output
        assert "internal error" not in output
    traces = exporter.traces(*outputs)
    if exporter.kind == "off":
        assert traces == {}
        assert not any("TelemetryWarning" in output for output in outputs)
        return
    assert {"scan", "command_inout Go", "Motor.Go"} <= set(traces)
    assert traces["scan"] == traces["command_inout Go"]
    if "fcntl" in Path(system["PYTHONPATH"], "sitecustomize.py").read_text():
        assert traces["Motor.Go"] != traces["scan"]
        for output in outputs:
            assert output.count("TelemetryWarning: PyTango") == 1, output
            assert "cannot carry the trace context" in output
    elif PYTANGO >= (10, 3):
        assert traces["Motor.Go"] == traces["scan"]
        assert not any("TelemetryWarning" in output for output in outputs)


SCRIPT = """
import tango_telemetry_client
from tango_telemetry import get_tracer
get_tracer("script").start_span("step").end()
{end}
"""
ENDS = {
    "its end": ("", 0),
    "an exception": ("raise SystemExit(3)", 3),
    "SIGTERM": ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    "os._exit": ("import os; os._exit(5)", 5),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("system", ["windows"], indirect=True)
def test_a_script_ends_as_it_would_and_its_spans_arrive(
    system: dict[str, str], end: str, tmp_path: Path
) -> None:
    """PyTango is not even there: nothing but the process decides."""
    body, status = ENDS[end]
    with Receiver("http") as receiver:
        told = {
            "TANGO_TELEMETRY_ENABLE": "on",
            "TANGO_TELEMETRY_TRACES_EXPORTER": "http",
            "TANGO_TELEMETRY_TRACES_ENDPOINT": receiver.endpoint,
            "PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT": "10",
        }
        ended = run(tmp_path, SCRIPT.format(end=body), {**system, **told})
        assert ended.returncode == status, ended.stderr
        assert "Traceback" not in ended.stderr
        assert [span.name for span in receiver.spans] == ["step"]


@pytest.mark.parametrize("system", ["windows"], indirect=True)
def test_without_locks_there_is_no_spool_which_is_said_once_and_leaves_nothing_behind(
    system: dict[str, str], tmp_path: Path
) -> None:
    told = {
        "TANGO_TELEMETRY_ENABLE": "on",
        "TANGO_TELEMETRY_TRACES_EXPORTER": "http",
        "TANGO_TELEMETRY_TRACES_ENDPOINT": f"http://127.0.0.1:{find_free_port()}/v1/traces",
        "PYTANGO_TELEMETRY_SPOOL_DIR": str(tmp_path / "spool"),
        "PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT": "0.5",
    }
    ended = run(tmp_path, SCRIPT.format(end=""), {**system, **told})
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    (said,) = [line for line in ended.stderr.splitlines() if "PYTANGO_TELEMETRY_SPOOL_DIR" in line]
    assert "fcntl" in said
    assert [path for path in (tmp_path / "spool").rglob("*") if path.is_file()] == []
