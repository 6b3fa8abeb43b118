"""Lets SIGTERM end a script whose main thread is stuck in C code.

A Python signal handler runs in the main thread, between two of its bytecodes. Having one means that a script
blocked in a C call would not die of SIGTERM any more, which it did before. Python writes the signal's number
into a file descriptor at once, though; the worker looks there.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable

from tango_telemetry.base.guard import log_internal_error
from tango_telemetry.base.originals import start_thread
from tango_telemetry.base.system import FATAL_SIGNALS
from tango_telemetry.pipeline.process.open_spans import end_open_spans

GRACE = 0.3
"""Seconds that the main thread has to begin the Python handler."""


class Watchdog:
    """Ends the process by SIGTERM where the main thread cannot."""

    def __init__(self, deliver: Callable[[float], None]) -> None:
        self._deliver = deliver
        self._reader = -1
        self._seen = 0.0
        self._looked = time.monotonic()
        self._asked = 0.0
        self._number: int = signal.SIGTERM
        self.handled = False

    @property
    def installed(self) -> bool:
        """Whether `look` is to be called now and then."""
        return self._reader >= 0

    def install(self) -> None:
        """Only in the main thread, and only where nobody else uses the wake-up descriptor (asyncio may,
        later).
        """
        if self.installed or not hasattr(signal, "SIGHUP"):  # Windows: no other process can send a signal
            return
        try:
            reader, writer = os.pipe()
        except OSError:  # no more files
            return
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        if before == -1:
            self._reader, self._writer = reader, writer
            return
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)

    def look(self) -> bool:
        """Called by a worker a few times a second; True where SIGTERM has come since the last time."""
        if self._reader < 0 or self.handled:
            return False
        try:
            signals = os.read(self._reader, 4096)
        except OSError:  # nothing there
            signals = b""
        before, self._looked = self._looked, time.monotonic()
        number = next((number for number in FATAL_SIGNALS if number in signals), None)
        is_new = number is not None and _is_ours(number) and not self._seen
        if is_new:
            self._number = number or signal.SIGTERM
            self._seen, self._asked = self._looked, max(before, self._looked - GRACE)
        if self._seen and self._looked - self._seen >= GRACE:
            self._seen = 0.0
            # Else the user has another handler by now, and it is late for reasons of its own.
            if _is_ours(self._number):
                self.handled = True
                # A thread of its own: the delivery needs the worker, on which this runs.
                try:
                    start_thread(self._die, "tango-telemetry-exit")
                except RuntimeError:  # no more threads: without the delivery then
                    _die_of(self._number)
        return is_new

    def _die(self) -> None:
        """The bound counts from the last look that had not seen the signal yet: it may have come just after
        that.
        """
        try:
            with log_internal_error("ending the spans that are open", foreign=True):
                end_open_spans(signal.Signals(self._number).name)
            self._deliver(self._asked)
        finally:
            _die_of(self._number)

    def reset_after_fork(self) -> None:
        """In a forked child: a pipe of its own, since what the parent's signals write must not reach it."""
        if self._reader >= 0:
            os.close(self._reader)
            os.close(self._writer)
            self._reader = -1
            if signal.set_wakeup_fd(-1) == self._writer:
                self.install()
        self._seen = 0.0
        self.handled = False


def _die_of(number: int) -> None:
    """signal.signal works in the main thread only; the C function anywhere."""
    ctypes.CDLL(None).signal(int(number), None)
    os.kill(os.getpid(), number)


def _is_ours(number: int) -> bool:
    """Whether the handler is still ours: a bound method of this package."""
    handler = signal.getsignal(number)
    return getattr(handler, "__module__", "").startswith("tango_telemetry.pipeline")
