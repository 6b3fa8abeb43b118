"""What cppTango calls on a device of either API level is traced alike: name, kind, service and place in the
trace.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from integration.server_operation import assert_operation, run
from integration.support import BRIDGES, PYTANGO, Server, System, find_span

HIGH = """
import tango_telemetry_server
import tango
from tango import AttrWriteType
from tango.server import Device, attribute, command, run

class Mixin:
    def server_init_hook(self):
        self.set_state(tango.DevState.ON)

class Base(Device):
    @attribute(dtype=float)
    def position(self):
        return 1.0

    @command(dtype_in=int, dtype_out=int)
    def Go(self, steps):
        return steps

    def dev_state(self):
        return tango.DevState.ON

class Motor(Mixin, Base):
    speed = attribute(dtype=float, access=AttrWriteType.READ_WRITE, fisallowed="is_speed_ok")

    def init_device(self):
        super().init_device()
        self._speed = 1.0

    def delete_device(self):
        super().delete_device()

    def read_speed(self):
        return self._speed

    def write_speed(self, value):
        self._speed = value

    def is_speed_ok(self, request):
        return True

    def always_executed_hook(self):
        pass

    def read_attr_hardware(self, attributes):
        pass

    @command(dtype_in=int, dtype_out=int)
    def Go(self, steps):
        return super().Go(steps) + 1

    @command
    def Twice(self):
        self.Go(1)
        self.Go(2)

    def is_Twice_allowed(self):
        return True

    @command
    def Extend(self):
        extra = attribute(name="extra", dtype=float, access=AttrWriteType.READ_WRITE)
        self.add_attribute(extra, self.read_extra, self.write_extra, self.is_extra_ok)
        low = tango.Attr("lowextra", tango.DevDouble, tango.READ)
        self.add_attribute(low, self.read_lowextra)
        self.add_command(command(f=self.Bonus, dtype_in=int, dtype_out=int))

    def read_extra(self, attr):
        attr.set_value(2.0)

    def write_extra(self, attr):
        attr.get_write_value()

    def is_extra_ok(self, request):
        return True

    def read_lowextra(self, attr):
        attr.set_value(3.0)

    def Bonus(self, value):
        return value * 2

    def is_Bonus_allowed(self):
        return True

    def dev_status(self):
        return "moving"

class Plain(Base):
    @command(dtype_out=[str])
    def Wrapped(self):
        # The methods that PyTango's own tracing has wrapped.
        codes = ((name, getattr(getattr(type(self), name), "__code__", None)) for name in dir(type(self)))
        return [name for name, code in codes if code is not None and code.co_name == "trace_wrapper"]

run((Motor, Plain))
"""

LOW = """
import tango_telemetry_server
import sys, tango

class Pump(tango.LatestDeviceImpl):
    def __init__(self, device_class, name):
        super().__init__(device_class, name)
        self.init_device()

    def init_device(self):
        self.set_state(tango.DevState.ON)

    def read_attr_hardware(self, attributes):
        pass

    def read_Flow(self, attr):
        attr.set_value(1.0)

    def write_Flow(self, attr):
        attr.get_write_value()

    def is_Flow_allowed(self, request):
        return True

    def Prime(self, value):
        self.Check()
        return value

    def is_Prime_allowed(self):
        return True

    def Check(self):
        pass

class PumpClass(tango.DeviceClass):
    cmd_list = {
        "Prime": [[tango.DevLong, "in"], [tango.DevLong, "out"]],
        "Check": [[tango.DevVoid], [tango.DevVoid]],
    }
    attr_list = {"Flow": [[tango.DevDouble, tango.SCALAR, tango.READ_WRITE]]}

class Turbo(Pump):
    def delete_device(self):
        pass

    def dev_state(self):
        return tango.LatestDeviceImpl.dev_state(self)

class TurboClass(PumpClass):
    pass

