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
from typing import Any

from tango_telemetry._otel import Context, Span, attach, context_variable, detach, set_span_in_context

__all__ = ["ContextChange", "CurrentSpan", "Undoable", "make_current"]

_set: Any = ContextVar.set
_reset: Any = ContextVar.reset
_CONTEXT = context_variable()


class Undoable:
    """Something that was done and can be undone once, each in one step that no exception from outside can divide.

    :param do: a function in C, called with one item of each of ``arguments``
    :param undo: a function in C, called with one of ``first`` (where that is given) and what ``do`` gave
    """

    __slots__ = ("__weakref__", "_dropped", "_undo")

    def __init__(
        self,
        do: Callable[..., Any],
        undo: Callable[..., Any],
        arguments: tuple[Iterable[Any], ...],
        first: tuple[Iterable[Any], ...] = (),
    ) -> None:
        done: list[Any] = []
        # An iterator gives each item once, so undoing again does nothing.
        self._undo = undo_each = map(undo, *first, done)
        # Called where this is dropped, and in C all the way: a `__del__` in Python would be a place where an exception
        # that comes from outside is only printed, and lost to the user. `fromkeys` is what takes an iterator and one more.
        self._dropped = weakref.ref(self, functools.partial(dict.fromkeys, undo_each))
        try:
            done.extend(map(do, *arguments))
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
        if _CONTEXT is None:
            self._token = attach(context)

    def leave(self) -> None:
        """Make what was current before current again. Does nothing the second time."""
        if self._token is not None:
            token, self._token = self._token, None
            detach(token)
        super().leave()


class CurrentSpan(ContextChange):
    """A span that was made current, and what was current before. The native package has the same in C++."""

    __slots__ = ()

    def __init__(self, span: Span, context: Context, *pairs: Any) -> None:
        """Make a span current in the running task or thread until :meth:`leave`.

        :param context: OpenTelemetry's context that the span was started in
        :param pairs: context variables, each followed by the value that it has meanwhile
        """
        super().__init__(set_span_in_context(span, context), *pairs)


make_current = CurrentSpan
