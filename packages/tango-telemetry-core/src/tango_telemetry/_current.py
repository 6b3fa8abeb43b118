"""Making a span current, together with context variables of ours: the one place that enters and leaves."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any

from tango_telemetry._otel import Context, Span, attach, detach, set_span_in_context

__all__ = ["CurrentSpan", "make_current"]


class CurrentSpan:
    """A span that was made current, and what was current before. The native package has the same in C++."""

    __slots__ = ("_reset", "_token", "context")

    def __init__(self, span: Span, context: Context, *pairs: Any) -> None:
        self.context = set_span_in_context(span, context)
        """OpenTelemetry's context with the span as the current one."""
        self._reset: list[tuple[ContextVar[Any], Token[Any]]] = []
        self._token: Any = attach(self.context)
        for index in range(0, len(pairs), 2):
            self._reset.append((pairs[index], pairs[index].set(pairs[index + 1])))

    def leave(self) -> None:
        """Make what was current before current again. Does nothing the second time."""
        while self._reset:
            variable, token = self._reset.pop()
            variable.reset(token)
        if self._token is not None:
            token, self._token = self._token, None
            detach(token)


def make_current(span: Span, context: Context, *pairs: Any) -> CurrentSpan:
    """Make a span current in the running task or thread, and give context variables values, until ``leave()``.

    :param context: OpenTelemetry's context that the span was started in
    :param pairs: up to two context variables, each followed by its value
    """
    return CurrentSpan(span, context, *pairs)
