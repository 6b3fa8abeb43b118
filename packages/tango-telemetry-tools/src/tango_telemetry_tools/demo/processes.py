"""Processes of the demo: started, awaited by what they say, and all of them stopped, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, NoReturn

from .signals import Signals

# A server that was asked to stop gets this long (seconds) to hand over its last spans and to leave the
# database.
STOP_TIMEOUT = 8.0

_TAIL_LINES = 40
_POLL_INTERVAL = 0.05


class ProgramError(Exception):
    """A program of the demo did not do its part. The message is for the user."""


class Program:
    """One process in a process group of its own, so that Ctrl-C in the terminal reaches it only
    through us.
    """

    def __init__(
        self, title: str, command: Sequence[str], environment: Mapping[str, str], directory: Path
    ) -> None:
        self.title = title
        self.lines: list[str] = []
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._changed = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert self._process.stdout is not None
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True, name=title).start()

    @property
    def tail(self) -> str:
        """The last lines that the process wrote."""
        with self._changed:
            return "\n".join(self._tail)

    def wait_for(self, marker: str, timeout: float) -> None:
        """Return when a line with `marker` has come.

        Raises ProgramError if the process ends or `timeout` seconds pass.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or any(marker in line for line in self.lines), timeout)
            if any(marker in line for line in self.lines):
                return
        self._raise_not_ready(timeout)

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> None:
        """Return when `condition` holds; it is asked again and again.

        Raises ProgramError as `wait_for` does.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while not self._ended and time.monotonic() < deadline:
                if condition():
                    return
                self._changed.wait_for(lambda: self._ended, _POLL_INTERVAL)
        self._raise_not_ready(timeout)

    def wait(self, timeout: float) -> None:
        """Return when the process has ended well.

        Raises ProgramError if it has not, or not within `timeout` seconds.
        """
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProgramError(
                f"the {self.title} did not end within {timeout:.0f} s; it said:\n{self.tail}"
            ) from None
        with self._changed:
            self._changed.wait_for(lambda: self._ended, 1.0)
        if status:
            raise ProgramError(
                f"the {self.title} ended with status {status}; it said:\n{self.tail or '(nothing)'}"
            )

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the process, if it still runs."""
        self._signal(signal.SIGTERM)

    def stop(self, deadline: float) -> bool:
        """Wait until `deadline` (of time.monotonic) for the end of the process, then kill all of its group.

        Gives whether the process ended by itself.
        """
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
            ended = True
        except subprocess.TimeoutExpired:
            ended = False
        # Also after an orderly end: the group may hold children of the process.
        self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))  # on Windows SIGTERM cannot be handled
        self._process.wait()
        return ended

    def _raise_not_ready(self, timeout: float) -> NoReturn:
        state = "ended at once" if self._ended else f"was not ready within {timeout:.0f} s"
        raise ProgramError(f"the {self.title} {state}; it said:\n{self.tail or '(nothing)'}")

    def _signal(self, signum: int) -> None:
        try:
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signum)
            else:  # Windows: no groups, and a child of the process is left to itself
                self._process.terminate()
        except (ProcessLookupError, PermissionError):
            # The group is gone. Its number cannot belong to another group while a member or its unreaped
            # leader lives.
            pass

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._tail.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Programs:
    """Context manager: what was started in it has ended behind it, also after a signal or a failure."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._running: list[Program] = []

    def start(
        self, title: str, command: Sequence[str], environment: Mapping[str, str], directory: Path
    ) -> Program:
        """Start a process. Raises ProgramError if that is not possible."""
        # A signal between the start of a process and our note of it would leave the process behind.
        with self._signals.hold():
            try:
                program = Program(title, command, environment, directory)
            except OSError as error:
                raise ProgramError(f"the {title} could not be started: {error}") from error
            self._running.append(program)
        return program

    def stop(self, *programs: Program) -> list[Program]:
        """Stop these, all at once; return when they have ended. Gives those that had to be killed."""
        for program in programs:
            program.ask_to_stop()
        deadline = time.monotonic() + STOP_TIMEOUT
        killed = [program for program in programs if not program.stop(deadline)]
        self._running = [program for program in self._running if program not in programs]
        return killed

    def __enter__(self) -> Programs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._signals.hold():
            # The last that was started goes first: clients before servers, all before the database.
            while self._running:
                self.stop(self._running[-1])
