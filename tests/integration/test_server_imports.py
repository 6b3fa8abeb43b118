"""Whatever is imported, defined or started first, a device is traced alike, and the user's program stays the
same.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from integration.support import PYTANGO, System, assert_trace

TELEMETRY = "import tango_telemetry_server"
TANGO = "import tango; from tango.server import Device, attribute, command, run"
CLASS = """
class Motor(Device):
    "A motor."

    @command(dtype_in=int, dtype_out=int)
    def Go(self, steps: int) -> int:
        "Go some steps."
        return steps

    @attribute(dtype=float)
    def position(self):
        return 1.0
"""
RUN = "run((Motor,))"
INSTRUMENT = (
    "from tango_telemetry_server import TangoServerInstrumentor; TangoServerInstrumentor().instrument()"
)
LATE = """
class Motor(Motor):
    def server_init_hook(self):
        self.add_attribute(attribute(name="early", dtype=float), self.read_early)
        from tango_telemetry_server import TangoServerInstrumentor
        TangoServerInstrumentor().instrument()
    def read_early(self, attr):
        attr.set_value(1.0)
"""
ORDERS = {
    "telemetry, tango": (TELEMETRY, TANGO, CLASS, RUN),
    "tango, telemetry": (TANGO, TELEMETRY, CLASS, RUN),
    "class, telemetry": (TANGO, CLASS, TELEMETRY, RUN),
    "class, explicit": (TANGO, CLASS, INSTRUMENT, RUN),
    "server, explicit": (TANGO, CLASS, LATE, RUN),
}
CLIENT = """
import sys
import tango_telemetry_client, tango
from tango_telemetry import get_tracer
motor = tango.DeviceProxy(sys.argv[1])
with get_tracer("my.app").start_as_current_span("operation"):
    assert motor.command_inout("Go", 3) == 3
    assert motor.read_attribute(sys.argv[2]).value == 1.0
"""


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with System() as system:
        yield system


@pytest.mark.parametrize("order", list(ORDERS))
def test_order(system: System, order: str) -> None:
    source = "\n".join(("from __future__ import annotations", *ORDERS[order]))
    late = order.startswith("server")
    # cppTango reads its settings before a late call can prepare them: the context travels by GIOP alone then.
    environment = {"TANGO_TELEMETRY_ENABLE": ""} if late else {}
    if late:
        pytest.importorskip("tango_telemetry_native")
        if PYTANGO < (9, 4, 2):
            pytest.skip("server_init_hook is new in PyTango 9.4.2")
    server = system.start_server(source, "Motor/test", "test/motor/1", **environment)
    system.clear()
    name = "early" if late else "position"
    system.run_client(CLIENT, server.proxy_name("test/motor/1"), name)
    assert_trace(
        system.collect(),
        "operation",
        f"""
        command_inout Go         CLIENT  pytango.client
          Motor.Go               SERVER  Motor
        read_attribute {name}    CLIENT  pytango.client
          Motor.read {name}      SERVER  Motor
        """,
    )
    system.stop_server(server)


# Written with telemetry off and with it on: what a program sees of itself is the same.
LOOK = """
import inspect, pickle, sys
if sys.argv[1] == "on":
    import tango_telemetry_server
import tango
from tango.server import Device, attribute, command
from tango.test_context import DeviceTestContext, MultiDeviceTestContext
CLASS

def look(title):
    for name in ("Go", "init_device", "dev_state", "read_attr_hardware"):
        method = getattr(Motor, name)
        print(title, name, inspect.signature(method), method.__doc__, method.__name__, method.__qualname__,
              method.__module__, inspect.iscoroutinefunction(method), inspect.isfunction(method))
    print(title, inspect.getsource(Motor.Go), Motor.__doc__, Motor.__mro__[0])

class Other(Motor):
    pass

# Before any device server runs in this process: a fork of one that does would never start (10.1.5).
with MultiDeviceTestContext([{"class": Motor, "devices": [{"name": "test/m/1"}]},
                             {"class": Other, "devices": [{"name": "test/o/1"}]}], process=True) as context:
    print([context.get_device(name).Go(1) for name in ("test/m/1", "test/o/1")])
look("before")
with DeviceTestContext(Motor, process=False) as proxy:
    print(proxy.Go(3), proxy.position, proxy.state(), proxy.info().dev_class)
    look("while")
look("after")
"""


def test_a_program_sees_no_difference(system: System) -> None:
    path = system.write(LOOK.replace("CLASS", CLASS))
    off = system.run_client(path, "off", TANGO_TELEMETRY_ENABLE="off")
    system.clear()
    on = system.run_client(path, "on")
    assert on == off
    assert "3 1.0" in on
    names = {span.name for span in system.collect()}
    assert {"Motor.Go", "Motor.read position", "Motor.init_device"} <= names
    if PYTANGO >= (9, 5):  # the process of its own that a context makes ends normally, and is counted too
        assert "Other.Go" in names


COVERED = """
import coverage, sys
covered = coverage.Coverage(data_file=None, include=[__file__])
covered.start()
import tango_telemetry_server
import tango
from tango.server import Device, attribute, command
from tango.test_context import DeviceTestContext
CLASS
with DeviceTestContext(Motor, process=False) as proxy:
    assert proxy.command_inout("Go", 3) == 3
    assert proxy.read_attribute("position").value == 1.0
covered.stop()
source = open(__file__).read().splitlines()
missed = covered.analysis2(__file__)[3]
print("missed", [source[line - 1].strip() for line in missed])
"""


def test_coverage_sees_the_handlers(system: System) -> None:
    pytest.importorskip("coverage")
    if PYTANGO < (9, 5):
        pytest.skip("PyTango traces for coverage from 9.5 on")
    output = system.run_client(COVERED.replace("CLASS", CLASS))
    missed = next(line for line in output.splitlines() if line.startswith("missed"))
    assert "return steps" not in missed
    assert "return 1.0" not in missed
    assert "Motor.Go" in {span.name for span in system.collect()}
