"""The values that OpenTelemetry's API is called with and gives back, for where it is not installed.

The same names, signatures and results as in opentelemetry-api 1.45; ``tests/contract/test_noop.py`` compares
them.
"""

from __future__ import annotations

import enum
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any

__all__ = [
    "Attributes",
    "Link",
    "SpanContext",
    "SpanKind",
    "Status",
    "StatusCode",
    "TraceFlags",
    "TraceState",
]

Attributes = Mapping[str, Any] | None


class SpanKind(enum.Enum):
    """The role of a span, with the values of OpenTelemetry's ``SpanKind``."""

    INTERNAL = 0
    SERVER = 1
    CLIENT = 2
    PRODUCER = 3
    CONSUMER = 4


class StatusCode(enum.Enum):
    """The outcome of a span, with the values of OpenTelemetry's ``StatusCode``."""

    UNSET = 0
    OK = 1
    ERROR = 2


class Status:
    """The outcome of a span and one line about it (OpenTelemetry's ``Status``)."""

    def __init__(self, status_code: StatusCode = StatusCode.UNSET, description: str | None = None) -> None:
        """Keep both; a description goes with an error only."""
        self._status_code = status_code
        self._description = description if status_code is StatusCode.ERROR else None

    @property
    def status_code(self) -> StatusCode:
        """The outcome."""
        return self._status_code

    @property
    def description(self) -> str | None:
        """The line about an error, else None."""
        return self._description

    @property
    def is_ok(self) -> bool:
        """Whether this is no error."""
        return self._status_code is not StatusCode.ERROR

    @property
    def is_unset(self) -> bool:
        """Whether nothing has been said."""
        return self._status_code is StatusCode.UNSET


class TraceFlags(int):
    """W3C trace flags: bit 0 says that the trace is sampled, bit 1 that its id is random."""

    DEFAULT = 0x00
    SAMPLED = 0x01
    RANDOM_TRACE_ID = 0x02

    @classmethod
    def get_default(cls) -> TraceFlags:
        """Return the flags of a trace that is not sampled."""
        return cls(cls.DEFAULT)

    @property
    def sampled(self) -> bool:
        """Whether the trace is sampled."""
        return bool(self & self.SAMPLED)

    @property
    def random_trace_id(self) -> bool:
        """Whether the trace id was made at random (W3C Trace Context level 2)."""
        return bool(self & self.RANDOM_TRACE_ID)


class TraceState(Mapping[str, str]):
    """W3C trace state: what tracing systems add to a trace. Changes give a new object."""

    def __init__(self, entries: Sequence[tuple[str, str]] | None = None) -> None:
        """Keep the entries, the first of each key."""
        self._dict = dict(reversed(entries)) if entries else {}
        self._dict = dict(reversed(self._dict.items()))

    def __contains__(self, item: object) -> bool:
        return item in self._dict

    def __getitem__(self, key: str) -> str:
        return self._dict[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dict)

    def __len__(self) -> int:
        return len(self._dict)

    def __repr__(self) -> str:
        return str([f"{{key={key}, value={value}}}" for key, value in self._dict.items()])

    def add(self, key: str, value: str) -> TraceState:
        """Return a state with one entry more, in front; this one if the key is there."""
        return self if key in self._dict else TraceState([(key, value), *self._dict.items()])

    def update(self, key: str, value: str) -> TraceState:
        """Return a state with the entry changed or added, in front."""
        return TraceState([(key, value), *((k, v) for k, v in self._dict.items() if k != key)])

    def delete(self, key: str) -> TraceState:
        """Return a state without the entry."""
        return TraceState([(k, v) for k, v in self._dict.items() if k != key])

    def to_header(self) -> str:
        """Return the value of a ``tracestate`` header."""
        return ",".join(f"{key}={value}" for key, value in self._dict.items())

    @classmethod
    def from_header(cls, header_list: list[str]) -> TraceState:
        """Parse ``tracestate`` headers."""
        members = (member.strip(" \t") for header in header_list for member in header.split(","))
        pairs = (member.partition("=") for member in members if "=" in member)
        return cls([(key, value) for key, _, value in pairs])

    @classmethod
    def get_default(cls) -> TraceState:
        """Return the empty state."""
        return cls()

    def keys(self) -> KeysView[str]:
        """Return the keys."""
        return self._dict.keys()

    def items(self) -> ItemsView[str, str]:
        """Return the entries."""
        return self._dict.items()

    def values(self) -> ValuesView[str]:
        """Return the values."""
        return self._dict.values()


class SpanContext(tuple[int, int, bool, TraceFlags, TraceState, bool]):
    """The identity of a span (OpenTelemetry's ``SpanContext``)."""

    __slots__ = ()

    def __new__(
        cls,
        trace_id: int,
        span_id: int,
        is_remote: bool,
        trace_flags: TraceFlags | None = TraceFlags(0),
        trace_state: TraceState | None = TraceState(),
    ) -> SpanContext:
        """Make one; valid if both ids are in their range."""
        valid = 0 < trace_id < 1 << 128 and 0 < span_id < 1 << 64
        flags = TraceFlags(0) if trace_flags is None else trace_flags
        state = TraceState() if trace_state is None else trace_state
        return tuple.__new__(cls, (trace_id, span_id, is_remote, flags, state, valid))

    def __getnewargs__(self) -> tuple[int, int, bool, TraceFlags, TraceState]:
        return self[0], self[1], self[2], self[3], self[4]

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(trace_id=0x{self[0]:032x}, span_id=0x{self[1]:016x}, "
            f"trace_flags=0x{self[3]:02x}, trace_state={self[4]!r}, is_remote={self[2]})"
        )

    @property
    def trace_id(self) -> int:
        """The trace id, 128 bits."""
        return self[0]

    @property
    def span_id(self) -> int:
        """The span id, 64 bits."""
        return self[1]

    @property
    def is_remote(self) -> bool:
        """Whether it came from another process."""
        return self[2]

    @property
    def trace_flags(self) -> TraceFlags:
        """The trace flags."""
        return self[3]

    @property
    def trace_state(self) -> TraceState:
        """The trace state."""
        return self[4]

    @property
    def is_valid(self) -> bool:
        """Whether both ids are set."""
        return self[5]


class Link:
    """A reference to another span (OpenTelemetry's ``Link``)."""

    def __init__(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Keep both."""
        self._context = context
        self._attributes = attributes

    @property
    def context(self) -> SpanContext:
        """The other span."""
        return self._context

    @property
    def attributes(self) -> Attributes:
        """What was said about the reference."""
        return self._attributes

    @property
    def dropped_attributes(self) -> int:
        """Always 0: nothing is recorded, so nothing is dropped."""
        return 0
