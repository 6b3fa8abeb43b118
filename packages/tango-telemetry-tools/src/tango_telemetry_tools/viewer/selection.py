"""What the commands that look at many traces have in common: which folders, which traces."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tango_telemetry.diagnosis import (
    variables as env,
)

from .reader import Problem, Problems, find_files

if TYPE_CHECKING:
    from ..store.criteria import Criteria
    from ..store.database import Store

# Bytes of files: from here on a reader wants to know what takes so long, and what is read in a second.
_LONG, _PER_SECOND = 32 << 20, 10 << 20
# The cursor to the top left, and nothing on the screen.
_CLEAR = "\x1b[H\x1b[2J"
_NO_FOLDERS = ("cout", "cerr", "stdout", "stderr")


def add_arguments(parser: argparse.ArgumentParser, filters: bool = True) -> None:
    """Add the places, and the filters that Criteria knows."""
    parser.add_argument(
        "places",
        nargs="*",
        type=Path,
        metavar="DIR|FILE",
        help="folders with *.jsonl, or files (default: the folder that TANGO_TELEMETRY_TRACING_ENDPOINTS or "
        "TANGO_TELEMETRY_TRACING_ENDPOINTS names)",
    )
    parser.set_defaults(parser=parser)
    if not filters:
        return
    group = parser.add_argument_group(
        "filters",
        "PATTERN is a part of a name, or with * and ? all of it. What is said of a span must hold for one "
        "and the same.",
    )
    group.add_argument("--errors", action="store_true", help="only what failed")
    group.add_argument("--min", type=duration, default=0, metavar="50ms", help="at least as long as this")
    group.add_argument("--device", default="", metavar="PATTERN")
    group.add_argument("--class", dest="device_class", default="", metavar="PATTERN")
    group.add_argument("--operation", default="", metavar="PATTERN", help="a span's name")
    group.add_argument("--service", default="", metavar="NAME")
    group.add_argument(
        "--text", default="", metavar="TEXT", help="a part of a name, an attribute or an error"
    )
    group.add_argument(
        "--since", type=moment, default=0, metavar="10m", help="that long ago, or a local time"
    )
    group.add_argument("--until", type=moment, default=0, metavar="TIME")
    group.add_argument(
        "--all", action="store_true", help="also connects, inits and polled reads; nothing is folded"
    )


def criteria(arguments: argparse.Namespace) -> Criteria:
    """Return what the filters say."""
    from ..store.criteria import Criteria

    return Criteria(
        errors=arguments.errors,
        minimum=arguments.min,
        device=arguments.device,
        device_class=arguments.device_class,
        operation=arguments.operation,
        service=arguments.service,
        text=arguments.text,
        since=arguments.since,
        until=arguments.until,
        everything=arguments.all,
    )


def places(arguments: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the folders and files to read; ends the program with the usage where there is none."""
    found = arguments.places or folders_of(environ)
    if not found:
        arguments.parser.error(
            "which folder? Name one, or set TANGO_TELEMETRY_TRACING_ENDPOINTS to that of the exporter `file`"
        )
    return list(found)


def folders_of(environ: Mapping[str, str]) -> list[Path]:
    """Return the folders that the settings of the exporter `file` name."""
    for name in (env.TANGO_TELEMETRY_TRACING_ENDPOINTS, env.TANGO_TELEMETRY_TRACES_ENDPOINT):
        values = (value.strip() for value in environ.get(name, "").split(","))
        folders = [
            Path(value.removeprefix("file://"))
            for value in values
            if value and value not in _NO_FOLDERS and ("://" not in value or value.startswith("file://"))
        ]
        if folders:
            return folders
    return []


def run_on_store(
    command: str,
    places: Collection[Path],
    question: Callable[[Store, Problems], int],
    again: float = 0.0,
) -> int:
    """Read what is new of `places` into a store, ask `question`, return its exit status.

    `again`: every so many seconds what is new is read and the question is asked on a clear screen, until
    Ctrl-C.
    """
    try:
        from ..store import database, feed
    except ImportError as error:
        print(
            f"tango-telemetry {command}: {error.name} is missing: pip install {error.name}", file=sys.stderr
        )
        return 1
    problems = Problems(report=reporter(command))
    files = find_files(places, problems)

    def say(message: str) -> None:
        print(f"tango-telemetry {command}: {message}", file=sys.stderr)

    path = feed.cache_path(places, files)
    for attempt in range(2):
        try:
            with database.open_near(path, say) as store:
                for bad, line, message in feed.known_problems(store):
                    problems.add(bad, line, message)
                stop = threading.Event()
                feeder = feed.Feeder(store, list(places), problems, stopped=stop.is_set)
                if sys.stderr.isatty() and (unread := feeder.unread()) > _LONG:
                    # Ctrl-C is no loss: what was read by then is kept.
                    kept = "; the next command reads only what is new" if store.path else ""
                    say(f"reading {unread >> 20} MB, about {unread // _PER_SECOND} s{kept}")
                with _held_back(stop):
                    feeder.poll()
                while again:
                    sys.stdout.write(_CLEAR if sys.stdout.isatty() else "")
                    question(store, problems)
                    sys.stdout.flush()
                    time.sleep(again)
                    with _held_back(stop):
                        feeder.poll()
                return question(store, problems)
        except database.StoreDamagedError:
            # The damaged one is set aside and said; a new one is filled from the same files.
            if attempt:
                raise
    raise AssertionError("unreachable")


@contextmanager
def _held_back(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C set `stop`, and take effect at the end: amid a write it would cost what was read."""
    before = signal.signal(signal.SIGINT, lambda number, frame: stop.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if stop.is_set():
        raise KeyboardInterrupt


def reporter(command: str) -> Callable[[Problem], None]:
    """Say on stderr what could not be read."""

    def report(problem: Problem) -> None:
        text = str(problem)
        # A file's name is as foreign as what is in it.
        safe = "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
        print(f"tango-telemetry {command}: {safe}", file=sys.stderr)

    return report


def duration(text: str) -> int:
    """Read an argument such as 50ms."""
    return _read("parse_duration", text)


def moment(text: str) -> int:
    """Read an argument such as 10m or 14:05."""
    return _read("parse_time", text)


def _read(function: str, text: str) -> int:
    from ..store import criteria

    read: Any = getattr(criteria, function)
    try:
        value: int = read(text)
    except (ValueError, OverflowError, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return value


def count_argument(text: str) -> int:
    """Read how many: 0 for all."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number (0: all)")
