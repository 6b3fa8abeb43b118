"""Files of the `file` exporter into a store: each line once, also when the file grows, is rotated, compressed
or copied.
"""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..viewer.reader import (
    CUT_OFF,
    DAMAGED,
    Problems,
    describe_damage,
    find_files,
    open_stream,
    read_requests,
)
from .database import BATCH_SPANS, FileState, Store

# A file is known by its first line: that stays the same when the file grows, gets another name or is
# compressed, and no two files of the exporter begin with the same spans.
_FINGERPRINT_BYTES = 1 << 16
_TAIL_BYTES = 64
# In the place of a file's size: there is more of it to read.
_NOT_ALL = -1


class Feeder:
    """Reads what is new in files and folders.

    `live`: a last line that is not finished yet is no problem to tell of. `stopped` is asked after each line
    and ends the reading; what was read by then is in the store.
    """

    def __init__(
        self,
        store: Store,
        places: Collection[Path],
        problems: Problems,
        live: bool = False,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._places = list(places)
        self._problems = problems
        self._live = live
        self._stopped = stopped
        self._unchanged: dict[Path, tuple[int, int]] = {}

    def poll(self) -> int:
        """Read all that is new; give the number of new spans."""
        before = self._store.changes
        with _fewer_collections():
            for path in find_files(self._places, self._problems, self._live):
                if self._stopped():
                    break
                try:
                    self._read(path)
                except DAMAGED as error:
                    self._problems.add(path, 0, describe_damage(error))
        return self._store.changes - before

    def unread(self) -> int:
        """Return about how many bytes `poll` will read."""
        reached = {state.path: state.position for state in self._store.files.values()}
        size = 0
        for path in find_files(self._places, Problems(), True):
            try:
                size += max(0, path.stat().st_size - reached.get(str(path), 0))
            except OSError:
                continue
        return size

    def _read(self, path: Path) -> None:
        status = path.stat()
        mark = (status.st_size, status.st_mtime_ns)
        if self._unchanged.get(path) == mark:
            return
        with open_stream(path) as stream:
            self._read_stream(path, stream, mark)
        self._unchanged[path] = mark

    def _read_stream(self, path: Path, stream: BinaryIO, mark: tuple[int, int]) -> None:
        first = stream.readline(_FINGERPRINT_BYTES)
        if not first or (len(first) < _FINGERPRINT_BYTES and not first.endswith(b"\n")):
            # Without its first newline a file cannot be told from others yet; it is small, so it is read
            # again.
            stream.seek(0)
            self._take(path, stream, None, FileState(str(path), *mark, 0, 0, b""))
            return
        fingerprint = hashlib.sha256(first).hexdigest()
        state = self._store.files.get(fingerprint)
        if state is not None and (state.path, state.size, state.changed) == (str(path), *mark):
            return
        if state is None or not _continues(stream, state):
            state = FileState(str(path), *mark, 0, 0, b"")
        stream.seek(state.position)
        self._take(path, stream, fingerprint, state._replace(path=str(path), size=mark[0], changed=mark[1]))

    def _take(self, path: Path, stream: BinaryIO, fingerprint: str | None, state: FileState) -> None:
        waiting = 0
        unfinished = False
        position, line, tail = state.position, state.line, state.tail
        problems = _Noted(self._problems, self._store, self._live)

        def flush(size: int) -> None:
            reached = state._replace(size=size, position=position, line=line, tail=tail)
            self._store.flush([(fingerprint, reached)] if fingerprint else ())

        try:
            for request in read_requests(path, stream, problems, line):
                self._store.add(request.items)
                if not request.complete:
                    unfinished = True
                    break
                position += request.size
                line += 1
                if self._stopped():
                    unfinished = True
                    break
                waiting += len(request.items)
                if waiting >= BATCH_SPANS:
                    waiting = 0
                    tail = _tail(stream, position)
                    flush(_NOT_ALL)
            tail = _tail(stream, position)
        except DAMAGED:
            flush(state.size)
            raise
        flush(_NOT_ALL if unfinished else state.size)


def _continues(stream: BinaryIO, state: FileState) -> bool:
    """Whether the file still has what was read of it. Another file may begin with the same line."""
    start = max(0, state.position - len(state.tail))
    stream.seek(start)
    return stream.read(len(state.tail)) == state.tail


def _tail(stream: BinaryIO, position: int) -> bytes:
    back = stream.tell()
    start = max(0, position - _TAIL_BYTES)
    stream.seek(start)
    tail = stream.read(position - start)
    stream.seek(back)
    return tail


@contextmanager
def _fewer_collections() -> Iterator[None]:
    """Have Python's cyclic garbage collector look seldom: spans are many small objects without circles.

    It took a fifth of the time of reading (CPython 3.11, its threshold of 700 objects). Few enough are let
    pass that what another thread leaves in circles is still found.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], 100_000) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Noted(Problems):
    """Passes problems on, and has the store remember them: the line will not be read a second time."""

    def __init__(self, problems: Problems, store: Store, live: bool) -> None:
        super().__init__()
        self._problems = problems
        self._store = store
        self._live = live

    def add(self, path: Path, line: int, message: str) -> bool:
        unfinished = message.startswith(CUT_OFF)
        if unfinished and self._live:
            return False
        news = self._problems.add(path, line, message)
        if news and not unfinished:
            self._store.note_problem(str(path), line, message)
        return news


def cache_path(places: Collection[Path], files: Collection[Path]) -> Path | None:
    """Return where the store of these places is kept between two commands; None where reading them again is
    as quick.

    In ``$XDG_CACHE_HOME/tango-telemetry`` (default ``~/.cache``), by the names of the places.
    """
    size = 0
    for path in files:
        try:
            size += path.stat().st_size
        except OSError:
            continue
    if size < MIN_CACHED_BYTES:
        return None
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    names = "\0".join(sorted({str(place.resolve()) for place in places}))
    name = hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return Path(base) / "tango-telemetry" / f"{name}.duckdb"


# Some two seconds of reading.
MIN_CACHED_BYTES = 24 << 20


def known_problems(store: Store) -> Iterator[tuple[Path, int, str]]:
    """Return the problems that earlier commands met."""
    for path, line, message in store.problems():
        yield Path(path), line, message
