"""The two halves of an asynchronous call: the request, and its reply or the callback that gets it.

A reply is linked to its request, whose span context is kept by the proxy under the request's id. A callback gets a span
of its own, child of the request, wherever and whenever it runs.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, Final

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import Link, SpanContext, SpanKind, TracedCall, guarded

from tango_telemetry_client._attributes import SUBJECT_ATTRIBUTES, find_name, target_attributes
from tango_telemetry_client._callbacks import Origin, find_callback, trace_callback
from tango_telemetry_client._calls import CallBeginning, own_attributes
from tango_telemetry_client._targets import Operation

__all__ = ["wrap_reply", "wrap_request"]

_REQUESTS: Final = "_tango_telemetry_requests"
_LIMIT: Final = 1024
"""Requests of one proxy that wait for their reply; a reply to an older one has no link."""


class Requests:
    """The span contexts of the requests of one proxy, by request id; bounded, oldest first out."""

    __slots__ = ("_by_id",)

    def __init__(self) -> None:
        self._by_id: dict[int, SpanContext] = {}

    def __reduce__(self) -> tuple[type[Requests], tuple[()]]:
        """Stay out of the way of a proxy that is copied or pickled: a copy begins with none."""
        return Requests, ()

    def remember(self, request: int, context: SpanContext) -> None:
        """Keep the span context of a request."""
        if len(self._by_id) >= _LIMIT:
            del self._by_id[next(iter(self._by_id))]
        self._by_id[request] = context

    def get(self, request: Any) -> SpanContext | None:
        """Give the span context of a request, None if it is not known."""
        return self._by_id.get(request)

    def forget(self, request: Any) -> None:
        """Drop a request: its reply has come."""
        self._by_id.pop(request, None)


class CallbackReplacement:
    """Puts a traced callback in the place of the user's, which stays untouched."""

    __slots__ = ("expected", "keyword", "operation", "owner")

    def __init__(self, begin: CallBeginning) -> None:
        self.operation = operation = begin.operation
        self.owner = begin.owner
        self.keyword = begin.keyword
        # The method of a callback object that PyTango asks for (9.3 to 10.3).
        if operation.subject == "command":
            self.expected = "cmd_ended"
        elif operation.method.startswith("read"):
            self.expected = "attr_read"
        else:
            # 9.5.1 asks for another one than C++ calls, and crashes when the reply has come, with or without us.
            old = importlib.import_module("tango").Release.version_info[0] < 10
            self.expected = "attr_write" if old else "attr_written"

    def _position(self, args: tuple[Any, ...]) -> int:
        """Where a callback stands if it is no keyword argument; source: ``tango.connection``, ``tango.device_proxy``."""
        if self.operation.method == "command_inout_asynch":  # (name, callback), (name, value, callback)
            return len(args) - 1
        return 2 if self.operation.method == "write_attribute_asynch" else 1

    def __call__(
        self, call: TracedCall, subject: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Give the arguments with a traced callback; None if the call has none."""
        if self.owner == "Group":
            return None
        position = self._position(args)
        given = kwargs.get("cb") if "cb" in kwargs else args[position] if 0 < position < len(args) else None
        callback = find_callback(given, self.expected)
        if callback is None:
            return None
        name = None
        if self.operation.subject in SUBJECT_ATTRIBUTES:
            name = find_name(args, kwargs, self.keyword)
        attributes: dict[str, Any] = {
            names.RPC_SYSTEM_NAME: names.TANGO,
            names.RPC_METHOD: name or self.operation.method,
            names.TANGO_OPERATION: self.expected,
            **target_attributes(self.operation, self.owner, subject),
        }
        if name is not None:
            attributes[SUBJECT_ATTRIBUTES[self.operation.subject]] = name
        title = self.expected if name is None else f"{self.expected} {name}"
        traced = trace_callback(callback, Origin(title, SpanKind.INTERNAL, attributes, call.context))
        if "cb" in kwargs:
            return args, {**kwargs, "cb": traced}
        return (*args[:position], traced, *args[position + 1 :]), kwargs


def wrap_request(function: Callable[..., Any], operation: Operation, owner: str) -> Callable[..., Any]:
    """Give a ``*_asynch`` method with a client span around the sending, and one around the callback."""
    begin = CallBeginning(function, operation, owner)
    replace_callback = CallbackReplacement(begin)

    @functools.wraps(function)
    def traced_request(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = None
        try:
            call = guarded(begin, self, args, kwargs)
            if call is None:
                return function(self, *args, **kwargs)
            replaced = guarded(replace_callback, call, self, args, kwargs)
            if replaced is not None:
                args, kwargs = replaced
            result = function(self, *args, **kwargs)
            if type(result) is int:
                guarded(_remember, self, result, call.span.get_span_context())
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

    return traced_request


def _remember(subject: Any, request: int, context: SpanContext) -> None:
    if context.is_valid and context.trace_flags & 1:  # a link to what was not sampled would lead nowhere
        own = own_attributes(subject)
        requests = own.get(_REQUESTS)
        if requests is None:
            requests = own[_REQUESTS] = Requests()
        requests.remember(request, context)


def wrap_reply(function: Callable[..., Any], operation: Operation, owner: str) -> Callable[..., Any]:
    """Give a ``*_reply`` method with a client span that is linked to the request."""
    begin = CallBeginning(function, operation, owner)

    @functools.wraps(function)
    def traced_reply(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = args[0] if args else kwargs.get("idx", kwargs.get("id", kwargs.get("req_id")))
        call = None
        try:
            call = guarded(begin, self, args, kwargs, guarded(_find_links, self, request))
            result = function(self, *args, **kwargs)
            if call is not None:
                guarded(_forget, self, request)
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

    return traced_reply


def _find_links(subject: Any, request: Any) -> tuple[Link, ...] | None:
    requests = own_attributes(subject).get(_REQUESTS)
    found = requests.get(request) if requests is not None else None
    return (Link(found),) if found is not None else None


def _forget(subject: Any, request: Any) -> None:
    requests = own_attributes(subject).get(_REQUESTS)
    if requests is not None:
        requests.forget(request)
