"""What happens at the end of a process, and at a fork."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from types import FrameType

_installed = False


def install_exit_hooks() -> None:
    """Flush at exit and on SIGTERM, start afresh in forked children. Idempotent; called with the first pipeline."""
    global _installed
    if _installed:
        return
    _installed = True
    atexit.register(_at_exit)
    os.register_at_fork(after_in_child=_after_in_child)
    _install_sigterm()


def _at_exit() -> None:
    from tango_telemetry.pipeline._registry import registry

    registry.shutdown(registry.settings.shutdown_timeout * 0.8)


def _after_in_child() -> None:
    from tango_telemetry.pipeline._registry import registry

    registry.reset_after_fork()


def _install_sigterm() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    """Deliver, then die of the signal as the process would have without us."""
    _at_exit()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
