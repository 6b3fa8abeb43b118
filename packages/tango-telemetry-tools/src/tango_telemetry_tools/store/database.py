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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy

from ..viewer.model import Attributes, Event, Link, LogRecord, Point, Resource, Span
from .records import SCHEMA, Records

# Of the tables below. A store of another version is set aside like a damaged one: it is a copy, never the
# only place.
VERSION = 2

BATCH_SPANS = 20_000
MEMORY_LIMIT = "512MB"
DEFAULT_MAX_BYTES = 4 << 30
_MAX_BIGINT = (1 << 63) - 1
_HALF = (1 << 64) - 1
# Of the spans in the store, this share goes when it is too big: one delete for a while, not one for each
# batch.
_SHARE_TO_DROP = 0.1

_SCHEMA = f"""
create table meta(version integer);
insert into meta values ({VERSION});
create table operations(
    id integer, service varchar, instance varchar, class varchar, device varchar, name varchar,
    kind varchar, folded boolean);
create table resources(id integer, text varchar);
create table spans(hi ubigint, lo ubigint, span ubigint, parent ubigint, start bigint, duration bigint,
    operation integer, resource integer, error boolean, folded boolean, arrived integer, detail varchar);
create table files(
    fingerprint varchar, path varchar, size bigint, changed bigint, position bigint, line bigint,
    tail blob);
create table links(hi ubigint, lo ubigint, span ubigint, to_hi ubigint, to_lo ubigint, to_span ubigint,
    kind varchar, start bigint, arrived integer);
create table problems(path varchar, line bigint, message varchar);
{SCHEMA}"""

# Tables whose rows stand in the order in which they arrived.
_GROWING = ("spans", "links", "logs", "points")

_COLUMNS: tuple[tuple[str, Any], ...] = (
    ("hi", numpy.uint64),
    ("lo", numpy.uint64),
    ("span", numpy.uint64),
    ("parent", numpy.uint64),
    ("start", numpy.int64),
    ("duration", numpy.int64),
    ("operation", numpy.int32),
    ("resource", numpy.int32),
    ("error", numpy.bool_),
    ("folded", numpy.bool_),
    ("arrived", numpy.int32),
    ("detail", object),
)

# What every client does around the work: roots of these are folded away unless somebody asks for them.
_FOLDED_WORDS = frozenset(
    {
        "DeviceProxy",
        "AttributeProxy",
        "Database",
        "Group",
        "command_list_query",
        "attribute_list_query",
        "attribute_list_query_ex",
        "get_command_config",
        "get_attribute_config",
        "get_attribute_config_ex",
    }
)
_FOLDED_ENDS = (".init_device", ".delete_device", ".init_class", ".initialize_dynamic_attributes")


class StoreError(Exception):
    """The store cannot be used. The message is for the user."""


class StoreBusyError(StoreError):
    """Another process has the store."""


class StoreDamagedError(StoreError):
    """The store could not be read any more and has been set aside."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What spans have in common that do the same for the same device, told apart by who emitted them.

    `instance` is the device that emitted the spans, where it was one; `device` the one that they are about.
    """

    service: str
    instance: str
    device_class: str
    device: str
    name: str
    kind: str
    folded: bool

    @property
    def caller(self) -> str:
        """Who did it: a device, or a program by its service name."""
        return self.instance or self.service


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


def describe(span: Span) -> Operation:
    """Return the operation that a span belongs to."""
    device = device_class = ""
    polled = False
    for key, value in span.attributes:
        if key == "tango.device.name":
            device = str(value).lower()
        elif key == "tango.device.class":
            device_class = str(value)
        elif key == "tango.polling":
            polled = bool(value)
    instance = span.resource.instance.lower() if span.resource.instance.count("/") == 2 else ""
    if span.kind == "server":
        device, device_class = device or instance, device_class or (span.service if instance else "")
    folded = polled or span.name in _FOLDED_WORDS or span.name.endswith(_FOLDED_ENDS)
    return Operation(span.service, instance, device_class, device, span.name, span.kind, folded)


