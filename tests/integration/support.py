"""Real device servers and clients in processes of their own, and the exact span forest that they make
together.

    with System() as system:
        leader = system.start_server(SOURCE, "Leader/test", "sys/leader/1")       # -nodb, on a free port
        system.run_client(SCRIPT, leader.proxy_name("sys/leader/1"))  # to its end; its output is returned
        system.assert_forest('''
            command_inout Go    CLIENT  pytango.client
              Leader.Go         SERVER  Leader
        ''')

A line of a forest is a span: name, kind, service, and for a failed one ``!`` and its ``error.type``; two
columns of indentation for each level, fields two or more spaces apart. Children stand in the order in which
they began; ``ordered=False`` compares siblings as sets. A span whose parent was never received is a root
marked ``?``.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from receiver import ReceivedSpan, Receiver

PYTANGO = tuple(int(part) for part in version("pytango").split(".")[:3])
"""The version of PyTango that runs here."""
CLIENT = "pytango.client"
BRIDGES = ("auto", "giop", "pytango") if PYTANGO >= (10, 3) else ("auto", "giop")
"""The bridges whose forests are the same: on 10.0 and 10.1 PyTango's own brings cppTango's spans with it."""
_READY = "Ready to accept request"
_NOT_INHERITED = ("TANGO_", "PYTANGO_", "OTEL_")

# Runs a device server, and sends its spans when a line comes on its standard input. Its last line tells the
# parent that they have arrived, so that no test has to wait for a span that does not come.
_SERVE = """
import runpy, sys, threading
def listen():
    for line in sys.stdin:
        if "tango_telemetry" in sys.modules:
            from tango_telemetry.pipeline import flush
            flush(10.0)
        print(line.strip(), flush=True)
threading.Thread(target=listen, daemon=True, name="control").start()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Program:
    """One process in a process group of its own, awaited by what it writes."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._requests = 0
        self.process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        """What it has written so far, both streams."""
        with self._changed:
            return "\n".join(self.lines)

    @property
    def ended(self) -> bool:
        """Whether its output has been closed."""
        with self._changed:
            return self._ended

    def wait_for(self, marker: str, timeout: float = 60.0) -> str:
        """Return the first line with ``marker``; RuntimeError with the output if it ends or time runs out
        first.
        """

        def find() -> str | None:
            return next((line for line in self.lines if marker in line), None)

        with self._changed:
            self._changed.wait_for(lambda: self._ended or find() is not None, timeout)
            found = find()
        if found is None:
            raise RuntimeError(f"no {marker!r} in {timeout} s from {self.process.args!r}:\n{self.output}")
        return found

    def wait_for_end(self, timeout: float = 30.0) -> None:
        """Wait until it has ended by itself; RuntimeError with the output if it failed."""
        if self.process.wait(timeout) != 0:
            raise RuntimeError(f"it ended with {self.process.returncode}:\n{self.output}")
        self._reader.join(8)

    def send(self, line: str) -> None:
        """Write one line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def flush(self) -> None:
        """Let a server send the spans that have ended, and wait until they have arrived."""
        self._requests += 1
        marker = f"flushed-{self._requests}-{id(self)}"
        self.send(marker)
        self.wait_for(marker, 15.0)

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Send a signal to its process group and wait for its end."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signum)
        try:
            self.process.wait(8)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(8)
        self._reader.join(8)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


class Server(Program):
    """A device server; ``port`` is that of its ORB, ``host`` its TANGO_HOST where it has a database."""

    port = 0
    host = ""

    def proxy_name(self, device: str) -> str:
        """Return what a client has to write to reach a device of this server."""
        if self.host:
            return f"tango://{self.host}/{device}"
        return f"tango://127.0.0.1:{self.port}/{device}#dbase=no"


