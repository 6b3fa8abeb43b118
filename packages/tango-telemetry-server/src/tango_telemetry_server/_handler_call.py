"""The traced call of a handler: while it runs, its device makes the spans of client calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tango_telemetry.instrumentation import TracedCall, current_handler, current_tracer, guarded
from tango_telemetry.otel.api import Context, SpanKind

from tango_telemetry_server._results import Check

__all__ = ["HandlerCall"]


class HandlerCall(TracedCall):
    """A server span; while it is current, the device's tracer makes the spans of client calls.

    ``direct`` says that another handler of the device called this one in Python, so that no result goes to
    cppTango. ``calls`` makes the spans of client calls; None: ``tracer``.
    """

    __slots__ = ("direct",)

    def __init__(
        self,
        tracer: Any,
        title: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        context: Context,
        handler: tuple[Any, ...],
        direct: bool,
        calls: Any = None,
    ) -> None:
        variables = (current_tracer, calls or tracer, current_handler, handler)
        super().__init__(tracer, title, kind, attributes, context, variables=variables)
        self.direct = direct

    def check(self, check: Check, args: tuple[Any, ...], result: Any) -> None:
        """Look at a result before cppTango does. Never raises."""
        if not self.direct:
            guarded(self._check, check, args, result)

    def _check(self, check: Check, args: tuple[Any, ...], result: Any) -> None:
        if self.span.is_recording():
            check(self.span, args, result)