class Store:
    """Spans in a file, or in memory where `path` is None. Safe to use from several threads."""

    _closed: bool
    _changes: int
    _since_check: int
    _said_full: bool
    _rows: list[tuple[Any, ...]]
    _links: list[tuple[int, int, Link, int]]
    _records: Records
    _seen: set[tuple[int, int]]
    _resource_ids: dict[int, tuple[Resource, int]]
    _resource_numbers: dict[str, int]
    _new_resources: list[tuple[int, str]]
    _programs: dict[int, str]
    _operations: list[Operation]
    _operation_ids: dict[Operation, int]
    _written_operations: int
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
                if isinstance(item, Span):
                    self._append(item)
                    if len(self._seen) >= BATCH_SPANS:
                        self.flush()
                else:
                    self._records.add(item, self._intern_resource(item.resource), self._now())
                    if len(self._records) >= BATCH_SPANS:
                        self.flush()

    def flush(self, files: Iterable[tuple[str, FileState]] = ()) -> None:
        """Write what was added, and how far files were read, in one transaction."""
        with self._lock, self._guarded() as connection:
            batch = self._take_batch()
            links, self._links = self._links, []
            written = 0
            with _transaction(connection):
                self._write_dimensions(connection)
                if batch is not None:
                    written = self._write_spans(connection, batch, links)
                written += self._records.write(connection)
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
        return self._operations

    @property
    def files(self) -> dict[str, FileState]:
        """How far each file has been read, by its fingerprint."""
        return self._files

    def note_problem(self, path: str, line: int, message: str) -> None:
        """Remember what was wrong with a file, for whoever asks when it is no longer read."""
        with self._lock, self._guarded() as connection:
            connection.execute("insert into problems values (?, ?, ?)", [_utf8(path), line, _utf8(message)])

    def problems(self) -> list[tuple[str, int, str]]:
        """Return what was noted: path, line (0 for the whole file), message."""
        return self.query("select path, line, message from problems")

    def _append(self, span: Span) -> None:
        trace, number = int(span.trace_id, 16), int(span.span_id, 16)
        if (trace, number) in self._seen:
            return
        self._seen.add((trace, number))
        operation = describe(span)
        known = self._operation_ids.get(operation)
        if known is None:
            known = self._intern(operation)
        start = min(span.start, _MAX_BIGINT)
        for link in span.links:
            self._links.append((trace, number, link, start))
        self._rows.append(
            (
                trace >> 64,
                trace & _HALF,
                number,
                int(span.parent_id, 16) if span.parent_id else 0,
                start,
                max(0, min(span.end, _MAX_BIGINT) - start),
                known,
                self._intern_resource(span.resource),
                span.is_error,
                operation.folded,
                self._now(),
                _encode(span),
            )
        )

    def _now(self) -> int:
        return int(time.time())

    def _intern(self, operation: Operation) -> int:
        o = operation
        safe = Operation(
            _utf8(o.service),
            _utf8(o.instance),
            _utf8(o.device_class),
            _utf8(o.device),
            _utf8(o.name),
            o.kind,
            o.folded,
        )
        number = self._operation_ids.get(safe)
        if number is None:
            number = self._operation_ids[safe] = len(self._operations)
            self._operations.append(safe)
        self._operation_ids[operation] = number
        return number

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

    def _take_batch(self) -> dict[str, Any] | None:
        rows, self._rows = self._rows, []
        self._seen.clear()
        self._resource_ids.clear()
        if not rows:
            return None
        columns = zip(*rows, strict=True)
        return {
            name: numpy.array(column, dtype=kind)
            for (name, kind), column in zip(_COLUMNS, columns, strict=True)
        }

    def _write_dimensions(self, connection: duckdb.DuckDBPyConnection) -> None:
        new = self._operations[self._written_operations :]
        if new:
            first = self._written_operations
            rows = [
                (first + index, o.service, o.instance, o.device_class, o.device, o.name, o.kind, o.folded)
                for index, o in enumerate(new)
            ]
            _insert(connection, "operations", rows, (numpy.int32, *[object] * 6, numpy.bool_))
            self._written_operations = len(self._operations)
        if self._new_resources:
            _insert(connection, "resources", self._new_resources, (numpy.int32, object))
            self._new_resources = []

    def _write_spans(
        self,
        connection: duckdb.DuckDBPyConnection,
        batch: dict[str, Any],
        links: list[tuple[int, int, Link, int]],
    ) -> int:
        # A span may come twice: by OTLP and in a file, or in a copy of a file. The same one has the same
        # start, and DuckDB passes over blocks of other times, so that this costs little in a store of any
        # size.
        twice: set[tuple[int, int, int]] = set()
        connection.register("batch", batch)
        try:
            known = connection.execute(
                "select s.hi, s.lo, s.span from spans s semi join batch b on s.span = b.span and s.lo = b.lo"
                " and s.hi = b.hi where s.start between ? and ?",
                [int(batch["start"].min()), int(batch["start"].max())],
            ).fetchall()
            if known:
                twice = set(known)
                ids = zip(batch["hi"].tolist(), batch["lo"].tolist(), batch["span"].tolist(), strict=True)
                keep = numpy.array([key not in twice for key in ids])
                connection.unregister("batch")
                batch = {name: column[keep] for name, column in batch.items()}
                connection.register("batch", batch)
            connection.execute("insert into spans select * from batch")
        finally:
            connection.unregister("batch")
        rows = [
            (
                trace >> 64,
                trace & _HALF,
                span,
                *_halves(link.trace_id),
                int(link.span_id, 16),
                _kind(link),
                start,
                self._now(),
            )
            for trace, span, link, start in links
            if (trace >> 64, trace & _HALF, span) not in twice
        ]
        if rows:
            _insert(connection, "links", rows, (*[numpy.uint64] * 6, object, numpy.int64, numpy.int32))
        return len(batch["span"])

    def _write_files(
        self, connection: duckdb.DuckDBPyConnection, files: Iterable[tuple[str, FileState]]
    ) -> None:
        for fingerprint, state in files:
            connection.execute("delete from files where fingerprint = ?", [fingerprint])
            connection.execute(
                "insert into files values (?, ?, ?, ?, ?, ?, ?)",
                [fingerprint, _utf8(state.path), *state[1:]],
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
        number = int(wanted, 16)
        rows = self.query(
            "select span, parent, start, duration, operation, resource, error, detail from spans where lo = "
            "? and hi = ?",
            [number & _HALF, number >> 64],
        )
        resources = self.resources({row[5] for row in rows})
        return [self._decode(wanted, row, resources) for row in rows]

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

    def _decode(self, wanted: str, row: tuple[Any, ...], resources: dict[int, Resource]) -> Span:
        span, parent, start, duration, operation, resource, error, detail = row
        op = self._operations[operation]
        name, scope, status, state, attributes, events, links = json.loads(detail)
        return Span(
            trace_id=wanted,
            span_id=f"{span:016x}",
            parent_id=f"{parent:016x}" if parent else "",
            name=op.name if name is None else name,
            kind=op.kind,
            start=start,
            end=start + duration,
            resource=resources[resource],
            scope=scope,
            is_error=error,
            status_message=status,
            trace_state=state,
            attributes=attributes_of(attributes),
            events=tuple(Event(when, event, attributes_of(pairs)) for when, event, pairs in events),
            links=tuple(Link(trace, linked, attributes_of(pairs)) for trace, linked, pairs in links),
        )

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
        self._rows = []
        self._links = []
        self._records = Records()
        self._seen = set()
        self._resource_ids = {}
        self._new_resources = []
        self._programs = {}
        rows = self.query("select * exclude (id) from operations order by id")
        self._operations = [Operation(*row) for row in rows]
        self._operation_ids = {operation: number for number, operation in enumerate(self._operations)}
        self._written_operations = len(self._operations)
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


def trace_id(hi: int, lo: int) -> str:
    """Return a trace's id in hexadecimal, from the two numbers that the store keeps."""
    return f"{hi:016x}{lo:016x}"


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
    names = {process: _utf8(", ".join(dict.fromkeys(services))) for process, services in named.items()}
    return {number: names.get(unnamed.get(number, ()), "") for number in resources.values()}


def _halves(trace: str) -> tuple[int, int]:
    number = int(trace, 16)
    return number >> 64, number & _HALF


def _kind(link: Link) -> str:
    return next((_utf8(str(value)) for key, value in link.attributes if key == "tango.link"), "")


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


# `json.dumps` makes such an encoder for each call.
_dump = json.JSONEncoder(separators=(",", ":")).encode


def _encode(span: Span) -> str:
    """Return what a span has besides its columns. Lone surrogates stay escapes, so the text is ASCII."""
    # The operation's name has lost what is no Unicode; the span's own is kept where it differs.
    return _dump(
        (
            None if span.name.isascii() or _utf8(span.name) == span.name else span.name,
            span.scope,
            span.status_message,
            span.trace_state,
            span.attributes,
            [(event.time, event.name, event.attributes) for event in span.events] if span.events else (),
            [(link.trace_id, link.span_id, link.attributes) for link in span.links] if span.links else (),
        ),
    )


def attributes_of(pairs: Iterable[Sequence[Any]]) -> Attributes:
    """Return attributes as they were, from what JSON has made of them."""
    return tuple((key, _tuples(value) if isinstance(value, list | dict) else value) for key, value in pairs)


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[tuple[Any, ...]], kinds: Sequence[Any]
) -> None:
    """Insert many rows at once: `executemany` of DuckDB 2.0 takes milliseconds for each."""
    columns = zip(*rows, strict=True)
    batch = {
        f"c{number:02}": numpy.array(column, dtype=kind)
        for number, (column, kind) in enumerate(zip(columns, kinds, strict=True))
    }
    connection.register("rows", batch)
    try:
        connection.execute(f"insert into {table} select * from rows")
    finally:
        connection.unregister("rows")


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
