"""What the user sees of PyTango's client classes is the same with tracing on: signatures, docstrings,
pickling, subclassing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.support import System

FOLLOWER = Path(__file__).parent / "follower.py"

# Run twice, traced and untraced: what it prints has to be the same.
SCRIPT = """
import copy, inspect, json, pickle, pydoc, re, sys
import tango
if sys.argv[2] == "traced":
    import tango_telemetry_client
    assert tango_telemetry_client.TangoClientInstrumentor().is_instrumented_by_opentelemetry

facts = {}

def outcome(function, *args, **kwargs):
    try:
        return str(function(*args, **kwargs))
    except Exception as error:
        return re.sub("0x[0-9a-f]+", "0x", f"{type(error).__name__}: {str(error).splitlines()[0]}")

for owner in (tango.Connection, tango.DeviceProxy, tango.AttributeProxy, tango.Group, tango.Database):
    for name in dir(owner):
        if name.startswith("__") and name != "__init__":
            continue
        value = getattr(owner, name)
        if callable(value):
            facts[f"{owner.__name__}.{name}"] = [
                outcome(inspect.signature, value), inspect.getdoc(value), value.__name__,
                getattr(value, "__qualname__", f"{owner.__name__}.{name}").rpartition(".")[2], getattr(value, "__module__", None),
                inspect.iscoroutinefunction(value),
            ]
facts["mro"] = [[str(cls) for cls in owner.__mro__] for owner in (tango.DeviceProxy, tango.AttributeProxy, tango.Database)]
facts["help"] = len(pydoc.render_doc(tango.DeviceProxy.read_attribute))
facts["members"] = sorted(name for name in vars(tango.DeviceProxy) if not name.startswith("_tango"))

class Motor(tango.DeviceProxy):
    "A proxy of the user's own."

    def __init__(self, name, speed):
        super().__init__(name)
        getattr(self, "unfreeze_dynamic_interface", int)()  # new in 9.4.0
        self.set_own("speed", speed)
        self.set_own("moves", 0)

    def set_own(self, name, value):
        if hasattr(tango.DeviceProxy, "unfreeze_dynamic_interface"):
            setattr(self, name, value)
        else:  # what is set there is the device's
            self.__dict__[name] = value

    def command_inout(self, name, *args, **kwargs):
        self.set_own("moves", self.moves + 1)
        return super().command_inout(name, *args, **kwargs)

motor = Motor(sys.argv[1], 3)
facts["subclass"] = [motor.Echo("a"), motor.command_inout("Echo", "b"), motor.moves, motor.speed, isinstance(motor, tango.DeviceProxy)]
motor.isOn
proxy = tango.DeviceProxy(sys.argv[1])
proxy.ping()
proxy.command_inout_reply(proxy.command_inout_asynch("Echo", "c"), 3000)
for name, function in (("pickle", lambda: len(pickle.dumps(proxy)) > 0), ("copy", lambda: copy.copy(proxy).dev_name()),
                       ("deepcopy", lambda: copy.deepcopy(proxy).dev_name())):
    facts[name] = outcome(function)
facts["green"] = [
    outcome(proxy.command_inout, "Echo", "d", green_mode=tango.GreenMode.Futures, wait=True),
    outcome(proxy.command_inout, "Echo", "e", green_mode=tango.GreenMode.Futures, wait=False, timeout=3) != "",
    outcome(proxy.command_inout, "Echo", "f", wait=False),
    outcome(proxy.read_attribute, "isOn", timeout=3),
    proxy.command_inout("Echo", "g", green_mode=tango.GreenMode.Futures, wait=False).result(),
]
facts["wrong"] = [
    outcome(proxy.command_inout), outcome(proxy.read_attribute), outcome(proxy.ping, 1, 2), outcome(proxy.subscribe_event),
    outcome(proxy.command_inout_asynch), outcome(proxy.read_attribute_asynch), outcome(proxy.subscribe_event, "position"),
    outcome(proxy.subscribe_event, "position", tango.EventType.CHANGE_EVENT, object()),
]
facts["unknown"] = outcome(getattr, proxy, "nonsense")
facts["dir"] = "Echo" in dir(proxy)
json.dump(facts, sys.stdout)
"""  # noqa: E501


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with System() as system:
        yield system


@pytest.fixture(scope="module")
def facts(system: System) -> tuple[dict[str, Any], dict[str, Any]]:
    follower = system.start_server(FOLLOWER, "Follower/test", "test/follower/1")
    name = follower.proxy_name("test/follower/1")
    untraced = json.loads(system.run_client(SCRIPT, name, "untraced", TANGO_TELEMETRY_ENABLE="off"))
    traced = json.loads(system.run_client(SCRIPT, name, "traced"))
    return untraced, traced


def test_nothing_is_different(facts: tuple[dict[str, Any], dict[str, Any]]) -> None:
    untraced, traced = facts
    assert untraced.keys() == traced.keys()
    different = [f"{key}: {untraced[key]} / {traced[key]}" for key in traced if untraced[key] != traced[key]]
    assert not different, "\n".join(different)
    assert untraced["subclass"] == ["a", "b", 2, 3, True]
    assert len(untraced) > 200
