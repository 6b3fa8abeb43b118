"""Trace context in Tango's client identification (IDL v6), written and read in cppTango's place.

cppTango 10.0 and later put two strings, W3C's ``traceparent`` and ``tracestate``, into each request. It asks
itself for them, and answers with the id of a span of its own, which nobody exports where its spans are off.
`install` has libtango ask here: a request gets what `tango_telemetry_native.giop.set_outgoing` has set on its
thread, and the same two strings of a request received are read as they came, without a scope and a span of
cppTango's around the handler. Neither needs cppTango's telemetry to be on.

- A call that is made in an upcall and was given no context hands on the context of that upcall.
- What a client in Java, or one of cppTango 9, says of itself is left to cppTango.
- The first contexts received are compared with what cppTango makes of them. One that differs disables the
  reading.

Seen with libtango 10.0.3 (old strings), 10.1.5 and 10.3.3 on Linux x86-64; elsewhere `install` refuses.
"""

from __future__ import annotations

from typing import TypedDict, cast

from tango_telemetry_native import _bridge
from tango_telemetry_native._tango import get_extension_path

__all__ = ["IdentificationStatus", "disable", "install", "status"]

_NOT_ASKED_FOR = "it was not asked for"
_reason = _NOT_ASKED_FOR


class IdentificationStatus(TypedDict):
    """What is done in cppTango's place, and what was counted."""

    tried: bool
    """Whether `install` was called, and `disable` not since."""
    client: bool
    """Whether requests get this thread's context."""
    server: bool
    """Whether the context of a request is read as it came."""
    reason: str
    """Why something of the above is not so; "" while all is well."""
    counters: dict[str, int]
    """Numbers since the process started."""


def install(*, scopes: bool = False) -> bool:
    """Answer libtango's question for the trace context from now on, and read that of the requests received.

    Call it after `tango_telemetry_native.giop.install`, whose thread state it shares, and again at any time.

    Args:
        scopes: whether cppTango opens its scope around each handler nevertheless. Its own log records carry a
        trace id only inside one.

    Returns:
        Whether both halves are in force; if not, neither is, and `status` says why.
    """
    global _reason
    path = get_extension_path()
    _reason = _bridge.identification_install(path, scopes) if path else "PyTango is not imported"
    if _reason:
        _bridge.identification_disable()
    return not _reason


def disable() -> None:
    """Leave both to cppTango again. libtango goes on asking here and is given cppTango's own answer."""
    global _reason
    _reason = _NOT_ASKED_FOR
    _bridge.identification_disable()


def status() -> IdentificationStatus:
    """Return what is done in cppTango's place, and what was counted."""
    result = cast(IdentificationStatus, _bridge.identification_status())
    result["tried"] = _reason != _NOT_ASKED_FOR
    result["reason"] = _reason or result["reason"]
    return result