class System:
    """Device servers, clients and the receiver of their spans; everything is stopped and removed at the end.

    :param bridge: ``PYTANGO_TELEMETRY_CONTEXT_BRIDGE`` of every process
    :param environment: more variables for every process; an empty value removes one
    """

    def __init__(self, bridge: str = "auto", **environment: str) -> None:
        self._folder = TemporaryDirectory(prefix="tango-telemetry-test-")
        self.folder = Path(self._folder.name)
        self.bridge = bridge
        self.receiver = Receiver("http")
        self.servers: list[Server] = []
        self.database: Server | None = None
        self._environment = {
            "TANGO_TELEMETRY_ENABLE": "on",
            "TANGO_TELEMETRY_TRACES_EXPORTER": "http",
            "TANGO_TELEMETRY_TRACES_ENDPOINT": self.receiver.endpoint,
            "PYTANGO_TELEMETRY_CONTEXT_BRIDGE": bridge,
            "PYTANGO_TELEMETRY_NATIVE_SPANS": os.environ.get("TANGO_TELEMETRY_TEST_NATIVE_SPANS", ""),
            "PYTANGO_TELEMETRY_NATIVE_CALLS": os.environ.get("TANGO_TELEMETRY_TEST_NATIVE_SPANS", ""),
            "PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS": "on",
            # How soon a process ends is not asked here, and on a busy machine a second is not enough for all
            # spans.
            "PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT": "20",
            # cppTango waits 3 s for a new connection. What stalls this machine for longer is not examined
            # here either.
            "TANGOconnectTimeout": "20000",
            "HOME": str(self.folder),
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            **environment,
        }
        self._scripts = 0
        self._clients: list[Program] = []

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of one process; an empty value removes a variable."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        merged = {**inherited, **self._environment, **more}
        if self.database is not None:
            merged.setdefault("TANGO_HOST", self.database.host)
        return {name: value for name, value in merged.items() if value}

    def write(self, source: str, name: str = "") -> Path:
        """Write a program into the folder of this system."""
        self._scripts += 1
        path = self.folder / (name or f"script_{self._scripts}.py")
        path.write_text(textwrap.dedent(source))
        return path

    def start_database(self) -> Server:
        """Start PyTango's database server with SQLite, untraced; servers started afterwards use it."""
        for _ in range(5):
            port = find_free_port()
            # Before that there is no such option.
            host = ["--host=127.0.0.1"] if PYTANGO >= (10, 0, 3) else []
            untraced = {
                "TANGO_TELEMETRY_ENABLE": "off",
                "TANGO_HOST": f"127.0.0.1:{port}",
                "PYTANGO_DATABASE_NAME": str(self.folder / "tango_database.db"),
            }
            command = [sys.executable, "-m", "tango.databaseds.database", *host, f"--port={port}", "2"]
            database = Server(command, self.environment(**untraced), self.folder)
            database.port, database.host = port, f"127.0.0.1:{port}"
            self.servers.append(database)
            deadline = time.monotonic() + 60
            while not database.ended and time.monotonic() < deadline:
                # 9.5's database server says nothing when it is ready, and its port listens before it answers.
                if _is_listening(port) and self._answers(database):
                    self.database = database
                    return database
                threading.Event().wait(0.02)
            self.servers.remove(database)
            database.kill()
        raise RuntimeError(f"no database server:\n{database.output}")

    def _answers(self, database: Server) -> bool:
        """Whether a database server serves, and does not only listen."""
        ask = [sys.executable, "-c", "import tango; tango.Database().get_info()"]
        environment = self.environment(TANGO_TELEMETRY_ENABLE="off", TANGO_HOST=database.host)
        try:
            return not subprocess.run(ask, env=environment, capture_output=True, timeout=30).returncode
        except subprocess.TimeoutExpired:
            return False

    def start_server(
        self,
        source: str | Path,
        name: str,
        *devices: str,
        ready: str = _READY,
        python: str = sys.executable,
        arguments: Sequence[str] = (),
        **environment: str,
    ) -> Server:
        """Start a device server and wait until it serves.

        :param source: the program, as text or as a file
        :param name: ``Server/instance``; with a database the devices must have been registered under it
        :param devices: the devices of a server without a database, ``domain/family/member`` or
            ``Class::domain/family/member`` for a server with several classes
        :param python: the interpreter, for a server with another PyTango
        """
        server_name, instance = name.split("/")
        path = source if isinstance(source, Path) else self.write(source, f"{server_name}_{instance}.py")
        for _ in range(5):
            port = find_free_port()
            options = [instance, "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"]
            if devices:
                options += ["-nodb", "-dlist", ",".join(devices)]
            command = [python, "-c", _SERVE, str(path), *options, *arguments]
            server = Server(command, self.environment(**environment), self.folder)
            server.port = port
            if not devices and self.database is not None:
                server.host = self.database.host
            self.servers.append(server)
            try:
                server.wait_for(ready)
            except RuntimeError:
                self.stop_server(server)
                if "bind" in server.output or "INITIALIZE" in server.output:  # somebody else took the port
                    continue
                raise
            return server
        raise RuntimeError(f"{name} did not start:\n{server.output}")

    def stop_server(self, server: Server, signum: int = signal.SIGTERM) -> None:
        """Stop a server and wait for its end."""
        self.servers.remove(server)
        server.kill(signum)

    def run_client(
        self,
        script: str | Path,
        *arguments: str,
        timeout: float = 60.0,
        python: str = sys.executable,
        **environment: str,
    ) -> str:
        """Run a client program to its end and give its standard output; RuntimeError if it fails."""
        path = script if isinstance(script, Path) else self.write(script)
        result = subprocess.run(
            [python, str(path), *arguments],
            env=self.environment(**environment),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if result.returncode != 0:
            raise RuntimeError(
                f"{path.name} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}"
            )
        assert "internal error" not in result.stderr, result.stderr
        assert "not delivered before exit" not in result.stderr, result.stderr
        return result.stdout

    def start_client(self, script: str | Path, *arguments: str, **environment: str) -> Program:
        """Start a client program; it is killed with the system if it has not ended by then."""
        path = script if isinstance(script, Path) else self.write(script)
        return self.start_program([sys.executable, str(path), *arguments], **environment)

    def start_program(self, command: Sequence[str], **environment: str) -> Program:
        """Start any program; it is killed with the system if it has not ended by then."""
        program = Program(command, self.environment(**environment), self.folder)
        self._clients.append(program)
        return program

    def collect(self) -> list[ReceivedSpan]:
        """Return every span that has ended so far since the last :meth:`clear`."""
        for server in self.servers:
            if server is not self.database and not server.ended:
                server.flush()
        return self.receiver.spans

    def clear(self) -> None:
        """Forget what has been received, and what is under way."""
        self.collect()
        self.receiver.clear()

    def assert_forest(self, expected: str, *, ordered: bool = True) -> list[ReceivedSpan]:
        """Compare all spans since the last :meth:`clear` with a forest; gives the spans and forgets them.

        Spans that end after their caller went on (a task, a callback) are given five seconds.
        """
        wanted = parse_forest(expected, ordered=ordered)
        deadline = time.monotonic() + 5
        while True:
            spans = self.collect()
            found = build_forest(spans, ordered=ordered)
            if found == wanted or time.monotonic() > deadline:
                break
            threading.Event().wait(0.05)
        for server in self.servers:
            assert "internal error" not in server.output, server.output
        self.receiver.clear()
        _assert_equal(found, wanted)
        return spans

    def wait_for(
        self, condition: Callable[[list[ReceivedSpan]], bool], timeout: float = 10.0
    ) -> list[ReceivedSpan]:
        """Collect until ``condition(spans)``, for spans that nobody waits for; gives the spans."""
        deadline = time.monotonic() + timeout
        while not condition(spans := self.collect()) and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        return spans

    def close(self) -> None:
        """Stop everything; RuntimeError with its output if a server had ended by itself."""
        dead = [server for server in self.servers if server.process.poll() is not None]
        for client in self._clients:
            client.kill()
        for server in reversed(list(self.servers)):
            self.stop_server(server)
        self.receiver.close()
        self._folder.cleanup()
        for server in dead:
            raise RuntimeError(
                f"{server.process.args!r} had ended with {server.process.returncode}:\n{server.output}"
            )

    def __enter__(self) -> System:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


Tree = tuple[str, tuple["Tree", ...]]  # type: ignore[misc]
"""A span as one line of text, and its children."""


def build_forest(spans: Sequence[ReceivedSpan], *, ordered: bool = True) -> tuple[Tree, ...]:
    """Return the trees that the spans make, roots and children in the order in which they began."""
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans), "a span came twice"
    children: dict[str, list[ReceivedSpan]] = {}
    for span in sorted(spans, key=lambda span: span.start_ns):
        parent = by_id.get(span.parent_span_id)
        if parent is not None:
            assert parent.trace_id == span.trace_id
        children.setdefault(span.parent_span_id if parent is not None else "", []).append(span)

    def build(span: ReceivedSpan) -> Tree:
        line = f"{span.name}  {span.kind}  {span.service}"
        if span.status == "ERROR":
            line += f"  ! {span.attributes.get('error.type')}"
        if span.parent_span_id and span.parent_span_id not in by_id:
            line += "  ?"
        return line, _arrange((build(child) for child in children.get(span.span_id, ())), ordered)

    return _arrange((build(root) for root in children.get("", ())), ordered)


