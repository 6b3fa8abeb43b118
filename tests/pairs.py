"""One trace between any two PyTangos, and events with a context, with client and server in environments of
their own.

    python tests/pairs.py [VERSION ...]      # default 9.5.1 10.0.3 10.1.5 10.3.1 and Debian's

Makes a virtual environment for each version below ``.venv-pairs`` (kept for the next run), and prints a
table. In every pair the script runs with one version, the Leader and its Follower with the other; the forest
must be exactly that of a single version. The events of a server that adds contexts are received by a program
without us, which must see what it sees of a server that adds none, and by one with us, whose spans must be
linked each to its own. Debian's python3-tango is tried where it is installed, and a subscriber in C++ where
its libtango-dev is. Not part of ``make test``: ``make test-pairs``.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "integration")]

import test_event_context as events  # noqa: E402
from support import System  # noqa: E402

VERSIONS = ("9.5.1", "10.0.3", "10.1.5", "10.3.1")
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


COUNT = 20
# Without us: prints what it receives.
LISTENER = """
import sys, tango
from tango import EventType
device = tango.DeviceProxy(sys.argv[1])
kinds = [("level", EventType.CHANGE_EVENT), ("level", EventType.ARCHIVE_EVENT), ("level", EventType.USER_EVENT),
         ("level", EventType.DATA_READY_EVENT), ("text", EventType.CHANGE_EVENT), ("spectrum", EventType.CHANGE_EVENT)]
def on_event(event):
    if event.err:
        what = event.errors[0].reason
    elif hasattr(event, "ctr"):
        what = event.ctr
    else:
        value = event.attr_value.value
        what = value if isinstance(value, (str, float)) else (len(value), float(value[0]), float(value[-1]))
    print(event.event, event.attr_name.rpartition("/")[2].partition("#")[0], what, flush=True)
for name, kind in kinds:
    device.subscribe_event(name, kind, on_event)
print("subscribed", flush=True)
sys.stdin.read()
"""  # noqa: E501
SEND = """
import sys, tango, tango_telemetry_client
device = tango.DeviceProxy(sys.argv[1])
for number in range(int(sys.argv[2])):
    device.Send(number)
device.Fail()
"""
# With us: ends when the error has come, which is sent last.
LINKED = (
    "import tango_telemetry_client, queue"
    + LISTENER.partition("def on_event")[0]
    + """
seen = queue.Queue()
for name, kind in kinds:
    device.subscribe_event(name, kind, lambda event: seen.put(event.err))
for number in range(int(sys.argv[2])):
    device.Send(number)
device.Fail()
while not seen.get(timeout=20):
    pass
"""
)
LISTENER_IN_CPP = Path(__file__).parent / "pairs_listener.cpp"


def compile_listener() -> str:
    """Return the program in C++, compiled against Debian's cppTango; "" where that is not installed."""
    if not Path("/usr/include/tango/tango.h").exists():
        return ""
    program = ROOT / ".venv-pairs" / "listener"
    program.parent.mkdir(exist_ok=True)
    includes = ["-I/usr/include/tango"]
    libraries = ["-ltango", "-lomniDynamic4", "-lomniORB4", "-lomnithread", "-lzmq"]
    command = ["g++", "-std=c++17", "-w", *includes, str(LISTENER_IN_CPP), "-o", str(program), *libraries]
    subprocess.run(command, check=True)
    return str(program)


def listen(listener: list[str], server: str, context: str) -> list[str]:
    """Return what a program without us receives of a server with us, kind by kind."""
    with System(PYTANGO_TELEMETRY_EVENT_CONTEXT=context) as system:
        running = system.start_server(events.SERVER, "Sender/test", "test/sender/1", python=server)
        name = running.proxy_name("test/sender/1")
        command = [*listener, str(system.write(LISTENER)), name] if len(listener) < 2 else [listener[0], name]
        program = system.start_program(command, TANGO_TELEMETRY_ENABLE="off")
        program.wait_for("subscribed")
        system.run_client(SEND, name, str(COUNT), python=sys.executable)
        program.wait_for("Broken")
        for kind in (
            "change text",
            "change spectrum",
            "archive level",
            "user_event level",
            "data_ready level",
        ):
            program.wait_for(f"{kind} {'(50000, ' if 'spectrum' in kind else ''}{COUNT - 1}", 20)
        return sorted(line for line in program.output.splitlines() if line.count(" ") > 1)


def try_listener(listener: list[str], server: str) -> str:
    """Say whether a program without us sees the same events with contexts as without."""
    try:
        seen = {context: listen(listener, server, context) for context in ("on", "off")}
    except (AssertionError, RuntimeError) as error:
        return f"broken: {error}"
    if seen["on"] != seen["off"]:
        return f"broken: {sorted(set(seen['on']) ^ set(seen['off']))}"
    return f"the same {len(seen['on'])} events"


def try_links(client: str, server: str, running_is_9: bool) -> str:
    """Say whether each event that a program with us receives is linked to the span that sent it.

    :param running_is_9: of a server of Tango 9 without a database a subscriber of Tango 10 gets every other
        event, with or without us
    """
    with System(PYTANGO_TELEMETRY_EVENT_CONTEXT="on", OTEL_BSP_SCHEDULE_DELAY="100") as system:
        try:
            running = system.start_server(events.SERVER, "Sender/test", "test/sender/1", python=server)
            system.clear()
            system.run_client(LINKED, running.proxy_name("test/sender/1"), str(COUNT), python=client)
            events.assert_linked(system.collect(), COUNT, some_are_lost=running_is_9)
        except (AssertionError, RuntimeError) as error:
            return f"broken: {error}"
    return "linked"


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
    in_cpp = compile_listener()
    verdicts = []
    print(f"{'client':>10} {'server':>10}  {'trace':10} {'events':10} events without us")
    for client, server in itertools.product([*chosen, *(["C++"] if in_cpp else [])], chosen):
        row = ["", "", try_listener([in_cpp, ""], pythons[server])]
        if client != "C++":
            pair = pythons[client], pythons[server]
            is_9 = server == "debian" or server.startswith("9")
            row = [try_pair(*pair), try_links(*pair, is_9), try_listener([pythons[client]], pythons[server])]
        shown = [(verdict.splitlines() or [""])[0] for verdict in row]
        print(f"{client:>10} {server:>10}  {shown[0]:10} {shown[1]:10} {shown[2]}", flush=True)
        verdicts += [f"client {client}, server {server}: {verdict}" for verdict in row if verdict]
    broken = [verdict for verdict in verdicts if "broken" in verdict]
    print("\n".join(broken))
    print(f"{len(verdicts) - len(broken)} passed, {len(broken)} failed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
