"""The traced handler: the wrapper around each method that cppTango calls on a device, and what its
span says.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any, NamedTuple

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import (
    Beginning,
    Hooks,
    Plan,
    active_client_span,
    code_attributes,
    current_handler,
    current_tracer,
    excludes_anything,
    get_config,
    get_epoch,
    get_metrics,
    guarded,
    is_excluded,
    is_suppressed,
    pass_through_tracer,
    record_arguments,
    thread_attributes,
    trace_handler,
    with_incoming_context,
    with_owner,
)
from tango_telemetry.otel.api import Context, SpanKind, Tracer, get_current, get_current_span

from tango_telemetry_server._client_ident import (
    POLLED,
    client_ident_attributes,
    describe_client,
    known_clients,
    tells_clients,
)
from tango_telemetry_server._device import get_device_telemetry, switch
from tango_telemetry_server._handler_call import HandlerCall
from tango_telemetry_server._polling import note_polled
from tango_telemetry_server._results import Check
from tango_telemetry_server._waiting_hooks import UntracedHookCall, WaitingHookCall, get_waiting_hooks

__all__ = ["Handler", "get_original", "hooks", "is_traced", "mark", "wrap_handler", "wrap_shared"]

hooks = Hooks()
"""The hooks given to the server instrumentor."""

_SERVER = SpanKind.SERVER
_INTERNAL = SpanKind.INTERNAL
_WITH_ARGUMENTS = ("command", "write_attribute", "write_pipe")
_LAYERS = 64
"""Wrappers that are looked behind for the user's function."""
_LIFECYCLE = ("init_device", "delete_device", "server_init_hook", "initialize_dynamic_attributes")


class Handler(NamedTuple):
    """One method that cppTango calls.

    ``title`` is the span name after the class (``TurnOn``, ``read isOn``), ``operation`` what is done,
    ``subject`` the attribute that holds ``name`` (a command's or an attribute's). A ``hook`` serves a request
    beside its handler, so its span is INTERNAL. ``check`` looks at the result for what cppTango will say of
    it.
    """

    title: str
    operation: str
    name: str
    subject: str | None = None
    hook: bool = False
    check: Check | None = None


class _Mark:
    """What a traced function of ours is known by: a tool that wraps it copies the mark, and is not
    ``function``.
    """

    __slots__ = ("function", "handler", "original")

    def __init__(self, function: Any, handler: Handler, original: Any) -> None:
        self.function = function
        self.handler = handler
        self.original = original


def get_original(function: Any) -> Any:
    """Return what one of our traced functions calls; None for any other function."""
    mark = getattr(function, "__tango_telemetry__", None)
    return mark.original if type(mark) is _Mark and mark.function is function else None


def is_traced(function: Any, handler: Handler) -> bool:
    """Whether ``function`` is exactly one of ours, and for the same handler."""
    mark = getattr(function, "__tango_telemetry__", None)
    return type(mark) is _Mark and mark.function is function and mark.handler[:5] == handler[:5]


