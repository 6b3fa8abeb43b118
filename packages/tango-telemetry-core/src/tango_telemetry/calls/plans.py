"""A call's span is planned once and started many times: the plan, where plans are kept, and what starts them.

What is decided of a call stands in Python alone, and holds until something changes (``state.epoch``). A plan
is started in C++ where the native package is in use and no more is to be done than it does, else in Python
(docs/decisions/0013).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tango_telemetry.base.bounded import BoundedDict
from tango_telemetry.base.guard import guarded
from tango_telemetry.otel.api import SpanKind, Tracer
from tango_telemetry.state import state

__all__ = ["ANY_PLACE", "NO_CALLER", "PLANS", "Beginning", "Plan", "PlanKey", "Plans"]

PLANS = "_tango_telemetry_plans"
"""Where a proxy or device keeps its plans; the native package looks there too."""
NO_CALLER = -1
"""The instruction in the key of a plan where nobody knows who calls."""
ANY_PLACE = 0
"""The instruction in the key of a plan that does not depend on who calls."""
_MOST_PLANS = 512

PlanKey = tuple[Any, Any, int, "str | tuple[str, ...] | None"]
"""What begins the call, code object and instruction of the caller, and the name of the command or attribute
(of several: a tuple).
"""


class Plan(NamedTuple):
    """What was decided of the calls that one place makes for one proxy or device.

    The native package reads the fields by their order.
    """

    title: str
    kind: SpanKind
    attributes: Mapping[str, Any]
    """Without those of the thread, which each call adds."""
    tracer: Tracer
    """The device's; of a client, the one outside devices; of what is excluded, that which passes the parent
    on.
    """
    handler: Any = None
    """What the running handler is known by; of a client, the tracer of the device that called."""
    named: tuple[Any, ...] | None = None
    """None: the plan is for one name. Else it is for every name at this place: what precedes the name in the
    title (None: the title has none), and the attributes whose value it is.
    """
    series: Any = None
    """What counts these calls, or a dict of it by name; None: they are not counted."""
    checks_topic: bool = False
    """Whether the device's topic ``user`` may change without a word."""
    in_python: bool = False
    """Whether more is to be done than C++ does: hooks, arguments, spans that wait."""

    def for_name(self, name: Any) -> Plan:
        """Return the plan for a name, which need not be the one that it was made with."""
        named = self.named
        if named is None or self.attributes.get(named[1]) == name:
            return self
        title = self.title if named[0] is None else f"{named[0]}{name}"
        return self._replace(title=title, attributes={**self.attributes, **dict.fromkeys(named[1:], name)})


class Plans:
    """The plans of one proxy or device, bounded. The native package has the same in C++.

    A proxy or device that is copied or pickled begins with none.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: BoundedDict[Any, tuple[object, Plan, Any]] = BoundedDict(_MOST_PLANS)

    def put(self, key: PlanKey, epoch: object, plan: Plan) -> None:
        """Keep a plan.

        :param epoch: ``state.epoch[0]`` before the first decision
        """
        beginning, code, position, name = key
        if plan.named is not None:
            name = None
        # To hash a code object hashes all its constants. It is kept, because its `id` must stay its own.
        self._kept[beginning, id(code), position, name] = epoch, plan, code

    def get(self, key: PlanKey) -> Plan | None:
        """Return the plan for every name at this place, or for this one; None if there is none that holds."""
        beginning, code, position, name = key
        epoch = state.epoch[0]
        kept = self._kept.get((beginning, id(code), position, None))
        if name is not None and (kept is None or kept[0] is not epoch):
            kept = self._kept.get((beginning, id(code), position, name))
        return kept[1] if kept is not None and kept[0] is epoch else None

    def __len__(self) -> int:
        return len(self._kept)

    def __reduce__(self) -> tuple[type[Plans], tuple[()]]:
        return type(self), ()


class Beginning:
    """What begins the calls of one operation.

    ``begin`` is what a wrapper calls, and never raises: C++ where the native package is in use, which starts
    the plans that it finds and asks :meth:`start` for everything else; or :meth:`start` alone.

    :param create: makes the same of the native package; called with that and with what it is to ask
    """

    __slots__ = ("anywhere", "begin", "key", "native", "table")

    def __init__(self, create: Callable[[Any, Callable[..., Any]], Any] | None) -> None:
        self.begin: Callable[..., Any] = functools.partial(guarded, self.start)
        self.native = state.native
        self.table: Any = Plans if self.native is None else self.native.Plans
        self.key: Any = self
        """What stands for this beginning in the keys of plans."""
        if self.native is not None and create is not None:
            self.key = create(self.native, self.begin)
            self.begin = self.key.begin
        self.anywhere: PlanKey = (self.key, None, ANY_PLACE, None)
        """The key of a plan that depends on neither caller nor name."""

    def start(self, *args: Any) -> Any:
        """Start the span of a call; None if it has none of its own."""
        raise NotImplementedError

    def key_of(self, caller: Any, name: str | tuple[str, ...] | None) -> PlanKey:
        """Return the key of the plan of a call.

        :param caller: the frame that it is written in, or its ``Site``; None where nobody knows
        :param name: of the command or attribute, or several
        """
        if caller is None or caller.f_code is None:
            return self.key, None, NO_CALLER, name
        return self.key, caller.f_code, caller.f_lasti, name

    def find(self, own: dict[str, Any], key: PlanKey) -> Plan | None:
        """Return the plan of a call that a proxy or device has, by its ``__dict__``; None if none holds."""
        plans: Any = own.get(PLANS)
        return plans.get(key) if type(plans) is self.table else None

    def keep(self, own: dict[str, Any], key: PlanKey, epoch: object, plan: Plan) -> None:
        """Keep a plan for the next call; ``epoch`` was in force before the first decision."""
        plans: Any = own.get(PLANS)
        if type(plans) is not self.table:
            plans = own[PLANS] = self.table()
        plans.put(key, epoch, plan)

    def forget(self, own: dict[str, Any]) -> None:
        """Forget all plans of a proxy or device."""
        own.pop(PLANS, None)
