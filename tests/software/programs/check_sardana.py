"""Sardana's Pool and MacroServer run macros for a client of the Door, which follows them by events as
Sardana's shell does.
"""

import json
import queue
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
import tango
from support import add_device, run_database, run_program, wait_until

POOL, MACRO_SERVER, DOOR = "pool/test/1", "macroserver/test/1", "door/test/1"
ENDS = ("finish", "stop", "abort", "exception")


class Door:
    """A client of the Door."""

    def __init__(self) -> None:
        self.proxy = tango.DeviceProxy(DOOR)
        self.proxy.set_timeout_millis(30000)
        self._events: queue.SimpleQueue[tango.EventData] = queue.SimpleQueue()
        self.proxy.subscribe_event("MacroStatus", tango.EventType.CHANGE_EVENT, self._events.put)

    def run(self, *words: str) -> list[str]:
        """Run a macro to its end; returns its output."""
        (sequence,) = self.proxy.RunMacro(list(words))
        identity = next(ElementTree.fromstring(sequence).iter("macro")).get("id")
        while (status := self._next()).get("id") != identity or status["state"] not in ENDS:
            pass
        assert status["state"] == "finish", (words, status)
        wait_until(lambda: self.proxy.state() == tango.DevState.ON, "the end of the macro", 60)
        return list(self.proxy.Output or ())

    def _next(self) -> dict[str, str]:
        event = self._events.get(timeout=60)
        assert not event.err, event.errors
        text = event.attr_value.value[1]
        return (json.loads(text) or [{}])[0] if text else {}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder: Path = tmp_path_factory.mktemp("sardana")
    with run_database(folder / "database.log") as database:
        add_device(database, "Pool/test", "Pool", POOL)
        add_device(database, "MacroServer/test", "MacroServer", MACRO_SERVER)
        add_device(database, "MacroServer/test", "Door", DOOR)
        database.put_device_property(
            MACRO_SERVER, {"PoolNames": [POOL], "EnvironmentDb": [str(folder / "environment")]}
        )
        with run_program(folder / "pool.log", "Pool", "test"):
            wait_until(lambda: tango.DeviceProxy(POOL).state() == tango.DevState.ON, "the Pool", 120)
            with run_program(folder / "macroserver.log", "MacroServer", "test"):
                wait_until(
                    lambda: tango.DeviceProxy(DOOR).state() == tango.DevState.ON, "the MacroServer", 120
                )
                client = Door()
                client.run("sar_demo")
                yield client


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("lsm",), "mot01"),
        (("lsct",), "ct01"),
        (("lsctrl",), "motctrl01"),
        (("wm", "mot01"), "mot01"),
        (("ct", "0.1"), "ct01"),
        (("ascan", "mot01", "0", "1", "4", "0.05"), "#Pt No"),
        (("dscan", "mot01", "-0.5", "0.5", "4", "0.05"), "#Pt No"),
        (("mesh", "mot01", "0", "1", "2", "mot02", "0", "1", "2", "0.05"), "#Pt No"),
        (("a2scan", "mot01", "0", "1", "mot02", "0", "2", "3", "0.05"), "#Pt No"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_macro(door: Door, words: tuple[str, ...], expected: str) -> None:
    assert any(expected in line for line in door.run(*words))


def test_move(door: Door) -> None:
    door.run("mv", "mot03", "2.5")
    assert tango.DeviceProxy("mot03").position == pytest.approx(2.5)
