"""A device server without a database, in a process of its own."""

from __future__ import annotations

import contextlib
import json
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
port, devices = sys.argv[1:]
names = [f"tango://127.0.0.1:{port}/test/faults/{number}#dbase=no" for number in range(int(devices))]
proxies = [tango.DeviceProxy(name) for name in names]
admin = tango.DeviceProxy(f"tango://127.0.0.1:{port}/dserver/Faults/test#dbase=no")
for line in sys.stdin:
    what, count = line.split()
    times = []
    for number in range(int(count)):
        begin = time.perf_counter_ns()
        if what == "Go":
            proxies[number % len(proxies)].command_inout("Go")
        elif what == "DevRestart":
            admin.command_inout(what, f"test/faults/{number % len(names)}")
        else:
            admin.command_inout(what)
        times.append(time.perf_counter_ns() - begin)
    print(json.dumps(times), flush=True)
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
        self._caller: subprocess.Popen[str] | None = None

    def name(self, number: int) -> str:
        """What a client writes to reach a device."""
        return f"tango://127.0.0.1:{self._port}/test/faults/{number}#dbase=no"

    def call(self, what: str, count: int = 1) -> list[int]:
        """Call "Go" of the devices in turn, or a command of the administration device; nanoseconds of each
        call.

        The caller is an untraced process of its own, which stays for all calls.
        """
        if self._caller is None:
            self._caller = subprocess.Popen(
                [sys.executable, "-c", CALLER, str(self._port), str(self._devices)],
                env={**os.environ, "TANGO_TELEMETRY_ENABLE": "off"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._caller.stdin is not None
        assert self._caller.stdout is not None
        print(what, count, file=self._caller.stdin, flush=True)
        times: list[int] = json.loads(self._caller.stdout.readline())
        return times

    def close(self) -> None:
        """Kill what still runs."""
        for process in (self._caller, self.process):
            if process is not None:
                if process.poll() is None:
                    process.kill()
                process.communicate()

    def threads(self) -> int:
        """How many threads of the operating system it has."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def errors(self) -> str:
        """What it has written."""
        return (self._folder / "server.log").read_text()


@contextlib.contextmanager
def start_server(
    folder: Path, devices: int, variables: Mapping[str, str], program: str = SERVER
) -> Iterator[TangoServer]:
    """A server with so many devices; killed at the end if it has not ended."""
    source = folder / "Faults.py"
    source.write_text(program)
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
    server = TangoServer(process, port, devices, folder, time.monotonic() - begin)
    try:
        yield server
    finally:
        server.close()
