"""Has a device say, in place of its Status, what its process does for it, where the doctor asks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import create_report, guarded, is_asked

from tango_telemetry_server._device import get_device_telemetry, get_server_attributes, switch

__all__ = ["answering"]


def answering(function: Callable[..., Any], is_coroutine: bool) -> Callable[..., Any]:
    """Return ``function``, which gives the Status of a device, with an answer for who asks for more.

    :param is_coroutine: whether it is a coroutine function
    """

    def status(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return guarded(_answer, self) or function(self, *args, **kwargs)

    async def status_coroutine(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = status(self, *args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    made: Any = status_coroutine if is_coroutine else status
    made.__wrapped__ = function
    return made  # type: ignore[no-any-return]


def _answer(device: Any) -> str | None:
    """What is said to who asks; None for everybody else."""
    telemetry = get_device_telemetry(device)
    if not is_asked(telemetry.lower_name):
        return None
    return create_report(
        telemetry.device_name,
        telemetry.class_name,
        get_server_attributes().get(names.TANGO_SERVER_NAME, ""),
        switch.on and telemetry.enabled,
        telemetry.provider,
        telemetry.endpoints,
    )
