"""What a Windows or a macOS machine can show of the pure packages; it runs on Linux too.

Usage: python tools/other_systems.py

It makes an environment below build/, installs the packages without the native one, with PyTango's wheel and
the exporters, and runs a device server and a script that calls it: with telemetry off, with spans to files
and with spans over HTTP to a receiver of its own. It says what it saw, and ends with 1 where a program did
not end as it should, said more than once that no context travels, or lost a span.
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PURE = ("core", "client", "server", "tools")
EXPORTERS = ("opentelemetry-exporter-otlp-proto-http", "opentelemetry-exporter-otlp-json-file")
SERVER = """
import threading
import tango_telemetry_server
from tango.server import Device, command

class Motor(Device):
    @command(dtype_out=int)
    def Go(self):
        return 1

    @command
    def Leave(self):
        import tango
        threading.Timer(0.2, tango.Util.instance().unregister_server).start()
        threading.Timer(0.5, __import__("os")._exit, (0,)).start()

if __name__ == "__main__":
    Motor.run_server()
"""
CLIENT = """
import sys, time
import tango, tango_telemetry_client
from tango_telemetry import get_tracer
for attempt in range(300):
    try:
        motor = tango.DeviceProxy(sys.argv[1])
        motor.ping()
        break
    except tango.DevFailed:
        time.sleep(0.2)
with get_tracer("scan").start_as_current_span("scan"):
    assert motor.command_inout("Go") == 1
motor.command_inout("Leave")
"""
WANTED = ("scan", "command_inout Go", "Motor.Go")


class _Receiver(http.server.BaseHTTPRequestHandler):
    """Takes what it is sent."""

    bodies: list[bytes] = []

    def do_POST(self) -> None:
        """Keep the request; the names of the spans stand in it as they are."""
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def make_environment(folder: Path) -> Path:
    """Return the interpreter of an environment with the pure packages."""
    venv.EnvBuilder(with_pip=True, clear=True, symlinks=os.name != "nt").create(folder)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    packages = [str(ROOT / f"packages/tango-telemetry-{name}") for name in PURE]
    install = [str(python), "-m", "pip", "install", "-q", *packages, "pytango>=10.3", *EXPORTERS]
    subprocess.run(install, check=True)
    return python


def try_exporter(python: Path, folder: Path, settings: dict[str, str]) -> tuple[list[str], str, str]:
    """Run both programs and return what is wrong, and what each has written."""
    kept = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    environment = {**kept, **settings, "PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT": "10", "PYTHONUTF8": "1"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server_log = (folder / "server.log").open("w+", encoding="utf-8", errors="replace")
    orb = ["-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"]
    server = subprocess.Popen(
        [str(python), "motor.py", "test", "-nodb", "-dlist", "test/motor/1", *orb],
        cwd=folder,
        env=environment,
        stdout=server_log,
        stderr=subprocess.STDOUT,
    )
    wrong = []
    try:
        name = f"tango://127.0.0.1:{port}/test/motor/1#dbase=no"
        client = subprocess.run(
            [str(python), "scan.py", name],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=180,
            check=False,
        )
        if client.returncode:
            wrong.append(f"the script ended with {client.returncode}")
        try:
            if server.wait(60):
                wrong.append(f"the server ended with {server.returncode}")
        except subprocess.TimeoutExpired:
            wrong.append("the server did not end")
    finally:
        server.kill()
        server.wait()
    server_log.seek(0)
    outputs = (client.stdout, server_log.read())
    server_log.close()
    for output in outputs:
        if "Traceback" in output:
            wrong.append("there is a traceback")
        if output.count("cannot carry the trace context") > 1:
            wrong.append("the context that stays at home is named more than once")
    return wrong, *outputs


def main() -> int:
    """Return the status of the process."""
    folder = ROOT / "build" / f"other-systems-{sys.platform}"
    python = make_environment(folder)
    (folder / "motor.py").write_text(SERVER)
    (folder / "scan.py").write_text(CLIENT)
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    traces = folder / f"traces-{time.time_ns()}"
    settings = {
        "off": {"TANGO_TELEMETRY_ENABLE": "off"},
        "file": {"TANGO_TELEMETRY_TRACES_EXPORTER": "file", "TANGO_TELEMETRY_TRACES_ENDPOINT": str(traces)},
        "http": {
            "TANGO_TELEMETRY_TRACES_EXPORTER": "http",
            "TANGO_TELEMETRY_TRACES_ENDPOINT": f"http://127.0.0.1:{receiver.server_port}/v1/traces",
        },
    }
    failed = False
    for kind, chosen in settings.items():
        wrong, *outputs = try_exporter(python, folder, {"TANGO_TELEMETRY_ENABLE": "on", **chosen})
        text = {
            "off": "",
            "file": "\n".join(path.read_text(encoding="utf-8") for path in traces.glob("*.jsonl"))
            if traces.exists()
            else "",
            "http": b"".join(_Receiver.bodies).decode("utf-8", "replace"),
        }[kind]
        if kind != "off":
            wrong += [f"no span {name!r}" for name in WANTED if name not in text]
        warned = [line for output in outputs for line in output.splitlines() if "TelemetryWarning" in line]
        print(json.dumps({"exporter": kind, "wrong": wrong, "warnings": warned}, indent=1), flush=True)
        if wrong:
            failed = True
            print(ascii("\n".join(outputs)).replace("\\n", "\n"))
    receiver.shutdown()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
