"""OpenTelemetry's baggage beside the trace context: one bounded member of ``tracestate``.

Tango's wire has two strings, ``traceparent`` and ``tracestate``, so baggage has no field of its own. It
travels as ``tangobag=key:value;key:value``: the text of W3C's ``baggage`` header with the two characters
replaced that a ``tracestate`` value may not have. The receiver takes it out again.
docs/decisions/0010-baggage.md says why.
"""

from __future__ import annotations

from tango_telemetry.otel.api import Context, W3CBaggagePropagator

__all__ = ["PREFIX", "decode_baggage", "dropped", "encode_baggage"]

PREFIX = "tangobag="
MAX_VALUE = 256
"""Characters of a ``tracestate`` value (W3C Trace Context 3.3.1.3.2)."""

_propagator = W3CBaggagePropagator()
_dropped = 0


def dropped() -> int:
    """Return how many baggage entries did not fit into a call, in this process."""
    return _dropped


def encode_baggage(context: Context, room: int) -> str:
    """Return the ``tracestate`` member for the baggage of a context, ``""`` for none.

    :param room: characters that the member may take; entries that do not fit are dropped and counted
    """
    global _dropped
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, context)
    header = carrier.get("baggage", "")
    if not header:
        return ""
    kept: list[str] = []
    left = min(MAX_VALUE, room - len(PREFIX))
    for entry in header.split(","):
        key, _, value = (part.replace(":", "%3A").replace(";", "%3B") for part in entry.partition("="))
        item = f"{key}:{value.replace('=', '%3D')}"
        if len(item) + bool(kept) > left:
            _dropped += 1
            continue
        left -= len(item) + bool(kept)
        kept.append(item)
    return PREFIX + ";".join(kept) if kept else ""


def decode_baggage(tracestate: str, context: Context) -> Context:
    """Return ``context`` with the baggage that came in a ``tracestate``.

    Never raises: a peer may send anything.
    """
    for member in tracestate.split(","):
        text = member.strip()
        if text.startswith(PREFIX) and len(text) <= len(PREFIX) + MAX_VALUE and text.isprintable():
            pairs = (item.partition(":") for item in text[len(PREFIX) :].split(";"))
            header = ",".join(f"{key}={value}" for key, colon, value in pairs if colon and key)
            return _propagator.extract({"baggage": header}, context)
    return context
