"""The traced client call: the wrapper around each method that asks a server and gets its answer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import (
    Beginning,
    DelegatedCall,
    Hooks,
    Plan,
    TracedCall,
    active_client_span,
    call_site,
    caller_of_tango,
    current_tracer,
    excludes_anything,
    get_calling_tracer,
    get_client_tracer,
    get_config,
    get_epoch,
    get_metrics,
    guarded,
    is_excluded,
    is_over,
    is_suppressed,
    judged_modules,
    pass_through_tracer,
    record_arguments,
    thread_attributes,
    trace_function,
)
from tango_telemetry.otel.api import Link, SpanKind, Tracer, get_current, get_current_span

from tango_telemetry_client._attributes import (
    LIST_ATTRIBUTES,
    MAX_NAMES,
    SUBJECT_ATTRIBUTES,
    create_attributes,
    find_name,
)
from tango_telemetry_client._targets import Operation

__all__ = ["ClientBeginning", "hooks", "own_attributes", "switch", "wrap_call"]

hooks = Hooks()
"""The hooks given to the client instrumentor."""


class _Switch:
    """Whether client calls are traced: a callback that was given before ``uninstrument()`` outlives it."""

    __slots__ = ("on",)

    def __init__(self) -> None:
        self.on = False


switch = _Switch()

_get_attribute = object.__getattribute__
_CLIENT = SpanKind.CLIENT
_USUAL_KEYWORDS = {
    "command": "cmd_name",
    "attribute": "attr_name",
    "attributes": "attr_names",
    "pipe": "pipe_name",
}


def wrap_call(function: Callable[..., Any], operation: Operation, owner: str) -> Callable[..., Any]:
    """Return ``function``, a method of the class ``owner``, with a client span around each call."""
    begin = ClientBeginning(function, operation, owner).begin
    if operation.method == "__init__" and owner == "DeviceProxy":
        function = _naming_its_device(function)

    return functools.wraps(function)(trace_function(function, begin))


def _naming_its_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let the span of a connection have the name that the device turned out to have, where it was made with
    an alias.
    """

    @functools.wraps(function)
    def connecting(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        guarded(_name_device, *args[:1])
        return result

    return connecting


def _name_device(subject: Any) -> None:
    span = get_current_span()
    if span is active_client_span.get() and span.is_recording():
        span.set_attribute(names.TANGO_DEVICE_NAME, subject.dev_name())


def _first_keyword(function: Callable[..., Any], operation: Operation) -> str:
    """What the first argument is called: another name in each PyTango.

    Methods of C++ and ``*args`` tell nothing.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())[1:]
    except (TypeError, ValueError):
        parameters = []
    if parameters and parameters[0].kind is parameters[0].POSITIONAL_OR_KEYWORD:
        return parameters[0].name
    return _USUAL_KEYWORDS.get(operation.subject, "value")


def own_attributes(subject: Any) -> dict[str, Any]:
    """Return the ``__dict__`` of a client object without asking its device for it:
    ``DeviceProxy.__getattr__`` would.

    Its class does not say whether there is one: ``__dictoffset__`` is 0 for a pybind11 class since Python
    3.11.
    """
    try:
        own: dict[str, Any] = _get_attribute(subject, "__dict__")
    except AttributeError:
        return {}
    return own


class Takes(IntEnum):
    """What the arguments of an operation say of its span. The native package knows the numbers."""

    NOTHING = 0
    ONE_NAME = 1
    SEVERAL_NAMES = 2
    UNKNOWN = 3


_TAKES: Mapping[str, Takes] = {
    **dict.fromkeys(("command", "attribute", "pipe"), Takes.ONE_NAME),
    **dict.fromkeys(("attributes", "property"), Takes.SEVERAL_NAMES),
}


def _names_of(given: Any) -> tuple[str, ...] | None:
    """The names in a list or tuple of them or of (name, value) pairs, as far as a span tells them; None for
    anything else. The native package reads the same.
    """
    if type(given) is not list and type(given) is not tuple:
        return None
    found = [item[0] if type(item) in (list, tuple) and item else item for item in given[:MAX_NAMES]]
    return tuple(found) if all(type(item) is str for item in found) else None


class ClientBeginning(Beginning):
    """What begins the calls of one operation; called once for each call, so it looks up and does not
    compute.
    """

    __slots__ = ("carry", "connects", "keyword", "method", "named", "operation", "owner", "takes")

    def __init__(self, function: Callable[..., Any], operation: Operation, owner: str) -> None:
        self.operation = operation
        self.owner = owner
        self.connects = operation.method == "__init__"
        self.method = owner if self.connects else operation.method
        self.takes = _TAKES.get(operation.subject, Takes.NOTHING)
        if self.connects or (self.takes is Takes.SEVERAL_NAMES and owner == "Database"):
            self.takes = Takes.UNKNOWN
        self.named: tuple[Any, ...] | None = None
        if self.takes is Takes.ONE_NAME:
            self.named = (f"{self.method} ", names.RPC_METHOD, SUBJECT_ATTRIBUTES[operation.subject])
        elif self.takes is Takes.SEVERAL_NAMES:
            self.named = (None, LIST_ATTRIBUTES[operation.subject])
        self.keyword = _first_keyword(function, operation)
        self.carry = f"{owner}.{operation.method}"
        super().__init__(None if self.connects else self._create_native)

    def _create_native(self, native: Any, in_python: Callable[..., Any]) -> Any:
        return native.ClientBeginning(
            in_python,
            current_tracer,
            active_client_span,
            judged_modules,
            self.carry,
            call_site,
            self.keyword,
            self.takes,
        )

    def start(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], links: Sequence[Link] | None = None
    ) -> TracedCall | None:
        """Start the span of a call; None if the call is part of another one, whose span is there.

        :param args: begins with the object that is called
        """
        if not args:
            return None
        context = get_current()
        active = active_client_span.get()
        if active is not None and get_current_span(context) is active and not is_over(active):
            # part of the call that is being made: PyTango's own helper calls get no span of their own
            return None
        subject, given = args[0], args[1:]
        epoch = get_epoch()
        name = None
        what: str | tuple[str, ...] | None = None
        if self.takes is Takes.ONE_NAME:
            name = given[0] if given and type(given[0]) is str else find_name(given, kwargs, self.keyword)
            what = name
        elif self.takes is Takes.SEVERAL_NAMES:
            what = _names_of(given[0] if given else kwargs.get(self.keyword))
        frame = caller_of_tango(3)
        site = None
        if frame is None:  # in a pool thread: the call was made elsewhere
            frame = site = call_site.get()
        tracer = get_calling_tracer(context)
        plan = own = None
        if what is not None or self.takes is Takes.NOTHING:
            own = own_attributes(subject)
            key = self.key_of(frame, what)
            plan = self.find(own, key)
        if plan is None:
            plan = self._decide(subject, name, what, given, kwargs, frame, tracer)
            if own is not None:
                self.keep(own, key, epoch, plan)
        plan = plan.for_name(what)
        series = plan.series
        if type(series) is dict:
            series = series.get(name) or series.get(None) or self._find_series(plan.attributes)
        if plan.tracer is pass_through_tracer() or is_suppressed(context):
            tracer = pass_through_tracer()
        told = (
            tracer,
            plan.title,
            _CLIENT,
            {**plan.attributes, **thread_attributes()},
            context,
            self.carry,
            links,
        )
        call = TracedCall(*told) if site is None else DelegatedCall(site, *told)
        try:
            if series is not None and tracer is not pass_through_tracer():
                call.time(series)
            if plan.in_python and get_config().capture_arguments:
                guarded(record_arguments, call.span, given if name is None else given[1:], kwargs)
            if hooks.wanted:
                call.call_hooks(hooks, subject, self.operation.method)
            return call
        except BaseException:  # from outside: the call is not made
            call.end()
            raise

    def _decide(
        self,
        subject: Any,
        name: str | None,
        what: str | tuple[str, ...] | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        frame: Any,
        tracer: Tracer,
    ) -> Plan:
        """Decide what holds for all calls like this one, until something changes.

        :param what: the name, or the names
        :param tracer: that of this call
        """
        place = (None, 0) if frame is None else (frame.f_code, frame.f_lineno)
        if not args and self.keyword in kwargs:
            args = (kwargs[self.keyword],)
        attributes = create_attributes(self.operation, self.owner, subject, name, args, place)
        excluded = is_excluded(attributes, "DataBase" if self.owner == "Database" else "")
        named = self.named if not excludes_anything() and what is not None else None
        metrics = None if excluded else get_metrics()
        series = None
        if metrics is not None:
            series = metrics.find(names.RPC_CLIENT_CALL_DURATION, attributes)
            if series is not None and named is not None and name is not None:
                series = metrics.table(names.RPC_CLIENT_CALL_DURATION, attributes)
        outside = tracer if self.native is None else get_client_tracer()
        return Plan(
            self.method if name is None else f"{self.method} {name}",
            _CLIENT,
            attributes,
            pass_through_tracer() if excluded else outside,
            tracer if tracer is current_tracer.get() else None,
            named,
            series,
            in_python=hooks.wanted or get_config().capture_arguments,
        )

    @staticmethod
    def _find_series(attributes: Mapping[str, Any]) -> Any:
        metrics = get_metrics()
        return None if metrics is None else metrics.find(names.RPC_CLIENT_CALL_DURATION, attributes)
