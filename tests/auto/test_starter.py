"""Debian's Starter launches a server that nobody edited, and the server is traced by Starter's environment
alone.

Runs where Starter is installed: ``apt-get install tango-starter`` puts it at ``/usr/lib/tango/Starter``;
``STARTER`` names another one.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path

import pytest
from environments import Environment
from integration.support import Server, System, find_free_port

from tests.auto.test_unedited import CALL, DEVICE, run, settings

STARTER = os.environ.get("STARTER") or shutil.which("Starter") or "/usr/lib/tango/Starter"
HOST = socket.gethostname().partition(".")[0].lower()
REGISTER = """
import sys, tango
host, folder = sys.argv[1:]
database = tango.Database()
for name, kind, server in (
    (f"tango/admin/{host}", "Starter", f"Starter/{host}"), ("test/motor/1", "Motor", "Motor/test"),
):
    info = tango.DbDevInfo()
    info.name, info._class, info.server = name, kind, server
    database.add_device(info)
database.put_device_property(f"tango/admin/{host}", {"StartDsPath": [folder]})
"""
LAUNCH = """
import sys, tango
tango.DeviceProxy(sys.argv[1]).DevStart("Motor/test")
"""


@pytest.mark.skipif(not Path(STARTER).exists(), reason="no Starter of Debian's on this machine")
def test_a_server_that_starter_launches_is_traced(environment: Environment, tmp_path: Path) -> None:
    with System() as system:
        database = system.start_database()
        home = {"TANGO_HOST": database.host}
        run(environment, tmp_path, REGISTER, HOST, str(environment.python.parent), **home)
        given = {"HOME": str(tmp_path), **home, **settings(system.receiver.endpoint)}
        if "LD_LIBRARY_PATH" in os.environ:  # of a Starter that is unpacked and not installed
            given["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        endpoint = f"giop:tcp:127.0.0.1:{find_free_port()}"
        starter = Server([STARTER, HOST, "-ORBendPoint", endpoint], environment.variables(**given), tmp_path)
        try:
            starter.wait_for("Ready to accept request")
            run(environment, tmp_path, LAUNCH, f"tango/admin/{HOST}", **home)
            deadline = time.monotonic() + 60
            while True:
                try:
                    assert run(environment, tmp_path, CALL, DEVICE, **home).strip() == "1.5"
                    break
                except AssertionError:
                    assert time.monotonic() < deadline, starter.output
            kill = "import sys, tango\ntango.DeviceProxy(sys.argv[1]).Kill()"
            found = system.wait_for(lambda spans: any(s.name == "Motor.read position" for s in spans), 20)
            run(environment, tmp_path, kill, "dserver/Motor/test", **home)
        finally:
            starter.kill()
    served = [span for span in found if span.name == "Motor.read position"]
    assert {(span.service, span.resource["service.instance.id"]) for span in served} == {("Motor", DEVICE)}
