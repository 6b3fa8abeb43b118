"""How values stand in the columns of the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
import numpy

from ..viewer.model import Attributes

MAX_BIGINT = (1 << 63) - 1
HALF = (1 << 64) - 1

# `json.dumps` makes such an encoder for each call. Lone surrogates stay escapes, so the text is ASCII.
dump = json.JSONEncoder(separators=(",", ":")).encode


def trace_id(hi: int, lo: int) -> str:
    """Return a trace's id in hexadecimal, from the two numbers that the store keeps."""
    return f"{hi:016x}{lo:016x}"


def halves(trace: str) -> tuple[int, int]:
    """Return the two numbers that the store keeps of a trace's id."""
    number = int(trace, 16)
    return number >> 64, number & HALF


def attributes_of(pairs: Iterable[Sequence[Any]]) -> Attributes:
    """Return attributes as they were, from what JSON has made of them."""
    return tuple((key, _tuples(value) if isinstance(value, list | dict) else value) for key, value in pairs)


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def utf8(text: str) -> str:
    """Return a text without what is no Unicode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def insert(
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
