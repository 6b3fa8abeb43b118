"""Making a span current, together with context variables of ours: the one place that enters and leaves."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from tango_telemetry._otel import Context, Span, attach, detach, set_span_in_context

__all__ = ["CurrentSpan", "make_current"]


class CurrentSpan:
    """A span that was made current, and what was current before. The native package has the same in C++."""

    __slots__ = ("_first", "_first_token", "_second", "_second_token", "_token", "context")

    def __init__(
        self,
        span: Span,
        context: Context,
        first: ContextVar[Any] | None = None,
        first_value: Any = None,
        second: ContextVar[Any] | None = None,
        second_value: Any = None,
    ) -> None:
        """Make a span current in the running task or thread until :meth:`leave`.

        :param context: OpenTelemetry's context that the span was started in
        :param first: a context variable that has the value ``first_value`` meanwhile; ``second`` likewise
        """
        self.context = set_span_in_context(span, context)
        """OpenTelemetry's context with the span as the current one."""
        self._first = first
        self._second = second
        if first is not None:
            self._first_token = first.set(first_value)
        if second is not None:
            self._second_token = second.set(second_value)
        self._token: Any = attach(self.context)

    def leave(self) -> None:
        """Make what was current before current again. Does nothing the second time."""
        token = self._token
        if token is None:
            return
        self._token = None
        detach(token)
        if self._second is not None:
            self._second.reset(self._second_token)
        if self._first is not None:
            self._first.reset(self._first_token)


make_current = CurrentSpan
