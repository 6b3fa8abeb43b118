"""Who calls PyTango: the place in the user's source, also of a call that PyTango hands over to a thread of
its own.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from tango_telemetry.base.bounded import BoundedDict

__all__ = ["Site", "caller_of_tango", "judged_modules"]

# PyTango, this product, and what lies between a thread's or a greenlet's start and the code that it runs.
_NOT_CALLERS = frozenset(
    (
        "tango",
        "tango_telemetry",
        "tango_telemetry_client",
        "tango_telemetry_server",
        "asyncio",
        "concurrent",
        "gevent",
        "threading",
    )
)
judged_modules: BoundedDict[str, bool] = BoundedDict(4096)
"""Whether a module is none of the callers that a span can name, for those seen so far."""
_get_judged = judged_modules.get


def _is_skipped(module: str) -> bool:
    skipped = judged_modules[module] = module.partition(".")[0] in _NOT_CALLERS
    return skipped


def caller_of_tango(depth: int) -> Any:
    """Return the first frame outside PyTango and this product, counted from ``depth`` frames up; None if
    there is none.
    """
    frame: Any = sys._getframe(depth)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        skipped = _get_judged(module)
        if not (_is_skipped(module) if skipped is None else skipped):
            return frame
        frame = frame.f_back
    return None


class Site:
    """A delegated call: the place in the source, with the three attributes of a frame that a span needs, and
    its fate.

    ``f_code`` is None where the caller is no Python code (``gevent.spawn(proxy.ping)``).
    """

    __slots__ = ("accessor", "error", "f_code", "f_lasti", "f_lineno")

    def __init__(self, frame: Any) -> None:
        self.f_code: Any = None if frame is None else frame.f_code
        self.f_lasti: int = 0 if frame is None else frame.f_lasti
        self.f_lineno: int = 0 if frame is None else frame.f_lineno
        self.accessor: Any = None
        self.error: BaseException | None = None

    def get_abandoned(self) -> BaseException | None:
        """Return why nobody waits for this call any more: a cancelled task, a timeout of the waiting side;
        else None.
        """
        if self.error is None and self.accessor is not None and self.accessor.cancelled():
            self.error = importlib.import_module("asyncio").CancelledError()
        return self.error
