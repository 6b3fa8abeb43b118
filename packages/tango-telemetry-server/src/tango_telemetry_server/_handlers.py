"""The traced handler: the wrapper around each method that cppTango calls on a device, and what its span says."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import CoroutineType
from typing import Any, NamedTuple

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import (
    NonRecordingSpan,
    SpanKind,
    TracedCall,
    active_client_span,
    code_attributes,
    current_tracer,
    get_current,
    get_current_span,
    guarded,
    incoming_context,
    pass_through_tracer,
    record_error,
    set_span_in_context,
    state,
    suppressed,
    thread_attributes,
)

from tango_telemetry_server._client_ident import client_ident_attributes
from tango_telemetry_server._device import get_device_telemetry

__all__ = ["Handler", "is_traced", "wrap_handler"]

_get_ident = threading.get_ident
_SERVER = SpanKind.SERVER
_INTERNAL = SpanKind.INTERNAL

current_handler: ContextVar[Any] = ContextVar("tango_telemetry_current_handler", default=None)
"""``(DeviceTelemetry, span name)`` of the handler that runs in this context."""


class Handler(NamedTuple):
    """One method that cppTango calls.

    ``title`` is the span name after the class (``TurnOn``, ``read isOn``), ``operation`` what is done, ``subject`` the
    attribute that holds ``name`` (a command's or an attribute's). A ``hook`` serves a request beside its handler, so
    its span is INTERNAL. ``rejects`` is the DevFailed reason with which cppTango answers when it returns False.
    """

    title: str
    operation: str
    name: str
    subject: str | None = None
    hook: bool = False
    rejects: str | None = None


def is_traced(function: Any) -> bool:
    """Whether ``function`` is one of our wrappers already."""
    return hasattr(function, "__tango_telemetry__")


def wrap_handler(function: Callable[..., Any], handler: Handler) -> Callable[..., Any]:
    """Give ``function``, called with the device first, with a server span around each request."""
    begin = _Begin(function, handler).__call__

    @functools.wraps(function)
    def traced(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = guarded(begin, self)
        if call is None:
            return function(self, *args, **kwargs)
        try:
            result = function(self, *args, **kwargs)
        except BaseException as error:
            guarded(call.fail, error)
            guarded(call.end)
            raise
        if type(result) is CoroutineType:  # an `async def` handler that another handler calls itself
            guarded(call.leave)
            return _finish(call, result)
        if handler.rejects is not None and not result:
            guarded(record_error, call.span, handler.rejects, f"{handler.name} is not allowed now")
        guarded(call.end)
        return result

    traced.__tango_telemetry__ = handler  # type: ignore[attr-defined]
    return traced


async def _finish(call: HandlerCall, coroutine: CoroutineType[Any, Any, Any]) -> Any:
    """Await a handler inside its span, which is current in the task that awaits."""
    guarded(call.enter)
    try:
        return await coroutine
    except BaseException as error:
        guarded(call.fail, error)
        raise
    finally:
        guarded(call.end)


class HandlerCall(TracedCall):
    """A server span; while it is current, the device's tracer makes the spans of client calls."""

    __slots__ = ()

    def __init__(
        self,
        tracer: Any,
        title: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        context: Any,
        handler: tuple[Any, str],
    ) -> None:
        variables = (current_tracer, tracer, current_handler, handler)
        super().__init__(tracer, title, kind, attributes, context, variables=variables)


class _Begin:
    """Starts the span of one handler; called once for each request."""

    __slots__ = ("code", "handler", "key", "line")

    def __init__(self, function: Callable[..., Any], handler: Handler) -> None:
        self.handler = handler
        self.key = id(self)
        code = getattr(inspect.unwrap(function), "__code__", None)
        self.code = code
        self.line = code.co_firstlineno if code is not None else 0

    def __call__(self, device: Any) -> HandlerCall | None:
        if not state.active:
            return None
        telemetry = get_device_telemetry(device)
        handler = self.handler
        title = f"{telemetry.class_name}.{handler.title}"
        context = get_current()
        parent = get_current_span(context)
        kind = _INTERNAL if handler.hook else _SERVER
        asks_caller = False
        if parent.get_span_context().is_valid:  # a caller in this process: a client here, or another handler
            running = current_handler.get()
            if running is not None and running[0] is telemetry and parent is not active_client_span.get():
                if running[1] == title:
                    return None  # an overridden handler that calls the one of its base class
                kind = _INTERNAL
        else:
            remote = incoming_context()
            if remote is not None:
                context = set_span_in_context(NonRecordingSpan(remote), context)
            asks_caller = True
        attributes = telemetry.sites.get((self.key, _get_ident()))
        if attributes is None:
            attributes = self._create_attributes(telemetry)
            telemetry.sites.put((self.key, _get_ident()), attributes, self)
        tracer = pass_through_tracer() if suppressed(context) else telemetry.tracer
        call = HandlerCall(tracer, title, kind, attributes, context, (telemetry, title))
        if asks_caller and call.span.is_recording():  # cppTango is not asked for what nobody records
            caller = client_ident_attributes(device, handler)
            if caller is not None:
                call.span.set_attributes(caller)
        return call

    def _create_attributes(self, telemetry: Any) -> dict[str, Any]:
        handler = self.handler
        attributes: dict[str, Any] = {
            names.RPC_SYSTEM_NAME: names.TANGO,
            names.RPC_METHOD: handler.name,
            names.TANGO_OPERATION: handler.operation,
            names.TANGO_DEVICE_NAME: telemetry.device_name,
            names.TANGO_DEVICE_CLASS: telemetry.class_name,
        }
        if handler.subject is not None:
            attributes[handler.subject] = handler.name
        if self.code is not None:
            attributes.update(code_attributes(self.code, self.line))
        attributes.update(thread_attributes())
        return attributes
