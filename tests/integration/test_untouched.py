"""Off means untouched: importing the packages changes no class of PyTango's, and ``uninstrument()`` restores
them.

Each case runs in a process of its own, because it is about imports.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
import tango, tango.server, tango.green, tango.futures_executor, tango.asyncio_executor
CLASSES = [tango.Connection, tango.DeviceProxy, tango.AttributeProxy, tango.Group, tango.Database, tango.DeviceImpl,
           tango.LatestDeviceImpl, tango.server.BaseDevice, tango.server.Device, tango.Util, tango.DeviceClass,
           tango.green.AbstractExecutor, *tango.green.AbstractExecutor.__subclasses__()]
class Motor(tango.server.Device):
    @tango.server.command
    def Move(self): pass
CLASSES.append(Motor)

def snapshot():
    # what a class holds, and what the closures of its green methods hold
    entries = [dict(vars(cls)) for cls in CLASSES]
    cells = [[id(cell.cell_contents) for cell in getattr(value, "__closure__", None) or ()]
             for cls in CLASSES for value in vars(cls).values()]
    return entries, cells

before = snapshot()
import tango_telemetry_client, tango_telemetry_server
imported = snapshot() == before
client, server = tango_telemetry_client.TangoClientInstrumentor(), tango_telemetry_server.TangoServerInstrumentor()
client.instrument(); server.instrument(); client.instrument()
if [int(part) for part in tango.__version__.split(".")[:2]] >= [10, 1]:
    # On 9.5.1 and 10.0.3 a Util that is never initialised ends the process in an abort, with or without us.
    util = tango.Util(["x", "y", "-nodb", "-dlist", "a/b/c", "-ORBendPoint", "giop:tcp:127.0.0.1:"])
    util.add_class(Motor.TangoClassClass, Motor, "Motor")
changed = snapshot() != before
server.uninstrument(); client.uninstrument(); client.uninstrument()
print(imported, changed, snapshot() == before)
"""  # noqa: E501


@pytest.mark.parametrize("enable", ["off", None])
def test_classes_are_identical_before_and_after(enable):
    environment = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    if enable is not None:
        environment["PYTANGO_DISABLE_TELEMETRY_PATCHING"] = enable
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["True", "True", "True"], done.stderr


def test_an_explicit_off_wins_over_instrument():
    program = PROGRAM.replace("changed = snapshot() != before", "changed = snapshot() == before")
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TANGO_TELEMETRY_ENABLE": "off"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["True", "True", "True"], done.stderr
