"""A traced call, and how a function runs inside one: functions, coroutine functions and handlers of a device.

A ``KeyboardInterrupt``, or whatever a signal's handler raises, can come between any two instructions. So a
span begins inside the ``try`` that ends it, and an exception that comes in the middle of the end still takes
back what is current.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from inspect import CO_ITERABLE_COROUTINE
from time import monotonic_ns
from types import CoroutineType, GeneratorType
from typing import Any

from tango_telemetry.base.guard import guarded
from tango_telemetry.calls.caller import Site
from tango_telemetry.calls.failures import record_failure
from tango_telemetry.calls.hooks import Hooks
from tango_telemetry.context.current import active_client_span
from tango_telemetry.context.w3c import inject_with_baggage
from tango_telemetry.otel.api import Context, Link, SpanKind, Tracer, get_baggage
from tango_telemetry.state import state

__all__ = [
    "Begin",
    "DelegatedCall",
    "Prepare",
    "TracedCall",
    "trace_coroutine_function",
    "trace_function",
    "trace_handler",
]

_NOT_CARRIED: Any = object()  # a bridge's token may be None


class TracedCall:
    """One span around one call: current in OpenTelemetry's context, and carried to the peer if ``carry`` says
    so.
    """

    __slots__ = ("_begun", "_bridged", "_current", "_entered", "_hooked", "_series", "span")

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        context: Context,
        carry: str | None = None,
        links: Sequence[Link] | None = None,
        variables: tuple[Any, ...] = (),
    ) -> None:
        """Start the span and make it current.

        :param carry: the name under which cppTango gets the context, None to keep it in the process
        :param links: other spans that this one has to do with
        :param variables: context variables, each followed by the value that it has while the span is current
        """
        self.span = span = tracer.start_span(name, context, kind, attributes, links)
        self._bridged: Any = _NOT_CARRIED
        self._hooked: tuple[Hooks, Any, str, BaseException | None] | None = None
        self._series: Any = None
        if carry is not None:
            variables = (active_client_span, span)
        self._entered = (span, context, *variables)
        self._current = state.make_current(span, context, *variables)
        try:
            if carry is not None and (span_context := span.get_span_context()).is_valid:
                if state.baggage and context and get_baggage(context):
                    texts = inject_with_baggage(span_context, context)
                    self._bridged = state.bridge.enter(carry, *texts)
                else:
                    self._bridged = state.bridge.enter_span(carry, span_context)
        except BaseException:
            self.leave()
            raise

    @property
    def context(self) -> Context:
        """OpenTelemetry's context with this span as the current one."""
        context: Context = self._current.context
        return context

    def call_hooks(self, hooks: Hooks, subject: Any, operation: str) -> None:
        """Call the user's hooks: one now, the other at the end."""
        self._hooked = (hooks, subject, operation, None)
        hooks.before(self.span, subject, operation)

    def time(self, series: Any) -> None:
        """Have the call counted by its series when it ends."""
        series.begin()
        self._series = series
        self._begun = monotonic_ns()

    def count(self) -> None:
        """Count the call now, if nobody has."""
        series, self._series = self._series, None
        if series is not None:
            series.record(monotonic_ns() - self._begun, self.span)

    def enter(self) -> None:
        """Make the span current again after :meth:`leave`, perhaps in another task."""
        self._current = state.make_current(*self._entered)

    def leave(self) -> None:
        """Make what was current before current again; the span stays open."""
        try:
            bridged = self._bridged
            if bridged is not _NOT_CARRIED:
                state.bridge.exit(bridged)
                self._bridged = _NOT_CARRIED
        finally:
            with contextlib.suppress(ValueError):  # left in another context: nothing of it is current here
                self._current.leave()

    def fail(self, error: BaseException) -> None:
        """Record that the call failed."""
        if self._hooked is not None:
            self._hooked = (*self._hooked[:3], error)
        record_failure(self.span, error)
        if self._series is not None:
            self._series = self._series.fail(error)

    def end(self) -> None:
        """Leave, and end the span. Never raises."""
        guarded(self._end)

    def _end(self) -> None:
        self.leave()
        if self._hooked is not None:
            hooks, *told = self._hooked
            hooks.after(self.span, *told)
        self.span.end()
        self.count()