def _arrange(trees: Iterator[Tree], ordered: bool) -> tuple[Tree, ...]:
    return tuple(trees) if ordered else tuple(sorted(trees))


def parse_forest(text: str, *, ordered: bool = True) -> tuple[Tree, ...]:
    """Return the trees that a text describes (see the docstring of this module)."""
    rows = [
        (len(line) - len(line.lstrip()), "  ".join(re.split(r"  +", line.strip())))
        for line in textwrap.dedent(text).splitlines()
        if line.strip()
    ]

    def build(start: int, indentation: int) -> tuple[tuple[Tree, ...], int]:
        trees: list[Tree] = []
        while start < len(rows) and rows[start][0] == indentation:
            line = rows[start][1]
            children, start = build(start + 1, indentation + 2)
            trees.append((line, children))
        return _arrange(iter(trees), ordered), start

    found, end = build(0, 0)
    assert end == len(rows), f"indentation of {rows[end][1]!r}"
    return found


def render_forest(forest: tuple[Tree, ...], indentation: str = "") -> str:
    """Return the text of a forest, for messages."""
    return "".join(
        f"{indentation}{line}\n{render_forest(children, indentation + '  ')}" for line, children in forest
    )


def assert_trace(
    spans: Sequence[ReceivedSpan], root: str, expected: str, *, ordered: bool = True
) -> list[ReceivedSpan]:
    """Compare what is under the only root span named ``root`` with a forest; gives the spans of that
    trace.
    """
    found = [span for span in spans if span.name == root and not span.parent_span_id]
    assert len(found) == 1, f"{len(found)} roots named {root!r} among {[span.name for span in spans]}"
    trace = [span for span in spans if span.trace_id == found[0].trace_id]
    forest = build_forest(trace, ordered=ordered)
    trees = [children for line, children in forest if line.startswith(f"{root}  ")]
    lost = tuple(tree for tree in forest if not tree[0].startswith(f"{root}  "))
    _assert_equal((*trees[0], *lost), parse_forest(expected, ordered=ordered))
    return trace


def _assert_equal(found: tuple[Tree, ...], wanted: tuple[Tree, ...]) -> None:
    # pytest rewrites assertions in test modules only, so the message is made here.
    assert found == wanted, f"found\n{render_forest(found)}\nwanted\n{render_forest(wanted)}"


def find_span(spans: Sequence[ReceivedSpan], name: str, **attributes: Any) -> ReceivedSpan:
    """Return the only span of this name (and with these fields)."""
    found = [
        span
        for span in spans
        if span.name == name and all(getattr(span, key) == value for key, value in attributes.items())
    ]
    assert len(found) == 1, f"{len(found)} spans {name!r}: {sorted(span.name for span in spans)}"
    return found[0]


def find_free_port() -> int:
    """Return a port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
