"""The Python examples of the documentation, taken out of the Markdown and run as a reader would run them.

A fenced ```python block becomes a file. A comment right before it says which, and what is done with it:

    <!-- example: motor.py server=Motor/test devices=test/motor/1 -->
    <!-- example: scan.py -->
    <!-- example: helper.py module -->

The first is a device server, which runs until the page is done; the second a script, which runs to its
end with exit status 0; the third is written only: another example imports it.

A block without a comment is a script. Servers start first. All examples of a page share a folder, a control
system and a folder of spans.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tango_telemetry_tools.viewer.model import Span
from tango_telemetry_tools.viewer.reader import Problems, find_files, read_spans

ROOT = Path(__file__).resolve().parents[1]
PORT = re.compile(r"\b4545\d\b")
"""The ports of the documentation's servers without a database, one for each page; a free one
takes its place.
"""
TIMEOUT = 60.0

_BLOCK = re.compile(
    r"(?:^<!-- example:(?P<marker>.*?)-->\n+)?^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)

REGISTER = """
import sys, tango
server, names = sys.argv[1], sys.argv[2].split(",")
infos = []
for name in names:
    info = tango.DbDevInfo()
    info.server, info._class, info.name = server, server.split("/")[0], name
    infos.append(info)
tango.Database().add_server(server, infos, with_dserver=True)
"""


@dataclass
class Example:
    """One block and what its comment says."""

    page: str
    line: int
    file: str
    code: str
    flags: set[str] = field(default_factory=set)
    options: dict[str, list[str]] = field(default_factory=dict)

    def option(self, name: str) -> str:
        return self.options.get(name, [""])[0]

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line} ({self.file})"


def pages() -> list[Path]:
    """The README and every page of the documentation that has an example."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if "```python\n" in page.read_text()]


def read_examples(page: Path) -> list[Example]:
    """The examples of a page, in order."""
    text = page.read_text()
    examples = []
    for number, match in enumerate(_BLOCK.finditer(text)):
        line = text.count("\n", 0, match.start("code"))
        words = shlex.split(match["marker"] or "")
        file = words.pop(0) if words and words[0].endswith(".py") else f"example_{number}.py"
        example = Example(str(page.relative_to(ROOT)), line, file, match["code"])
        for word in words:
            name, separator, value = word.partition("=")
            if separator:
                example.options.setdefault(name, []).append(value)
            else:
                example.flags.add(name)
        examples.append(example)
    assert len(examples) == text.count("```python\n"), f"{page}: a block that is not understood"
    return examples


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment() -> dict[str, str]:
    """The environment without anything that says something about telemetry or Tango."""
    return {
        name: value
        for name, value in os.environ.items()
        if "TELEMETRY" not in name and not name.startswith(("OTEL_", "TANGO", "PYTANGO"))
    }


