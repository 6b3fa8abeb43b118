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

from ._model import Span
from ._otlp import MalformedError, parse_request

SUFFIXES = frozenset({".jsonl", ".json", ".ndjson"})

# Longer lines are skipped unread: the OpenTelemetry SDK writes 512 spans a line, well under 1 MB.
MAX_LINE_BYTES = 64 * 1024 * 1024

# Enough to see what is wrong with a file; a photograph called traces.json must not fill the screen.
MAX_PROBLEMS_PER_FILE = 5


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
    """Collects problems once each, at most MAX_PROBLEMS_PER_FILE of one file; `report` sees each as it is found."""

    report: Callable[[Problem], None] = lambda problem: None
    found: list[Problem] = field(default_factory=list)
    _seen: set[tuple[str, int, str]] = field(default_factory=set)
    _per_file: dict[str, int] = field(default_factory=dict)

    def add(self, path: Path, line: int, message: str) -> None:
        """Note one problem. The same one again, from a second pass over the file, is no news."""
        key = (str(path), line, message)
        if key in self._seen:
            return
        count = self._per_file[str(path)] = self._per_file.get(str(path), 0) + 1
        if count > MAX_PROBLEMS_PER_FILE + 1:
            return
        if count == MAX_PROBLEMS_PER_FILE + 1:
            message = "more such lines, not listed"
        self._seen.add(key)
        problem = Problem(str(path), 0 if count > MAX_PROBLEMS_PER_FILE else line, message)
        self.found.append(problem)
        self.report(problem)


def find_files(places: Collection[Path], problems: Problems) -> list[Path]:
    """Give the files that `places` name: each file itself, and of a folder every file called *.jsonl or *.json."""
    files: dict[Path, None] = {}
    for place in places:
        try:
            mode = place.stat().st_mode
            if stat.S_ISDIR(mode):
                # "traces.jsonl.1" and "traces.jsonl.gz" too: log rotation puts a number or a suffix behind the name.
                found = sorted(
                    path
                    for path in place.iterdir()
                    if SUFFIXES.intersection(path.suffixes) and path.is_file()
                )
                if not found:
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
            with cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb") as stream:
                yield from _read_stream(path, stream, problems)
        except OSError as error:
            problems.add(path, 0, _reason(error))
        except (EOFError, zlib.error):
            problems.add(path, 0, "compressed, and damaged or not complete: read as far as it goes")


def _read_stream(path: Path, stream: BinaryIO, problems: Problems) -> Iterator[Span]:
    for number, line, complete in _lines(stream):
        if line is None:
            problems.add(path, number, f"longer than {MAX_LINE_BYTES >> 20} MB: skipped")
            continue
        if not line.strip():
            continue
        try:
            document = json.loads(line.decode("utf-8").rstrip())
        except UnicodeDecodeError:
            problems.add(path, number, "not text: OTLP JSON is UTF-8")
            continue
        except (ValueError, RecursionError) as error:
            # The file exporter ends each request with a newline, so a last line without one was cut off in writing.
            cut = "" if complete else "the last line is cut off (is it still being written?): "
            problems.add(path, number, f"{cut}not JSON: {_short(error)}")
            continue
        try:
            for item in parse_request(document):
                if isinstance(item, MalformedError):
                    problems.add(path, number, str(item))
                else:
                    yield item
        except MalformedError as error:
            problems.add(path, number, str(error))


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None, bool]]:
    """Give (number, line, whether it ends in a newline); None stands for a line that is too long."""
    number = 0
    while line := stream.readline(MAX_LINE_BYTES):
        number += 1
        complete = line.endswith(b"\n")
        if not complete and len(line) >= MAX_LINE_BYTES:
            del line
            while (rest := stream.readline(1 << 20)) and not rest.endswith(b"\n"):
                pass
            yield number, None, True
            continue
        yield number, line, complete


def _short(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (column {error.colno})"
    return str(error).split(";")[0]


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