class DelegatedCall(TracedCall):
    """A call that runs in a pool thread for somebody who may stop waiting for it: then its span says so.

    :param site: the delegation (of ``call_site``)
    """

    __slots__ = ("_site",)

    def __init__(self, site: Site, *args: Any) -> None:
        super().__init__(*args)
        self._site: Site | None = site

    def fail(self, error: BaseException) -> None:
        self._site = None
        super().fail(error)

    def _end(self) -> None:
        abandoned = self._site.get_abandoned() if self._site is not None else None
        if abandoned is not None:
            super().fail(abandoned)
        super()._end()


Begin = Callable[[tuple[Any, ...], Mapping[str, Any]], Any]
"""Called with the arguments of a call; starts its span, and returns the traced call or None. Never raises."""

Prepare = Callable[
    [Any, tuple[Any, ...], dict[str, Any]],
    "tuple[tuple[Any, ...], dict[str, Any], Callable[[Any], object] | None]",
]
"""Called with the traced call and the arguments; returns the arguments to go on with, and what to do with the
result.
"""


def trace_function(
    function: Callable[..., Any], begin: Begin, prepare: Prepare | None = None
) -> Callable[..., Any]:
    """Return a function that calls ``function`` inside a span.

    :param begin: starts the span; a call for which it returns None goes on as it is
    :param prepare: changes the arguments of a call that has a span, and may ask for its result
    """

    # The object stays in `args`, which then go on as they are (CPython 3.11 builds a list and a tuple
    # otherwise).
    def traced(*args: Any, **kwargs: Any) -> Any:
        call = finish = None
        try:
            call = begin(args, kwargs)
            if prepare is not None and call is not None:
                prepared = guarded(prepare, call, args, kwargs)
                if prepared is not None:
                    args, kwargs, finish = prepared
            result = function(*args, **kwargs) if kwargs else function(*args)
            if finish is not None:
                guarded(finish, result)
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

    return traced


def trace_coroutine_function(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    """Return a coroutine function that awaits ``function`` inside a span, as :func:`trace_function` does."""

    async def traced_coroutine(*args: Any, **kwargs: Any) -> Any:
        call = None
        try:
            call = begin(args, kwargs)
            return await function(*args, **kwargs)
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

    return traced_coroutine


def trace_handler(
    function: Callable[..., Any],
    begin: Callable[[Any, tuple[Any, ...]], Any],
    check: Callable[..., None] | None = None,
) -> Callable[..., Any]:
    """Return a function that calls ``function``, a method of a device, inside a span; also where it gives a
    coroutine.

    :param begin: starts the span; called with the device and the other arguments. Never raises.
    :param check: given to the traced call together with the arguments and the result
    """

    # `self` is an argument of its own: pybind11 looks for it in the frame that calls a method of a C++ base
    # class (10.3.1).
    def traced(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        call = None
        try:
            call = begin(self, args)
            result = function(self, *args, **kwargs) if args or kwargs else function(self)
            if call is not None:
                kind = type(result)
                # An `async def` handler that another handler calls itself; PyTango before 10.0 makes a
                # generator of it.
                if kind is CoroutineType or (
                    kind is GeneratorType and result.gi_code.co_flags & CO_ITERABLE_COROUTINE
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

    return traced


def _in_span(call: Any, coroutine: CoroutineType[Any, Any, Any]) -> CoroutineType[Any, Any, Any]:
    """Return a coroutine that looks like ``coroutine`` (asyncio names it when nobody awaits it), inside its
    span.
    """
    wrapped: Any = _finish(call, coroutine)
    wrapped.__name__, wrapped.__qualname__ = coroutine.__name__, coroutine.__qualname__
    return wrapped  # type: ignore[no-any-return]


async def _finish(call: Any, coroutine: CoroutineType[Any, Any, Any]) -> Any:
    """Await a handler inside its span, which is current in the task that awaits."""
    try:
        guarded(call.enter)
        result = await coroutine
    except GeneratorExit:  # the coroutine is thrown away while it waits, perhaps in another context
        call.span.end()
        if isinstance(call, TracedCall):  # a call in C++ takes back what is current where it is dropped
            call.leave()
            guarded(call.count)
        raise
    except BaseException as error:
        guarded(call.fail, error)
        call.end()
        raise
    call.end()
    return result
