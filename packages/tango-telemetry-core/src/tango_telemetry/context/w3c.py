"""The trace context as text: W3C Trace Context, and our own ``tracestate`` entry.

Where cppTango answers for itself it replaces the span id in ``traceparent`` by that of a span of its own, so
the real parent travels beside it as ``tango=<span id>-<flags>`` in ``tracestate``, which every cppTango >=
10.0 passes on untouched. A ``traceparent`` that arrives sampled names a span that is recorded, and the
parent; where it is not, the entry does.
"""

from __future__ import annotations

from tango_telemetry.context.baggage import PREFIX, decode_baggage, encode_baggage
from tango_telemetry.otel.api import Context, SpanContext, TraceFlags, TraceState

__all__ = [
    "KEY",
    "NO_TRACE_STATE",
    "TRACE_FLAGS",
    "extract",
    "extract_baggage",
    "inject",
    "inject_with_baggage",
    "is_sampled",
    "read_traceparent",
    "rejected",
]

KEY = "tango"
_TRACEPARENT_LENGTH = 55
_MAX_TRACEPARENT = (
    256  # of a later version; what a GIOP context may hold (docs/reference/giop-service-context.md)
)
_ENTRY_LENGTH = len("tango=") + 16 + 1 + 2
_OURS = ("tango=", PREFIX)
_MAX_TRACESTATE = 512  # W3C Trace Context 3.3.1.5: what must be propagated at least; more is dropped
_FLAGS = {f"{flags:02x}": TraceFlags(flags & 3) for flags in range(256)}
_SUFFIXES = tuple(f"-{flags:02x}" for flags in range(4))
TRACE_FLAGS = tuple(TraceFlags(flags) for flags in range(4))
NO_TRACE_STATE = SpanContext(1, 1, False).trace_state
"""The object that OpenTelemetry itself puts there (1.x): tracers compare with it before they look at its
items.
"""

_SPAN_ID = (1 << 64) - 1

_rejected = 0


def rejected() -> int:
    """Return how many incoming contexts were malformed or oversized, and dropped, in this process."""
    return _rejected


def inject(context: SpanContext) -> tuple[str, str]:
    """Return ``(traceparent, tracestate)`` of a valid span context, our entry in front."""
    trace_id, span_id, _, flags, state, _ = context
    # int.to_bytes and bytes.hex take a third of the time that formatting with "016x" takes (CPython 3.11).
    span_text = span_id.to_bytes(8, "big").hex()
    suffix = _SUFFIXES[flags & 3]
    entry = f"tango={span_text}{suffix}"
    if state is not NO_TRACE_STATE and state:
        rest = ",".join(item for item in state.to_header().split(",") if not item.startswith(_OURS))
        if rest and len(rest) + _ENTRY_LENGTH < _MAX_TRACESTATE:
            entry = f"{entry},{rest}"
    return f"00-{trace_id.to_bytes(16, 'big').hex()}-{span_text}{suffix}", entry


def inject_with_baggage(span_context: SpanContext, context: Context) -> tuple[str, str]:
    """Return the same, with as much of the baggage of ``context`` as the rest of ``tracestate`` has
    room for.
    """
    traceparent, tracestate = inject(span_context)
    member = encode_baggage(context, _MAX_TRACESTATE - len(tracestate) - 1)
    return traceparent, f"{tracestate},{member}" if member else tracestate


def extract_baggage(tracestate: str, context: Context) -> Context:
    """Return ``context`` with the baggage that came with a trace context that was taken."""
    if len(tracestate) <= _ENTRY_LENGTH or len(tracestate) > _MAX_TRACESTATE or PREFIX not in tracestate:
        return context
    return decode_baggage(tracestate, context)


def read_traceparent(text: str) -> tuple[int, int, TraceFlags] | None:
    """Return trace id, span id and flags of a ``traceparent``, None for what is none. Never raises.

    Source: W3C Trace Context level 2, sections 3.2 and 4.1: lower case, ids that are not zero, no version
    ``ff``; a later version may go on behind another dash, version ``00`` may not. Flags may arrive as ``02``
    or ``03`` (random trace id). The native package's ``span_texts.h`` is the same in C++;
    ``tests/contract/test_traceparent.py`` holds the two together.
    """
    version = text[:2]
    if len(text) != _TRACEPARENT_LENGTH and (
        len(text) > _MAX_TRACEPARENT
        or text[_TRACEPARENT_LENGTH : _TRACEPARENT_LENGTH + 1] != "-"
        or version == "00"
    ):
        return None
    flags = _FLAGS.get(text[53:55])
    if flags is None or version not in _FLAGS or version == "ff" or text[2] + text[35] + text[52] != "---":
        return None
    both = _read_hex(text[3:35] + text[36:52])
    trace_id, span_id = both >> 64, both & _SPAN_ID
    return (trace_id, span_id, flags) if trace_id and span_id else None


def is_sampled(traceparent: str) -> bool:
    """Tell whether the flag is set in what may be a ``traceparent``, without reading the rest."""
    flags = _FLAGS.get(traceparent[53:55])
    return flags is not None and bool(flags & 1)


def _read_hex(digits: str) -> int:
    """Return the number, 0 where there is anything but lower-case digits."""
    try:
        number = int(digits, 16)
    except ValueError:
        return 0
    # int() takes more than W3C does: signs, spaces, underscores, capitals, digits of other scripts.
    return number if digits.isalnum() and digits.isascii() and digits == digits.lower() else 0


def extract(traceparent: str, tracestate: str) -> SpanContext | None:
    """Return the remote parent that the two strings name, or None. Never raises: a peer may send anything."""
    global _rejected
    if not traceparent:
        return None
    numbers = read_traceparent(traceparent)
    if numbers is None:
        _rejected += 1
        return None
    trace_id, span_id, flags = numbers
    if len(tracestate) == _ENTRY_LENGTH and tracestate[:6] == "tango=":  # the common case: our entry alone
        entry, state = tracestate, NO_TRACE_STATE
    else:
        entry, state = _split(tracestate)
    if not flags & 1:
        if not entry:
            # cppTango's topic `user` starts an unsampled trace of its own for a caller without context (seen
            # on 10.3.1: flags 02, empty tracestate), so an unsampled parent without our entry is no parent.
            return None
        named = _FLAGS.get(entry[23:])
        span_id = _read_hex(entry[6:22])
        if named is None or not span_id or entry[22] != "-":
            _rejected += 1
            return None
        flags = named
    return SpanContext(trace_id, span_id, True, flags, state)


def _split(tracestate: str) -> tuple[str, TraceState]:
    """Return our entry (``""`` if there is none) and the rest of a ``tracestate``."""
    global _rejected
    if not tracestate:
        return "", NO_TRACE_STATE
    if len(tracestate) > _MAX_TRACESTATE:
        _rejected += 1
        return "", NO_TRACE_STATE
    entry = ""
    rest = []
    for item in tracestate.split(","):
        member = item.strip()
        if member.startswith("tango="):
            entry = entry or (member if len(member) == _ENTRY_LENGTH else "")
        elif member and not member.startswith(PREFIX):
            rest.append(member)
    state = (
        TraceState.from_header([",".join(rest)])
        if rest and hasattr(TraceState, "from_header")
        else NO_TRACE_STATE
    )
    return entry, state
