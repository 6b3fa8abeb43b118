"""Switching the tracing of client calls on and off."""

from __future__ import annotations

import functools
import importlib
from typing import Any, ClassVar

from tango_telemetry.instrumentation import Hooks, Instrumentor
from tango_telemetry.patching import Patches

from tango_telemetry_client._calls import hooks, wrap_call
from tango_telemetry_client._targets import TARGETS, Operation

__all__ = ["TangoClientInstrumentor"]


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

    def _uninstrument(self) -> None:
        self._patches.undo()


def _wrap(operation: Operation, owner: str, function: Any) -> Any:
    return wrap_call(function, operation, owner)
