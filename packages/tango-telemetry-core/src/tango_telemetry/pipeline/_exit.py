"""What happens at the end of a process, and at a fork.

normal exit, unhandled exception, SIGINT   atexit
SIGTERM of a script                        our handler, where nobody has another one: deliver, then die of the signal
SIGTERM or Kill of a device server         cppTango's handlers; `server_run` returns and the process ends normally
                                           (seen on 10.3.1), so atexit
a forked child that ends by `os._exit`     as multiprocessing's do: `os._exit` of the child delivers first, also where
                                           the child is multiprocessing's and telemetry begins in it (fork server)
`os._exit`, SIGKILL of any other process   nothing can run: the spool
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from tango_telemetry.pipeline._watchdog import Watchdog

if TYPE_CHECKING:
    from tango_telemetry.pipeline._registry import Registry

FORK_PAUSE = 0.05
"""Seconds that a fork may wait for the pipelines' threads to be between two pieces of work."""
# After the last attempt the interpreter clears away the modules that telemetry needs: 0.03 to 0.05 s of CPU time, of which
# a machine with several programs waiting for each CPU makes several times as much by the clock (3.11, PyTango 10.3.1;
# with 4 of them what an exit took beyond the wait was 0.1 to 0.4 s). The bound holds for both together.
_REST = 0.4
_REST_PER_LOAD = 0.12
# A process that dies of a signal or by `os._exit` has no such end.
_REST_OF_DEATH = 0.2
_REST_OF_DEATH_PER_LOAD = 0.03
_LEAST_SHARE = 0.3


class ExitHooks:
    """Flush at exit and on SIGTERM, start afresh in forked children."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._installed = False
        self._exit_now: Callable[[int], None] = os._exit
        self.watchdog = Watchdog(self._deliver_before_death)

    def install(self) -> None:
        """Idempotent; called with the first pipeline of the process."""
        if self._installed:
            return
        self._installed = True
        atexit.register(self._deliver)
        os.register_at_fork(
            before=lambda: self._registry.pause_for_fork(FORK_PAUSE),
            after_in_parent=self._registry.resume_after_fork,
            after_in_child=self._after_in_child,
        )
        self._install_sigterm()
        if _is_multiprocessings_child():
            self._deliver_before_os_exit()

    def _deliver(self) -> None:
        """The last sending; after it the interpreter comes to its end."""
        self._registry.shutdown(time_to_deliver(self._registry.settings.shutdown_timeout, _load()))

    def _deliver_before_death(self, asked: float | None = None) -> None:
        """The last sending; after it the process dies at once. asked: since when it should be dead (`time.monotonic`)."""
        now = time.monotonic()
        timeout = time_to_deliver(self._registry.settings.shutdown_timeout, _load(), dies=True)
        self._registry.shutdown(max((asked or now) + timeout - now, 0.0))

    # --- SIGTERM

    def _install_sigterm(self) -> None:
        """Only in the main thread can it be done, and only the default action is replaced.

        cppTango installs its own handler when a device server starts: before the first pipeline as a rule, and then it
        must stay; else it takes the place of this one.
        """
        if threading.current_thread() is not threading.main_thread() or _is_caught_in_c(signal.SIGTERM):
            return
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_sigterm)
            self.watchdog.install()

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        """Deliver, then die of the signal as the process would have without us."""
        self.watchdog.handled = True
        try:
            self._deliver_before_death()
        finally:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            time.sleep(1)  # the signal may go to another thread; nothing of the program may run on meanwhile

    # --- fork

    def _after_in_child(self) -> None:
        self._registry.reset_after_fork()
        self.watchdog.reset_after_fork()
        self._deliver_before_os_exit()

    def _deliver_before_os_exit(self) -> None:
        """A child that ends like this runs no exit handlers; without this its last spans would always be lost."""
        os._exit = self._deliver_and_exit  # type: ignore[assignment]

    def _deliver_and_exit(self, status: int) -> None:
        with contextlib.suppress(Exception):
            self._deliver_before_death()
        self._exit_now(status)


def time_to_deliver(timeout: float, load: float, *, dies: bool = False) -> float:
    """Seconds of `timeout` that may go by before the last spans are given up; the rest is for the end of the interpreter.

    load: how many programs want to run for each CPU. dies: the process ends without that.
    """
    least, per_load = (_REST_OF_DEATH, _REST_OF_DEATH_PER_LOAD) if dies else (_REST, _REST_PER_LOAD)
    rest = max(least * min(timeout, 1.0), per_load * load)
    return max(timeout - rest, _LEAST_SHARE * timeout)


def _load() -> float:
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except OSError:
        return 1.0


def _is_multiprocessings_child() -> bool:
    """Whether this process was forked for multiprocessing before telemetry came to it: by its fork server, as a rule.

    Those that it spawns say the same; they end by `sys.exit`, and their own `os._exit` delivers too.
    """
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _is_caught_in_c(number: int) -> bool:
    """Whether the process has a handler for the signal: signal.getsignal does not see those that C code installs."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            caught = next(line for line in status if line.startswith("SigCgt:"))
    except (OSError, StopIteration):
        return (
            "tango" in sys.modules
        )  # no /proc: rather lose the last second of spans than a server's own handler
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
