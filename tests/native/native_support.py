"""Real device servers and clients in processes of their own, without a Tango database."""

from __future__ import annotations

import functools
import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
READY = "Ready to accept request"
START_TIMEOUT = 60.0  # seconds; a noisy machine with two cores

TRACEPARENT = "00-{:032x}-{:016x}-01"

# What carries context by IDL v6 without printing cppTango's spans: the topic is known to 10.3 only.
IDL6_ON = {
    "TANGO_TELEMETRY_ENABLE": "on",
    "TANGO_TELEMETRY_TRACES_EXPORTER": "console",
    "TANGO_TELEMETRY_TRACES_ENDPOINT": "cerr",
    "TANGO_TELEMETRY_TRACING_EXPORTERS": "console",
    "TANGO_TELEMETRY_TRACING_ENDPOINTS": "cerr",
    "TANGO_TELEMETRY_TOPICS": "user",
}


def create_traceparent(trace: int, span: int = 1) -> str:
    """Return a sampled traceparent with these ids."""
    return TRACEPARENT.format(trace, span)


def free_port() -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def create_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without any telemetry setting, and PyTango's own tracing out of the
    way.
    """
    kept = {k: v for k, v in os.environ.items() if "TELEMETRY" not in k and not k.startswith("OTEL_")}
    return {**kept, "PYTANGO_DISABLE_TELEMETRY_PATCHING": "on", "TANGO_HOST": "127.0.0.1:1", **(extra or {})}


@dataclass(frozen=True)
class Server:
    """A running device server."""

    port: int
    process: subprocess.Popen[str]

    def url(self, device: str = "test/echo/1") -> str:
        """Return the name under which a device of this server can be reached without a database."""
        return f"tango://127.0.0.1:{self.port}/{device}#dbase=no"


def _wait_for(process: subprocess.Popen[str], text: str) -> list[str]:
    """Read the server's output until `text` appears, and go on reading so that it never blocks on a full
    pipe.
    """
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    seen: list[str] = []
    while True:
        line = lines.get(timeout=START_TIMEOUT)
        if line is None:
            raise RuntimeError(f"the server ended at start: {''.join(seen)}")
        seen.append(line)
        if text in line:
            return seen


@contextmanager
def start_process(command: list[str], port: int, environment: Mapping[str, str]) -> Iterator[Server]:
    """Start a device server and yield it once it accepts requests; kill it at the end."""
    process = subprocess.Popen(
        command, env=dict(environment), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        _wait_for(process, READY)
        yield Server(port, process)
    finally:
        process.kill()
        process.wait()


@contextmanager
def start_echo(
    extra: Mapping[str, str] | None = None, port: int | None = None, python: str = sys.executable
) -> Iterator[Server]:
    """Start tests/native/echo_server.py with two devices, test/echo/1 and test/echo/2."""
    port = port or free_port()
    command = [python, str(HERE / "echo_server.py"), "test", "-nodb", "-dlist", "test/echo/1,test/echo/2"]
    environment = create_environment({"ECHO_PORT": str(port), **(extra or {})})
    with start_process([*command, "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"], port, environment) as server:
        yield server


def run_client(
    script: str, *arguments: str, extra: Mapping[str, str] | None = None, timeout: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run a script of this directory, or source text, in a process of its own; fail unless it exits
    with 0.
    """
    source = [str(HERE / script)] if script.endswith(".py") else ["-c", script]
    result = subprocess.run(
        [sys.executable, *source, *arguments],
        env=create_environment(extra),
        text=True,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


def run_json(
    script: str, *arguments: str, extra: Mapping[str, str] | None = None, timeout: float = 120.0
) -> object:
    """Run a client as `run_client` does and return the JSON of its last line."""
    output = run_client(script, *arguments, extra=extra, timeout=timeout).stdout.strip().splitlines()
    return json.loads(output[-1])


@functools.cache
def has_sanitizers() -> bool:
    """Whether g++ makes a program with sanitizers that runs: the images of wheels have no libasan."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "empty")
        command = ["g++", "-fsanitize=address,undefined", "-x", "c++", "-", "-o", str(program)]
        try:
            subprocess.run(command, input="int main() {}", text=True, capture_output=True, check=True)
            subprocess.run([str(program)], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return False
    return True
