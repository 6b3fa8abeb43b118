"""The stacks that are compared, and the processes of each."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _receiver import Receiver

WORKER = Path(__file__).with_name("_worker.py")
# The last one would have packages installed in place compiled at each start, and those that pip has compiled
# not.
_NOT_INHERITED = ("TANGO_", "PYTANGO_", "OTEL_", "BENCH_", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class Stack:
    """One column: what is switched on, and how the context travels.

    ``exports`` says that spans are made and sent.
    """

    name: str
    label: str
    exports: bool
    environment: Mapping[str, str] = field(default_factory=dict)


def _ours(name: str, label: str, bridge: str, *, native: bool, sampled: bool) -> Stack:
    return Stack(
        name,
        label,
        sampled,
        {
            "BENCH_IMPORT": "ours",
            "TANGO_TELEMETRY_ENABLE": "on",
            "PYTANGO_TELEMETRY_CONTEXT_BRIDGE": bridge,
            "PYTANGO_TELEMETRY_NATIVE_SPANS": "on" if native else "off",
            "OTEL_TRACES_SAMPLER": "parentbased_always_on" if sampled else "always_off",
        },
    )


UNTOUCHED = Stack(
    "untouched",
    "PyTango untouched",
    False,
    {"PYTANGO_DISABLE_TELEMETRY_PATCHING": "on", "TANGO_TELEMETRY_ENABLE": "off"},
)
BUILTIN_OFF = Stack("builtin-off", "built-in, telemetry off", False)
BUILTIN = Stack("builtin", "built-in, on", True, {"TANGO_TELEMETRY_ENABLE": "on"})
OURS_OFF = Stack("off", "ours, telemetry off", False, {"BENCH_IMPORT": "ours"})

STACKS = (
    UNTOUCHED,
    BUILTIN_OFF,
    BUILTIN,
    OURS_OFF,
    _ours("sdk-idl", "SDK spans, IDL v6", "pytango", native=False, sampled=True),
    _ours("sdk-giop", "SDK spans, GIOP", "giop", native=False, sampled=True),
    _ours("sdk-idl-unsampled", "SDK unsampled, IDL v6", "pytango", native=False, sampled=False),
    _ours("sdk-giop-unsampled", "SDK unsampled, GIOP", "giop", native=False, sampled=False),
    _ours("cpp-idl", "C++ spans, IDL v6", "pytango", native=True, sampled=True),
    _ours("cpp-giop", "C++ spans, GIOP", "giop", native=True, sampled=True),
    _ours("cpp-idl-unsampled", "C++ unsampled, IDL v6", "pytango", native=True, sampled=False),
    _ours("cpp-giop-unsampled", "C++ unsampled, GIOP", "giop", native=True, sampled=False),
    _ours("default", "all defaults (C++, both)", "auto", native=True, sampled=True),
    _ours("default-unsampled", "all defaults, unsampled", "auto", native=True, sampled=False),
)


def create_environment(stack: Stack, receiver: Receiver, home: str, **more: str) -> dict[str, str]:
    """Return the environment of a process of ``stack``; nothing about telemetry is inherited."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    environment |= {"HOME": home, "PYTHONUNBUFFERED": "1", **stack.environment, **more}
    if stack.environment.get("TANGO_TELEMETRY_ENABLE") == "on":
        endpoint = receiver.endpoint(stack.name)
        # Both families of names: PyTango 10.0 and 10.1 know the first, 10.3 prefers the second.
        environment |= {
            "TANGO_TELEMETRY_TRACES_EXPORTER": "http",
            "TANGO_TELEMETRY_TRACES_ENDPOINT": endpoint,
            "TANGO_TELEMETRY_TRACING_EXPORTERS": "http",
            "TANGO_TELEMETRY_TRACING_ENDPOINTS": endpoint,
        }
    return environment


class Process:
    """One measured process, asked by lines of JSON."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log.open("w")
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), *arguments],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        self.pid = self._process.pid
        # CLOCK_PROCESS_CPUTIME_ID of another process (linux/posix-timers: MAKE_PROCESS_CPUCLOCK,
        # CPUCLOCK_SCHED).
        self._cpu_clock = (~self.pid << 3) | 2

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            error = Path(self._log.name).read_text()[-4000:]
            raise RuntimeError(f"a worker ended: {self._process.args}\n{error}")
        return line

    def wait_until_ready(self) -> float:
        """Wait until it serves, and give the seconds that it took."""
        while "Ready to accept request" not in self._read_line():
            pass
        return time.perf_counter() - self.started

    def send(self, **request: Any) -> None:
        """Ask for something; :meth:`receive` gives the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        """Return the answer to the last request."""
        while not (line := self._read_line()).startswith('{"answer"'):
            pass
        return json.loads(line)["answer"]

    def ask(self, **request: Any) -> Any:
        """Ask, and give the answer."""
        self.send(**request)
        return self.receive()

    def cpu_seconds(self) -> float:
        """The CPU time of all its threads, by the operating system's account."""
        return time.clock_gettime(self._cpu_clock)

    def status(self, name: str) -> int:
        """A number of ``/proc/PID/status``: ``Threads``, ``VmRSS`` (KiB), …"""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name}:"))

    def stop(self) -> None:
        """End it and everything that it started."""
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(10)
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()