util = tango.Util(sys.argv)
util.add_class(PumpClass, Pump, "Pump")
util.add_class(TurboClass, Turbo, "Turbo")
util.server_init()
print("Ready to accept request", flush=True)
util.server_run()
"""


@pytest.fixture(scope="module", params=BRIDGES)
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    with System(request.param) as system:
        yield system


@pytest.fixture(scope="module")
def high(system: System) -> Server:
    system.clear()
    server = system.start_server(HIGH, "Motor/test", "Motor::test/motor/1", "Plain::test/plain/1")
    system.assert_forest(
        """
        Motor.init_device       SERVER    Motor
        Plain.init_device       SERVER    Plain
        """
        + ("Motor.server_init_hook  INTERNAL  Motor" if PYTANGO >= (9, 4, 2) else ""),
        ordered=False,
    )
    return server


@pytest.fixture(scope="module")
def low(system: System) -> Server:
    system.clear()
    server = system.start_server(LOW, "Pump/test", "Pump::test/pump/1", "Turbo::test/turbo/1")
    system.assert_forest(
        """
        Pump.init_device   SERVER  Pump
        Turbo.init_device  SERVER  Turbo
        """
    )
    return server


def test_command_with_its_hooks_and_the_one_of_its_base_class(system: System, high: Server) -> None:
    assert run(system, high, "print(device.command_inout('Go', 3))", "test/motor/1") == "4\n"
    spans = assert_operation(
        system,
        """
        command_inout Go              CLIENT    pytango.client
          Motor.always_executed_hook  INTERNAL  Motor
          Motor.Go                    SERVER    Motor
        """,
    )
    span = find_span(spans, "Motor.Go")
    assert span.attributes["rpc.method"] == span.attributes["tango.command.name"] == "Go"
    assert span.attributes["tango.device.name"] == "test/motor/1"
    assert span.attributes["tango.device.class"] == "Motor"
    assert span.attributes["code.function.name"] in ("Motor.Go", "Go")  # qualified from Python 3.11
    assert span.attributes["code.line.number"] == HIGH[: HIGH.index("return super().Go")].count("\n") - 1
    assert "tango.polling" not in span.attributes


def test_inherited_handlers_of_another_class_of_the_server(system: System, high: Server) -> None:
    code = "print(device.command_inout('Go', 3), device.read_attribute('position').value)"
    assert run(system, high, code, "test/plain/1") == "3 1.0\n"
    assert_operation(
        system,
        """
        command_inout Go         CLIENT  pytango.client
          Plain.Go               SERVER  Plain
        read_attribute position  CLIENT  pytango.client
          Plain.read position    SERVER  Plain
        """,
    )


def test_attribute_with_its_is_allowed_method(system: System, high: Server) -> None:
    run(
        system,
        high,
        "device.write_attribute('speed', 2.0); assert device.read_attribute('speed').value == 2.0",
        "test/motor/1",
    )
    spans = assert_operation(
        system,
        """
        write_attribute speed         CLIENT    pytango.client
          Motor.always_executed_hook  INTERNAL  Motor
          Motor.is_speed_allowed      INTERNAL  Motor
          Motor.write speed           SERVER    Motor
        read_attribute speed          CLIENT    pytango.client
          Motor.always_executed_hook  INTERNAL  Motor
          Motor.read_attr_hardware    INTERNAL  Motor
          Motor.is_speed_allowed      INTERNAL  Motor
          Motor.read speed            SERVER    Motor
        """,
    )
    span = find_span(spans, "Motor.read speed")
    assert span.attributes["rpc.method"] == span.attributes["tango.attribute.name"] == "speed"
    assert str(span.attributes["code.function.name"]).endswith("read_speed")


def test_handlers_that_call_each_other(system: System, high: Server) -> None:
    run(system, high, "device.command_inout('Twice')", "test/motor/1")
    assert_operation(
        system,
        """
        command_inout Twice           CLIENT    pytango.client
          Motor.always_executed_hook  INTERNAL  Motor
          Motor.is_Twice_allowed      INTERNAL  Motor
          Motor.Twice                 SERVER    Motor
            Motor.Go                  INTERNAL  Motor
            Motor.Go                  INTERNAL  Motor
        """,
    )


def test_state_and_status(system: System, high: Server) -> None:
    run(system, high, "device.command_inout('State'); device.command_inout('Status')", "test/motor/1")
    spans = assert_operation(
        system,
        """
        command_inout State           CLIENT    pytango.client
          Motor.always_executed_hook  INTERNAL  Motor
          Motor.dev_state             SERVER    Motor
        command_inout Status          CLIENT    pytango.client
          Motor.always_executed_hook  INTERNAL  Motor
          Motor.dev_status            SERVER    Motor
        """,
    )
    assert find_span(spans, "Motor.dev_state").attributes["tango.command.name"] == "State"


def test_dynamic_attributes_and_commands(system: System, high: Server) -> None:
    run(system, high, "device.command_inout('Extend'); device.get_command_list()", "test/motor/1")
    system.clear()
    code = (
        "device.write_attribute('extra', 1.0); device.read_attribute('extra'); "
        "print(device.read_attribute('lowextra').value, device.command_inout('Bonus', 2))"
    )
    assert run(system, high, code, "test/motor/1") == "3.0 4\n"
    # PyTango 9.3 asks nobody whether a dynamic command is allowed.
    asked = "Motor.is_Bonus_allowed  INTERNAL  Motor" if PYTANGO >= (9, 4) else ""
    assert_operation(
        system,
        f"""
        write_attribute extra         CLIENT    pytango.client
          Motor.always_executed_hook  INTERNAL  Motor
          Motor.is_extra_allowed      INTERNAL  Motor
          Motor.write extra           SERVER    Motor
        read_attribute extra          CLIENT    pytango.client
          Motor.always_executed_hook  INTERNAL  Motor
          Motor.read_attr_hardware    INTERNAL  Motor
          Motor.is_extra_allowed      INTERNAL  Motor
          Motor.read extra            SERVER    Motor
        read_attribute lowextra       CLIENT    pytango.client
          Motor.always_executed_hook  INTERNAL  Motor
          Motor.read_attr_hardware    INTERNAL  Motor
          Motor.read lowextra         SERVER    Motor
        command_inout Bonus           CLIENT    pytango.client
          Motor.always_executed_hook  INTERNAL  Motor
          {asked}
          Motor.Bonus                 SERVER    Motor
        """,
    )


def test_init_command_and_restart_of_a_device(system: System, high: Server) -> None:
    run(system, high, "device.command_inout('Init')", "test/motor/1")
    assert_operation(
        system,
        """
        command_inout Init            CLIENT    pytango.client
          Motor.always_executed_hook  INTERNAL  Motor
          Motor.delete_device         SERVER    Motor
          Motor.init_device           SERVER    Motor
        """,
    )
    run(
        system,
        high,
        "device.command_inout('DevRestart', 'test/motor/1'); devices[1].command_inout('Go', 1)",
        "dserver/Motor_test/test",
        "test/motor/1",
    )
    spans = system.collect()
    again = "".join(
        f"""
          Motor.{name}         SERVER    Motor"""
        for name in ("delete_device", "init_device")
    )
    if system.environment()["PYTANGO_TELEMETRY_CONTEXT_BRIDGE"] == "pytango":
        # The request goes to the admin device, which is C++: no context is there to be had (10.3.1).
        again = ""
        roots = [span.name for span in spans if span.service == "Motor" and not span.parent_span_id]
        assert roots == ["Motor.delete_device", "Motor.init_device"]
    assert_operation(
        system,
        f"""
        command_inout DevRestart      CLIENT    pytango.client{again}
        command_inout Go              CLIENT    pytango.client
          Motor.always_executed_hook  INTERNAL  Motor
          Motor.Go                    SERVER    Motor
        """,
    )


def test_low_level_device(system: System, low: Server) -> None:
    code = (
        "device.command_inout('Prime', 1); device.write_attribute('Flow', 1.0); "
        "device.read_attribute('Flow'); device.command_inout('State'); device.command_inout('Status')"
    )
    run(system, low, code, "test/pump/1")
    assert_operation(
        system,
        """
        command_inout Prime          CLIENT    pytango.client
          Pump.is_Prime_allowed      INTERNAL  Pump
          Pump.Prime                 SERVER    Pump
            Pump.Check               INTERNAL  Pump
        write_attribute Flow         CLIENT    pytango.client
          Pump.is_Flow_allowed       INTERNAL  Pump
          Pump.write Flow            SERVER    Pump
        read_attribute Flow          CLIENT    pytango.client
          Pump.read_attr_hardware    INTERNAL  Pump
          Pump.is_Flow_allowed       INTERNAL  Pump
          Pump.read Flow             SERVER    Pump
        command_inout State          CLIENT    pytango.client
          Pump.dev_state             SERVER    Pump
        command_inout Status         CLIENT    pytango.client
          Pump.dev_status            SERVER    Pump
        """,
    )


def test_low_level_device_that_inherits(system: System, low: Server) -> None:
    code = "device.command_inout('Prime', 1); device.command_inout('State'); device.command_inout('Init')"
    run(system, low, code, "test/turbo/1")
    assert_operation(
        system,
        """
        command_inout Prime          CLIENT    pytango.client
          Turbo.is_Prime_allowed     INTERNAL  Turbo
          Turbo.Prime                SERVER    Turbo
            Turbo.Check              INTERNAL  Turbo
        command_inout State          CLIENT    pytango.client
          Turbo.dev_state            SERVER    Turbo
        command_inout Init           CLIENT    pytango.client
          Turbo.delete_device        SERVER    Turbo
          Turbo.init_device          SERVER    Turbo
        """,
    )


@pytest.mark.skipif(
    PYTANGO < (10, 1), reason="a server of 9.5.1 or 10.0.3 dies of the signal at once, with or without us"
)
def test_devices_are_deleted_in_traces_of_their_own(system: System) -> None:
    server = system.start_server(HIGH, "Motor/gone", "Motor::test/motor/2", "Plain::test/plain/2")
    system.clear()
    system.stop_server(server)
    system.assert_forest(
        """
        Motor.delete_device  SERVER  Motor
        Plain.delete_device  SERVER  Plain
        """,
        ordered=False,
    )


def test_the_builtin_tracing_wraps_nothing_that_a_request_passes(system: System, high: Server) -> None:
    """Its wrapper costs three steps of Python for each of two hooks at every request, though it is told to do
    nothing.
    """
    names = run(system, high, "print(*device.command_inout('Wrapped'))", "test/plain/1").split()
    assert not names, names
