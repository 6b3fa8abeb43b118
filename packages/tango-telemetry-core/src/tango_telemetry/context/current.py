"""Making a span current, together with context variables of ours: the one place that enters and leaves.

An exception can come between any two instructions of Python: a ``KeyboardInterrupt``, the ``TimeoutError`` of a handler
for ``SIGALRM``, pytest-timeout's, one that another thread sends. So what a call sets and what is needed to take it back
are one step in C, and whatever is dropped before it could be left takes itself back.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from tango_telemetry.otel.api import Context, Span, attach, context_variable, detach, set_span_in_context

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ContextChange", "Undoable", "make_current"]

_set: Any = ContextVar.set
_reset: Any = ContextVar.reset
_CONTEXT = context_variable()


class Undoable:
    """Something that is done by :meth:`do` and undone once, each in one step that no exception from outside can divide.

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
        # Called where this is dropped, and in C all the way: a `__del__` in Python would be a place where an exception
        # that comes from outside is only printed, and lost to the user. `fromkeys` is what takes an iterator and one more.
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

        :raises ValueError: for a context variable that was set in another context: there is nothing to undo here
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
    """Make a span current in the running task or thread until ``leave()``. The native package has the same in C++.

    :param context: OpenTelemetry's context that the span was started in; the result's ``context`` has the span too
    :param pairs: context variables, each followed by the value that it has meanwhile
    """
    return ContextChange(set_span_in_context(span, context), *pairs).do()
