"""Log records that wait, and their OTLP: an ``EncodedSource`` of the pipeline for logs.

A record is taken on the user's thread, as a tuple; the pipeline's worker encodes it. Field numbers:
opentelemetry-proto 1.x, ``logs.proto`` and ``common.proto``.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, NamedTuple

from tango_telemetry import semantic_conventions as names
from tango_telemetry.base.bounded import BoundedDict
from tango_telemetry.base.originals import RLock
from tango_telemetry.base.texts import cut, describe, encodable
from tango_telemetry.pipeline.exporters.plain_span import field, varint

__all__ = ["LogSource", "Record"]

WAKE_RECORDS = 64
"""The worker is woken each time that this many wait."""
CHUNK = 64
"""Records that are encoded at a time; other threads wait for the GIL meanwhile (3 to 5 us for each)."""
RECORD_BYTES = 600
"""What a record takes in memory besides its texts (Python 3.11: a tuple of 14, ids, times, small tuples)."""
_MOST_ATTRIBUTES = 32
_LONGEST_VALUE = 4096
_MOST_REMEMBERED = 4096

_TIMES = Struct("<BQBQ").pack
_FLAGS = Struct("<BI").pack
_DOUBLE = Struct("<Bd").pack


class Record(NamedTuple):
    """A log record.

    owner: the device whose it is, None for the process. time and observed: nanoseconds of the epoch. flags:
    of the trace; 0 where it is not sampled. place: file, line, function. thread: identifier and name. error:
    type, message and stack trace, or None. more: attributes, or None.
    """

    owner: Any
    scope: str
    time: int
    observed: int
    severity: int
    level: str
    body: str
    trace_id: int
    span_id: int
    flags: int
    place: tuple[str, int, str]
    thread: tuple[int, str]
    error: tuple[str, str, str] | None
    more: Mapping[str, Any] | None


class LogSource:
    """The records of this process that wait to be encoded, within bounds.

    :param resource_of: gives the resource attributes of an owner (None: of the process)
    :param wake_every: how many records wake the worker
    """

    def __init__(
        self,
        resource_of: Callable[[Any], Mapping[str, Any]],
        max_records: int,
        max_bytes: int,
        wake_every: int = WAKE_RECORDS,
    ) -> None:
        self._resource_of = resource_of
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._wake_every = wake_every
        self._wake: Callable[[], None] = lambda: None
        self._reset()
        source = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _reset(source))

    def _reset(self) -> None:
        # Re-entrant: a finaliser that logs may interrupt a thread that holds it.
        self._lock = RLock()
        self._waiting: deque[Record] = deque()
        self._bytes = 0
        self._dropped = 0
        self._begun = False
        self._encoder = Encoder(self._resource_of)

    def put(self, record: Record) -> None:
        """Take a record. Never blocks; one that meets a full queue is dropped."""
        size = _size(record)
        with self._lock:
            count = len(self._waiting) + 1
            if count > self._max_records or self._bytes + size > self._max_bytes:
                self._dropped += 1
                return
            self._waiting.append(record)
            self._bytes += size
            wake = not self._begun or count % self._wake_every == 0
            self._begun = True
        if wake:
            self._wake()

    # --- for the pipeline

    def drain(self, max_bytes: int) -> tuple[bytes, int]:
        """The bytes of complete ``ResourceLogs`` as field 1 of a request, and how many records they hold."""
        taken: list[Record] = []
        with self._lock:
            while self._waiting and len(taken) < CHUNK and (max_bytes > 0 or not taken):
                record = self._waiting.popleft()
                size = _size(record)
                self._bytes -= size
                max_bytes -= size
                taken.append(record)
        return (self._encoder.encode(taken), len(taken)) if taken else (b"", 0)

    def pending(self) -> tuple[int, int]:
        """Records and bytes that wait."""
        return len(self._waiting), self._bytes

    def dropped(self) -> int:
        """How many records were refused so far."""
        return self._dropped

    def set_wake(self, wake: Callable[[], None]) -> None:
        """Take what starts and wakes the worker."""
        self._wake = wake


def _reset(source: weakref.ref[LogSource]) -> None:
    found = source()
    if found is not None:
        found._reset()


def _size(record: Record) -> int:
    size = RECORD_BYTES + len(record.body)
    if record.error is not None:
        size += len(record.error[1]) + len(record.error[2])
    return size if record.more is None else size + 100 * len(record.more)


class Encoder:
    """Records to the bytes of ``ExportLogsServiceRequest``. What repeats is remembered: places, threads,
    resources.
    """

    def __init__(self, resource_of: Callable[[Any], Mapping[str, Any]]) -> None:
        self._resource_of = resource_of
        self._resources: weakref.WeakKeyDictionary[Any, tuple[Any, bytes]] = weakref.WeakKeyDictionary()
        self._of_process: tuple[Any, bytes] | None = None
        self._places: BoundedDict[tuple[str, int, str], bytes] = BoundedDict(_MOST_REMEMBERED)
        self._threads: BoundedDict[tuple[int, str], bytes] = BoundedDict(_MOST_REMEMBERED)

    def encode(self, records: list[Record]) -> bytes:
        """The serialised request."""
        groups: dict[int, tuple[Any, dict[str, list[bytes]]]] = {}
        for record in records:
            group = groups.get(id(record.owner))
            if group is None:
                group = groups[id(record.owner)] = (record.owner, {})
            parts = group[1].get(record.scope)
            if parts is None:
                parts = group[1][record.scope] = [field(b"\x0a", _text(b"\x0a", record.scope))]
            parts.append(field(b"\x12", self._encode_record(record)))
        return b"".join(
            field(
                b"\x0a",
                self._resource(owner)
                + b"".join(field(b"\x12", b"".join(parts)) for parts in scopes.values()),
            )
            for owner, scopes in groups.values()
        )

    def _encode_record(self, record: Record) -> bytes:
        place = self._places.get(record.place)
        if place is None:
            path, line, function = record.place
            place = self._places[record.place] = (
                _attribute(names.CODE_FILE_PATH, path)
                + _attribute(names.CODE_LINE_NUMBER, line)
                + _attribute(names.CODE_FUNCTION_NAME, function)
            )
        thread = self._threads.get(record.thread)
        if thread is None:
            thread = self._threads[record.thread] = _attribute(
                names.THREAD_ID, record.thread[0]
            ) + _attribute(names.THREAD_NAME, record.thread[1])
        parts = [
            _TIMES(0x09, record.time, 0x59, record.observed),
            b"\x10",
            varint(record.severity),
            _text(b"\x1a", record.level),
            field(b"\x2a", _text(b"\x0a", record.body)),
            place,
            thread,
        ]
        if record.trace_id:
            parts += (
                _FLAGS(0x45, record.flags),
                b"\x4a\x10",
                record.trace_id.to_bytes(16, "big"),
                b"\x52\x08",
                record.span_id.to_bytes(8, "big"),
            )
        if record.error is not None:
            kind, message, trace = record.error
            parts += (
                _attribute(names.EXCEPTION_TYPE, kind),
                _attribute(names.EXCEPTION_MESSAGE, message),
                _attribute(names.EXCEPTION_STACKTRACE, trace),
            )
        if record.more is not None:
            parts += (_attribute(name, value) for name, value in record.more.items())
        return b"".join(parts)

    def _resource(self, owner: Any) -> bytes:
        attributes = self._resource_of(owner)
        known = self._of_process if owner is None else self._resources.get(owner)
        if known is not None and known[0] is attributes:
            return known[1]
        encoded = field(b"\x0a", b"".join(_attribute(*item, b"\x0a") for item in attributes.items()))
        if owner is None:
            self._of_process = (attributes, encoded)
        else:
            self._resources[owner] = (attributes, encoded)
        return encoded


def _text(tag: bytes, text: str) -> bytes:
    try:
        return field(tag, text.encode())
    except UnicodeEncodeError:
        return field(tag, encodable(text).encode())


def _attribute(name: str, value: Any, tag: bytes = b"\x32") -> bytes:
    return field(tag, _text(b"\x0a", name) + field(b"\x12", _value(value)))


def _value(value: Any) -> bytes:
    """The bytes of an ``AnyValue``: numbers and truth values as they are, sequences of these, else a text."""
    kind = type(value)
    if kind is str:
        return _text(b"\x0a", cut(value, _LONGEST_VALUE) if len(value) > _LONGEST_VALUE * 4 else value)
    if kind is bool:
        return b"\x10\x01" if value else b"\x10\x00"
    if kind is int and -(2**63) <= value < 2**63:
        return b"\x18" + varint(value & 0xFFFFFFFFFFFFFFFF)
    if kind is float:
        return _DOUBLE(0x21, value)
    if kind in (tuple, list) and len(value) <= _MOST_ATTRIBUTES:
        return field(b"\x2a", b"".join(field(b"\x0a", _value(item)) for item in value))
    return _text(b"\x0a", describe(value, _LONGEST_VALUE))


def pick_attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a record keeps of a user's values: so many, and nothing that changes later.

    Numbers, texts and truth values stay what they are, other things become short texts.
    """
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if len(kept) >= _MOST_ATTRIBUTES:
            break
        kind = type(value)
        if kind is str:
            kept[str(name)] = cut(value, _LONGEST_VALUE)
        elif kind in (bool, int, float):
            kept[str(name)] = value
        else:
            kept[str(name)] = describe(value, _LONGEST_VALUE)
    return kept
