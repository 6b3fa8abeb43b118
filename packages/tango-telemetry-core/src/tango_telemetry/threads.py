"""The user's own threads: what they do goes on in the trace of whoever started them, where the user asks for
it.

Nothing is carried unasked: a thread that is started in a handler may live for months, and its calls are no
part of that request.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from types import TracebackType
from typing import Any, TypeVar

from tango_telemetry.base.guard import guarded
from tango_telemetry.context.current import ContextChange, current_tracer, submitting
from tango_telemetry.otel.api import get_current
from tango_telemetry.pytango.patching import Patches
from tango_telemetry.pytango.version import import_tango, tango_version

__all__ = ["carry_context", "instrument_threads", "uninstrument_threads"]

_T = TypeVar("_T")
_CARRIED = "_tango_telemetry_carried"
_patches = Patches()


def carry_context(function: Callable[..., _T]) -> Callable[..., _T]:
    """Bind a function to the context in which this is called, for a thread, a pool or a greenlet of your own.

    ``Thread(target=carry_context(scan))``: what ``scan`` calls is traced as if it were called here. Each call
    runs in a copy of the context (of all ``contextvars``), so the function may be called often and by several
    threads at once.

    :param function: what the other thread is to call
    :returns: a function with the same arguments and result
    """
    context = copy_context()

    @functools.wraps(function)
    def carried(*args: Any, **kwargs: Any) -> _T:
        return context.copy().run(function, *args, **kwargs)

    return carried


def instrument_threads() -> None:
    """Let ``ThreadPoolExecutor.submit`` (and ``map``) and ``tango.EnsureOmniThread`` carry the context from
    now on.

    A job of a pool runs in the context in which it was submitted. The block of an ``EnsureOmniThread`` goes
    on in the trace in which its thread was started. Does nothing the second time.
    """
    if _patches:
        return
    _patches.wrap(ThreadPoolExecutor, "submit", _wrap_submit)
    _patches.wrap(threading.Thread, "start", _wrap_start)
    if tango_version():
        omni_thread = import_tango().EnsureOmniThread
        _patches.wrap(omni_thread, "__enter__", _wrap_enter)
        _patches.wrap(omni_thread, "__exit__", _wrap_exit)


def uninstrument_threads() -> None:
    """Put back exactly what :func:`instrument_threads` has replaced. Does nothing if it was not called."""
    _patches.undo()


def _wrap_submit(submit: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(submit)
    def carrying_submit(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if not _patches:  # another tool has wrapped this wrapper, so that it could not be taken off
            return submit(self, fn, *args, **kwargs)
        before = submitting.get()
        try:
            submitting.set(True)
            return submit(self, copy_context().run, fn, *args, **kwargs)
        finally:
            submitting.set(before)

    return carrying_submit


def _wrap_start(start: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(start)
    def noting_start(self: threading.Thread) -> None:
        if _patches and not submitting.get():
            self.__dict__[_CARRIED] = (get_current(), current_tracer.get())
        start(self)

    return noting_start


# What the `EnsureOmniThread` blocks of a thread have made current, for a block may hold another.
_blocks = threading.local()


def _enter_block() -> None:
    stack = _blocks.__dict__.setdefault("stack", [])
    carried = threading.current_thread().__dict__.get(_CARRIED)
    # A block inside a span of this thread's own goes on in that span.
    if carried is None or get_current():
        stack.append(None)
    else:
        context, tracer = carried
        stack.append(ContextChange(context, current_tracer, tracer).do())


def _leave_block() -> None:
    stack = _blocks.__dict__.get("stack")
    block = stack.pop() if stack else None
    if block is not None:
        block.leave()


def _wrap_enter(enter: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(enter)
    def carrying_enter(self: Any) -> Any:
        result = enter(self)
        if _patches:
            guarded(_enter_block)
        return result

    return carrying_enter


def _wrap_exit(leave: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(leave)
    def carrying_exit(
        self: Any,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        guarded(_leave_block)
        leave(self, exc_type, exc_value, traceback)
        return False  # 9.x gives None

    return carrying_exit
