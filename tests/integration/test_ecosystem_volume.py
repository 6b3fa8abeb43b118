"""Volume control between real processes: what is excluded, how many traces, and changes at run time."""

from __future__ import annotations

import pytest
from support import System, find_span

SERVER = """
    from tango import DevState
    from tango.server import Device, attribute, command
    import tango_telemetry_server
    import tango

    class Motor(Device):
        @command(dtype_in=str)
        def Ask(self, other):
            tango.DeviceProxy(other).position

        @command
        def Fail(self):
            raise RuntimeError("stuck")

        @attribute(dtype=float)
        def position(self):
            return 1.5

        @attribute(dtype=float)
        def temperature(self):
            return 20.0

    if __name__ == "__main__":
        Motor.run_server()
"""

CLIENT = """
    import sys
    import tango, tango_telemetry_client
    first, second = (tango.DeviceProxy(name) for name in sys.argv[1:3])
    first.position
    first.temperature
    second.position
    first.Ask(sys.argv[2])
"""


def _names(system: System) -> list[str]:
    return sorted(
        span.name.removeprefix("Motor.")
        + "@"
        + str(span.attributes.get("tango.device.name", "")).split("/")[-1]
        for span in system.collect()
        if span.attributes.get("tango.operation") in ("read_attribute", "command", "command_inout")
    )


ALL = [
    "Ask@1",
    "command_inout Ask@1",
    "read position@1",
    "read position@2",
    "read position@2",
    "read temperature@1",
    "read_attribute position@1",
    "read_attribute position@2",
    "read_attribute position@2",
    "read_attribute temperature@1",
]


@pytest.mark.parametrize(
    ("pattern", "gone"),
    [
        ("attribute:temperature", ["read temperature@1", "read_attribute temperature@1"]),
        ("attribute:*/*/1/Temp*", ["read temperature@1", "read_attribute temperature@1"]),
        ("class:motor", ["Ask@1", "read position@1", "read position@2", "read position@2",
                         "read temperature@1", "read_attribute position@2"]),
        ("device:sys/motor/2", ["read position@2"] * 2 + ["read_attribute position@2"] * 2),
        ("command:ask", ["Ask@1", "command_inout Ask@1", "read_attribute position@2"]),
        ("operation:read_attribute, command:State", [name for name in ALL if "Ask" not in name]),
    ],
)  # fmt: skip
def test_what_is_excluded_makes_no_span_and_passes_the_context_through(pattern: str, gone: list[str]) -> None:
    with System(PYTANGO_TELEMETRY_EXCLUDE=pattern) as system:
        server = system.start_server(SERVER, "Motor/test", "sys/motor/1,sys/motor/2")
        devices = [server.proxy_name(f"sys/motor/{number}") for number in (1, 2)]
        system.clear()
        system.run_client(CLIENT, *devices)
        left = list(ALL)
        for name in gone:
            left.remove(name)
        assert _names(system) == left
        if pattern == "class:motor":
            return
        spans = {span.span_id: span for span in system.collect()}
        for span in spans.values():
            assert not span.parent_span_id or span.parent_span_id in spans, f"{span.name} is an orphan"


def test_an_excluded_device_hands_its_callers_context_on() -> None:
    with System() as system:
        middle = system.start_server(
            SERVER, "Motor/middle", "sys/motor/1", PYTANGO_TELEMETRY_EXCLUDE="class:Motor"
        )
        end = system.start_server(SERVER, "Motor/end", "sys/motor/2")
        names = middle.proxy_name("sys/motor/1"), end.proxy_name("sys/motor/2")
        system.clear()
        system.run_client(CLIENT, *names)
        ask = find_span(system.collect(), "command_inout Ask")
        children = [s for s in system.collect() if s.parent_span_id == ask.span_id]
        assert [child.name for child in children] == ["Motor.read position"]


LIMITED = """
    import sys
    import tango, tango_telemetry, tango_telemetry_client
    made_by = type(tango_telemetry.get_tracer("lab")).__module__
    assert made_by.startswith("tango_telemetry_native") == (sys.argv[2] == "on"), made_by
    motor = tango.DeviceProxy(sys.argv[1])
    for _ in range(40):
        motor.position
    for _ in range(3):
        try:
            motor.Fail()
        except tango.DevFailed:
            pass
"""


