"""What happens at the end of a process, and at a fork.

normal exit, unhandled exception, SIGINT   atexit
SIGTERM, SIGHUP of a script                our handler, where nobody has another one: deliver, then die of it
SIGINT of a script that wants it           the same: where the program has put the default action in its place
SIGTERM or Kill of a device server         cppTango's handlers; `server_run` returns and the process ends
                                           normally (seen on 10.3.1), so atexit
`os._exit`, `os.exec*`                     deliver first; multiprocessing's children end by the former
SIGKILL, `os.abort`                        nothing can run: the spool
"""

from __future__ import annotations

import atexit
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from tango_telemetry.base import system
from tango_telemetry.base.guard import log_internal_error
from tango_telemetry.base.originals import sleep
from tango_telemetry.pipeline.process.open_spans import end_open_spans
from tango_telemetry.pipeline.process.watchdog import Watchdog
from tango_telemetry.pipeline.settings import PipelineSettings

FORK_PAUSE = 0.05
"""Seconds that a fork may wait for the pipelines' threads to be between two pieces of work."""
# After the last attempt the interpreter clears away the modules that telemetry needs: 0.03 to 0.05 s of CPU
# time, of which a machine with several programs waiting for each CPU makes several times as much by the clock
# (3.11, PyTango 10.3.1; with 4 of them what an exit took beyond the wait was 0.1 to 0.4 s). The bound holds
# for both together.
_REST = 0.4
_REST_PER_LOAD = 0.12
# A process that dies of a signal or by `os._exit` has no such end.
_REST_OF_DEATH = 0.2
_REST_OF_DEATH_PER_LOAD = 0.03
_LEAST_SHARE = 0.3


class Pipelines(Protocol):
    """What the life of the process is told to: the pipelines of the process."""

    settings: PipelineSettings

    def pause_for_fork(self, timeout: float) -> None: ...
    def resume_after_fork(self) -> None: ...
    def reset_after_fork(self) -> None: ...
    def send_before_end(self, timeout: float) -> None: ...
    def resume(self) -> None: ...
    def shutdown(self, timeout: float) -> bool: ...


class ExitHooks:
    """Deliver at exit and when a signal ends the process, and start afresh in forked children."""

    def __init__(self, pipelines: Pipelines) -> None:
        self._pipelines = pipelines
        self._installed = False
        self._ran_early = False
        self.watchdog = Watchdog(self._deliver_before_death)

    def install(self) -> None:
        """Idempotent; called with the first pipeline of the process."""
        if self._installed:
            return
        self._installed = True
        self.register_at_exit()
        system.register_at_fork(
            before=lambda: self._pipelines.pause_for_fork(FORK_PAUSE),
            after_in_parent=self._pipelines.resume_after_fork,
            after_in_child=self._after_in_child,
        )
        self._install_signal_handlers()
        for name in ("_exit", "execv", "execve"):  # which the other functions of their kind call
            setattr(os, name, self._delivering_first(getattr(os, name)))

    def register_at_exit(self) -> None:
        """Have the last sending done at exit; again, where a program has run its exit handlers and
        lives on.
        """
        self._ran_early = False
        atexit.register(self._deliver)

    def register_again(self) -> None:
        """Called now and then: `atexit` forgets its functions once it has run them."""
        if self._ran_early:
            atexit.unregister(self._deliver)
            atexit.register(self._deliver)

    def _deliver(self) -> None:
        """The last sending; after it the interpreter comes to its end, unless somebody else has run the exit
        handlers.
        """
        timeout = time_to_deliver(self._pipelines.settings.shutdown_timeout, system.load())
        if not is_interpreter_ending():
            self._ran_early = True
            self._pipelines.send_before_end(timeout)
            self._pipelines.resume()
        else:
            end_open_spans("exit")
            self._pipelines.shutdown(timeout)

    def _deliver_before_death(self, asked: float | None = None) -> None:
        """The last sending; after it the process dies at once. asked: since when it should be dead
        (`time.monotonic`).
        """
        now = time.monotonic()
        timeout = time_to_deliver(self._pipelines.settings.shutdown_timeout, system.load(), dies=True)
        self._pipelines.send_before_end(max((asked or now) + timeout - now, 0.0))

    # --- signals

    def _install_signal_handlers(self) -> None:
        """Only in the main thread can it be done, and only the default action is replaced.

        Process 1 of a container has none: Linux ends it by no signal that it does not handle, and nothing may
        change that.

        cppTango installs its own handler when a device server starts: before the first pipeline as a rule,
        and then it must stay; else it takes the place of this one.
        """
        if threading.current_thread() is not threading.main_thread() or os.getpid() == 1:
            return
        for number in system.FATAL_SIGNALS:
            if not _is_caught_in_c(number) and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._on_signal)
                self.watchdog.install()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Deliver, then die of the signal as the process would have without us."""
        self.watchdog.handled = True
        try:
            with log_internal_error("ending the spans that are open", foreign=True):
                end_open_spans(signal.Signals(number).name)
            self._deliver_before_death()
        finally:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            sleep(1)  # the signal may go to another thread; nothing of the program may run on meanwhile
            # Every thread holds the signal back: the program lives, and with it its telemetry.
            signal.signal(number, self._on_signal)
            self.watchdog.handled = False
            self._pipelines.resume()

    # --- fork

    def _after_in_child(self) -> None:
        self._pipelines.reset_after_fork()
        self.watchdog.reset_after_fork()

    # --- ends without exit handlers

    def _delivering_first(self, end: Callable[..., Any]) -> Callable[..., Any]:
        """Return `end`, a function of `os` that runs no exit handlers, with the last sending before it."""

        @functools.wraps(end)
        def deliver_and_end(*args: Any, **kwargs: Any) -> Any:
            if end.__name__ != "_exit" and not _can_be_executed(*args, **kwargs):
                return end(*args, **kwargs)  # raises, and the program goes on: `os.execvp` tries many folders
            with log_internal_error("sending the last spans", foreign=True):
                end_open_spans(f"os.{end.__name__}")
                self._deliver_before_death()
            try:
                return end(*args, **kwargs)
            finally:
                self._pipelines.resume()  # the program could not be executed, or a test stands in for `end`

        return deliver_and_end


def _can_be_executed(path: Any, *_: Any, **__: Any) -> bool:
    try:
        return isinstance(path, int) or (os.path.isfile(path) and os.access(path, os.X_OK))
    except (TypeError, ValueError):
        return False


def is_interpreter_ending() -> bool:
    """Whether the interpreter itself runs the exit handlers, or has run them; test runners call them too.

    It says so by its main thread, which is no longer alive then (3.10 to 3.13).
    """
    return not threading.main_thread().is_alive()


def time_to_deliver(timeout: float, load: float, *, dies: bool = False) -> float:
    """Seconds of `timeout` that may go by before the last spans are given up; the rest is for the end of the
    interpreter.

    load: how many programs want to run for each CPU. dies: the process ends without that.
    """
    least, per_load = (_REST_OF_DEATH, _REST_OF_DEATH_PER_LOAD) if dies else (_REST, _REST_PER_LOAD)
    rest = max(least * min(timeout, 1.0), per_load * load)
    return max(timeout - rest, _LEAST_SHARE * timeout)


def _is_caught_in_c(number: int) -> bool:
    """Whether the process has a handler for the signal: signal.getsignal does not see those that C code
    installs.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            caught = next(line for line in status if line.startswith("SigCgt:"))
    except (OSError, StopIteration):
        # No /proc: rather lose the last second of spans than a server's own handler.
        return "tango" in sys.modules
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
