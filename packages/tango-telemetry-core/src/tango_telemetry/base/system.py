"""What some operating systems do not have: nobody else asks for it by name.

Windows has no ``fork``, no signal that another process could send, no ``fcntl`` and no load; macOS has them.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "FATAL_SIGNALS",
    "count_threads",
    "load",
    "lock_file",
    "memory_in_use",
    "open_flags",
    "register_at_fork",
    "user_id",
]

FATAL_SIGNALS: tuple[int, ...] = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name)
)
"""The signals that end a program where their default action stands. Python has a handler of its own for
SIGINT; programs with a graphical window put the default action in its place.
"""


def register_at_fork(**functions: Callable[[], object]) -> None:
    """Do as :func:`os.register_at_fork`, where a process can fork."""
    register = getattr(os, "register_at_fork", None)
    if register is not None:
        register(**functions)


def memory_in_use() -> int | None:
    """Return the bytes of physical memory that this process has; None where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError, IndexError):
        return None


def count_threads() -> int | None:
    """Return how many threads this process has, C++'s too; None where the system does not say."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return None


def load() -> float:
    """Return how many programs want to run for each CPU; 1.0 where the system does not say."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):
        return 1.0


def open_flags(*names: str) -> int:
    """Return the flags of :func:`os.open` that have these names, less those that the system does not know.

    A file is always opened as bytes, and no child inherits it (PEP 446).
    """
    flags = 0
    for name in ("O_BINARY", *names):
        flags |= getattr(os, name, 0)
    return flags


def user_id() -> int:
    """Return the number of the user, 0 on Windows, as :func:`os.stat` has it for the owner of a file."""
    return int(getattr(os, "geteuid", int)())


def lock_file(descriptor: int) -> None:
    """Take the lock of a file, which the system gives back when the process ends.

    :raises BlockingIOError: another process has it
    :raises OSError: the system has no such locks
    """
    if fcntl is None:
        raise OSError(errno.ENOTSUP, "this system has no locks that end with the process (fcntl)")
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
