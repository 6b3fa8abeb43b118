"""Spans on their way into the store, and out of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy

from ..viewer.model import Event, Link, Resource, Span
from .columns import HALF, MAX_BIGINT, attributes_of, dump, halves, insert, utf8

SCHEMA = """
create table operations(
    id integer, service varchar, instance varchar, class varchar, device varchar, name varchar,
    kind varchar, folded boolean);
create table spans(hi ubigint, lo ubigint, span ubigint, parent ubigint, start bigint, duration bigint,
    operation integer, resource integer, error boolean, folded boolean, arrived integer, detail varchar);
create table links(hi ubigint, lo ubigint, span ubigint, to_hi ubigint, to_lo ubigint, to_span ubigint,
    kind varchar, start bigint, arrived integer);
"""

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


class Spans:
    """What was added and is not written yet, and the operations that the store has met."""

    def __init__(self, operations: list[Operation]) -> None:
        self.operations = operations
        self._ids = {operation: number for number, operation in enumerate(operations)}
        self._written = len(operations)
        self._rows: list[tuple[Any, ...]] = []
        self._links: list[tuple[int, int, Link, int, int]] = []
        self._seen: set[tuple[int, int]] = set()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, span: Span, resource: int, arrived: int) -> None:
        """Take one; `resource` is its number in the store, `arrived` is in seconds since 1970."""
        trace, number = int(span.trace_id, 16), int(span.span_id, 16)
        if (trace, number) in self._seen:
            return
        self._seen.add((trace, number))
        operation = describe(span)
        known = self._ids.get(operation)
        if known is None:
            known = self._intern(operation)
        start = min(span.start, MAX_BIGINT)
        for link in span.links:
            self._links.append((trace, number, link, start, arrived))
        self._rows.append(
            (
                trace >> 64,
                trace & HALF,
                number,
                int(span.parent_id, 16) if span.parent_id else 0,
                start,
                max(0, min(span.end, MAX_BIGINT) - start),
                known,
                resource,
                span.is_error,
                operation.folded,
                arrived,
                _encode(span),
            )
        )

    def write(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Write them within the transaction that is open; return how many were new."""
        rows, self._rows = self._rows, []
        links, self._links = self._links, []
        self._seen.clear()
        self._write_operations(connection)
        if not rows:
            return 0
        columns = zip(*rows, strict=True)
        batch = {
            name: numpy.array(column, dtype=kind)
            for (name, kind), column in zip(_COLUMNS, columns, strict=True)
        }
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
                trace & HALF,
                span,
                *halves(link.trace_id),
                int(link.span_id, 16),
                _kind(link),
                start,
                arrived,
            )
            for trace, span, link, start, arrived in links
            if (trace >> 64, trace & HALF, span) not in twice
        ]
        if rows:
            insert(connection, "links", rows, (*[numpy.uint64] * 6, object, numpy.int64, numpy.int32))
        return len(batch["span"])

    def decode(self, wanted: str, row: tuple[Any, ...], resources: dict[int, Resource]) -> Span:
        """Return a span of the trace `wanted` from its row."""
        span, parent, start, duration, operation, resource, error, detail = row
        op = self.operations[operation]
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

    def _intern(self, operation: Operation) -> int:
        o = operation
        safe = Operation(
            utf8(o.service),
            utf8(o.instance),
            utf8(o.device_class),
            utf8(o.device),
            utf8(o.name),
            o.kind,
            o.folded,
        )
        number = self._ids.get(safe)
        if number is None:
            number = self._ids[safe] = len(self.operations)
            self.operations.append(safe)
        self._ids[operation] = number
        return number

    def _write_operations(self, connection: duckdb.DuckDBPyConnection) -> None:
        new = self.operations[self._written :]
        if new:
            first = self._written
            rows = [
                (first + index, o.service, o.instance, o.device_class, o.device, o.name, o.kind, o.folded)
                for index, o in enumerate(new)
            ]
            insert(connection, "operations", rows, (numpy.int32, *[object] * 6, numpy.bool_))
            self._written = len(self.operations)


def _kind(link: Link) -> str:
    return next((utf8(str(value)) for key, value in link.attributes if key == "tango.link"), "")


def _encode(span: Span) -> str:
    """Return what a span has besides its columns."""
    # The operation's name has lost what is no Unicode; the span's own is kept where it differs.
    return dump(
        (
            None if span.name.isascii() or utf8(span.name) == span.name else span.name,
            span.scope,
            span.status_message,
            span.trace_state,
            span.attributes,
            [(event.time, event.name, event.attributes) for event in span.events] if span.events else (),
            [(link.trace_id, link.span_id, link.attributes) for link in span.links] if span.links else (),
        ),
    )
