"""Carrying the context across the hand-overs that PyTango makes itself: the executors of its green modes.

Source: PyTango 9.3 to 10.3, ``tango.green.AbstractExecutor``. ``delegate`` takes a client call to a thread pool, which
starts from an empty context; gevent's ``submit`` takes a handler to a greenlet that the hub spawns, likewise.
asyncio's ``submit`` copies the context of its caller by itself (``loop.call_soon_threadsafe``).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

from tango_telemetry.patching import Patches

__all__ = ["Site", "call_site", "caller_of_tango", "patch_executors"]

call_site: ContextVar[Any] = ContextVar("tango_telemetry_call_site", default=None)
"""Where a call that runs in a pool thread was written (a :class:`Site`): the frame itself has moved on by then."""

_OURS = ("tango.", "tango_telemetry", "concurrent.futures")


def caller_of_tango(depth: int) -> Any:
    """Give the first frame outside PyTango and this product, counted from ``depth`` frames up; None if there is none."""
    frame: Any = sys._getframe(depth)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module != "tango" and not module.startswith(_OURS):
            return frame
        frame = frame.f_back
    return None


class Site:
    """A place in the source, with the three attributes of a frame that a span needs."""

    __slots__ = ("f_code", "f_lasti", "f_lineno")

    def __init__(self, frame: Any) -> None:
        self.f_code = frame.f_code
        self.f_lasti = frame.f_lasti
        self.f_lineno = frame.f_lineno


def _wrap_delegate(delegate: Callable[..., Any]) -> Callable[..., Any]:
    def carrying_delegate(self: Any, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        context = copy_context()
        frame = caller_of_tango(2)
        if frame is not None:
            context.run(call_site.set, Site(frame))
        return delegate(self, context.run, fn, *args, **kwargs)

    return carrying_delegate


def _wrap_submit(submit: Callable[..., Any]) -> Callable[..., Any]:
    def carrying_submit(self: Any, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return submit(self, copy_context().run, fn, *args, **kwargs)

    return carrying_submit


def _patch_executor(patches: Patches, executor: type) -> None:
    if "delegate" in vars(executor):
        patches.wrap(executor, "delegate", _wrap_delegate)
    if executor.__module__ == "tango.gevent_executor":
        patches.wrap(executor, "submit", _wrap_submit)


def patch_executors(patches: Patches) -> None:
    """Patch the executors that are loaded, and those that are loaded later (gevent's only when it is asked for)."""
    base: Any = importlib.import_module("tango.green").AbstractExecutor

    def patch_new(cls: type, /, **kwargs: Any) -> None:
        super(base, cls).__init_subclass__(**kwargs)
        _patch_executor(patches, cls)

    for executor in base.__subclasses__():
        _patch_executor(patches, executor)
    patches.set_attribute(base, "__init_subclass__", classmethod(patch_new))