def wrap_handler(function: Callable[..., Any], handler: Handler, original: Any = None) -> Callable[..., Any]:
    """Return ``function``, called with the device first, with a server span around each request.

    :param original: what the traced function stands for, whose name and marks it is given; None: ``function``
    """
    made: Callable[..., Any]
    made = traced = trace_handler(function, HandlerBeginning(function, handler).begin, handler.check)
    if inspect.iscoroutinefunction(function if original is None else original):
        # PyTango and users ask what a method is before they call it.
        async def traced_coroutine(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            return await traced(self, *args, **kwargs)

        made = traced_coroutine
    return mark(made, handler, function if original is None else original)


def wrap_shared(
    function: Callable[..., Any], handlers: Sequence[Handler], other: Handler, original: Any
) -> Callable[..., Any]:
    """As :func:`wrap_handler`, for a method that serves several attributes: each request says which one it is
    for.

    :param other: the handler of a request that does not say it
    """
    by_name: dict[Any, Callable[..., Any]] = {
        handler.name.lower(): wrap_handler(function, handler) for handler in reversed(handlers)
    }
    without_name = wrap_handler(function, other)

    def traced(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        name = guarded(_attribute_name, args)
        return by_name.get(name, without_name)(self, *args, **kwargs)

    return mark(traced, other, original)


def _attribute_name(args: tuple[Any, ...]) -> str | None:
    """The attribute that cppTango has read or written: its object is the argument."""
    get_name = getattr(args[0], "get_name", None) if args else None
    return None if get_name is None else get_name().lower()


def mark(made: Any, handler: Handler, original: Any) -> Callable[..., Any]:
    """Give a function of ours the name and marks of what it stands for, and what it is known by."""
    functools.update_wrapper(made, original)
    made.__tango_telemetry__ = _Mark(made, handler, original)
    return made  # type: ignore[no-any-return]


def _find_code(function: Any) -> Any:
    """Return the code object of the user's function, behind decorators, partials and methods; None if it has
    none.
    """
    for _ in range(_LAYERS):
        inner = getattr(function, "__wrapped__", None)
        if inner is None and isinstance(function, (functools.partial, functools.partialmethod)):
            inner = function.func
        if inner is None:
            break
        function = inner
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return code if isinstance(code, CodeType) else None


class _Nobody:
    """The owner of calls that are not traced."""

    def get_tracer(self) -> Tracer:
        return pass_through_tracer()

    def renew(self, *, retire: bool) -> None:
        return


_NOBODY = _Nobody()
_UNTRACED = with_owner(Context(), _NOBODY)
"""What the calls of a handler that is not traced are made in."""


class HandlerBeginning(Beginning):
    """What begins the spans of one handler; called once for each request."""

    __slots__ = ("code", "handler", "lifecycle", "line", "waits")

    def __init__(self, function: Callable[..., Any], handler: Handler) -> None:
        self.handler = handler
        self.lifecycle = handler.title in _LIFECYCLE
        self.waits = handler.hook and not self.lifecycle and handler.subject is None
        """Whether it cannot know what its request is for."""
        code = _find_code(function)
        self.code = code
        self.line = code.co_firstlineno if code is not None else 0
        super().__init__(self._create_native)

    @staticmethod
    def _create_native(native: Any, in_python: Callable[..., Any]) -> Any:
        known = known_clients if tells_clients() else None
        return native.HandlerBeginning(in_python, current_tracer, current_handler, known, describe_client)

    def start(self, device: Any, args: tuple[Any, ...] = ()) -> HandlerCall | None:
        """Start the span of a handler; None for one that calls that of its base class."""
        if not switch.on:  # a wrapper that outlived `uninstrument()` in a subclass or on a device
            return None
        telemetry = get_device_telemetry(device)
        handler = self.handler
        context = get_current()
        parent = get_current_span(context)
        running = current_handler.get()
        direct = running is not None and running[0] is telemetry and parent is not active_client_span.get()
        waits = self.waits and excludes_anything()
        if waits and not telemetry.waits:  # from now on no handler of this device begins unnoticed, in C++
            telemetry.waits = True
            self.forget(device.__dict__)
        plan = self.find(device.__dict__, self.anywhere)
        if plan is None:
            epoch = get_epoch()
            plan = self._decide(telemetry)
            self.keep(device.__dict__, self.anywhere, epoch, plan)
        title, kind, tracer = plan.title, plan.kind, plan.tracer
        remote = root = False
        caller: Mapping[str, Any] | None = None
        if direct and running is not None:
            if running[1] == title:
                return None  # an overridden handler that calls the one of its base class
            kind = _INTERNAL
            tracer = current_tracer.get() or tracer  # that of the caller, who may be excluded
            if not parent.get_span_context().is_valid:
                tracer = pass_through_tracer()  # part of what has no span
        elif not parent.get_span_context().is_valid:  # nor is the caller a client in this process
            here, context = context, with_incoming_context(context)
            remote = context is not here
            root = not remote
            if root:  # a client that sends no context, or nobody: cppTango's polling
                caller = client_ident_attributes(device, self.lifecycle)
                if caller is POLLED:
                    if get_metrics() is not None and handler.subject is not None:
                        guarded(note_polled, device, telemetry, handler)
                    if not get_config().polling:
                        tracer = pass_through_tracer()
        excluded = plan.handler[2] is _UNTRACED
        excluded = excluded or (telemetry.follows_topics and not device._check_telemetry_topic("user"))
        excluded = excluded or is_suppressed(context)
        if not direct and telemetry.waits:
            waiting = get_waiting_hooks()
            if waits:
                waiting.begin(telemetry, handler.title)
            elif waiting.spans:
                waiting.decide(not excluded)
        if excluded:
            tracer = pass_through_tracer()
        # What nobody wants traced is not counted either; what is not sampled is.
        series = plan.series if kind is _SERVER and tracer is not pass_through_tracer() else None
        attributes = {**plan.attributes, **thread_attributes(), **(caller or {})}
        if not direct:
            # Not for what another handler calls: the context says already whose calls they are.
            context = with_owner(context, telemetry if tracer is telemetry.tracer else _NOBODY)
        what = (title, kind, attributes, context, plan.handler, direct)
        if root and handler.hook and not self.lifecycle:
            refused = self._prepare_refused(telemetry, tracer, context, args, caller)
            return UntracedHookCall(refused, pass_through_tracer(), *what, tracer)
        call = (WaitingHookCall if waits and not direct and not excluded else HandlerCall)(tracer, *what)
        try:
            if series is not None:
                call.time(series)
            # cppTango is asked for the caller only where that is recorded.
            if remote and call.span.is_recording():
                caller = client_ident_attributes(device, self.lifecycle)
                if caller is not None:
                    call.span.set_attributes(caller)
            if plan.in_python and handler.operation in _WITH_ARGUMENTS and get_config().capture_arguments:
                guarded(record_arguments, call.span, args, {})
            if hooks.wanted:
                call.call_hooks(hooks, device, handler.operation)
            return call
        except BaseException:  # from outside, or a defect: the span would stay current
            call.end()
            raise

    def _decide(self, telemetry: Any) -> Plan:
        """Decide what holds for all requests that this handler serves, until something changes."""
        handler = self.handler
        title = f"{telemetry.class_name}.{handler.title}"
        attributes = self._create_attributes(telemetry, handler)
        excluded = is_excluded(attributes)
        metrics = None if handler.hook or excluded else get_metrics()
        return Plan(
            title,
            _INTERNAL if handler.hook else _SERVER,
            attributes,
            pass_through_tracer() if excluded else telemetry.tracer,
            (telemetry, title, _UNTRACED if excluded else telemetry.context),
            series=metrics.find(names.RPC_SERVER_CALL_DURATION, attributes) if metrics is not None else None,
            checks_topic=telemetry.follows_topics and not excluded,
            in_python=telemetry.waits or hooks.wanted or get_config().capture_arguments,
        )

    def _prepare_refused(
        self,
        telemetry: Any,
        tracer: Tracer,
        context: Context,
        args: tuple[Any, ...],
        caller: Mapping[str, Any] | None,
    ) -> Callable[[], Any] | None:
        """Return what starts the span of a request that is refused; None where nobody says what the request
        is for.
        """
        handler = self.handler
        if handler.subject is None:
            return None
        begun = time.time_ns()

        def start() -> Any:
            title, operation = handler.name, "command"
            if handler.subject != names.TANGO_COMMAND_NAME:
                verb = "write" if args and "WRITE" in str(args[0]) else "read"
                title = f"{verb} {handler.name}"
                operation = f"{verb}_{'pipe' if handler.subject == names.TANGO_PIPE_NAME else 'attribute'}"
            request = Handler(title, operation, handler.name, handler.subject)
            attributes = {
                **self._create_attributes(telemetry, request),
                **thread_attributes(),
                **(caller or {}),
            }
            name = f"{telemetry.class_name}.{title}"
            return tracer.start_span(name, context, _SERVER, attributes, start_time=begun)

        return start

    def _create_attributes(self, telemetry: Any, handler: Handler) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            names.RPC_SYSTEM_NAME: names.TANGO,
            names.RPC_METHOD: handler.name,
            names.TANGO_OPERATION: handler.operation,
            names.TANGO_DEVICE_NAME: telemetry.lower_name,
            names.TANGO_DEVICE_CLASS: telemetry.class_name,
        }
        if handler.subject is not None:
            attributes[handler.subject] = handler.name
        if self.code is not None:
            attributes.update(code_attributes(self.code, self.line))
        return attributes
