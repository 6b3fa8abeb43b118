"""The two halves of an asynchronous call: the request, and its reply or the callback that gets it.

A reply is linked to its request, whose span context is kept by the proxy under the request's id. A callback
gets a span of its own, child of the request, wherever and whenever it runs.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import Begin, BoundedDict, TracedCall, guarded, trace_function
from tango_telemetry.otel.api import Link, SpanContext, SpanKind

from tango_telemetry_client._attributes import SUBJECT_ATTRIBUTES, find_name, target_attributes
from tango_telemetry_client._callbacks import Origin, replace_callback
from tango_telemetry_client._calls import ClientBeginning, own_attributes
from tango_telemetry_client._targets import Operation

__all__ = ["wrap_reply", "wrap_request"]

_REQUESTS: Final = "_tango_telemetry_requests"
_LIMIT: Final = 1024
"""Requests of one proxy that wait for their reply; a reply to an older one has no link."""


class Request:
    """What is done to a call of a ``*_asynch`` method: its callback is traced, or its id remembered for the
    reply.
    """

    __slots__ = ("begin", "expected", "keyword", "operation", "owner")

    def __init__(self, begin: ClientBeginning) -> None:
        self.begin: Begin = begin.begin
        self.operation = operation = begin.operation
        self.owner = begin.owner
        self.keyword = begin.keyword
        # The method of a callback object that PyTango asks for (9.3 to 10.3).
        if operation.subject == "command":
            self.expected = "cmd_ended"
        elif operation.method.startswith("read"):
            self.expected = "attr_read"
        else:
            # 9.5.1 asks for another one than C++ calls, and crashes when the reply has come, with or without
            # us.
            old = importlib.import_module("tango").Release.version_info[0] < 10
            self.expected = "attr_write" if old else "attr_written"

    def prepare(
        self, call: TracedCall, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], Callable[[Any], object]]:
        """Trace the callback of a call, and have the id that the call returns remembered."""
        remember = functools.partial(_remember, args[0], call.span.get_span_context())
        if self.owner != "Group":
            place = ("cb", self._position(args))
            origin = functools.partial(self._create_origin, call, args[0], args[1:], kwargs)
            replaced = guarded(replace_callback, args, kwargs, place, self.expected, origin)
            args, kwargs = replaced or (args, kwargs)
        return args, kwargs, remember

    def _position(self, args: tuple[Any, ...]) -> int:
        """Where a callback stands if it is no keyword argument; source: ``tango.connection``,
        ``tango.device_proxy``.
        """
        # (proxy, name, callback), (proxy, name, value, callback).
        if self.operation.method == "command_inout_asynch":
            return max(2, len(args) - 1)
        return 3 if self.operation.method == "write_attribute_asynch" else 2

    def _create_origin(
        self, call: TracedCall, subject: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Origin:
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
        return Origin(title, SpanKind.INTERNAL, attributes, call.context)


def wrap_request(function: Callable[..., Any], operation: Operation, owner: str) -> Callable[..., Any]:
    """Return a ``*_asynch`` method with a client span around the sending, and one around the callback."""
    request = Request(ClientBeginning(function, operation, owner))
    return functools.wraps(function)(trace_function(function, request.begin, request.prepare))


def _remember(subject: Any, context: SpanContext, request: Any) -> None:
    # A link to what was not sampled would lead nowhere.
    if type(request) is int and context.is_valid and context.trace_flags & 1:
        own = own_attributes(subject)
        requests: BoundedDict[int, SpanContext] | None = own.get(_REQUESTS)
        if requests is None:
            requests = own[_REQUESTS] = BoundedDict(_LIMIT)
        requests[request] = context


def wrap_reply(function: Callable[..., Any], operation: Operation, owner: str) -> Callable[..., Any]:
    """Return a ``*_reply`` method with a client span that is linked to the request."""
    begin_call: Callable[..., TracedCall | None] = ClientBeginning(function, operation, owner).begin

    def begin(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> TracedCall | None:
        return begin_call(args, kwargs, guarded(_find_links, args, kwargs))

    return functools.wraps(function)(trace_function(function, begin, _forget_when_answered))


def _request_id(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return args[1] if len(args) > 1 else kwargs.get("idx", kwargs.get("id", kwargs.get("req_id")))


def _find_links(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Link, ...] | None:
    requests = own_attributes(args[0]).get(_REQUESTS) if args else None
    found = requests.get(_request_id(args, kwargs)) if requests is not None else None
    return (Link(found),) if found is not None else None


def _forget_when_answered(
    call: TracedCall, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], Callable[[Any], object]]:
    def forget(result: Any) -> None:
        requests = own_attributes(args[0]).get(_REQUESTS)
        if requests is not None:
            requests.pop(_request_id(args, kwargs), None)

    return args, kwargs, forget
