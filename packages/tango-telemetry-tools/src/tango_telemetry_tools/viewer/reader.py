"""From files and folders to spans, telling which file and line was wrong and going on behind it."""

from __future__ import annotations

import gzip
import json
import os
import stat
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from .model import Span
from .otlp import Item, parse_request
from .otlp_values import MalformedError

SUFFIXES = frozenset({".jsonl", ".json", ".ndjson"})

# Longer lines are skipped unread: the OpenTelemetry SDK writes 512 spans a line, well under 1 MB.
MAX_LINE_BYTES = 64 * 1024 * 1024

# Enough to see what is wrong with a file; a photograph called traces.json must not fill the screen.
MAX_PROBLEMS_PER_FILE = 5

CUT_OFF = "the last line is cut off (is it still being written?)"


@dataclass(frozen=True, slots=True)
class Problem:
    """What could not be read: `line` counts from 1, 0 stands for the file as a whole."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}: {self.message}"


@dataclass
class Problems:
    """Collects problems once each, at most MAX_PROBLEMS_PER_FILE of one file; `report` sees each as it is
    found.
    """

    report: Callable[[Problem], None] = lambda problem: None
    found: list[Problem] = field(default_factory=list)
    _seen: set[tuple[str, int, str]] = field(default_factory=set)
    _per_file: dict[str, int] = field(default_factory=dict)

    def add(self, path: Path, line: int, message: str) -> bool:
        """Note one problem; give whether it is news.

        The same one again, from a second pass over the file, is none.
        """
        key = (str(path), line, message)
        if key in self._seen:
            return False
        count = self._per_file[str(path)] = self._per_file.get(str(path), 0) + 1
        if count > MAX_PROBLEMS_PER_FILE + 1:
            return False
        if count == MAX_PROBLEMS_PER_FILE + 1:
            message = "more such lines, not listed"
        self._seen.add(key)
        problem = Problem(str(path), 0 if count > MAX_PROBLEMS_PER_FILE else line, message)
        self.found.append(problem)
        self.report(problem)
        return True


def find_files(places: Collection[Path], problems: Problems, live: bool = False) -> list[Path]:
    """Return the files that `places` name: each file itself, and of a folder every file called *.jsonl or
    *.json.

    `live`: folders are watched, so an empty one is no problem.
    """
    files: dict[Path, None] = {}
    for place in places:
        try:
            mode = place.stat().st_mode
            if stat.S_ISDIR(mode):
                # "traces.jsonl.1" too: log rotation puts a number behind the name.
                found = sorted(
                    path
                    for path in place.iterdir()
                    if SUFFIXES.intersection(path.suffixes) and path.is_file()
                )
                if not found and not live:
                    problems.add(place, 0, "no *.jsonl or *.json file in this folder")
                files.update(dict.fromkeys(found))
            elif stat.S_ISREG(mode):
                files[place] = None
            else:
                problems.add(place, 0, "neither a file nor a folder")
        except OSError as error:
            problems.add(place, 0, _reason(error))
    return list(files)


def read_spans(files: Collection[Path], problems: Problems) -> Iterator[Span]:
    """Stream the spans of all files, one line in memory at a time."""
    for path in files:
        try:
            with open_stream(path) as stream:
                for request in read_requests(path, stream, problems):
                    yield from (item for item in request.items if isinstance(item, Span))
        except DAMAGED as error:
            problems.add(path, 0, describe_damage(error))


@dataclass(frozen=True, slots=True)
class Request:
    """What one line of a file holds: `size` is its length in bytes, `complete` whether it was written to its
    end.
    """

    items: list[Item]
    size: int
    complete: bool


# What a stream of `open_stream` raises where the file cannot be read on. A .gz that is cut off ends in
# EOFError.
DAMAGED = (OSError, EOFError, zlib.error)


def open_stream(path: Path) -> BinaryIO:
    """Open a file for reading; what gzip has compressed is decompressed, whatever its name.

    Raises OSError.
    """
    stream = path.open("rb")
    try:
        compressed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
    except BaseException:
        stream.close()
        raise
    if not compressed:
        return stream
    # The name goes with it, so that closing the outer stream closes the file.
    stream.close()
    return cast(BinaryIO, gzip.open(path, "rb"))


def describe_damage(error: BaseException) -> str:
    """Say why a file could not be read to its end."""
    if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
        return _reason(error)
    return f"damaged or cut off: {error}"


def read_requests(path: Path, stream: BinaryIO, problems: Problems, number: int = 0) -> Iterator[Request]:
    """Read on from where `stream` stands, behind line `number`.

    What cannot be read becomes a problem and no items.
    """
    for size, line, complete in _lines(stream):
        number += 1
        items: list[Item] = []
        if line is None:
            problems.add(path, number, f"longer than {MAX_LINE_BYTES >> 20} MB: skipped")
        elif line.strip():
            readable = _read_line(path, number, line, complete, problems, items)
            complete = complete or readable
        yield Request(items, size, complete)


def _read_line(
    path: Path, number: int, line: bytes, complete: bool, problems: Problems, items: list[Item]
) -> bool:
    try:
        document = json.loads(line.decode("utf-8").rstrip())
    except UnicodeDecodeError:
        problems.add(path, number, "not text: OTLP JSON is UTF-8")
        return False
    except (ValueError, RecursionError) as error:
        # The file exporter ends each request with a newline, so a last line without one was cut off in
        # writing.
        cut = "" if complete else f"{CUT_OFF}: "
        problems.add(path, number, f"{cut}not JSON: {_short(error)}")
        return False
    try:
        for item in parse_request(document):
            if isinstance(item, MalformedError):
                problems.add(path, number, str(item))
            else:
                items.append(item)
    except MalformedError as error:
        problems.add(path, number, str(error))
    return True


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None, bool]]:
    """Return (size, line, whether it ends in a newline); None stands for a line that is too long."""
    while line := stream.readline(MAX_LINE_BYTES):
        size, complete = len(line), line.endswith(b"\n")
        if not complete and size >= MAX_LINE_BYTES:
            del line
            while rest := stream.readline(1 << 20):
                size += len(rest)
                if rest.endswith(b"\n"):
                    break
            yield size, None, True
            continue
        yield size, line, complete


def _short(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (column {error.colno})"
    return str(error).split(";")[0]


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
