"""The telemetry state of this process: the settings in force, the bridge, and the tracers made so far."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tango_telemetry.base.bounded import BoundedDict
from tango_telemetry.base.warnings import warn
from tango_telemetry.context.bridges import ContextBridge, NoOpBridge
from tango_telemetry.context.current import Owner, make_current
from tango_telemetry.settings.config import TelemetryConfig
from tango_telemetry.settings.exclusion import STATE_AND_STATUS, Exclusion, check_pattern, create_exclusion
from tango_telemetry.settings.programs import is_chosen
from tango_telemetry.settings.sources import read_environment

if TYPE_CHECKING:
    from tango_telemetry.otel.api import Tracer, TracerProvider

__all__ = [
    "State",
    "add_owner",
    "forget_plans",
    "get_config",
    "get_context_bridge",
    "get_epoch",
    "get_events",
    "get_metrics",
    "name_server",
    "set_config",
    "state",
    "switch_tracer",
    "warn_once",
]

_MOST_TRACERS = 1024
"""Tracers that users asked for by name; a program may make up names."""


class State:
    """One per process. Changed by ``instrument()``, ``uninstrument()`` and ``configure()`` only.

    ``active`` says that at least one instrumentor is on. ``bridge`` is the no-op until then.
    """

    def __init__(self) -> None:
        self.config = TelemetryConfig(enabled=None)
        self.configured = False
        self.exclusion: Exclusion | None = None
        self.baggage = False
        self.active = 0
        self.bridge: ContextBridge = NoOpBridge()
        self.make_current: Callable[..., Any] = make_current
        self.tracer_provider: TracerProvider | None = None
        self.client_tracer: Tracer | None = None
        self.server_name = ""  # `Motor/test` in a device server, once Tango has made it
        # The same before Tango knows; "" elsewhere.
        self.name_coming_server: Callable[[], str] = str
        self.tracers: BoundedDict[tuple[str, str | None], Tracer] = BoundedDict(_MOST_TRACERS)
        self.owners: weakref.WeakSet[Owner] = weakref.WeakSet()  # devices, as long as they live
        # A list of one object, another after each change: plans that were made under an earlier one do not
        # hold. The native package looks at the same list.
        self.epoch: list[object] = [object()]
        self.native: Any = None  # the module with calls in C++, while it is in use
        self.events: Any = None  # the module that has events carry contexts, while they do
        self.metrics: Any = None  # what counts calls (metrics.calls.CallMetrics), while that is asked for
        self.meter_provider: Any = None  # what the user gave to instrument()

    def changed(self) -> None:
        """Something that decisions about calls rest on is another: the plans made so far hold no more."""
        self.epoch[0] = object()

    def apply(self, config: TelemetryConfig) -> None:
        """Put settings into force, and work out once what the hot path asks of them."""
        self.config = config
        self.configured = True
        # Those of the environment have been checked; these may be a program's own.
        for problem in filter(None, (check_pattern(pattern.lower()) for pattern in config.exclude)):
            warn(f"exclude: {problem}; it is left out.", 3)
        own = () if config.state_status else STATE_AND_STATUS
        self.exclusion = create_exclusion((*config.exclude, *own))
        self.baggage = "baggage" in config.propagators
        self.changed()

    def reset_tracers(self, *, retire: bool = True) -> None:
        """Forget the tracers made so far: the next call of each service makes a new one.

        :param retire: whether those that somebody still has make no more spans: contexts of jobs and threads
            may have them, and C++ asks nobody
        """
        if retire:
            switch_tracer(self.client_tracer, False)
        for owner in list(self.owners):
            owner.renew(retire=retire)
        self.client_tracer = None
        self.tracers = BoundedDict(_MOST_TRACERS)
        self.changed()

    def name_server(self, name: str) -> None:
        """Note that this process is a device server: calls outside its devices' handlers are made in its
        name.
        """
        if name != self.server_name:
            self.server_name = name
            self.client_tracer = None
            self.changed()

    def __repr__(self) -> str:
        fields: dict[str, Any] = {"active": self.active, "bridge": self.bridge.name, "config": self.config}
        return f"State({', '.join(f'{name}={value!r}' for name, value in fields.items())})"


def switch_tracer(tracer: Any, on: bool) -> None:
    """Switch a tracer in C++ on or off; one that is off hands the context on. Others have no such switch."""
    switch = getattr(tracer, "_set_enabled", None)
    if switch is not None:
        switch(on)


state = State()


def get_config() -> TelemetryConfig:
    """Return the settings in force; those of the environment if nothing has been switched on yet."""
    if not state.configured:
        config = TelemetryConfig.from_env(read_environment())
        if config.enabled and not is_chosen(config.servers):
            config = dataclasses.replace(config, enabled=False)
        set_config(config)
    return state.config


def set_config(config: TelemetryConfig) -> None:
    """Put settings into force and warn once of each that could not be used."""
    state.apply(config)
    for problem in config.problems if config.enabled is not False else ():
        warn(problem, 4)


_warned: set[str] = set()


def warn_once(message: str, stacklevel: int = 3) -> None:
    """Warn of something that keeps telemetry from doing what was asked for; once per process and message."""
    if message not in _warned:
        _warned.add(message)
        warn(message, stacklevel + 1)


def get_context_bridge() -> ContextBridge:
    """Return the bridge that carries the trace context in this process; the no-op one while nothing is
    traced.
    """
    return state.bridge


def get_metrics() -> Any:
    """Return what counts calls (``metrics.calls.CallMetrics``), while that is asked for; else None."""
    return state.metrics


def get_events() -> Any:
    """Return the module that has events carry contexts, while they do; else None."""
    return state.events


def get_epoch() -> object:
    """Return what the plans are marked with that are made from now on, until something changes."""
    return state.epoch[0]


def forget_plans() -> None:
    """Something that decisions about calls rest on is another."""
    state.changed()


def add_owner(owner: Owner) -> None:
    """Have an owner told when the settings change, as long as it lives."""
    state.owners.add(owner)


def name_server(name: str) -> None:
    """Note that this process is a device server."""
    state.name_server(name)
