"""Sardana's Pool and MacroServer run macros for a client of the Door, as its own shell has them run."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tango
from support import add_device, run_database, run_program, wait_until

POOL, MACRO_SERVER, DOOR = "pool/test/1", "macroserver/test/1", "door/test/1"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tango.DeviceProxy]:
    folder: Path = tmp_path_factory.mktemp("sardana")
    with run_database(folder / "database.log") as database:
        add_device(database, "Pool/test", "Pool", POOL)
        add_device(database, "MacroServer/test", "MacroServer", MACRO_SERVER)
        add_device(database, "MacroServer/test", "Door", DOOR)
        database.put_device_property(
            MACRO_SERVER, {"PoolNames": [POOL], "EnvironmentDb": [str(folder / "environment")]}
        )
        with run_program(folder / "pool.log", "Pool", "test"):
            wait_until(lambda: tango.DeviceProxy(POOL).state() == tango.DevState.ON, "the Pool", 60)
            with run_program(folder / "macroserver.log", "MacroServer", "test"):
                proxy = tango.DeviceProxy(DOOR)
                wait_until(lambda: proxy.state() == tango.DevState.ON, "the MacroServer", 60)
                proxy.set_timeout_millis(20000)
                run_macro(proxy, "sar_demo")
                yield proxy


def run_macro(door: tango.DeviceProxy, *words: str) -> list[str]:
    """Have the Door run a macro; returns its output."""
    door.RunMacro(list(words))
    end = time.monotonic() + 60
    while door.state() == tango.DevState.RUNNING:
        assert time.monotonic() < end, words
        time.sleep(0.02)
    assert door.state() == tango.DevState.ON, (words, door.status(), door.Error)
    assert not door.Error, (words, door.Error)
    return list(door.Output or ())


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
def test_macro(door: tango.DeviceProxy, words: tuple[str, ...], expected: str) -> None:
    assert any(expected in line for line in run_macro(door, *words))


def test_move(door: tango.DeviceProxy) -> None:
    run_macro(door, "mv", "mot03", "2.5")
    assert tango.DeviceProxy("mot03").position == pytest.approx(2.5)
