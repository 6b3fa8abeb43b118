"""Hooks that run before anybody knows whether their request is traced.

For one command cppTango calls ``always_executed_hook``, then the is-allowed method, then the handler, all on
one thread; for attributes ``read_attr_hardware`` comes between. Only the handler says which command or
attribute the request is for, and the user may have excluded that one (``PYTANGO_TELEMETRY_EXCLUDE``, or
``State`` and ``Status`` by default). Then the hooks must have no spans either, or each request that is not to
be seen would leave two or three.

So where anything is excluded, the span of a hook begins and ends at its time, but waits, ended or dropped
when the handler begins: :class:`WaitingHookCall` puts it into the :class:`WaitingHooks` of its thread, with
the time at which it ended. A hook of a request that came without a context has no span at all
(:class:`UntracedHookCall`), because each span would be a trace of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from tango_telemetry.instrumentation import BoundedDict, record_failure

from tango_telemetry_server._handler_call import HandlerCall
from tango_telemetry_server._results import Check

__all__ = ["UntracedHookCall", "WaitingHookCall", "WaitingHooks", "get_waiting_hooks"]

_FIRST_HOOK = "always_executed_hook"
"""What cppTango calls first for each request."""


class WaitingHooks:
    """The ended spans of the hooks of one request, on the thread that serves it, until its handler begins."""

    __slots__ = ("excluded", "spans", "telemetry", "titles")

    def __init__(self) -> None:
        self.telemetry: Any = None
        self.titles: set[str] = set()
        self.spans: list[tuple[Any, int]] = []
        self.excluded = False

    def begin(self, telemetry: Any, title: str) -> None:
        """Note that a hook begins, and tell by it whether the request is still the same.

        Another device, a hook that has run already, or the hook that cppTango calls first, means a new
        request. The one before had no handler of ours, so nothing excludes it, and its spans are ended.

        :param telemetry: that of the device
        :param title: the name of the hook
        """
        if self.spans and (telemetry is not self.telemetry or title in self.titles or title == _FIRST_HOOK):
            self.end()
        self.telemetry = telemetry
        self.titles.add(title)

    def decide(self, traced: bool) -> None:
        """Note that the handler begins, so that it is known what the request is for.

        :param traced: whether the handler has a span. The hooks before it, and those that follow, then have
            theirs.
        """
        if traced:
            self.excluded = False
            self.end()
        else:
            self.excluded = True

    def end(self) -> None:
        """End the spans of a request whose hooks have run; those of one that is not traced are dropped."""
        spans, self.spans = self.spans, []
        if not self.excluded:
            for span, time_ns in spans:
                span.end(time_ns)
        self.excluded = False
        self.titles.clear()


_MOST_THREADS = 1024
_waiting: BoundedDict[int, WaitingHooks] = BoundedDict(_MOST_THREADS)


def get_waiting_hooks() -> WaitingHooks:
    """Return the hooks that wait on this thread.

    They are kept by its number, because between two calls from cppTango Python forgets the thread, and its
    ``threading.local`` with it (PyTango 10.3.1).
    """
    number = threading.get_ident()
    found = _waiting.get(number)
    if found is None:
        found = _waiting[number] = WaitingHooks()
    return found


class WaitingHookCall(HandlerCall):
    """The call of a hook whose span is kept until the handler of the request begins."""

    __slots__ = ()

    def fail(self, error: BaseException) -> None:
        super().fail(error)
        get_waiting_hooks().end()  # no handler will follow

    def _end(self) -> None:
        self.leave()
        if self._hooked is not None:
            hooks, *told = self._hooked
            hooks.after(self.span, *told)
        get_waiting_hooks().spans.append((self.span, time.time_ns()))


class UntracedHookCall(HandlerCall):
    """The call of a hook that has no span, since a trace without a caller begins at the handler.

    Where an is-allowed method refuses the request, no handler follows. Then the one span of the request is
    made here.

    :param refused: starts the span of a request that is refused; None where the hook is not told what the
        request is for
    """

    __slots__ = ("_refused",)

    def __init__(self, refused: Callable[[], Any] | None, *args: Any) -> None:
        super().__init__(*args)
        self._refused = refused

    def fail(self, error: BaseException) -> None:
        self._refuse(record_failure, error)

    def _check(self, check: Check, args: tuple[Any, ...], result: Any) -> None:
        if not result:
            self._refuse(check, args, result)

    def _refuse(self, record: Callable[..., Any], *told: Any) -> None:
        if self._refused is not None:
            span = self._refused()
            record(span, *told)
            span.end()
