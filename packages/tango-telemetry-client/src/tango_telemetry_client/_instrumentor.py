"""Switching the tracing of client calls on and off."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from tango_telemetry.instrumentation import Hooks, Instrumentor
from tango_telemetry.pytango.patching import Patches

from tango_telemetry_client._calls import hooks, switch, wrap_call
from tango_telemetry_client._events import wrap_get_events, wrap_subscribe
from tango_telemetry_client._requests import wrap_reply, wrap_request
from tango_telemetry_client._targets import TARGETS, Operation, Role

__all__ = ["TangoClientInstrumentor"]

_WRAPPERS: Final[Mapping[Role, Callable[[Any, Operation, str], Any]]] = {
    "call": wrap_call,
    "request": wrap_request,
    "reply": wrap_reply,
    "subscribe": wrap_subscribe,
    "events": wrap_get_events,
}


class TangoClientInstrumentor(Instrumentor):
    """Traces ``DeviceProxy``, ``AttributeProxy``, ``Group`` and ``Database``."""

    hooks: ClassVar[Hooks] = hooks
    _patches: ClassVar[Patches] = Patches()

    def _instrument(self) -> None:
        tango: Any = importlib.import_module("tango")
        for class_name, operations in TARGETS.items():
            owner = getattr(tango, class_name)
            for operation in operations:
                if operation.method in vars(owner):
                    self._patches.wrap(
                        owner, operation.method, functools.partial(_wrap, operation, class_name)
                    )

        switch.on = True

    def _uninstrument(self) -> None:
        switch.on = False
        self._patches.undo()


def _wrap(operation: Operation, owner: str, function: Any) -> Any:
    wrapper = _WRAPPERS[operation.role](function, operation, owner)
    if not hasattr(function, "__qualname__"):  # Boost.Python's (9.x): then ours must not show
        wrapper.__qualname__ = f"{owner}.{operation.method}"
    return wrapper