@pytest.mark.parametrize("spans", ["on", "off"])
def test_new_traces_per_second_are_bounded_and_failures_kept(spans: str) -> None:
    with System(PYTANGO_TELEMETRY_NATIVE_SPANS=spans) as system:
        server = system.start_server(SERVER, "Motor/test", "sys/motor/1")
        device = server.proxy_name("sys/motor/1")
        system.clear()
        system.run_client(LIMITED, device, spans, PYTANGO_TELEMETRY_TRACES_PER_SECOND="0.001")
        spans = system.collect()
        roots = [span for span in spans if not span.parent_span_id]
        good = [span for span in roots if span.status != "ERROR"]
        assert len(good) == 1, [span.name for span in good]
        assert [s.name for s in roots if s.status == "ERROR"] == ["command_inout Fail"] * 3
        assert len([span for span in spans if span.name == "Motor.read position"]) <= 1


RECONFIGURED = """
    import os, sys
    import tango, tango_telemetry, tango_telemetry_client
    from tango_telemetry import Endpoint
    motor = tango.DeviceProxy(sys.argv[1])
    motor.position
    tango_telemetry.configure(endpoints=(Endpoint("file", sys.argv[2]),))
    motor.temperature
    tango_telemetry.configure(endpoints=(Endpoint("http", sys.argv[3]),),
                              exclude=("attribute:temperature",))
    motor.temperature
    motor.position
    tango_telemetry.configure(traces_per_second=0.0)
    motor.position
"""


def test_clients_follow_changes_at_run_time_and_earlier_spans_arrive() -> None:
    with System() as system:
        server = system.start_server(SERVER, "Motor/test", "sys/motor/1", PYTANGO_TELEMETRY_EXCLUDE="class:*")
        folder = system.folder / "traces"
        system.clear()
        system.run_client(
            RECONFIGURED, server.proxy_name("sys/motor/1"), str(folder), system.receiver.endpoint
        )
        reads = [s.name for s in system.collect() if s.name.startswith("read_attribute")]
        assert reads == ["read_attribute position"] * 2
        written = "".join(path.read_text() for path in folder.iterdir())
        assert written.count("read_attribute temperature") == 1


SWITCHED = """
    import sys
    import tango, tango_telemetry, tango_telemetry_client
    motor = tango.DeviceProxy(sys.argv[1])
    for enabled in (True, False, True):
        tango_telemetry.configure(enabled=enabled)
        with tango_telemetry.get_tracer("lab").start_as_current_span(f"enabled {enabled}"):
            motor.Switch(enabled)
            motor.position
"""
SWITCHED_SERVER = SERVER.replace(
    "        @command\n",
    """
        @command(dtype_in=bool)
        def Switch(self, enabled):
            import tango_telemetry
            tango_telemetry.configure(enabled=enabled)

        def create_telemetry_tracer_provider(self, class_name, device_name):
            import tango_telemetry
            return tango_telemetry.create_tracer_provider(class_name, device_name)

        @command
""",
    1,
)


def test_a_process_is_switched_off_and_on_at_run_time() -> None:
    with System() as system:
        server = system.start_server(SWITCHED_SERVER, "Motor/test", "sys/motor/1")
        system.clear()
        system.run_client(SWITCHED, server.proxy_name("sys/motor/1"))
        spans = system.collect()
        assert [s.name for s in spans if s.service == "lab"] == ["enabled True"] * 2
        assert len([s for s in spans if s.name == "read_attribute position"]) == 2
        assert len([s for s in spans if s.name == "Motor.read position"]) == 2


RECONFIGURING_SERVER = SERVER.replace(
    "        @command\n",
    """
        @command(dtype_in=str)
        def SendTo(self, folder):
            import tango_telemetry
            tango_telemetry.configure(endpoints=(tango_telemetry.Endpoint("file", folder),))

        @command
""",
    1,
)


def test_devices_follow_changes_at_run_time() -> None:
    with System() as system:
        server = system.start_server(RECONFIGURING_SERVER, "Motor/test", "sys/motor/1")
        folder = system.folder / "traces"
        script = """
            import sys, tango
            motor = tango.DeviceProxy(sys.argv[1])
            motor.position
            motor.SendTo(sys.argv[2])
            motor.temperature
        """
        system.clear()
        system.run_client(script, server.proxy_name("sys/motor/1"), str(folder), TANGO_TELEMETRY_ENABLE="off")
        names = [span.name for span in system.collect()]
        assert "Motor.read position" in names
        assert "Motor.read temperature" not in names
        written = "".join(path.read_text() for path in folder.iterdir())
        assert written.count("Motor.read temperature") == 1
