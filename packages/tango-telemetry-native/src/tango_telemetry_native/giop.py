"""Trace context in GIOP service contexts.

Two interceptors in the omniORB that PyTango has loaded add one service context to each request and read it
from each one received. Peers without them ignore it, as CORBA requires. The wire format is described in
``docs/reference/giop-service-context.md``.

`set_outgoing`, `restore_outgoing` and `get_incoming` are about the calling thread: use them on the thread
that makes the C++ call, and on the one that omniORB makes the upcall on. A context is the pair (traceparent,
tracestate), as W3C Trace Context writes them. In asyncio and gevent servers the handler runs on neither: take
it before the hop.

- Asynchronous requests (``*_asynch``, ``Group``) carry the context that is set on the thread that submits
  them, though omniORB sends them on another.
- A call to a device of the same process passes no interceptor. Inside it, `get_incoming` gives what its
  caller set. An *asynchronous* call to a device of the same process carries nothing.

Seen with omniORB 4.2.5 (PyTango 9.3.6) and 4.3.1 to 4.3.4 (9.5.1 to 10.3.1) on Linux x86-64, and the layouts
of 4.2.5 and 4.3.4 on aarch64, with glibc; elsewhere `install` refuses.
"""

from __future__ import annotations

from typing import TypedDict, cast

from tango_telemetry_native import _bridge
from tango_telemetry_native._bridge import (
    get_incoming,
    get_incoming_span,
    restore_outgoing,
    set_outgoing,
    set_outgoing_span,
)
from tango_telemetry_native._tango import get_extension_path

__all__ = [
    "CONTEXT_ID",
    "GiopStatus",
    "get_incoming",
    "get_incoming_span",
    "install",
    "restore_outgoing",
    "set_outgoing",
    "set_outgoing_span",
    "status",
]

functions: object = _bridge.giop_functions
"""A capsule with the same functions for the spans in C++."""

CONTEXT_ID: int = _bridge.GIOP_CONTEXT_ID
"""The service context's identifier, "TTRC"."""


class GiopStatus(TypedDict):
    """What is registered and what was counted."""

    installed: bool
    client: bool
    """Whether requests are given a context. A check that fails disables it."""
    server: bool
    """Whether contexts are read from requests. A check that fails disables it."""
    asynchronous: bool
    """Whether asynchronous requests are given the context of the thread that submits them."""
    reason: str
    """Why something of the above is not so; "" while all is well."""
    library: str
    """The file of the omniORB in use."""
    version: str
    counters: dict[str, int]
    """Numbers since the process started."""


def install() -> bool:
    """Register the interceptors with omniORB.

    Call it once PyTango is imported, and again after ``Util`` initialises: a client that becomes a server
    destroys its ORB, and omniORB then forgets every interceptor without a word (seen on 9.5.1 and 10.3.1).
    `set_outgoing` and `get_incoming` notice that and register again, but the first request such a server
    receives has then passed. Calling it more often does no harm. There is no way back, because removing an
    interceptor under traffic is a race in omniORB; without a context set, a request is sent as it was.

    Returns:
        Whether they are registered; if not, `status` says why.
    """
    path = get_extension_path()
    return bool(path) and _bridge.giop_install(path)


def status() -> GiopStatus:
    """Return what is registered and what was counted."""
    result = cast(GiopStatus, _bridge.giop_status())
    if not result["installed"] and not get_extension_path():
        result["reason"] = "PyTango is not imported"
    return result
