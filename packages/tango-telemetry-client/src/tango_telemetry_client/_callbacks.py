"""The span around a callback of the user's: of an asynchronous call, or of an event."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import (
    TracedCall,
    code_attributes,
    current_tracer,
    get_client_tracer,
    get_metrics,
    get_owner,
    guarded,
    not_traced,
    pass_through_tracer,
    thread_attributes,
    trace_coroutine_function,
    trace_function,
    with_owner,
)
from tango_telemetry.otel.api import Context, Link, SpanKind

from tango_telemetry_client._calls import hooks, switch

__all__ = ["Origin", "replace_callback"]


_MOST_REASONS = 8


class Origin:
    """Where a callback comes from, noted when it was given to PyTango.

    :param title: the name of its spans
    :param kind: INTERNAL for the callback of an asynchronous call, CONSUMER for an event
    :param attributes: the span attributes that are the same for each call
    :param context: the context of its spans, an empty one for roots
    :param links: what they are linked to
    :param failures: of what repeats by itself: the reasons of failures since the last success, of which each
        makes one span
    """

    __slots__ = ("attributes", "context", "failures", "kind", "links", "owner", "title")

    def __init__(
        self,
        title: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        context: Context,
        links: Sequence[Link] | None = None,
        failures: set[str] | None = None,
    ) -> None:
        self.failures = failures
        self.title = title
        self.kind = kind
        self.attributes = attributes
        self.links = links
        # What was given in a handler belongs to that device, on whatever thread and under whatever settings
        # it runs.
        self.owner = owner = get_owner()
        self.context = context if owner is None else with_owner(context, owner)

    def _repeats(self, event: Any) -> bool:
        """Whether the event tells of a failure that was told already: cppTango tries to subscribe again every
        ten seconds.
        """
        failures = self.failures
        if failures is None:
            return False
        if not getattr(event, "err", False):
            failures.clear()
            return False
        reason = _reason(event)
        known = reason in failures or len(failures) >= _MOST_REASONS
        if not known:
            failures.add(reason)
        return known

    def find_origin(self, event: Any) -> tuple[Context, Sequence[Link] | None]:
        """Return the context of the span of one call, and what it is linked to."""
        return self.context, self.links

    def begin(self, event: Any) -> TracedCall | None:
        """Start the span of one call of the callback; None while client calls are not traced."""
        if not switch.on:
            return None
        owner = self.owner
        given = owner.get_tracer() if owner is not None else None
        tracer = given or get_client_tracer()
        attributes = {**self.attributes, **thread_attributes()}
        untraced = not_traced(self.context, attributes)
        if get_metrics() is not None and self.kind is SpanKind.CONSUMER and not untraced:
            guarded(_count, attributes, event)
        if untraced or self._repeats(event):
            tracer = pass_through_tracer()
        # Client calls that the callback makes are the owner's too: the context names it.
        variables = (current_tracer, given)
        context, links = guarded(self.find_origin, event) or (self.context, self.links)
        call = TracedCall(tracer, self.title, self.kind, attributes, context, None, links, variables)
        try:
            if hooks.wanted:
                # PyTango names the proxy in each event; keeping it here would keep it and its subscriptions
                # alive.
                call.call_hooks(hooks, getattr(event, "device", None), attributes[names.TANGO_OPERATION])
            guarded(_record_reply, call, event)
            return call
        except BaseException:  # from outside: the callback is not called
            call.end()
            raise


def _reason(event: Any) -> str:
    """What an event says that has failed, "" if it says nothing."""
    errors = getattr(event, "errors", None)
    return str(getattr(errors[0], "reason", "")) if errors else ""


def _count(attributes: Mapping[str, Any], event: Any) -> None:
    failed = getattr(event, "err", False)
    told = {**attributes, names.ERROR_TYPE: _reason(event)} if failed else attributes
    get_metrics().note(names.MESSAGING_CONSUMED_MESSAGES, told)


def _record_reply(call: TracedCall, event: Any) -> None:
    """Say that what the callback is told of has failed: nobody raises it."""
    if getattr(event, "err", False):
        # A write's are a NamedDevFailedList, one stack for each attribute that failed (9.3 to 10.3).
        named = getattr(event.errors, "err_list", None)
        stack = event.errors if named is None else [error for item in named for error in item.err_stack]
        call.fail(importlib.import_module("tango").DevFailed(*stack))


def _find_callback(given: Any, method: str) -> Callable[..., Any] | None:
    """Return what PyTango will call: ``given`` itself, or its method of that name; None if ``given`` is no
    callback.
    """
    if given is None or callable(given):
        return given  # type: ignore[no-any-return]
    found = getattr(given, method, None)  # PyTango asks in the same way
    return found if callable(found) else None


def _without_partials(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _is_coroutine_function(function: Any) -> bool:
    """PyTango's own rule (10.1 to 10.3, ``tango.utils``): the wrapper must be taken for what the
    callback is.
    """
    function = _without_partials(function)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _code_of(function: Any) -> dict[str, Any]:
    """The span attributes of the user's function, behind decorators, partials and callable objects."""
    function = inspect.unwrap(_without_partials(function))
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return code_attributes(code, code.co_firstlineno) if code is not None else {}


def _trace_callback(callback: Callable[..., Any], origin: Origin) -> Callable[..., Any]:
    """Return a function that calls ``callback`` inside a span of its own."""
    origin.attributes = {**origin.attributes, **_code_of(callback)}

    def begin(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> TracedCall | None:
        return guarded(origin.begin, *args)

    trace = trace_coroutine_function if _is_coroutine_function(callback) else trace_function
    return functools.update_wrapper(trace(callback, begin), callback, updated=())


def replace_callback(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    place: tuple[str, int],
    method: str,
    create_origin: Callable[[], Origin],
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Return the arguments of a call with a traced callback in the place of the user's; None if the call has
    none.

    :param place: the name of the callback's parameter, and its position where it is not given by name
    :param method: what PyTango calls of an object that is no function
    :param create_origin: says where the callback comes from, if there is one
    """
    keyword, position = place
    named = keyword in kwargs
    callback = _find_callback(
        kwargs[keyword] if named else args[position] if len(args) > position else None, method
    )
    if callback is None:
        return None
    traced = _trace_callback(callback, create_origin())
    if named:
        return args, {**kwargs, keyword: traced}
    return (*args[:position], traced, *args[position + 1 :]), kwargs
