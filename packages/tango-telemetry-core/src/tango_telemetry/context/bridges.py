"""How the trace context gets into cppTango and out of it: the ``ContextBridge`` protocol and its
implementations.

The module chooses one implementation per process (:func:`create_context_bridge`);
``PYTANGO_TELEMETRY_CONTEXT_BRIDGE`` forces one. Every implementation passes ``tests/native/test_bridge.py``.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, runtime_checkable

from tango_telemetry._native import import_native, release_native, what_brings_native
from tango_telemetry.base.warnings import warn
from tango_telemetry.context.current import Undoable
from tango_telemetry.context.w3c import NO_TRACE_STATE, TRACE_FLAGS, extract, inject, is_sampled
from tango_telemetry.otel.api import SpanContext

__all__ = [
    "CarrierParts",
    "ContextBridge",
    "GiopBridge",
    "IdlBridge",
    "NativeBridge",
    "NoOpBridge",
    "StackedBridge",
    "create_context_bridge",
    "create_scope",
]


class CarrierParts(NamedTuple):
    """The native package's ways to carry a context, each None where the bridge goes another."""

    giop_functions: Any = None
    idl_functions: Any = None


@runtime_checkable
class ContextBridge(Protocol):
    """Carries the two W3C strings across one remote call.

    All methods are called on the thread of the call.
    """

    name: str
    parts: CarrierParts
    """What it is made of, for calls in C++."""

    def get_trace_context(self) -> tuple[str, str]:
        """Return ``(traceparent, tracestate)`` of the request that the running upcall serves, ``("", "")`` if
        none.
        """

    def enter(self, name: str, traceparent: str, tracestate: str) -> Any:
        """Return the strings to the calls that this thread makes from now on; what it returns goes to
        :meth:`exit`.

        What it returns restores by itself where it is dropped instead: an exception from outside can come
        between the two.
        """

    def exit(self, token: Any) -> None:
        """Restore what was there before the matching :meth:`enter`. Does nothing the second time."""

    def prepare_server(self) -> None:
        """Make ready again after ``Util`` has been initialised: a process that was a client becomes a
        server.
        """

    def enter_span(self, name: str, span_context: SpanContext) -> Any:
        """Do the same as :meth:`enter` for the strings that name a valid span."""

    def get_parent(self) -> tuple[SpanContext | None, str]:
        """Return the parent that :meth:`get_trace_context` names, None if that is nothing or cannot be
        believed, and the ``tracestate``, which may be left out if it has nothing but our entry.
        """


class _Texts:
    """The two methods that speak of spans, by way of the strings."""

    def enter_span(self: Any, name: str, span_context: SpanContext) -> Any:
        return self.enter(name, *inject(span_context))

    def get_parent(self: Any) -> tuple[SpanContext | None, str]:
        traceparent, tracestate = self.get_trace_context()
        return extract(traceparent, tracestate), tracestate


@contextmanager
def create_scope(bridge: ContextBridge, name: str, traceparent: str, tracestate: str) -> Iterator[None]:
    """Carry the two strings through ``bridge`` for the calls in a ``with`` block."""
    token = bridge.enter(name, traceparent, tracestate)
    try:
        yield
    finally:
        bridge.exit(token)


class NoOpBridge(_Texts):
    """Carries nothing: no OpenTelemetry, or no way into this cppTango."""

    name = "noop"
    parts = CarrierParts()

    def get_trace_context(self) -> tuple[str, str]:
        return "", ""

    def enter(self, name: str, traceparent: str, tracestate: str) -> None:
        return None

    def exit(self, token: None) -> None:
        return None

    def prepare_server(self) -> None:
        return None


class IdlBridge(_Texts):
    """IDL v6: the client identification, through cppTango >= 10.0, whose telemetry must be enabled.

    :param module: PyTango's internal ``tango._tango._telemetry`` or ``tango_telemetry_native``, which offer
        the same ``get_trace_context`` and ``TraceContextScope``.
    :param name: ``pytango`` or ``native``
    :param functions: the native package's capsule, for calls in C++
    """

    def __init__(self, module: Any, name: str, functions: Any = None) -> None:
        self.name = name
        self._get = module.get_trace_context
        self._scope = module.TraceContextScope
        # PyTango >= 10.3 gives the scope's span a topic. `user` is the one that is on when the kernel's are
        # off.
        self._topic = ("user",) if "arg3" in (self._scope.__init__.__doc__ or "") else ()
        self.parts = CarrierParts(None, functions)

    def get_trace_context(self) -> tuple[str, str]:
        carrier = self._get()
        return carrier["traceparent"], carrier["tracestate"]

    def enter(self, name: str, traceparent: str, tracestate: str) -> Any:
        scope = self._scope(name, traceparent, tracestate, *self._topic)
        try:
            scope.__enter__()
            return scope
        except BaseException:
            scope.__exit__(None, None, None)
            raise

    def exit(self, token: Any) -> None:
        token.__exit__(None, None, None)

    def prepare_server(self) -> None:
        return None


