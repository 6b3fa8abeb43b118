"""Carrying the context across the hand-overs that PyTango makes itself: the executors of its green modes.

Source: PyTango 9.3 to 10.3, ``tango.green.AbstractExecutor``. ``delegate`` takes a client call to a thread
pool, which starts from an empty context; gevent's ``submit`` takes a handler to a greenlet that the hub
spawns, likewise. asyncio's ``submit`` copies the context of its caller by itself
(``loop.call_soon_threadsafe``), and so does its ``create_task``; ``gevent.spawn`` does not (gevent 26.9), so
that is done for it.
"""

from __future__ import annotations

import importlib
import sys
import weakref
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from tango_telemetry.base.guard import guarded
from tango_telemetry.calls.caller import Site, caller_of_tango
from tango_telemetry.context.current import call_site, current_tracer, delegated
from tango_telemetry.otel.api import attach, get_current
from tango_telemetry.pytango.patching import Patches

__all__ = ["patch_executors"]


def _prepare(executor: Any) -> tuple[Context, Site] | None:
    # What goes to another process has to be pickled, which a context cannot be
    # (FuturesExecutor(process=True), 9.x).
    if type(executor.subexecutor).__name__ == "ProcessPoolExecutor":
        return None
    context = copy_context()
    site = Site(caller_of_tango(4))
    context.run(call_site.set, site)
    return context, site


def _delegation_made(site: Site, accessor: Any) -> None:
    # asyncio is not imported for this (20 ms with ssl): where it is not loaded, nothing is a future of its.
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio.isfuture(accessor):
        site.accessor = accessor
    else:  # held weakly: the result in it must not live longer than the user wants it
        delegated.set((weakref.ref(accessor), site))


def _run(context: Context, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` in a copy of ``context``, however often and by how many at once this is asked for."""
    return context.copy().run(function, *args, **kwargs)


def _wrap_delegate(delegate: Callable[..., Any]) -> Callable[..., Any]:
    def carrying_delegate(self: Any, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        prepared = guarded(_prepare, self)
        if prepared is None:
            return delegate(self, fn, *args, **kwargs)
        context, site = prepared
        accessor = delegate(self, _run, context, fn, *args, **kwargs)
        guarded(_delegation_made, site, accessor)
        return accessor

    return carrying_delegate


def _wrap_access(access: Callable[..., Any]) -> Callable[..., Any]:
    """Note where the waiting side gives up: a timeout of the call's own, ``gevent.Timeout``, a killed
    greenlet.
    """

    def noting_access(self: Any, accessor: Any, timeout: Any = None) -> Any:
        try:
            return access(self, accessor, timeout)
        except BaseException as error:
            guarded(_access_failed, accessor, error)
            raise

    return noting_access


def _access_failed(accessor: Any, error: BaseException) -> None:
    found = delegated.get()
    if found is not None and found[0]() is accessor:
        finished = accessor.ready() if hasattr(accessor, "ready") else accessor.done()
        if not finished:
            found[1].error = error


def _wrap_submit(submit: Callable[..., Any]) -> Callable[..., Any]:
    def carrying_submit(self: Any, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return submit(self, _run, copy_context(), fn, *args, **kwargs)

    return carrying_submit


def _carry_into_greenlet(greenlet: Any) -> None:
    """Let a greenlet that is being started go on in the trace, and with the tracer, of the one that starts
    it.

    Only these two: the user's own context variables stay as gevent has them, which is empty.
    """
    guarded(_set_greenlet_context, greenlet)


def _set_greenlet_context(greenlet: Any) -> None:
    tracer, current = current_tracer.get(), get_current()
    if (tracer is None and not current) or greenlet.gr_context is not None:
        return
    context = Context()
    context.run(attach, current)
    context.run(current_tracer.set, tracer)
    greenlet.gr_context = context


def _patch_executor(patches: Patches, executor: type) -> None:
    if "delegate" in vars(executor):
        patches.wrap(executor, "delegate", _wrap_delegate)
    if "access" in vars(executor):
        patches.wrap(executor, "access", _wrap_access)
    if executor.__module__ == "tango.gevent_executor":
        patches.wrap(executor, "submit", _wrap_submit)
        greenlet_class = importlib.import_module("gevent").Greenlet
        greenlet_class.add_spawn_callback(_carry_into_greenlet)
        patches.add_undo(greenlet_class.remove_spawn_callback, _carry_into_greenlet)


def patch_executors(patches: Patches) -> None:
    """Patch the executors that are loaded, and those that are loaded later (gevent's only when it is asked
    for).
    """
    base: Any = importlib.import_module("tango.green").AbstractExecutor

    def patch_new(cls: type, /, **kwargs: Any) -> None:
        super(base, cls).__init_subclass__(**kwargs)
        guarded(_patch_executor, patches, cls)

    for executor in base.__subclasses__():
        _patch_executor(patches, executor)
    patches.set_attribute(base, "__init_subclass__", classmethod(patch_new))
