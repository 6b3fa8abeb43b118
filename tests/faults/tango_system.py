"""A device server without a database, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

SERVER = """
import tango_telemetry_server
from tango.server import Device, command

class Faults(Device):
    @command
    def Go(self):
        pass

Faults.run_server()
"""

CALLER = """
import json, sys, time
import tango
names, rounds = json.loads(sys.argv[1]), int(sys.argv[2])
proxies = [tango.DeviceProxy(name) for name in names]
times = []
for _ in range(rounds):
    for proxy in proxies:
        begin = time.perf_counter_ns()
        proxy.command_inout("Go")
        times.append(time.perf_counter_ns() - begin)
print(json.dumps(sorted(times)))
"""


class TangoServer:
    """A running server."""

    def __init__(
        self, process: subprocess.Popen[str], port: int, devices: int, folder: Path, start_seconds: float
    ) -> None:
        self.process = process
        self.start_seconds = start_seconds
        self._port = port
        self._devices = devices
        self._folder = folder

    def name(self, number: int) -> str:
        """What a client writes to reach a device."""
        return f"tango://127.0.0.1:{self._port}/test/faults/{number}#dbase=no"

    def _client(self, code: str, *arguments: str) -> str:
        environment = {**os.environ, "TANGO_TELEMETRY_ENABLE": "off"}
        ended = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def time_calls(self, count: int) -> list[int]:
        """Nanoseconds of about so many calls by an untraced client, sorted."""
        import json

        names = json.dumps([self.name(number) for number in range(self._devices)])
        times: list[int] = json.loads(self._client(CALLER, names, str(max(1, count // self._devices))))
        return times

    def call_each(self, rounds: int) -> None:
        """Call each device so many times."""
        self.time_calls(rounds * self._devices)

    def call_admin(self, command: str, argument: str = "") -> None:
        """Call a command of the administration device."""
        code = (
            "import sys, tango\n"
            "proxy = tango.DeviceProxy(sys.argv[1])\n"
            "proxy.command_inout(sys.argv[2], *[text for text in sys.argv[3:] if text])\n"
        )
        name = f"tango://127.0.0.1:{self._port}/dserver/Faults/test#dbase=no"
        self._client(code, name, command, argument)

    def threads(self) -> int:
        """How many threads of the operating system it has."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def errors(self) -> str:
        """What it has written."""
        return (self._folder / "server.log").read_text()


@contextlib.contextmanager
def start_server(folder: Path, devices: int, variables: Mapping[str, str]) -> Iterator[TangoServer]:
    """A server with so many devices; killed at the end if it has not ended."""
    source = folder / "Faults.py"
    source.write_text(SERVER)
    names = ",".join(f"test/faults/{number}" for number in range(devices))
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [
            sys.executable,
            str(source),
            "test",
            "-nodb",
            "-dlist",
            names,
            "-ORBendPoint",
            f"giop:tcp:127.0.0.1:{port}",
        ]
        begin = time.monotonic()
        with open(folder / "server.log", "w") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert process.stdout is not None
        ready = any("Ready to accept" in line for line in process.stdout)
        if ready:
            break
        process.wait()
    assert ready, (folder / "server.log").read_text()
    try:
        yield TangoServer(process, port, devices, folder, time.monotonic() - begin)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
