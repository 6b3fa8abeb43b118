"""What is current: all context variables of ours, and the one place that makes a span current and takes it
back.

Whose call it is, is told twice, because two kinds of carriers exist. The ``Owner`` stands in OpenTelemetry's
context, which OpenTelemetry's own tools carry to threads and tasks; :data:`current_tracer` and
:data:`current_handler` stand in Python's context, where the hot path finds them and where a copy of the
context has them too.

An exception can come between any two instructions of Python: a ``KeyboardInterrupt``, the ``TimeoutError`` of
a handler for ``SIGALRM``, pytest-timeout's, one that another thread sends. So what a call sets and what is
needed to take it back are one step in C, and whatever is dropped before it could be left takes itself back.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from tango_telemetry.otel.api import (
    Context,
    Span,
    Tracer,
    attach,
    context_variable,
    detach,
    get_current,
    set_span_in_context,
    set_value,
)

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "ContextChange",
    "Owner",
    "Undoable",
    "active_client_span",
    "call_site",
    "current_handler",
    "current_tracer",
    "delegated",
    "get_carried_owner",
    "get_owner",
    "make_current",
    "submitting",
    "with_owner",
]


class Owner(Protocol):
    """Whose spans they are: a device.

    What is kept for later remembers the owner, whose tracer may change or be none.
    """

    def get_tracer(self) -> Tracer | None:
        """Return the tracer that the owner has now, one that emits nothing while it is switched off; None: no
        owner any more.
        """

    def renew(self, *, retire: bool) -> None:
        """Make another tracer for the next call: the settings are others now.

        :param retire: whether the one that was given makes no more spans, whoever still has it
        """


_OWNER = "tango-telemetry-owner"
"""The key in OpenTelemetry's context of whoever the calls that are made in it belong to.

The native package reads it too.
"""


def with_owner(context: Context, owner: Owner) -> Context:
    """Return a context in which calls belong to ``owner``, wherever a tool of OpenTelemetry's carries it.

    :data:`current_tracer` does not travel with it: such tools carry OpenTelemetry's context, and no other
        variable.
    """
    return set_value(_OWNER, owner, context)


def get_carried_owner(context: Context) -> Owner | None:
    """Return whose calls are made in a context of OpenTelemetry's; None outside devices."""
    return context.get(_OWNER) if context else None  # type: ignore[return-value]


def get_owner() -> Owner | None:
    """Return whose calls are made here: those of the device whose handler runs, else of whom the context
    names.
    """
    running = current_handler.get()
    return running[0] if running is not None else get_carried_owner(get_current())


_set: Any = ContextVar.set
_reset: Any = ContextVar.reset
_CONTEXT = context_variable()

active_client_span: ContextVar[Any] = ContextVar("tango_telemetry_active_client_span", default=None)
"""The span of the client call that is being made in this context.

A call made while it is current is part of it.
"""

current_tracer: ContextVar[Tracer | None] = ContextVar("tango_telemetry_current_tracer", default=None)
"""The tracer of the device whose handler is running in this context, None outside devices."""

current_handler: ContextVar[tuple[Owner, str] | None] = ContextVar(
    "tango_telemetry_current_handler", default=None
)
"""``(owner, span name)`` of the handler that runs in this context."""

call_site: ContextVar[Any] = ContextVar("tango_telemetry_call_site", default=None)
"""Where a call that runs in a pool thread was written (a ``Site``): the frame itself has moved on by then."""

delegated: ContextVar[Any] = ContextVar("tango_telemetry_delegated", default=None)
"""``(weak reference to the accessor, Site)`` of the last call that this context has delegated."""

submitting: ContextVar[bool] = ContextVar("tango_telemetry_submitting", default=False)
"""Whether a pool is given a job. A thread that it starts then belongs to the pool, not to that job."""


class Undoable:
    """Something that is done by :meth:`do` and undone once, each in one step that no exception from outside
    can divide.

    :param do: a function in C, called with one item of each of ``arguments``
    :param undo: a function in C, called with one of ``first`` (where that is given) and what ``do`` gave
    """

    __slots__ = ("__weakref__", "_dropped", "_results", "_steps", "_undo")

    def __init__(
        self,
        do: Callable[..., Any],
        undo: Callable[..., Any],
        arguments: tuple[Iterable[Any], ...],
        first: tuple[Iterable[Any], ...] = (),
    ) -> None:
        self._results: list[Any] = []
        self._steps = map(do, *arguments)
        # An iterator gives each item once, so undoing again does nothing.
        self._undo = undo_each = map(undo, *first, self._results)
        # Called where this is dropped, and in C all the way: a `__del__` in Python would be a place where an
        # exception that comes from outside is only printed, and lost to the user. `fromkeys` is what takes an
        # iterator and one more.
        self._dropped = weakref.ref(self, functools.partial(dict.fromkeys, undo_each))

    def do(self) -> Self:
        """Do it, and give itself: to be called once."""
        try:
            self._results.extend(self._steps)
            return self
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Undo it. Does nothing the second time.

        :raises ValueError: for a context variable that was set in another context: there is nothing to undo
            here
        """
        try:
            deque(self._undo, 0)
        except ValueError:
            with contextlib.suppress(ValueError):
                self.leave()  # the rest, so that nothing is left for whoever drops this
            raise


class ContextChange(Undoable):
    """OpenTelemetry's context and context variables of ours that have other values until :meth:`leave`.

    :param context: OpenTelemetry's context
    :param pairs: context variables, each followed by its value
    """

    __slots__ = ("_token", "context")

    def __init__(self, context: Context, *pairs: Any) -> None:
        self.context = context
        self._token: Any = None
        variables, values = pairs[::2], pairs[1::2]
        if _CONTEXT is not None:
            variables, values = (_CONTEXT, *variables), (context, *values)
        super().__init__(_set, _reset, (variables, values), (variables,))

    def do(self) -> Self:
        """Make the values current."""
        try:
            super().do()
            if _CONTEXT is None:
                self._token = attach(self.context)
            return self
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Make what was current before current again. Does nothing the second time."""
        if self._token is not None:
            token, self._token = self._token, None
            detach(token)
        super().leave()


def make_current(span: Span, context: Context, *pairs: Any) -> ContextChange:
    """Make a span current in the running task or thread until ``leave()``. The native package has the same in
    C++.

    :param context: OpenTelemetry's context that the span was started in; the result's ``context`` has the
        span too
    :param pairs: context variables, each followed by the value that it has meanwhile
    """
    return ContextChange(set_span_in_context(span, context), *pairs).do()