_ports = itertools.count(random.randrange(12_000))


def find_free_port() -> int:
    """Return a port that nobody uses now, each time another one, below those that Linux gives to
    connections: one of the other stacks might get it before the server does.
    """
    while True:
        port = 20_000 + next(_ports) % 12_000
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            return port


def device_name(port: int, device: str) -> str:
    """Return what a client has to write to reach a device of a server without a database."""
    return f"tango://127.0.0.1:{port}/{device}#dbase=no"


class Farm:
    """All processes of all stacks; everything ends with it."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._folder = tempfile.TemporaryDirectory(prefix="tango-telemetry-bench-")
        self._processes: list[Process] = []

    def start(self, stack: Stack, role: str, *arguments: str, **environment: str) -> Process:
        """Start one process of a stack."""
        log = Path(self._folder.name) / f"{len(self._processes)}-{stack.name}-{role}.log"
        merged = create_environment(stack, self.receiver, self._folder.name, **environment)
        process = Process([role, *arguments], merged, log)
        self._processes.append(process)
        return process

    def start_server(self, stack: Stack, role: str, *devices: str, **environment: str) -> tuple[Process, int]:
        """Start a device server; give it and its port. It may not be ready yet."""
        port = find_free_port()
        options = ["-ORBendPoint", f"giop:tcp:127.0.0.1:{port}", "-nodb", "-dlist", ",".join(devices)]
        return self.start(stack, role, "bench", *options, **environment), port

    def start_database(self, devices: int) -> str:
        """Start PyTango's database server with SQLite, which knows ``Follower/bench``; give its
        ``TANGO_HOST``.

        :param devices: how many devices that server has
        """
        port = find_free_port()
        host = f"127.0.0.1:{port}"
        environment = {"TANGO_HOST": host, "PYTANGO_DATABASE_NAME": f"{self._folder.name}/tango_database.db"}
        database = self.start(UNTOUCHED, "database", str(port), **environment)
        database.wait_until_ready()
        register = self.start(UNTOUCHED, "register", str(devices), **environment)
        register.wait_until_ready()
        return host

    def start_registered_server(self, stack: Stack, host: str) -> Process:
        """Start the device server that the database knows. It may not be ready yet."""
        return self.start(stack, "follower", "bench", TANGO_HOST=host)

    def stop(self) -> None:
        """End every process."""
        for process in self._processes:
            process.stop()
        self._processes.clear()
        self._folder.cleanup()

    def __enter__(self) -> Farm:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


class Warm:
    """One stack at work: a follower, a leader and a client, each in a process of its own.

    :func:`warm_up` starts them.
    """

    def __init__(self, farm: Farm, stack: Stack) -> None:
        self._farm = farm
        self.stack = stack
        self.follower, port = farm.start_server(stack, "follower", "bench/follower/1")
        self._follower_name = device_name(port, "bench/follower/1")

    def start_leader(self) -> None:
        """Start the second device server; the first must be ready."""
        self.follower.wait_until_ready()
        environment = {"BENCH_FOLLOWER": self._follower_name}
        self.leader, port = self._farm.start_server(self.stack, "leader", "bench/leader/1", **environment)
        self._leader_name = device_name(port, "bench/leader/1")

    def start_client(self) -> None:
        """Start the client; both servers must be ready."""
        self.leader.wait_until_ready()
        self.client = self._farm.start(self.stack, "client", self._follower_name, self._leader_name)

    @property
    def processes(self) -> dict[str, Process]:
        """Its three processes by role."""
        return {"client": self.client, "follower": self.follower, "leader": self.leader}


def warm_up(farm: Farm, stacks: Sequence[Stack]) -> list[Warm]:
    """Start the processes of all stacks, one role after the other, and wait until all can work."""
    warm = [Warm(farm, stack) for stack in stacks]
    for one in warm:
        one.start_leader()
    for one in warm:
        one.start_client()
    for one in warm:
        one.client.wait_until_ready()
    return warm
