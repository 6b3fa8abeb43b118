"""The operating system's threads, locks, queues and waits, in a program that has replaced them too.

gevent and eventlet replace functions in Python's own modules, before or after this one is imported. A lock or
a queue of theirs belongs to one event loop: between two real threads it raises ``LoopExit`` or stands still
(gevent 26.9). The pipeline's threads have to be real ones, since a greenlet that waits for a collector inside
gRPC stops the program. What was replaced is a module's attribute, so a second instance of the module, made
from its specification, has the original. That needs no knowledge of the tool, and imports nothing of it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import queue
import threading
import time
from _queue import Empty, SimpleQueue
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = [
    "Empty",
    "Lock",
    "RLock",
    "SimpleQueue",
    "Waiters",
    "forget_threads",
    "get_ident",
    "is_own_thread",
    "own_threads",
    "poll_for_writing",
    "sleep",
    "start_thread",
    "threads_are_replaced",
]

_POLL_INTERVAL = 0.01
"""Seconds between two looks of a greenlet that waits: it must let the others run, and nothing of theirs wakes
it.
"""


def _pristine(name: str) -> ModuleType:
    """Return a new instance of a module written in C, as it was before anybody changed it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ImportError(f"No module named {name!r}", name=name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_thread: Any = _pristine("_thread")
Lock: Callable[[], Any] = _thread.allocate_lock
RLock: Callable[[], Any] = _thread.RLock
get_ident: Callable[[], int] = _thread.get_ident
sleep: Callable[[float], None] = _pristine("time").sleep

own_threads: set[int] = set()
"""The identifiers of the threads that :func:`start_thread` has started."""


def threads_are_replaced() -> bool:
    """Return whether Python's own thread pools mix real threads with replaced queues or locks, or have
    greenlets.
    """
    return queue.SimpleQueue is not SimpleQueue or not isinstance(threading.get_ident, type(get_ident))


def start_thread(body: Callable[[], object], name: str) -> None:
    """Run `body` in a daemon thread of the operating system.

    Raises RuntimeError where the process may have no more threads, or is ending.
    """

    def run() -> None:
        ident = get_ident()
        own_threads.add(ident)
        try:
            with contextlib.suppress(Exception):  # a replacement of threading's may not know real threads
                threading.current_thread().name = name
            body()
        finally:
            own_threads.discard(ident)

    _thread.start_new_thread(run, ())


def forget_threads() -> None:
    """In a forked child: the threads do not exist there, and others may have their numbers."""
    own_threads.clear()


def is_own_thread() -> bool:
    """Return whether the calling thread was started by :func:`start_thread`."""
    return get_ident() in own_threads


class Waiters:
    """A condition on a re-entrant lock.

    ``threading.Condition`` makes its locks by names that gevent replaces.
    """

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._bells: list[SimpleQueue[None]] = []

    def notify_all(self) -> None:
        """Let everybody who waits ask again whether what they wait for has come."""
        for bell in tuple(self._bells):
            bell.put(None)

    def wait_for(self, done: Callable[[], bool], timeout: float) -> bool:
        """Return what `done()` said last, which is True unless `timeout` seconds went by first.

        A signal handler that waits may have interrupted its own thread while that held the lock; it is let go
        meanwhile.
        """
        held = self._lock._release_save() if self._lock._is_owned() else None
        bell: SimpleQueue[None] = SimpleQueue()
        self._bells.append(bell)
        try:
            return self._wait(bell, done, time.monotonic() + timeout)
        finally:
            self._bells.remove(bell)
            if held is not None:
                self._lock._acquire_restore(held)

    def _wait(self, bell: SimpleQueue[None], done: Callable[[], bool], until: float) -> bool:
        while not done():
            left = until - time.monotonic()
            if left <= 0:
                return done()
            if not _let_greenlets_run(min(left, _POLL_INTERVAL)):
                with contextlib.suppress(Empty):
                    bell.get(timeout=left)
        return True


def _let_greenlets_run(seconds: float) -> bool:
    """Wait by the program's own ``time.sleep`` where that is a switch to other greenlets; return whether it
    is.
    """
    if is_own_thread() or not str(getattr(time.sleep, "__module__", "")).startswith(("gevent", "eventlet")):
        return False
    try:
        time.sleep(seconds)
    except (
        AssertionError,
        RuntimeError,
    ):  # the event loop itself calls, by a signal handler say, and cannot wait for itself
        return False
    return True


def poll_for_writing(descriptor: int) -> Callable[[float], Any] | None:
    """Return what waits, some milliseconds at most, until the descriptor can be written, and is true then.

    It is the operating system's ``select.poll()``, and None where there is none (Windows).
    """
    select = _pristine("select")
    if not hasattr(select, "poll"):
        return None
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return poll.poll  # type: ignore[no-any-return]
