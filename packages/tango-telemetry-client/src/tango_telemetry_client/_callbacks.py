"""The span around a callback of the user's: of an asynchronous call, or of an event."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import (
    Context,
    Link,
    SpanKind,
    TracedCall,
    code_attributes,
    current_tracer,
    get_client_tracer,
    guarded,
    not_traced,
    pass_through_tracer,
    thread_attributes,
)

from tango_telemetry_client._calls import hooks

__all__ = ["CallbackCall", "Origin", "find_callback", "trace_callback"]


class Origin:
    """Where a callback comes from, noted when it was given to PyTango.

    :param title: the name of its spans
    :param kind: INTERNAL for the callback of an asynchronous call, CONSUMER for an event
    :param attributes: the span attributes that are the same for each call
    :param context: the context of its spans, an empty one for roots
    :param links: what they are linked to
    """

    __slots__ = ("attributes", "context", "kind", "links", "title", "tracer")

    def __init__(
        self,
        title: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        context: Context,
        links: Sequence[Link] | None = None,
    ) -> None:
        self.title = title
        self.kind = kind
        self.attributes = attributes
        self.context = context
        self.links = links
        # What was given in a handler belongs to that device's tracer, on whatever thread it runs.
        self.tracer = current_tracer.get()

    def begin(self, event: Any) -> TracedCall:
        """Start the span of one call of the callback."""
        tracer = self.tracer or get_client_tracer()
        attributes = {**self.attributes, **thread_attributes()}
        if not_traced(self.context, attributes):
            tracer = pass_through_tracer()
        call = CallbackCall(
            self.tracer, tracer, self.title, self.kind, attributes, self.context, None, self.links
        )
        if hooks.wanted:
            # PyTango names the proxy in each event; keeping it here would keep it and its subscriptions alive.
            call.call_hooks(hooks, getattr(event, "device", None), attributes[names.TANGO_OPERATION])
        guarded(_record_reply, call, event)
        return call


class CallbackCall(TracedCall):
    """The span of a callback; while it is current, client calls belong to the tracer of where it was given."""

    __slots__ = ("_given", "_tracer")

    def __init__(self, given: Any, *args: Any) -> None:
        super().__init__(*args)
        self._given = given
        self._tracer = current_tracer.set(given)

    def leave(self) -> None:
        current_tracer.reset(self._tracer)
        super().leave()

    def enter(self) -> None:
        super().enter()
        self._tracer = current_tracer.set(self._given)


def _record_reply(call: TracedCall, event: Any) -> None:
    """Say that what the callback is told of has failed: nobody raises it."""
    if getattr(event, "err", False):
        # A write's are a NamedDevFailedList, one stack for each attribute that failed (9.3 to 10.3).
        named = getattr(event.errors, "err_list", None)
        stack = event.errors if named is None else [error for item in named for error in item.err_stack]
        call.fail(importlib.import_module("tango").DevFailed(*stack))


def find_callback(given: Any, method: str) -> Callable[..., Any] | None:
    """Give what PyTango will call: ``given`` itself, or its method of that name; None if ``given`` is no callback."""
    if given is None or callable(given):
        return given  # type: ignore[no-any-return]
    found = getattr(given, method, None)  # PyTango asks in the same way
    return found if callable(found) else None


def _without_partials(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _is_coroutine_function(function: Any) -> bool:
    """PyTango's own rule (10.1 to 10.3, ``tango.utils``): the wrapper must be taken for what the callback is."""
    function = _without_partials(function)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _code_of(function: Any) -> dict[str, Any]:
    """The span attributes of the user's function, behind decorators, partials and callable objects."""
    function = inspect.unwrap(_without_partials(function))
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return code_attributes(code, code.co_firstlineno) if code is not None else {}


def trace_callback(callback: Callable[..., Any], origin: Origin) -> Callable[..., Any]:
    """Give a function that calls ``callback`` inside a span of its own."""
    origin.attributes = {**origin.attributes, **_code_of(callback)}

    if _is_coroutine_function(callback):

        async def traced_coroutine(event: Any) -> Any:
            call = guarded(origin.begin, event)
            if call is None:
                return await callback(event)
            try:
                return await callback(event)
            except BaseException as error:
                guarded(call.fail, error)
                raise
            finally:
                call.end()

        return functools.update_wrapper(traced_coroutine, callback, updated=())

    def traced_callback(event: Any) -> Any:
        call = guarded(origin.begin, event)
        if call is None:
            return callback(event)
        try:
            return callback(event)
        except BaseException as error:
            guarded(call.fail, error)
            raise
        finally:
            call.end()

    return functools.update_wrapper(traced_callback, callback, updated=())
