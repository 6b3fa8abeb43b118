"""Programs in Java (JTango) beside ours: they notice nothing, whichever side they are on.

Run by ``make test-java``; needs a JDK, Maven and JTango from the registry that Maven is configured for.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from integration.support import Program, System, assert_trace

SOURCES = Path(__file__).parent
MAVEN = shutil.which("mvn")
pytestmark = pytest.mark.skipif(MAVEN is None or not shutil.which("java"), reason="no Java or no Maven here")

SERVER = """
import tango_telemetry_server
from tango.server import Device, attribute, command

class Sender(Device):
    def init_device(self):
        super().init_device()
        self.set_change_event("level", True, False)
        self.set_archive_event("level", True, False)
        self.set_data_ready_event("level", True)
    @attribute
    def level(self) -> float:
        return -1.0
    @command(dtype_in=int)
    def Send(self, number):
        self.push_change_event("level", float(number))
        self.push_archive_event("level", float(number))
        self.push_event("level", [], [], float(number))
        self.push_data_ready_event("level", number)
    @command(dtype_in=str)
    def Label(self, text):
        config = self.get_device_attr().get_attr_by_name("level").get_properties()
        config.label = text
        self.get_device_attr().get_attr_by_name("level").set_properties(config)

Sender.run_server()
"""

SEND = """
import sys
import tango_telemetry_client
import tango
from tango_telemetry import get_tracer
device = tango.DeviceProxy("test/sender/1")
with get_tracer("lab").start_as_current_span("lab"):
    for number in range(int(sys.argv[1])):
        device.Send(number)
    device.Label("height")
"""

CALL_JAVA = """
import tango_telemetry_client
import tango
from tango_telemetry import get_tracer
device = tango.DeviceProxy("test/echo/1")
with get_tracer("lab").start_as_current_span("lab"):
    assert device.command_inout("Twice", 2.0) == 4.0
    device.write_attribute("position", 3.0)
    assert device.read_attribute("position").value == 3.0
    try:
        device.command_inout("Fail")
    except tango.DevFailed as error:
        assert error.args[0].reason == "JavaSaysNo", error
    else:
        raise AssertionError("it did not fail")
"""

REGISTER = """
import sys
import tango
info = tango.DbDevInfo()
info.server, info._class, info.name = sys.argv[1:4]
tango.Database().add_server(info.server, [info], with_dserver=True)
"""


@pytest.fixture(scope="module")
def classpath(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The compiled programs and JTango."""
    assert MAVEN is not None
    folder = tmp_path_factory.mktemp("java")
    project = folder / "project"
    shutil.copytree(SOURCES, project, ignore=shutil.ignore_patterns("target", "__pycache__"))
    command = [MAVEN, "-q", "-B", "compile", "dependency:build-classpath", "-Dmdep.outputFile=classpath"]
    built = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=600)
    assert built.returncode == 0, built.stdout + built.stderr
    return f"{project / 'target/classes'}:{(project / 'classpath').read_text().strip()}"


class JavaSystem(System):
    """A control system with a database, whose programs in Java stop with it."""

    def __init__(self, classpath: str, **environment: str) -> None:
        super().__init__(OTEL_BSP_SCHEDULE_DELAY="100", **environment)
        self.classpath = classpath
        self.start_database()

    def register(self, server: str, device: str) -> None:
        self.run_client(REGISTER, server, server.partition("/")[0], device, TANGO_TELEMETRY_ENABLE="off")

    def start_java(self, program: str, *arguments: str) -> Program:
        return self.start_program(
            ["java", "-cp", self.classpath, "-DOAPort=0", f"peers.{program}", *arguments]
        )


def _listen(system: JavaSystem, count: int) -> list[str]:
    """What a subscriber in Java prints of what a server of ours sends, without the first values."""
    system.register("Sender/test", "test/sender/1")
    system.start_server(SERVER, "Sender/test")
    listener = system.start_java("Listener", "test/sender/1", "level")
    listener.wait_for("subscribed")
    system.clear()
    system.run_client(SEND, str(count))
    listener.wait_for(f"data_ready counter {count - 1}", 20)
    listener.wait_for("attr_conf label height", 20)
    for kind in ("change", "archive", "user"):
        listener.wait_for(f"{kind} value {count - 1}.0", 20)
    return [line for line in listener.output.splitlines() if line.partition(" ")[0] in KINDS]


KINDS = ("change", "archive", "user", "data_ready", "attr_conf")


def _of_kind(lines: list[str], kind: str) -> list[str]:
    return [line for line in lines if line.startswith(f"{kind} ")]


def test_a_subscriber_in_java_sees_the_same_events(classpath: str) -> None:
    seen = {}
    for setting in ("on", "off"):
        with JavaSystem(classpath, PYTANGO_TELEMETRY_EVENT_CONTEXT=setting) as system:
            seen[setting] = _listen(system, 50)
            if setting == "on":
                producers = [span for span in system.collect() if span.kind == "PRODUCER"]
                assert len(producers) == 200
    assert not [line for line in seen["on"] if "error" in line or "failed" in line]
    for kind in KINDS:
        assert _of_kind(seen["on"], kind) == _of_kind(seen["off"], kind)


def test_a_server_in_java_serves_our_clients(classpath: str) -> None:
    with JavaSystem(classpath) as system:
        system.register("Echo/test", "test/echo/1")
        server = system.start_java("Echo", "test")
        server.wait_for("started", 60)
        system.run_client(CALL_JAVA)
        assert_trace(
            system.collect(),
            "lab",
            """
            command_inout Twice       CLIENT  pytango.client
            write_attribute position  CLIENT  pytango.client
            read_attribute position   CLIENT  pytango.client
            command_inout Fail        CLIENT  pytango.client  ! JavaSaysNo
            """,
        )