class GiopBridge(_Texts):
    """GIOP service contexts through the native package: any omniORB 4.2 or 4.3, Tango 9 included."""

    name = "giop"

    def __init__(self, giop: Any) -> None:
        self._get = giop.get_incoming
        self._set = giop.set_outgoing
        self._restore = giop.restore_outgoing
        self._set_span = giop.set_outgoing_span
        self._get_span = giop.get_incoming_span
        self._install = giop.install
        self.parts = CarrierParts(giop.functions)

    def get_trace_context(self) -> tuple[str, str]:
        return self._get() or ("", "")

    def enter(self, name: str, traceparent: str, tracestate: str) -> Any:
        return Undoable(self._set, self._restore, ((traceparent,), (tracestate,))).do()

    def enter_span(self, name: str, span_context: SpanContext) -> Any:
        trace_id, span_id, _, flags, trace_state, _ = span_context
        if trace_state is not NO_TRACE_STATE and trace_state:
            return super().enter_span(name, span_context)
        return Undoable(self._set_span, self._restore, ((trace_id,), (span_id,), (flags,))).do()

    def get_parent(self) -> tuple[SpanContext | None, str]:
        found = self._get_span()
        if found is None:
            return None, ""
        if len(found) == 3:
            return SpanContext(found[0], found[1], True, TRACE_FLAGS[found[2]], NO_TRACE_STATE), ""
        return extract(*found), found[1]

    def exit(self, token: Any) -> None:
        token.leave()

    def prepare_server(self) -> None:
        # omniORB drops a client's interceptors with the client's ORB, which `Util` replaces (4.2.5 to 4.3.4).
        self._install()


class StackedBridge(_Texts):
    """IDL v6 and GIOP together: whichever the peer understands.

    IDL v6's is believed first (docs/context.md).
    """

    def __init__(self, idl: ContextBridge, giop: ContextBridge) -> None:
        self.name = f"{idl.name}+{giop.name}"
        self._idl = idl
        self._giop = giop
        self.parts = idl.parts._replace(giop_functions=giop.parts.giop_functions)

    def get_trace_context(self) -> tuple[str, str]:
        traceparent, tracestate = self._idl.get_trace_context()
        # cppTango's word counts if its spans are recorded (sampled) or if our entry came with it; otherwise
        # it is a trace that cppTango began itself (10.3.1, topic `user`), and the peer may have spoken GIOP
        # only.
        if is_sampled(traceparent) or "tango=" in tracestate:
            return traceparent, tracestate
        incoming = self._giop.get_trace_context()
        return incoming if incoming[0] else (traceparent, tracestate)

    def enter(self, name: str, traceparent: str, tracestate: str) -> Any:
        giop = self._giop.enter(name, traceparent, tracestate)
        try:
            return giop, self._idl.enter(name, traceparent, tracestate)
        except BaseException:
            self._giop.exit(giop)
            raise

    def exit(self, token: Any) -> None:
        try:
            self._idl.exit(token[1])
        finally:
            self._giop.exit(token[0])

    def prepare_server(self) -> None:
        self._giop.prepare_server()


class NativeBridge(StackedBridge):
    """Both carriers through the native package, which writes and reads the client identification in
    cppTango's place.

    What a thread's requests carry is set once, for both. cppTango's telemetry may be on or off.
    """

    def __init__(self, native: Any) -> None:
        giop = GiopBridge(native.giop)
        super().__init__(IdlBridge(native, "native", native.idl_functions), giop)
        self.enter = giop.enter  # type: ignore[method-assign]
        self.enter_span = giop.enter_span  # type: ignore[method-assign]
        self.exit = giop.exit  # type: ignore[method-assign]


def _pytango_telemetry() -> Any:
    """Return PyTango's binding of cppTango's telemetry; None before 10.0 and where cppTango was compiled
    without.
    """
    try:
        telemetry = importlib.import_module("tango._tango")._telemetry
    except (ImportError, AttributeError):
        return None
    return telemetry if getattr(telemetry, "TELEMETRY_ENABLED", True) else None


def create_context_bridge(
    choice: str, *, kernel: bool | None, tango_version: tuple[int, ...], logging: bool = False
) -> ContextBridge:
    """Choose how the context travels in this process.

    :param choice: ``auto``, ``pytango``, ``native``, ``giop`` or ``noop``
        (``PYTANGO_TELEMETRY_CONTEXT_BRIDGE``)
    :param kernel: whether cppTango's own spans are wanted; None if the user left it open
    :param tango_version: PyTango's version; IDL v6 needs >= 10.0, and without the native package >= 10.3 to
        go without cppTango's spans
    :param logging: whether cppTango's log records are wanted, which carry a trace id in a scope of cppTango's
        only
    :returns: the bridge; a choice that this machine does not have gives the best one it has, with a warning
    """
    release_native()
    if choice == "noop":
        return NoOpBridge()
    native = import_native()
    pytango = _pytango_telemetry() if tango_version >= (10,) else None
    idl = None
    if pytango is not None:
        name, module = (
            ("native", native) if choice == "native" and native is not None else ("pytango", pytango)
        )
        idl = IdlBridge(module, name, None if native is None else native.idl_functions)
        if choice == "pytango":
            return idl
    giop = GiopBridge(native.giop) if native is not None and native.giop.install() else None
    if giop is not None and choice == "giop":
        return giop
    if choice in ("pytango", "giop"):
        command = "" if choice == "pytango" else f" {what_brings_native()}"
        warn(
            f"PYTANGO_TELEMETRY_CONTEXT_BRIDGE={choice!r} is not available here; the best one that is, is "
            f"used.{command}",
            2,
        )
    # With cppTango's spans wanted they are the parents, and cppTango names them.
    if idl is not None and giop is not None and not kernel and native.identification.install(scopes=logging):
        return NativeBridge(native)
    # On 10.0 and 10.1 cppTango carries the context only with its own spans in the trace (FACTS: KERNEL_ENABLE
    # has no effect).
    if idl is not None and (kernel or giop is None or tango_version >= (10, 3)):
        return StackedBridge(idl, giop) if giop is not None else idl
    return giop if giop is not None else NoOpBridge()
