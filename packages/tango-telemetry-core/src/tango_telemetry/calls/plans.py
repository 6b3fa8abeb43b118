"""The usual call in C++: where it begins, and where what Python decided of it is kept
(docs/decisions/0013).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from tango_telemetry.base.guard import guarded
from tango_telemetry.otel.api import SpanKind, Tracer
from tango_telemetry.state import state

__all__ = ["QuickBeginning"]


class QuickBeginning:
    """The usual call begun in C++, where the native package is there; every other call is begun by ``slow``.

    ``begin`` is what a wrapper calls. It never raises. What is usual, and all that there is to decide about
    it, ``slow`` finds out at the first call from a place, and keeps it with :meth:`keep`.

    :param slow: starts a call in Python; called with what ``begin`` is called with
    :param create: makes the beginning in C++ of the native package and ``slow``
    """

    __slots__ = ("_native", "_quick", "begin")
    NO_CALLER: ClassVar[int] = -1
    """The instruction in the key of a plan where nobody knows who calls."""
    KEY: ClassVar[str] = "_tango_telemetry_plans"

    def __init__(self, slow: Callable[..., Any], create: Callable[[Any, Callable[..., Any]], Any]) -> None:
        self.begin: Callable[..., Any] = functools.partial(guarded, slow)
        self._native = state.native
        self._quick: Any = None
        if self._native is not None:
            self._quick = create(self._native, self.begin)
            self.begin = self._quick.begin

    def get_epoch(self) -> int:
        """Return the number under which decisions that are made from now on may be kept; -1 if none may."""
        native = self._native
        return -1 if native is None or native is not state.native else native.get_epoch()

    def keep(
        self,
        own: dict[str, Any],
        epoch: int,
        place: tuple[Any, int, str | tuple[str, ...] | None],
        title: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        tracer: Tracer,
        handler: Any = None,
        checks_topic: bool = False,
        named: tuple[str | None, ...] | None = None,
        series: Any = None,
    ) -> None:
        """Keep what is known of the calls that are made at ``place`` for a proxy or device.

        :param own: the ``__dict__`` of the proxy or device
        :param epoch: what :meth:`get_epoch` gave before the first decision
        :param place: code object, instruction, and the name of the command or attribute (a tuple of several)
        :param attributes: without those of the thread, which each call adds
        :param tracer: the device's; of a client, the one outside devices
        :param handler: what the running handler is known by; of a client, the tracer of the device that calls
        :param checks_topic: whether the device's topic ``user`` may change without a word
        :param named: None: what is kept is for this name alone. Else it is for every name at this place: what
            precedes the name in the title (None: the title has none), and the attributes whose value it is
        :param series: what counts these calls, or a dict of it by name; None: they are not counted
        """
        plans = own.get(self.KEY)
        if plans is None:
            plans = own[self.KEY] = self._native.Plans()
        plans.put(
            self._quick, *place, epoch, title, kind, attributes, tracer, handler, checks_topic, named, series
        )
