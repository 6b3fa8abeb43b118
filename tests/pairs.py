"""One trace between any two PyTangos: the Leader and its Followers with client and server in environments of
their own.

    python tests/pairs.py [VERSION ...]      # default 9.5.1 10.1.5 10.3.1; also a Python with python3-tango
    9.3.6

Makes a virtual environment for each version below ``.venv-pairs`` (kept for the next run), and prints a
table. In every pair the script runs with one version, the Leader and its Follower with the other; the forest
must be exactly that of a single version. Debian's python3-tango is tried where it is installed. Not part of
``make test``: ``make test-pairs``.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "integration")]

from support import System  # noqa: E402

VERSIONS = ("9.5.1", "10.1.5", "10.3.1")
DEBIAN = Path("/usr/bin/python3")
SERVER = """
import tango, tango_telemetry_server
from tango.server import Device, attribute, command, run

class Follower(Device):
    on = False
    @attribute(dtype=bool)
    def isOn(self):
        return self.on
    @isOn.write
    def isOn(self, value):
        self.on = value

class Leader(Device):
    @command(dtype_in=str)
    def TurnFollowerOn(self, name):
        proxy = tango.DeviceProxy(name)
        proxy.write_attribute("isOn", True)
        if not proxy.read_attribute("isOn").value:
            raise RuntimeError("it is still off")

run((Leader, Follower))
"""
CLIENT = """
import sys, tango, tango_telemetry_client
from tango_telemetry import get_tracer
leader, follower = sys.argv[1:]
with get_tracer("my.app").start_as_current_span("operation"):
    tango.DeviceProxy(leader).command_inout("TurnFollowerOn", follower)
"""
FOREST = """
operation                         INTERNAL  my.app
  DeviceProxy                     CLIENT    pytango.client
  command_inout TurnFollowerOn    CLIENT    pytango.client
    Leader.TurnFollowerOn         SERVER    Leader
      DeviceProxy                 CLIENT    Leader
      write_attribute isOn        CLIENT    Leader
        Follower.write isOn       SERVER    Follower
      read_attribute isOn         CLIENT    Leader
        Follower.read isOn        SERVER    Follower
"""


def create_environment(version: str) -> str:
    """Return the interpreter of an environment with one version of PyTango and everything of ours."""
    folder = ROOT / ".venv-pairs" / version
    python = folder / "bin" / "python"
    options: list[str] = []
    base = sys.executable
    requirement = [f"pytango=={version}"]
    if version == "debian":
        base, options, requirement = str(DEBIAN), ["--system-site-packages"], []
    if not python.exists():
        subprocess.run([base, "-m", "venv", *options, str(folder)], check=True)
    packages = [
        str(ROOT / f"packages/tango-telemetry-{name}") for name in ("core", "client", "server", "native")
    ]
    wanted = [
        line for line in (ROOT / "requirements-full.txt").read_text().splitlines() if "telemetry" in line
    ]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *requirement, *wanted], check=True)
    subprocess.run([*pip, "--no-deps", "--force-reinstall", *packages], check=True)
    return str(python)


def has_debian() -> bool:
    """Whether Debian's python3-tango is installed."""
    return (
        DEBIAN.exists()
        and not subprocess.run(
            [str(DEBIAN), "-c", "import tango"], capture_output=True, check=False
        ).returncode
    )


def try_pair(client: str, server: str, **environment: str) -> str:
    """Run the scenario; give ``whole`` or what was wrong."""
    with System(**environment) as system:
        try:
            running = system.start_server(
                SERVER, "Pair/test", "Leader::pair/leader/1", "Follower::pair/follower/1", python=server
            )
            system.clear()
            names = [running.proxy_name(f"pair/{name}/1") for name in ("leader", "follower")]
            system.run_client(CLIENT, *names, python=client)
            system.assert_forest(FOREST)
        except (AssertionError, RuntimeError) as error:
            return f"broken: {error}"
    return "whole"


def main(versions: list[str]) -> int:
    chosen = versions or [*VERSIONS, *(["debian"] if has_debian() else [])]
    pythons = {version: create_environment(version) for version in chosen}
    broken = []
    print(f"{'client':>10} {'server':>10}  trace")
    for client, server in itertools.product(chosen, chosen):
        verdict = try_pair(pythons[client], pythons[server])
        print(f"{client:>10} {server:>10}  {verdict.splitlines()[0]}", flush=True)
        if verdict != "whole":
            broken.append(f"client {client}, server {server}:\n{verdict}")
    print("\n".join(broken))
    print(f"{len(chosen) ** 2 - len(broken)} passed, {len(broken)} failed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
