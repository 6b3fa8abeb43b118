"""Ctrl-C and its like, at the moments when they may interrupt."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

# Windows has no SIGHUP.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(BaseException):
    """The user, or whoever started us, wants us to stop. No Exception: nothing may take it for a failure."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_status = 128 + signum


class Signals:
    """Context manager: in it the first SIGINT, SIGTERM or SIGHUP raises Interrupted, but not within `hold`.

    Later ones do nothing: what the first one began is bounded in time, and cleaning up must not be left half
    done.
    """

    def __init__(self) -> None:
        self._held = False
        self._waiting = 0
        self._seen = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for signum in _SIGNALS:
            # What was ignored stays ignored: nohup and background jobs mean it.
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._previous[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, previous in self._previous.items():
            signal.signal(signum, previous)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """A signal waits until the block is left, unless an error leaves it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._waiting:
            waiting, self._waiting = self._waiting, 0
            raise Interrupted(waiting)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._seen:
            return
        self._seen = True
        if self._held:
            self._waiting = signum
        else:
            raise Interrupted(signum)
