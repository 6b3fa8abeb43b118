"""The store: spans, log records and metrics go in by batches, are kept in columns, and are bounded in age and
size.

DuckDB locks its file for one process. Whoever finds it locked takes a store in memory, which differs in
nothing else.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy

from ..viewer.model import LogRecord, Point, Resource, Span
from . import records, spans
from .columns import attributes_of, halves, insert, trace_id, utf8
from .records import Records
from .spans import Operation, Spans

# Of the tables below. A store of another version is set aside like a damaged one: it is a copy, never the
# only place.
VERSION = 2

BATCH_SPANS = 20_000
MEMORY_LIMIT = "512MB"
DEFAULT_MAX_BYTES = 4 << 30
# Of the spans in the store, this share goes when it is too big: one delete for a while, not one for each
# batch.
_SHARE_TO_DROP = 0.1

_SCHEMA = f"""
create table meta(version integer);
insert into meta values ({VERSION});
create table resources(id integer, text varchar);
create table files(
    fingerprint varchar, path varchar, size bigint, changed bigint, position bigint, line bigint,
    tail blob);
create table problems(path varchar, line bigint, message varchar);
{spans.SCHEMA}{records.SCHEMA}"""

# Tables whose rows stand in the order in which they arrived.
_GROWING = ("spans", "links", "logs", "points")


class StoreError(Exception):
    """The store cannot be used. The message is for the user."""


class StoreBusyError(StoreError):
    """Another process has the store."""


class StoreDamagedError(StoreError):
    """The store could not be read any more and has been set aside."""


class FileState(NamedTuple):
    """How far a file has been read.

    `tail` is what stands just before `position`, to notice that it was rewritten.
    """

    path: str
    size: int
    changed: int
    position: int
    line: int
    tail: bytes


class Store:
    """Spans in a file, or in memory where `path` is None. Safe to use from several threads."""

    _closed: bool
    _changes: int
    _since_check: int
    _said_full: bool
    _spans: Spans
    _records: Records
    _resource_ids: dict[int, tuple[Resource, int]]
    _resource_numbers: dict[str, int]
    _new_resources: list[tuple[int, str]]
    _programs: dict[int, str]
    _files: dict[str, FileState]

    def __init__(
        self,
        path: Path | None = None,
        report: Callable[[str], None] = lambda message: None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_age: float = 0.0,
    ) -> None:
        """Open, or make, the store. `max_age` is in seconds since a span arrived, 0 for ever.

        Raises StoreBusyError where another process has it, StoreError where the file cannot be made.
        """
        self.path = path
        self._report = report
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._lock = threading.RLock()
        self._connection = self._open()
        self._load()

    # -- spans in --

    def add(self, items: Iterable[Span | LogRecord | Point]) -> None:
        """Take spans, log records and metric points. They are seen by queries after `flush`."""
        with self._lock:
            for item in items:
                resource, arrived = self._intern_resource(item.resource), self._now()
                if isinstance(item, Span):
                    self._spans.add(item, resource, arrived)
                else:
                    self._records.add(item, resource, arrived)
                if max(len(self._spans), len(self._records)) >= BATCH_SPANS:
                    self.flush()

    def flush(self, files: Iterable[tuple[str, FileState]] = ()) -> None:
        """Write what was added, and how far files were read, in one transaction."""
        with self._lock, self._guarded() as connection:
            self._resource_ids.clear()
            with _transaction(connection):
                if self._new_resources:
                    insert(connection, "resources", self._new_resources, (numpy.int32, object))
                    self._new_resources = []
                written = self._spans.write(connection) + self._records.write(connection)
                self._write_files(connection, files)
            self._changes += written
            self._since_check += written
            if self._since_check >= BATCH_SPANS * 10:
                self._since_check = 0
                self.trim()

    @property
    def changes(self) -> int:
        """How many new spans, log records and metric points were written since the store was opened."""
        return self._changes

    @property
    def operations(self) -> Sequence[Operation]:
        """All operations that the store has met; the place in the sequence is their id."""
        return self._spans.operations

    @property
    def files(self) -> dict[str, FileState]:
        """How far each file has been read, by its fingerprint."""
        return self._files

    def note_problem(self, path: str, line: int, message: str) -> None:
        """Remember what was wrong with a file, for whoever asks when it is no longer read."""
        with self._lock, self._guarded() as connection:
            connection.execute("insert into problems values (?, ?, ?)", [utf8(path), line, utf8(message)])

    def problems(self) -> list[tuple[str, int, str]]:
        """Return what was noted: path, line (0 for the whole file), message."""
        return self.query("select path, line, message from problems")

    def _now(self) -> int:
        return int(time.time())

    def _intern_resource(self, resource: Resource) -> int:
        found = self._resource_ids.get(id(resource))
        if found is not None:
            return found[1]
        text = json.dumps([resource.service, resource.instance, resource.attributes], separators=(",", ":"))
        number = self._resource_numbers.get(text)
        if number is None:
            number = self._resource_numbers[text] = len(self._resource_numbers)
            self._new_resources.append((number, text))
        # The object goes with its number: an id without it could become that of another object.
        self._resource_ids[id(resource)] = (resource, number)
        return number

    def _write_files(
        self, connection: duckdb.DuckDBPyConnection, files: Iterable[tuple[str, FileState]]
    ) -> None:
        for fingerprint, state in files:
            connection.execute("delete from files where fingerprint = ?", [fingerprint])
            connection.execute(
                "insert into files values (?, ?, ?, ?, ?, ?, ?)",
                [fingerprint, utf8(state.path), *state[1:]],
            )
            self._files[fingerprint] = state

    # -- bounds --

    def trim(self) -> None:
        """Drop what is too old, and the oldest where the store is too big."""
        with self._lock, self._guarded() as connection:
            if self._max_age:
                oldest = self._now() - int(self._max_age)
                for table in _GROWING:
                    connection.execute(f"delete from {table} where arrived < ?", [oldest])
            if self.size() > self._max_bytes:
                for table in _GROWING:
                    first, last = connection.execute(
                        f"select min(rowid), max(rowid) from {table}"
                    ).fetchall()[0]
                    if last is not None:
                        limit = first + int((last - first) * _SHARE_TO_DROP)
                        connection.execute(f"delete from {table} where rowid <= ?", [limit])
                        self._dropped()
            # Without it the file keeps the room of what was deleted.
            connection.execute("checkpoint")

    def _dropped(self) -> None:
        if not self._said_full:
            self._said_full = True
            self._report(
                f"the store has reached its bound of {self._max_bytes >> 20} MB: the oldest spans are dropped"
            )

    def size(self) -> int:
        """Return the bytes that are in use."""
        row = self.query("select used_blocks * block_size from pragma_database_size()")
        in_file = int(row[0][0] or 0) if row else 0
        if self.path is not None:
            return in_file
        # Of a store in memory only an estimate can be had.
        return int(
            self.query("select (select count(*) * 120 from spans) + (select count(*) * 200 from logs)")[0][0]
        )

    # -- queries --

    def query(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of one query. Raises StoreDamagedError."""
        with self._lock, self._guarded() as connection:
            values = parameters if isinstance(parameters, dict) else list(parameters)
            return connection.execute(sql, values).fetchall()

    @contextmanager
    def session(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Hold the store for several queries that belong together."""
        with self._lock, self._guarded() as connection:
            yield connection

    def find(self, prefix: str, limit: int = 20) -> list[str]:
        """Return the ids of traces that begin with `prefix`, at most `limit`."""
        first, last = int(prefix.ljust(32, "0"), 16), int(prefix.ljust(32, "f"), 16)
        rows = self.query(
            "select distinct hi, lo from spans where hi between ? and ? order by hi, lo limit ?",
            [first >> 64, last >> 64, 10 * limit],
        )
        ids = [trace_id(hi, lo) for hi, lo in rows]
        return [text for text in ids if text.startswith(prefix)][:limit]

    def trace(self, wanted: str) -> list[Span]:
        """Return all spans of one trace; `wanted` is its whole id."""
        hi, lo = halves(wanted)
        rows = self.query(
            "select span, parent, start, duration, operation, resource, error, detail from spans where lo = "
            "? and hi = ?",
            [lo, hi],
        )
        resources = self.resources({row[5] for row in rows})
        return [self._spans.decode(wanted, row, resources) for row in rows]

    def resources(self, ids: Collection[int]) -> dict[int, Resource]:
        """Return resources by their numbers."""
        if not ids:
            return {}
        rows = self.query("select id, text from resources where id in (select unnest(?))", [list(ids)])
        resources = {}
        for number, text in rows:
            service, instance, attributes = json.loads(text)
            resources[number] = Resource(service, instance, attributes_of(attributes))
        return resources

    def resources_of(self, fits: Callable[[str], bool]) -> list[int]:
        """Return the numbers of the resources whose service fits."""
        with self._lock:
            return [number for text, number in self._resource_numbers.items() if fits(json.loads(text)[0])]

    def programs(self) -> dict[int, str]:
        """Return by resource what the program is called whose spans have it, "" for devices.

        Calls of a script have the same service in all scripts, unless somebody named it. The other services
        of the same process tell which script it is: the names of its own tracers.
        """
        with self._lock:
            if len(self._programs) != len(self._resource_numbers):
                self._programs = _name_programs(self._resource_numbers)
            return self._programs

    # -- life --

    def close(self) -> None:
        """Write what is left and close the file. A second time does nothing."""
        with self._lock:
            if self._closed:
                return
            try:
                self.flush()
            finally:
                self._closed = True
                self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self.path is None:
            return self._prepare(_connect(":memory:"))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the store's folder cannot be made: {error}") from error
        for attempt in range(2):
            try:
                return self._prepare(_connect(str(self.path)))
            except duckdb.Error as error:
                if _is_busy(error):
                    raise StoreBusyError(f"{self.path} is in use by another process") from error
                if attempt or not self._set_aside(_first_line(error)):
                    raise StoreError(f"the store cannot be opened: {_first_line(error)}") from error
        raise AssertionError("unreachable")

    def _prepare(self, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
        try:
            tables = {
                name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()
            }
            if not tables:
                with _transaction(connection):
                    connection.execute(_SCHEMA)
            else:
                versions = connection.execute("select version from meta").fetchall()
                if versions != [(VERSION,)]:
                    raise duckdb.IOException(f"made by another version of tango-telemetry: {versions}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_aside(self, reason: str) -> bool:
        if self.path is None or not self.path.is_file():
            return False
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
        try:
            os.replace(self.path, aside)
            # The log of what was not yet in the file proper belongs to the damaged one.
            wal = self.path.with_name(f"{self.path.name}.wal")
            if wal.exists():
                os.replace(wal, f"{aside}.wal")
        except OSError:
            return False
        self._report(
            f"the store could not be read ({reason}); it is set aside as {aside}, and a new one begun"
        )
        return True

    def _load(self) -> None:
        self._closed = False
        self._changes = 0
        self._since_check = 0
        self._said_full = False
        self._records = Records()
        self._resource_ids = {}
        self._new_resources = []
        self._programs = {}
        rows = self.query("select * exclude (id) from operations order by id")
        self._spans = Spans([Operation(*row) for row in rows])
        self._resource_numbers = {
            text: number for number, text in self.query("select id, text from resources")
        }
        self._files = {row[0]: FileState(*row[1:]) for row in self.query("select * from files")}

    @contextmanager
    def _guarded(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Return the connection.

        A store that turns out to be damaged is set aside, and a new one takes its place.
        """
        if self._closed:
            raise StoreError("the store is closed")
        try:
            yield self._connection
        except duckdb.Error as error:
            if not _is_damage(error):
                raise
            self._connection.close()
            self._set_aside(_first_line(error))
            self._connection = self._open()
            self._load()
            raise StoreDamagedError(f"the store was damaged: {_first_line(error)}") from error


# Of client spans outside of device servers. Source: PyTango 10.0.
_UNNAMED = "pytango.client"


def _name_programs(resources: Mapping[str, int]) -> dict[int, str]:
    named: dict[tuple[str, ...], list[str]] = {}
    unnamed: dict[int, tuple[str, ...]] = {}
    for text, number in resources.items():
        service, instance, pairs = json.loads(text)
        about = {key: str(value) for key, value in pairs if key in ("host.name", "process.pid")}
        process = (instance, about.get("host.name", ""), about.get("process.pid", ""))
        if service == _UNNAMED:
            unnamed[number] = process
        # Without an instance nothing tells one process from another, and that of a device is its name.
        elif instance and instance.count("/") != 2:
            named.setdefault(process, []).append(service)
    names = {process: utf8(", ".join(dict.fromkeys(services))) for process, services in named.items()}
    return {number: names.get(unnamed.get(number, ()), "") for number in resources.values()}


def _connect(path: str) -> duckdb.DuckDBPyConnection:
    threads = min(4, os.cpu_count() or 1)
    return duckdb.connect(
        path,
        config={
            "memory_limit": MEMORY_LIMIT,
            "threads": threads,
            "preserve_insertion_order": False,
            # Nothing is ever loaded from the network, and no file but the store is read.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.begin()
    try:
        yield
    except BaseException:
        # After damage there is nothing to roll back, and saying so would hide what happened.
        try:
            connection.rollback()
        except duckdb.Error:
            pass
        raise
    connection.commit()


def _is_busy(error: duckdb.Error) -> bool:
    return "Could not set lock" in str(error) or "Conflicting lock" in str(error)


def _is_damage(error: duckdb.Error) -> bool:
    text = str(error)
    return isinstance(error, duckdb.FatalException | duckdb.InternalException) or "orrupt" in text


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def open_near(path: Path | None, report: Callable[[str], None]) -> Store:
    """Open the store at `path`, or one in memory where there is none, or where another process has it."""
    if path is not None:
        try:
            return Store(path, report)
        except StoreBusyError:
            pass
        except StoreError as error:
            report(str(error))
    return Store(None, report)