class Process:
    """A subprocess whose output is read as it comes."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, text: str) -> None:
        with self._changed:
            found = self._changed.wait_for(
                lambda: text in self.output or self.process.poll() is not None, TIMEOUT
            )
        assert found, f"not ready in {TIMEOUT} s: {self.output}"
        assert text in self.output, f"ended: {self.output}"

    def stop(self) -> None:
        """Ask, then kill the whole group."""
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(8)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def running_database(folder: Path) -> Iterator[str]:
    """A Tango database server; gives its TANGO_HOST."""
    port = free_port()
    host = f"127.0.0.1:{port}"
    environment = {
        **clean_environment(),
        "TANGO_HOST": host,
        "HOME": str(folder),
        "PYTANGO_DATABASE_NAME": str(folder / "tango_database.db"),
    }
    command = [sys.executable, "-m", "tango.databaseds.database", "--host=127.0.0.1", f"--port={port}", "2"]
    database = Process(command, environment, folder)
    try:
        ask = [sys.executable, "-c", "import tango; tango.Database().get_info()"]
        deadline = time.monotonic() + TIMEOUT
        while subprocess.run(ask, env=environment, capture_output=True, timeout=TIMEOUT).returncode:
            assert time.monotonic() < deadline, database.output
            assert database.process.poll() is None, database.output
            time.sleep(0.2)
        yield host
    finally:
        database.stop()


class Page:
    """Runs the examples of one page."""

    def __init__(self, folder: Path, tango_host: str) -> None:
        self.folder = folder
        self.spans = folder / "tango-traces"
        self._port = str(free_port())
        self._servers: list[Process] = []
        self._environment = {
            **clean_environment(),
            "HOME": str(folder),
            "TANGO_HOST": tango_host,
            "TANGO_TELEMETRY_ENABLE": "on",
            "TANGO_TELEMETRY_TRACING_EXPORTERS": "file",
            "TANGO_TELEMETRY_TRACING_ENDPOINTS": str(self.spans),
            "PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT": "20",
            "PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS": "on",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, examples: list[Example]) -> None:
        # Servers first: a page may show the script before the server that it calls.
        in_order = sorted(
            examples, key=lambda example: not (example.option("server") or "module" in example.flags)
        )
        try:
            for example in in_order:
                self._run_example(example)
        finally:
            for server in self._servers:
                server.stop()
        for example in examples:
            for chain in example.options.get("chain", []):
                self._check_chain(example, chain)

    def _run_example(self, example: Example) -> None:
        path = self.folder / example.file
        path.write_text(PORT.sub(self._port, example.code))
        if "module" in example.flags:
            return
        environment = dict(self._environment)
        if "no-file" in example.flags:
            for name in ("EXPORTERS", "ENDPOINTS"):
                del environment[f"TANGO_TELEMETRY_TRACING_{name}"]
        for setting in example.options.get("env", []):
            name, _, value = setting.partition("=")
            environment[name] = value.replace("$FOLDER", str(self.folder))
        for name in example.options.get("unset", []):
            environment.pop(name, None)
        arguments = shlex.split(PORT.sub(self._port, example.option("args")))
        if server := example.option("server"):
            self._start_server(example, server, arguments, environment)
            return
        script = Process([sys.executable, example.file, *arguments], environment, self.folder)
        try:
            script.process.wait(TIMEOUT)
        finally:
            script.stop()
        time.sleep(0.05)
        assert script.process.returncode == 0, f"{example.place}: {script.output}"
        assert "Warning" not in script.output, f"{example.place}: {script.output}"
        for text in example.options.get("expects", []):
            assert text in script.output, f"{example.place}: {script.output}"

    def _start_server(
        self, example: Example, server: str, arguments: list[str], environment: dict[str, str]
    ) -> None:
        devices, instance = example.option("devices"), server.split("/")[1]
        if "nodb" in example.flags:
            arguments = ["-nodb", "-dlist", devices, "-ORBendPoint", f"giop:tcp:127.0.0.1:{self._port}"]
        else:
            register = [sys.executable, "-c", REGISTER, server, devices]
            # Without ours cppTango fails for the exporter `file`, also when telemetry is off (10.3.1).
            environment_off = {name: value for name, value in environment.items() if "TELEMETRY" not in name}
            subprocess.run(register, env=environment_off, check=True, timeout=TIMEOUT)
        process = Process([sys.executable, example.file, instance, *arguments], environment, self.folder)
        self._servers.append(process)
        process.wait_for("Ready to accept request")
        assert "Warning" not in process.output, f"{example.place}: {process.output}"

    def _check_chain(self, example: Example, chain: str) -> None:
        spans = list(read_spans(find_files([self.spans], Problems()), Problems()))
        by_id: dict[tuple[str, str], Span] = {(span.trace_id, span.span_id): span for span in spans}
        names = [name.strip() for name in chain.split(">")]
        for span in spans:
            current: Span | None = span
            for name in reversed(names):
                if current is None or current.name != name:
                    break
                current = by_id.get((current.trace_id, current.parent_id or ""))
            else:
                return
        seen = sorted(
            {f"{getattr(by_id.get((s.trace_id, s.parent_id or '')), 'name', '-')} > {s.name}" for s in spans}
        )
        raise AssertionError(f"{example.place}: no chain {chain!r} among\n" + "\n".join(seen))
