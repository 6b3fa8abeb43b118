"""The traced client call: the wrapper around each method that asks a server and gets its answer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import (
    BoundedDict,
    DelegatedCall,
    Hooks,
    Link,
    QuickBeginning,
    SpanKind,
    TracedCall,
    active_client_span,
    call_site,
    caller_of_tango,
    current_tracer,
    get_calling_tracer,
    get_client_tracer,
    get_current,
    get_current_span,
    guarded,
    is_excluded,
    is_over,
    is_suppressed,
    judged_modules,
    pass_through_tracer,
    record_arguments,
    state,
    thread_attributes,
    trace_function,
)

from tango_telemetry_client._attributes import (
    LIST_ATTRIBUTES,
    MAX_NAMES,
    SUBJECT_ATTRIBUTES,
    create_attributes,
    find_name,
)
from tango_telemetry_client._targets import Operation

__all__ = ["CallBeginning", "hooks", "own_attributes", "switch", "wrap_call"]

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
_SITES = "_tango_telemetry_sites"
_MOST_SITES = 512
"""Places of calls whose span attributes one proxy keeps."""
_USUAL_KEYWORDS = {
    "command": "cmd_name",
    "attribute": "attr_name",
    "attributes": "attr_names",
    "pipe": "pipe_name",
}


def wrap_call(function: Callable[..., Any], operation: Operation, owner: str) -> Callable[..., Any]:
    """Return ``function``, a method of the class ``owner``, with a client span around each call."""
    begin = CallBeginning(function, operation, owner).make_quick()
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


class CallBeginning:
    """Starts the span of one operation; called once for each call, so it looks up and does not compute."""

    __slots__ = ("carry", "connects", "keyword", "method", "named", "operation", "owner", "quick", "takes")

    def __init__(self, function: Callable[..., Any], operation: Operation, owner: str) -> None:
        self.operation = operation
        self.owner = owner
        self.connects = operation.method == "__init__"
        self.method = owner if self.connects else operation.method
        self.takes = _TAKES.get(operation.subject, Takes.NOTHING)
        if self.takes is Takes.SEVERAL_NAMES and owner == "Database":
            self.takes = Takes.UNKNOWN
        self.named: tuple[str | None, ...] | None = None
        if self.takes is Takes.ONE_NAME:
            self.named = (f"{self.method} ", names.RPC_METHOD, SUBJECT_ATTRIBUTES[operation.subject])
        elif self.takes is Takes.SEVERAL_NAMES:
            self.named = (None, LIST_ATTRIBUTES[operation.subject])
        self.keyword = _first_keyword(function, operation)
        self.carry = f"{owner}.{operation.method}"
        self.quick: QuickBeginning | None = None

    def make_quick(self) -> Callable[..., TracedCall | None]:
        """Return the function that starts a call, which never raises, and the usual call in C++ where
        it can.
        """
        if self.connects:
            return functools.partial(guarded, self.begin)
        self.quick = QuickBeginning(
            self.begin,
            lambda native, slow: native.ClientBeginning(
                slow,
                current_tracer,
                active_client_span,
                judged_modules,
                self.carry,
                call_site,
                self.keyword,
                self.takes,
            ),
        )
        return self.quick.begin

    def begin(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], links: Sequence[Link] | None = None
    ) -> TracedCall | None:
        """Start the span of a call; ``args`` begins with the object that is called."""
        return self(args[0], args[1:], kwargs, links) if args else None

    def __call__(
        self,
        subject: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        links: Sequence[Link] | None = None,
    ) -> TracedCall | None:
        """Start the span of a call; None if the call is part of another one, whose span is there."""
        context = get_current()
        active = active_client_span.get()
        if active is not None and get_current_span(context) is active and not is_over(active):
            # part of the call that is being made: PyTango's own helper calls get no span of their own
            return None
        quick = self.quick
        epoch = quick.get_epoch() if quick is not None else -1
        name = None
        what: str | tuple[str, ...] | None = None
        if self.takes is Takes.ONE_NAME:
            name = args[0] if args and type(args[0]) is str else find_name(args, kwargs, self.keyword)
            what = name
        elif self.takes is Takes.SEVERAL_NAMES:
            what = _names_of(args[0] if args else kwargs.get(self.keyword))
        frame = caller_of_tango(3)
        site = None
        if frame is None:  # in a pool thread: the call was made elsewhere
            frame = site = call_site.get()
        attributes, own = self._attributes(subject, name, what, args, kwargs, frame)
        tracer = get_calling_tracer(context)
        title = self.method if name is None else f"{self.method} {name}"
        excluded = is_excluded(attributes, "DataBase" if self.owner == "Database" else "")
        metrics = None if excluded else state.metrics
        series = metrics.find(names.RPC_CLIENT_CALL_DURATION, attributes) if metrics is not None else None
        if quick is not None and epoch >= 0 and own is not None and self._may_be_kept():
            places = [(None, 0, what)]  # for a span that is not recorded any place will do
            if not excluded:
                known = frame is not None and frame.f_code is not None
                places.append((frame.f_code, frame.f_lasti, what) if known else (None, quick.NO_CALLER, what))
            in_use = tracer if tracer is current_tracer.get() else None
            makes = pass_through_tracer() if excluded else get_client_tracer()
            named = self.named if state.exclusion is None and what is not None else None
            counted = series
            if metrics is not None and series is not None and named is not None and name is not None:
                counted = metrics.table(names.RPC_CLIENT_CALL_DURATION, attributes)
            for place in places:
                quick.keep(
                    own,
                    epoch,
                    place,
                    title,
                    _CLIENT,
                    attributes,
                    makes,
                    in_use,
                    named=named,
                    series=counted,
                )
        if excluded or is_suppressed(context):
            tracer = pass_through_tracer()
        attributes = {**attributes, **thread_attributes()}
        if site is None:
            call = TracedCall(tracer, title, _CLIENT, attributes, context, self.carry, links)
        else:
            call = DelegatedCall(site, tracer, title, _CLIENT, attributes, context, self.carry, links)
        try:
            if series is not None and tracer is not pass_through_tracer():
                call.time(series)
            if state.config.capture_arguments:
                guarded(record_arguments, call.span, args if name is None else args[1:], kwargs)
            if hooks.wanted:
                call.call_hooks(hooks, subject, self.operation.method)
            return call
        except BaseException:  # from outside: the call is not made
            call.end()
            raise

    @staticmethod
    def _may_be_kept() -> bool:
        """Whether the usual call has no more to do than a span."""
        return not hooks.wanted and not state.config.capture_arguments

    def _attributes(
        self,
        subject: Any,
        name: str | None,
        what: str | tuple[str, ...] | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        frame: Any,
    ) -> tuple[Mapping[str, Any], dict[str, Any] | None]:
        """Return the attributes, and the ``__dict__`` of ``subject`` if all calls like this one have
        the same.
        """
        code, position = (None, 0) if frame is None else (frame.f_code, frame.f_lasti)
        sites: BoundedDict[Any, tuple[Mapping[str, Any], Any]] | None = None
        own = None
        if not self.connects and (what is not None or self.takes is Takes.NOTHING):
            own = own_attributes(subject)
            sites = own.get(_SITES)
            if sites is None:
                sites = own[_SITES] = BoundedDict(_MOST_SITES)
            key = (id(code), position, self.method, what)
            known = sites.get(key)
            if known is not None:
                return known[0], own
        place = (code, 0 if frame is None else frame.f_lineno)
        if not args and self.keyword in kwargs:
            args = (kwargs[self.keyword],)
        made = create_attributes(self.operation, self.owner, subject, name, args, place)
        if sites is not None:
            sites[key] = made, code  # the code object must live as long as its `id` is part of a key
        return made, own
