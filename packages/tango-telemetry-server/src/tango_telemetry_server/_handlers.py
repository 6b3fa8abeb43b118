"""The traced handler: the wrapper around each method that cppTango calls on a device, and what its span says."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import CoroutineType, GeneratorType
from typing import Any, NamedTuple

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import (
    Hooks,
    QuickBeginning,
    SpanKind,
    TracedCall,
    active_client_span,
    code_attributes,
    current_handler,
    current_tracer,
    get_current,
    get_current_span,
    guarded,
    not_traced,
    pass_through_tracer,
    record_arguments,
    state,
    thread_attributes,
    with_incoming_context,
)

from tango_telemetry_server._client_ident import (
    POLLED,
    client_ident_attributes,
    describe_client,
    known_clients,
    tells_clients,
)
from tango_telemetry_server._device import get_device_telemetry, switch
from tango_telemetry_server._results import Check

__all__ = ["Handler", "hooks", "is_traced", "wrap_handler"]

hooks = Hooks()
"""The hooks given to the server instrumentor."""

_SERVER = SpanKind.SERVER
_INTERNAL = SpanKind.INTERNAL
_WITH_ARGUMENTS = ("command", "write_attribute", "write_pipe")
_LIFECYCLE = ("init_device", "delete_device", "server_init_hook", "initialize_dynamic_attributes")


class Handler(NamedTuple):
    """One method that cppTango calls.

    ``title`` is the span name after the class (``TurnOn``, ``read isOn``), ``operation`` what is done, ``subject`` the
    attribute that holds ``name`` (a command's or an attribute's). A ``hook`` serves a request beside its handler, so
    its span is INTERNAL. ``check`` looks at the result for what cppTango will say of it.
    """

    title: str
    operation: str
    name: str
    subject: str | None = None
    hook: bool = False
    check: Check | None = None


def is_traced(function: Any) -> bool:
    """Whether ``function`` is one of our wrappers already."""
    return hasattr(function, "__tango_telemetry__")


def wrap_handler(function: Callable[..., Any], handler: Handler) -> Callable[..., Any]:
    """Give ``function``, called with the device first, with a server span around each request."""
    begin = _Begin(function, handler).quick.begin
    check = handler.check

    # `self` is an argument of its own: pybind11 looks for it in the frame that calls a method of a C++ base class (10.3.1).
    @functools.wraps(function)
    def traced(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = None
        try:
            call = begin(self, args)
            result = function(self, *args, **kwargs) if args or kwargs else function(self)
            if call is not None:
                kind = type(result)
                # An `async def` handler that another handler calls itself; PyTango before 10.0 makes a generator of it.
                if kind is CoroutineType or (
                    kind is GeneratorType and result.gi_code.co_flags & inspect.CO_ITERABLE_COROUTINE
                ):
                    guarded(call.leave)
                    result = _in_span(call, result)
                    call = None
                elif check is not None:
                    call.check(check, args, result)
            return result
        except BaseException as error:
            if call is not None:
                guarded(call.fail, error)
            raise
        finally:
            if call is not None:
                try:
                    call.end()
                except BaseException:  # from outside, in the middle of it
                    call.leave()
                    raise

    traced.__tango_telemetry__ = handler  # type: ignore[attr-defined]
    return traced


def _in_span(call: HandlerCall, coroutine: CoroutineType[Any, Any, Any]) -> CoroutineType[Any, Any, Any]:
    """Give a coroutine that looks like ``coroutine`` (asyncio names it when nobody awaits it), inside its span."""
    wrapped: Any = _finish(call, coroutine)
    wrapped.__name__, wrapped.__qualname__ = coroutine.__name__, coroutine.__qualname__
    return wrapped  # type: ignore[no-any-return]


async def _finish(call: HandlerCall, coroutine: CoroutineType[Any, Any, Any]) -> Any:
    """Await a handler inside its span, which is current in the task that awaits."""
    try:
        guarded(call.enter)
        result = await coroutine
    except GeneratorExit:  # thrown away while it waited, perhaps in another context
        call.span.end()
        if isinstance(
            call, HandlerCall
        ):  # one in C++ takes back what is still current here where it is dropped
            call.leave()
        raise
    except BaseException as error:
        guarded(call.fail, error)
        call.end()
        raise
    call.end()
    return result


class HandlerCall(TracedCall):
    """A server span; while it is current, the device's tracer makes the spans of client calls.

    ``direct`` says that another handler of the device called this one in Python, so that no result goes to cppTango.
    """

    __slots__ = ("direct",)

    def __init__(
        self,
        tracer: Any,
        title: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        context: Any,
        handler: tuple[Any, str],
        direct: bool,
    ) -> None:
        variables = (current_tracer, tracer, current_handler, handler)
        super().__init__(tracer, title, kind, attributes, context, variables=variables)
        self.direct = direct

    def check(self, check: Check, args: tuple[Any, ...], result: Any) -> None:
        """Look at a result before cppTango does. Never raises."""
        if not self.direct:
            guarded(self._check, check, args, result)

    def _check(self, check: Check, args: tuple[Any, ...], result: Any) -> None:
        if self.span.is_recording():
            check(self.span, args, result)


class _Begin:
    """Starts the span of one handler; called once for each request."""

    __slots__ = ("code", "handler", "key", "lifecycle", "line", "quick")

    def __init__(self, function: Callable[..., Any], handler: Handler) -> None:
        self.handler = handler
        self.key = id(self)
        self.lifecycle = handler.title in _LIFECYCLE
        code = getattr(inspect.unwrap(function), "__code__", None)
        self.code = code
        self.line = code.co_firstlineno if code is not None else 0
        known = known_clients if tells_clients() else None
        self.quick = QuickBeginning(
            self.__call__,
            lambda native, slow: native.HandlerBeginning(
                slow, current_tracer, current_handler, known, describe_client
            ),
        )

    def __call__(self, device: Any, args: tuple[Any, ...] = ()) -> HandlerCall | None:
        if not switch.on:  # a wrapper that outlived `uninstrument()` in a subclass or on a device
            return None
        epoch = self.quick.get_epoch()
        telemetry = get_device_telemetry(device)
        handler = self.handler
        title = f"{telemetry.class_name}.{handler.title}"
        context = get_current()
        parent = get_current_span(context)
        kind = _INTERNAL if handler.hook else _SERVER
        tracer = telemetry.tracer
        remote = False
        caller: Mapping[str, Any] | None = None
        running = current_handler.get()
        direct = running is not None and running[0] is telemetry and parent is not active_client_span.get()
        if direct and running is not None:
            if running[1] == title:
                return None  # an overridden handler that calls the one of its base class
            kind = _INTERNAL
            tracer = current_tracer.get() or tracer  # that of the caller, who may be excluded
        elif not parent.get_span_context().is_valid:  # nor is the caller a client in this process
            here, context = context, with_incoming_context(context)
            remote = context is not here
            if not remote:  # a client that sends no context, or nobody: cppTango's polling
                caller = client_ident_attributes(device, self.lifecycle)
                if caller is POLLED and not state.config.polling:
                    tracer = pass_through_tracer()
        attributes = telemetry.sites.get(self.key)
        if attributes is None:
            attributes = self._create_attributes(telemetry)
            telemetry.sites.put(self.key, attributes, self)
        if (telemetry.follows_topics and not device._check_telemetry_topic("user")) or not_traced(
            context, attributes
        ):
            tracer = pass_through_tracer()
        elif remote and epoch >= 0 and not hooks.wanted and not state.config.capture_arguments:
            own, place, known = device.__dict__, (None, 0, None), (telemetry, title)
            checks_topic = telemetry.follows_topics
            self.quick.keep(own, epoch, place, title, kind, attributes, tracer, known, checks_topic)
        attributes = {**attributes, **thread_attributes(), **(caller or {})}
        call = HandlerCall(tracer, title, kind, attributes, context, (telemetry, title), direct)
        try:
            # cppTango is asked for the caller only where that is recorded.
            if remote and call.span.is_recording():
                caller = client_ident_attributes(device, self.lifecycle)
                if caller is not None:
                    call.span.set_attributes(caller)
            if state.config.capture_arguments and handler.operation in _WITH_ARGUMENTS:
                guarded(record_arguments, call.span, args, {})
            if hooks.wanted:
                call.call_hooks(hooks, device, handler.operation)
            return call
        except BaseException:  # from outside, or a defect: the span would stay current
            call.end()
            raise

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
        return attributes
