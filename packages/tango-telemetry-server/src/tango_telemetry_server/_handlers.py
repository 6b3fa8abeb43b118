"""The traced handler: the wrapper around each method that cppTango calls on a device, and what its span says."""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, CoroutineType, GeneratorType
from typing import Any, NamedTuple

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import (
    Context,
    Hooks,
    QuickBeginning,
    SpanKind,
    TracedCall,
    Tracer,
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
    record_failure,
    state,
    thread_attributes,
    with_incoming_context,
    with_owner,
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

__all__ = ["Handler", "get_original", "hooks", "is_traced", "mark", "wrap_handler", "wrap_shared"]

hooks = Hooks()
"""The hooks given to the server instrumentor."""

_SERVER = SpanKind.SERVER
_INTERNAL = SpanKind.INTERNAL
_WITH_ARGUMENTS = ("command", "write_attribute", "write_pipe")
_LAYERS = 64
"""Wrappers that are looked behind for the user's function."""
_FIRST_HOOK = "always_executed_hook"
"""What cppTango calls first for each request."""
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


class _Mark:
    """What a traced function of ours is known by: a tool that wraps it copies the mark, and is not ``function``."""

    __slots__ = ("function", "handler", "original")

    def __init__(self, function: Any, handler: Handler, original: Any) -> None:
        self.function = function
        self.handler = handler
        self.original = original


def get_original(function: Any) -> Any:
    """Give what one of our traced functions calls; None for any other function."""
    mark = getattr(function, "__tango_telemetry__", None)
    return mark.original if type(mark) is _Mark and mark.function is function else None


def is_traced(function: Any, handler: Handler) -> bool:
    """Whether ``function`` is exactly one of ours, and for the same handler."""
    mark = getattr(function, "__tango_telemetry__", None)
    return type(mark) is _Mark and mark.function is function and mark.handler[:5] == handler[:5]


def wrap_handler(function: Callable[..., Any], handler: Handler, original: Any = None) -> Callable[..., Any]:
    """Give ``function``, called with the device first, with a server span around each request.

    :param original: what the traced function stands for, whose name and marks it is given; None: ``function``
    """
    begin = _Begin(function, handler).quick.begin
    check = handler.check

    # `self` is an argument of its own: pybind11 looks for it in the frame that calls a method of a C++ base class (10.3.1).
    def traced(self: Any, /, *args: Any, **kwargs: Any) -> Any:
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

    made: Callable[..., Any] = traced
    if inspect.iscoroutinefunction(function):
        # PyTango and users ask what a method is before they call it.
        async def traced_coroutine(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            return await traced(self, *args, **kwargs)

        made = traced_coroutine
    return mark(made, handler, function if original is None else original)


def wrap_shared(
    function: Callable[..., Any], handlers: Sequence[Handler], other: Handler, original: Any
) -> Callable[..., Any]:
    """As :func:`wrap_handler`, for a method that serves several attributes: each request says which one it is for.

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


def _find_code(function: Any) -> Any:
    """Give the code object of the user's function, behind decorators, partials and methods; None if it has none."""
    for _ in range(_LAYERS):
        inner = getattr(function, "__wrapped__", None)
        if inner is None and isinstance(function, (functools.partial, functools.partialmethod)):
            inner = function.func
        if inner is None:
            break
        function = inner
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return code if isinstance(code, CodeType) else None


class HandlerCall(TracedCall):
    """A server span; while it is current, the device's tracer makes the spans of client calls.

    ``direct`` says that another handler of the device called this one in Python, so that no result goes to cppTango.
    ``calls`` makes the spans of client calls; None: ``tracer``.
    """

    __slots__ = ("direct",)

    def __init__(
        self,
        tracer: Any,
        title: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        context: Context,
        handler: tuple[Any, ...],
        direct: bool,
        calls: Any = None,
    ) -> None:
        variables = (current_tracer, calls or tracer, current_handler, handler)
        super().__init__(tracer, title, kind, attributes, context, variables=variables)
        self.direct = direct

    def check(self, check: Check, args: tuple[Any, ...], result: Any) -> None:
        """Look at a result before cppTango does. Never raises."""
        if not self.direct:
            guarded(self._check, check, args, result)

    def _check(self, check: Check, args: tuple[Any, ...], result: Any) -> None:
        if self.span.is_recording():
            check(self.span, args, result)


class WaitingHookCall(HandlerCall):
    """A hook of a request of which nobody knows yet whether it is traced: its span is ended when that is known."""

    __slots__ = ()

    def fail(self, error: BaseException) -> None:
        super().fail(error)
        _get_waiting().end()  # no handler will follow

    def _end(self) -> None:
        self.leave()
        if self._hooked is not None:
            hooks, *told = self._hooked
            hooks.after(self.span, *told)
        _get_waiting().spans.append((self.span, time.time_ns()))


class UntracedHookCall(HandlerCall):
    """A hook of a request that begins no trace before its handler: it has no span.

    Where an is-allowed method refuses, no handler follows. Then the request has its one span here.
    """

    __slots__ = ("_refused",)

    def __init__(self, refused: Callable[[], Any] | None, *args: Any) -> None:
        super().__init__(*args)
        self._refused = refused

    def fail(self, error: BaseException) -> None:
        self._refuse(record_failure, error)

    def _check(self, check: Check, args: tuple[Any, ...], result: Any) -> None:
        if not result:
            self._refuse(check, args, result)

    def _refuse(self, record: Callable[..., Any], *told: Any) -> None:
        if self._refused is not None:
            span = self._refused()
            record(span, *told)
            span.end()


class _Waiting:
    """The hooks of the request that one thread serves, until its handler begins. cppTango calls them all on one thread."""

    __slots__ = ("excluded", "spans", "telemetry", "titles")

    def __init__(self) -> None:
        self.telemetry: Any = None
        self.titles: set[str] = set()
        self.spans: list[tuple[Any, int]] = []
        self.excluded = False

    def begin(self, telemetry: Any, title: str) -> None:
        """A hook begins: of the request that this thread serves, or of the next one."""
        if self.spans and (telemetry is not self.telemetry or title in self.titles or title == _FIRST_HOOK):
            self.end()
        self.telemetry = telemetry
        self.titles.add(title)

    def decide(self, traced: bool) -> None:
        """What the request is for is known: the hooks have their spans if it has one."""
        if traced:
            self.excluded = False
            self.end()
        else:
            self.excluded = True

    def end(self) -> None:
        """End the spans of a request whose hooks have run; those of one that is not traced are dropped."""
        spans, self.spans = self.spans, []
        if not self.excluded:
            for span, time_ns in spans:
                span.end(time_ns)
        self.excluded = False
        self.titles.clear()


_waiting: dict[int, _Waiting] = {}
_MOST_THREADS = 1024


def _get_waiting() -> _Waiting:
    """The hooks that wait on this thread.

    By its number: between two calls of cppTango Python forgets the thread, with its ``threading.local`` (PyTango 10.3.1).
    """
    number = threading.get_ident()
    found = _waiting.get(number)
    if found is None:
        if len(_waiting) >= _MOST_THREADS:
            _waiting.clear()
        found = _waiting[number] = _Waiting()
    return found


class _Nobody:
    """The owner of calls that are not traced."""

    def get_tracer(self) -> Tracer:
        return pass_through_tracer()

    def retire(self) -> None:
        return


_NOBODY = _Nobody()


class _Begin:
    """Starts the span of one handler; called once for each request."""

    __slots__ = ("code", "handler", "key", "lifecycle", "line", "quick")

    def __init__(self, function: Callable[..., Any], handler: Handler) -> None:
        self.handler = handler
        self.key = id(self)
        self.lifecycle = handler.title in _LIFECYCLE
        code = _find_code(function)
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
        remote = root = False
        caller: Mapping[str, Any] | None = None
        running = current_handler.get()
        direct = running is not None and running[0] is telemetry and parent is not active_client_span.get()
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
                if caller is POLLED and not state.config.polling:
                    tracer = pass_through_tracer()
        attributes = telemetry.sites.get(self.key)
        if attributes is None:
            attributes = self._create_attributes(telemetry, handler)
            telemetry.sites.put(self.key, attributes, self)
        excluded = (telemetry.follows_topics and not device._check_telemetry_topic("user")) or not_traced(
            context, attributes
        )
        of_request = handler.hook and not self.lifecycle
        waits = of_request and handler.subject is None and state.exclusion is not None
        if waits:
            telemetry.waits = True  # from now on no handler of this device begins unnoticed, in C++
        if not direct and (waits or telemetry.waits):
            waiting = _get_waiting()
            if waits:
                waiting.begin(telemetry, handler.title)
            elif waiting.spans:
                waiting.decide(not excluded)
        if excluded:
            tracer = pass_through_tracer()
        elif (
            remote
            and epoch >= 0
            and not telemetry.waits
            and not hooks.wanted
            and not state.config.capture_arguments
        ):
            own, place = device.__dict__, (None, 0, None)
            known = (telemetry, title, telemetry.context)
            checks_topic = telemetry.follows_topics
            self.quick.keep(own, epoch, place, title, kind, attributes, tracer, known, checks_topic)
        attributes = {**attributes, **thread_attributes(), **(caller or {})}
        if not direct:
            # Not for what another handler calls: the context says already whose calls they are.
            context = with_owner(context, telemetry if tracer is telemetry.tracer else _NOBODY)
        what = (title, kind, attributes, context, (telemetry, title), direct)
        if root and of_request:
            refused = self._prepare_refused(telemetry, tracer, context, args, caller)
            return UntracedHookCall(refused, pass_through_tracer(), *what, tracer)
        call = (WaitingHookCall if waits and not direct and not excluded else HandlerCall)(tracer, *what)
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

    def _prepare_refused(
        self,
        telemetry: Any,
        tracer: Tracer,
        context: Context,
        args: tuple[Any, ...],
        caller: Mapping[str, Any] | None,
    ) -> Callable[[], Any] | None:
        """Give what starts the span of a request that is refused; None where nobody says what the request is for."""
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
            names.TANGO_DEVICE_NAME: telemetry.device_name,
            names.TANGO_DEVICE_CLASS: telemetry.class_name,
        }
        if handler.subject is not None:
            attributes[handler.subject] = handler.name
        if self.code is not None:
            attributes.update(code_attributes(self.code, self.line))
        return attributes
