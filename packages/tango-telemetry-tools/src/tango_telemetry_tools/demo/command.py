"""`tango-telemetry demo`: one traced operation, from a script through a Leader to its Followers."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from ..viewer.glyphs import choose_glyphs
from ..viewer.layout import count
from ..viewer.page import write_page
from ..viewer.reader import Problems, find_files
from ..viewer.show import draw, load_trace, report_problem
from ..viewer.tree import Forest
from .check import find_faults
from .control_system import ControlSystem
from .processes import Program, ProgramError, Programs
from .signals import Interrupted, Signals
from .steps import Steps

SERVICES = ("my.app", "pytango.client", "Leader", "Follower")
DONE, FAILED = 0, 1

_DEFAULT_PAGE = Path("tango-telemetry-demo.html")
_DEFAULT_ENDPOINTS = {"http": "http://localhost:4318/v1/traces", "grpc": "grpc://localhost:4317"}
_MAX_FOLLOWERS = 1000
_CONNECT_TIMEOUT = 3.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "demo",
        help="run a small control system and draw the trace of one operation",
        description="Start a Tango database server, a Leader and its Followers, each in a process of its "
        "own, run a "
        "client script, stop everything, and draw the trace that it left.",
        epilog="Exit status: 0 the trace is whole, 1 it is not or something failed, 2 wrong usage.",
    )
    parser.add_argument(
        "--followers", type=_follower_count, default=2, metavar="N", help="how many Followers (default: 2)"
    )
    parser.add_argument(
        "--exporter", choices=("file", "http", "grpc"), default="file", help="where spans go (default: file)"
    )
    parser.add_argument(
        "--endpoint",
        metavar="URL|DIR",
        help="the collector (default: the usual port on this machine); with --exporter file a folder that "
        "keeps the spans",
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help=f"where the HTML page goes (default: ./{_DEFAULT_PAGE})"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say; give the exit status."""
    console = Console(highlight=False)
    try:
        with (
            Signals() as signals,
            tempfile.TemporaryDirectory(prefix="tango-telemetry-demo-", ignore_cleanup_errors=True) as folder,
        ):
            return _run(arguments, console, Path(folder), signals)
    except ProgramError as error:
        print(f"tango-telemetry demo: {error}", file=sys.stderr)
        return FAILED
    except Interrupted as interrupted:
        print(f"tango-telemetry demo: {interrupted}, everything is stopped", file=sys.stderr)
        return interrupted.exit_status


def _run(arguments: argparse.Namespace, console: Console, folder: Path, signals: Signals) -> int:
    spans = (
        Path(arguments.endpoint).resolve()
        if arguments.endpoint and arguments.exporter == "file"
        else folder / "spans"
    )
    page = arguments.html or _DEFAULT_PAGE
    if arguments.exporter == "file":
        _prepare_output(spans, page)
        endpoint = str(spans)
    else:
        endpoint = arguments.endpoint or _DEFAULT_ENDPOINTS[arguments.exporter]
        _check_collector(endpoint)
    telemetry = {
        "TANGO_TELEMETRY_ENABLE": "on",
        "TANGO_TELEMETRY_TRACES_EXPORTER": arguments.exporter,
        "TANGO_TELEMETRY_TRACES_ENDPOINT": endpoint,
    }
    operation = _operate(console, folder, telemetry, arguments.followers, signals)
    if not operation.trace_id.strip("0"):
        raise ProgramError(
            'nothing was traced: OpenTelemetry is not installed. pip install "tango-telemetry[full]"'
        )
    if operation.bridge:
        console.print(f"context carried by the bridge: {operation.bridge}", style="dim")
    if arguments.exporter != "file":
        print(f"trace {operation.trace_id} was sent to {endpoint}")
        return DONE
    problems = Problems(report=report_problem)
    forest = load_trace(find_files([spans], problems), operation.trace_id, problems)
    return _present(console, forest, page, spans if arguments.endpoint else None)


@dataclass(frozen=True)
class Operation:
    """What the client script did: its trace, and the context bridge that it used, where that is known."""

    trace_id: str
    bridge: str


def _operate(
    console: Console, folder: Path, telemetry: dict[str, str], followers: int, signals: Signals
) -> Operation:
    """Run everything and stop it again. Raises ProgramError and Interrupted, with nothing left running."""
    steps = Steps(console, choose_glyphs(console))
    report = folder / "client.json"
    with Programs(signals) as programs:
        system = ControlSystem(programs, folder, telemetry, os.environ)
        with steps.step("database server") as step:
            system.start_database()
            system.register_devices(followers)
            step.note = system.host
        with steps.step("Leader and Follower servers") as step:
            servers = system.start_servers()
            step.note = f"1 Leader, {count(followers, 'Follower')}"
        with steps.step("client script") as step:
            client = system.run_client(followers, report)
            trace_id = _find_trace_id(client)
            step.note = f"trace {trace_id}"
        for line in client.lines:
            if not line.startswith("trace "):
                steps.quote(line)
        with steps.step("servers stopped") as step:
            # Before the database: they take leave of it, and hand over what they still hold of the trace.
            killed = programs.stop(*servers)
            if killed:
                step.note = f"had to be killed: {', '.join(program.title for program in killed)}"
    bridge = json.loads(report.read_text())["bridge"] or ""
    return Operation(trace_id, bridge)


def _find_trace_id(client: Program) -> str:
    for line in client.lines:
        if line.startswith("trace "):
            return line.removeprefix("trace ").strip()
    raise ProgramError(f"the client script named no trace; it said:\n{client.tail}")


def _present(console: Console, forest: Forest, page: Path, kept: Path | None) -> int:
    console.print()
    draw(console, forest)
    console.print()
    glyphs = choose_glyphs(console)
    try:
        write_page(page, forest)
    except OSError as error:
        raise ProgramError(f"the page could not be written: {error}") from error
    print(f"page:  {page.resolve()}")
    if kept and forest.spans:
        print(
            f"spans: {kept}\n       tango-telemetry show {shlex.quote(str(kept))} --trace "
            f"{forest.spans[0].trace_id[:8]}"
        )
    if faults := find_faults(forest, SERVICES):
        for fault in faults:
            print(f"tango-telemetry demo: the trace is not whole: {fault}", file=sys.stderr)
        return FAILED
    console.print(
        f"{glyphs.tick} the trace is whole: one root, no span without its parent, "
        f"{count(len(SERVICES), 'service')}",
        style="green",
    )
    return DONE


def _prepare_output(spans: Path, page: Path) -> None:
    """Find out now, and not after the work is done, that a place cannot be written to."""
    try:
        spans.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProgramError(f"the folder for spans cannot be made: {error}") from error
    for folder in (spans, page.parent):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ProgramError(f"{folder.resolve()} is not a folder that can be written to")
    if page.is_dir():
        raise ProgramError(f"--html {page}: this is a folder, a file name is needed")


def _check_collector(endpoint: str) -> None:
    """Find out now that nothing listens at `endpoint`. Raises ProgramError."""
    url = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    try:
        port = url.port or (443 if url.scheme in ("https", "grpcs") else 4317 if "grpc" in url.scheme else 80)
        socket.create_connection((url.hostname or "localhost", port), timeout=_CONNECT_TIMEOUT).close()
    except (OSError, ValueError) as error:
        raise ProgramError(f"no collector at {endpoint}: {error}") from error


def _follower_count(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_FOLLOWERS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MAX_FOLLOWERS}")
