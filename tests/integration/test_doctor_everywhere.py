"""`doctor --all` asks every device that a database has exported; `--device` asks one, over each bridge."""

from __future__ import annotations

import json
import signal

import pytest
from integration.support import PYTANGO, System

SERVER = """
import os
if "WITHOUT" not in os.environ:
    import tango_telemetry_server
from tango.server import Device
class Motor(Device):
    GREEN
    def dev_status(self):
        return "mine"
if __name__ == "__main__":
    Motor.run_server()
"""
DOCTOR = """
import sys
sys.argv[:1] = ["tango-telemetry", "doctor"]
from tango_telemetry_tools.__main__ import main
main()  # whether traces would arrive is not asked here
"""
REGISTER = """
import sys, tango
database = tango.Database()
for name in sys.argv[1:]:
    for number in "12":
        info = tango.DbDevInfo()
        info.name, info._class, info.server = f"test/{name}/{number}", "Motor", f"Motor/{name}"
        database.add_device(info)
"""
STATUS = """
import sys, tango
print([tango.DeviceProxy(name).status() for name in sys.argv[1:]])
"""


@pytest.mark.skipif(PYTANGO < (10, 0, 3), reason="the database server of PyTango 10 works")
def test_every_exported_device_is_asked() -> None:
    with System() as system:
        system.start_database()
        servers = {
            "traced": {},
            "off": {"TANGO_TELEMETRY_ENABLE": "off"},
            "plain": {"WITHOUT": "yes"},
            "dead": {},
        }
        system.run_client(REGISTER, *servers)
        started = {
            name: system.start_server(SERVER.replace("GREEN", ""), f"Motor/{name}", **given)
            for name, given in servers.items()
        }
        system.stop_server(started["dead"], signal.SIGKILL)
        found = json.loads(system.run_client(DOCTOR, "--all", "--json"))
        reports = {device["name"]: device for device in found["devices"]}
        assert {
            name: bool((reports[f"test/{name}/2"]["report"] or {}).get("traced")) for name in servers
        } == {
            "traced": True,
            "off": False,
            "plain": False,
            "dead": False,
        }
        assert [reports[f"test/{name}/1"]["answers"] for name in servers] == [True, True, True, False]
        assert reports["test/traced/1"]["report"]["server"] == "Motor/traced"
        text = system.run_client(DOCTOR, "--all")
        (row,) = [line for line in text.splitlines() if line.startswith("Motor/traced")]
        assert row.split()[2:4] == ["2", "2"]
        assert "2 of " in text.splitlines()[-1]
        # Nobody else sees anything of it.
        assert "['mine', 'mine']" in system.run_client(
            STATUS, "test/traced/1", "test/plain/1", TANGO_TELEMETRY_ENABLE="off"
        )


@pytest.mark.parametrize(
    "green", ["", "green_mode = tango.GreenMode.Asyncio", "green_mode = tango.GreenMode.Gevent"]
)
@pytest.mark.parametrize("bridge", ["auto", "giop"])
def test_a_device_answers_in_every_green_mode(green: str, bridge: str) -> None:
    if bridge == "auto" and PYTANGO < (10,):
        pytest.skip("the same as giop")
    source = SERVER.replace("GREEN", green).replace("import os\n", "import os, tango\n")
    if "Asyncio" in green:
        source = source.replace("    def dev_status", "    async def dev_status")
    with System(bridge) as system:
        server = system.start_server(source, "Motor/test", "test/motor/1")
        name = server.proxy_name("test/motor/1")
        found = json.loads(system.run_client(DOCTOR, "--device", name, "--json"))
        assert found["device"]["report"]["traced"] is True
        assert found["device"]["report"]["context_bridge"].endswith("giop")
        assert system.run_client(STATUS, name, TANGO_TELEMETRY_ENABLE="off") == "['mine']\n"
