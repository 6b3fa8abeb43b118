"""The hooks that a user gives to ``instrument()``: called around each recorded call, event and callback,
never able to raise into it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tango_telemetry.base.guard import log_internal_error
from tango_telemetry.otel.api import Span
from tango_telemetry.state import state

__all__ = ["Hooks", "RequestHook", "ResponseHook"]

RequestHook = Callable[[Span, Any, str], None]
"""Called with ``(span, subject, operation)``: the proxy, group, database or device, and the name of the
operation.
"""

ResponseHook = Callable[[Span, Any, str, "BaseException | None"], None]
"""Called with ``(span, subject, operation, error)``; ``error`` is None for a call that succeeded."""


class Hooks:
    """The two hooks of one instrumentor. ``wanted`` is what the hot path looks at."""

    __slots__ = ("request", "response", "wanted")

    def __init__(self) -> None:
        self.set(None, None)

    def set(self, request: RequestHook | None, response: ResponseHook | None) -> None:
        """Replace both; None takes one away."""
        self.request = request
        self.response = response
        self.wanted = request is not None or response is not None
        state.changed()

    def before(self, span: Span, subject: Any, operation: str) -> None:
        """Call the request hook for a span that is recorded."""
        if self.request is not None and span.is_recording():
            with log_internal_error("calling the user's request_hook", foreign=True):
                self.request(span, subject, operation)

    def after(self, span: Span, subject: Any, operation: str, error: BaseException | None) -> None:
        """Call the response hook for a span that is recorded."""
        if self.response is not None and span.is_recording():
            with log_internal_error("calling the user's response_hook", foreign=True):
                self.response(span, subject, operation, error)
