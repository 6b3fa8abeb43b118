"""Log records that wait, and their OTLP: an ``EncodedSource`` of the pipeline for logs.

A record is taken on the user's thread, as a tuple; the pipeline's worker encodes it. Field numbers:
opentelemetry-proto 1.x, ``logs.proto`` and ``common.proto``.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from struct import Struct
from typing import Any, TypeAlias

from tango_telemetry import semantic_conventions as names
from tango_telemetry.base import system
from tango_telemetry.base.bounded import BoundedDict
from tango_telemetry.base.originals import RLock
from tango_telemetry.base.texts import cut, describe, encodable
from tango_telemetry.pipeline.exporters.attributes import encode_attribute, encode_attributes, encode_text
from tango_telemetry.pipeline.exporters.plain_span import field, varint

__all__ = ["LogSource", "Record"]

WAKE_RECORDS = 64
"""The worker is woken each time that this many wait."""
CHUNK = 64
"""Records that are encoded at a time; other threads wait for the GIL meanwhile (3 to 5 us for each)."""
UNWEIGHED = 256
"""So many may wait unweighed: weighing is for a queue that builds up."""
RECORD_BYTES = 600
"""What a record takes in memory besides its texts (Python 3.11: a tuple of 18, ids, times)."""
_MOST_ATTRIBUTES = 32
_LONGEST_VALUE = 4096
_MOST_REMEMBERED = 4096

_attribute = partial(encode_attribute, tag=b"\x32")
_TIMES = Struct("<BQBQ").pack
_TRACE = Struct("<BI2s16s2s8s").pack


Record: TypeAlias = tuple[
    Any,
    str,
    int,
    int,
    int,
    str,
    str,
    int,
    int,
    int,
    str,
    int,
    str,
    int,
    str,
    tuple[str, str, str] | None,
    Any,
    int,
]
"""A log record, a plain tuple because a named one takes four times as long to make (0.13 and 0.44 us).

owner: the device whose it is, None for the process; scope; time and observed time in nanoseconds of the
epoch; severity and its text; body; trace, span and flags of the trace, 0 where there are none; file, line and
function; identifier and name of the thread; type, message and stack trace of an exception, or None; further
attributes, or None; 0, or what it weighs in a queue.
"""


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
        system.register_at_fork(after_in_child=lambda: _reset(source))

    def _reset(self) -> None:
        # Re-entrant: a finaliser that logs may interrupt a thread that holds it.
        self._lock = RLock()
        self._waiting: deque[Record] = deque()
        self._bytes = 0
        self._dropped = 0
        # The first record takes the slow way, which starts the pipeline's threads.
        self._unweighed = 0
        self._encoder = Encoder(self._resource_of)

    def put(self, record: Record) -> None:
        """Take a record. Never blocks; one that meets a full queue is dropped."""
        waiting = self._waiting
        depth = len(waiting)
        if depth >= self._unweighed:
            self._put_weighed(record)
            return
        waiting.append(record)
        if depth % self._wake_every == self._wake_every - 1:
            self._wake()

    def _put_weighed(self, record: Record) -> None:
        body, error, more = record[6], record[15], record[16]
        size = RECORD_BYTES + len(body)
        if error is not None:
            size += len(error[1]) + len(error[2])
        if more is not None:
            size += sum(100 + len(value) if isinstance(value, str) else 100 for value in more.values())
        with self._lock:
            depth = len(self._waiting)
            if depth >= self._max_records or self._bytes + size > self._max_bytes:
                self._dropped += 1
                return
            self._waiting.append((*record[:-1], size))
            self._bytes += size
            wake = self._unweighed == 0 or depth % self._wake_every == self._wake_every - 1
            self._unweighed = min(UNWEIGHED, self._max_records)
        if wake:
            self._wake()

    # --- for the pipeline

    def drain(self, max_bytes: int) -> tuple[bytes, int]:
        """The bytes of complete ``ResourceLogs`` as field 1 of a request, and how many records they hold."""
        taken: list[Record] = []
        with self._lock:
            while self._waiting and len(taken) < CHUNK and max_bytes > 0:
                record = self._waiting.popleft()
                size = record[-1]
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


class Encoder:
    """Records to the bytes of ``ExportLogsServiceRequest``. What repeats is remembered: places, threads,
    resources.
    """

    def __init__(self, resource_of: Callable[[Any], Mapping[str, Any]]) -> None:
        self._resource_of = resource_of
        self._resources: weakref.WeakKeyDictionary[Any, tuple[Any, bytes]] = weakref.WeakKeyDictionary()
        self._of_process: tuple[Any, bytes] | None = None
        self._known: BoundedDict[Any, bytes] = BoundedDict(_MOST_REMEMBERED)

    def encode(self, records: list[Record]) -> bytes:
        """The serialised request."""
        groups: dict[int, tuple[Any, dict[str, list[bytes]]]] = {}
        for record in records:
            owner, scope = record[0], record[1]
            group = groups.get(id(owner))
            if group is None:
                group = groups[id(owner)] = (owner, {})
            parts = group[1].get(scope)
            if parts is None:
                parts = group[1][scope] = [field(b"\x0a", encode_text(b"\x0a", scope))]
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
        _, _, time, observed, severity, level, body, trace, span, flags, path, line, function, *rest = record
        thread, thread_name, error, more, _ = rest
        known = self._known
        key: Any = (path, line, function, severity, level)
        place = known.get(key)
        if place is None:
            place = known[key] = b"".join(
                (
                    b"\x10",
                    varint(severity),
                    encode_text(b"\x1a", level),
                    _attribute(names.CODE_FILE_PATH, path),
                    _attribute(names.CODE_LINE_NUMBER, line),
                    _attribute(names.CODE_FUNCTION_NAME, function),
                )
            )
        key = (thread, thread_name)
        of_thread = known.get(key)
        if of_thread is None:
            of_thread = known[key] = _attribute(names.THREAD_ID, thread) + _attribute(
                names.THREAD_NAME, thread_name
            )
        try:
            text = body.encode()
        except UnicodeEncodeError:
            text = encodable(body).encode()
        size = len(text)
        parts = [
            _TIMES(0x09, time, 0x59, observed),
            # As field() has it for the usual length, at a third of its price.
            b"\x2a%c\x0a%c%b" % (size + 2, size, text)
            if size < 126
            else field(b"\x2a", field(b"\x0a", text)),
            place,
            of_thread,
        ]
        if trace:
            parts.append(
                _TRACE(
                    0x45, flags, b"\x4a\x10", trace.to_bytes(16, "big"), b"\x52\x08", span.to_bytes(8, "big")
                )
            )
        if error is not None:
            kind, message, stack = error
            parts += (
                _attribute(names.EXCEPTION_TYPE, kind),
                _attribute(names.EXCEPTION_MESSAGE, message),
                _attribute(names.EXCEPTION_STACKTRACE, stack),
            )
        if more is not None:
            parts += [_attribute(name, value) for name, value in more.items()]
        return b"".join(parts)

    def _resource(self, owner: Any) -> bytes:
        attributes = self._resource_of(owner)
        known = self._of_process if owner is None else self._resources.get(owner)
        if known is not None and known[0] is attributes:
            return known[1]
        encoded = field(b"\x0a", encode_attributes(attributes, b"\x0a"))
        if owner is None:
            self._of_process = (attributes, encoded)
        else:
            self._resources[owner] = (attributes, encoded)
        return encoded


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
