"""Calls that a device server makes outside its devices' handlers belong to the server, from its first line
on.
"""

from __future__ import annotations

import pytest
from integration.support import System

PEER = """
    import tango_telemetry_server
    from tango.server import Device, command

    class Peer(Device):
        @command
        def Ping(self, phase: str):
            pass

    Peer.run_server()
"""
CALLS = """
    import inspect
    import sys
    import threading
    import tango_telemetry_server
    import tango
    from tango import server

    peer_name = sys.argv.pop()

    def call(phase):
        tango.DeviceProxy(peer_name).command_inout("Ping", phase)

    class MotorOfTest(server.Device):
        pass

    {more}
    call("before")
"""
HIGH_LEVEL = (
    CALLS
    + """
    def initialised():
        call("post_init")
        thread = threading.Thread(target=call, args=("thread",))
        thread.start()
        thread.join()

    hooks = {"post_init_callback": initialised}
    if "pre_init_callback" in inspect.signature(server.run).parameters:
        hooks["pre_init_callback"] = lambda: call("pre_init")
    MotorOfTest.run_server(**hooks)
"""
)
LOW_LEVEL = (
    CALLS
    + """
    made = tango.Util(sys.argv) if {by_constructor} else tango.Util.init(sys.argv)
    call("Util")
    server._add_classes(made, [MotorOfTest]) if hasattr(server, "_add_classes") else made.add_class(
        MotorOfTest.TangoClassClass, MotorOfTest, "MotorOfTest"
    )
    call("classes")
    made.server_init()
    call("initialised")
    print("Ready to accept request", flush=True)
    made.server_run()
"""
)


@pytest.fixture(scope="module")
def system() -> System:
    with System() as system:
        system.start_server(PEER, "Peer/test", "test/peer/1")
        yield system


def _services(system: System, source: str) -> set[str]:
    """The services of all calls of a server up to when it is ready."""
    peer = system.servers[0].proxy_name("test/peer/1")
    system.clear()
    server = system.start_server(source.replace("{more}", ""), "Motor/test", "test/motor/1", arguments=[peer])
    spans = system.collect()
    system.stop_server(server)
    assert "internal error" not in server.output, server.output
    assert {span.name for span in spans} >= {"DeviceProxy", "command_inout Ping"}
    return {span.service for span in spans if span.name in ("DeviceProxy", "command_inout Ping")}


def test_of_the_high_level_api(system: System) -> None:
    assert _services(system, HIGH_LEVEL) == {"MotorOfTest/test"}


@pytest.mark.parametrize("by_constructor", [True, False])
def test_of_the_low_level_api(system: System, by_constructor: bool) -> None:
    source = LOW_LEVEL.replace("{by_constructor}", str(by_constructor))
    # A server of several classes has the name of its file.
    source = source.replace("{more}", "class Shutter(server.Device): pass")
    assert _services(system, source) == {"Motor_test/test"}


UNKNOWN = HIGH_LEVEL.replace("    class MotorOfTest", "    call('unknown')\n\n    class MotorOfTest")


def test_before_a_device_class_is_there_nobody_knows(system: System) -> None:
    """The calls before `run_server()` are a client's then, and those from there on the server's."""
    assert _services(system, UNKNOWN) == {"pytango.client", "MotorOfTest/test"}


def test_instrumented_while_it_runs(system: System) -> None:
    late = """
    import sys
    import threading
    import tango
    from tango.server import Device, command

    class MotorOfTest(Device):
        @command
        def Start(self, peer: str):
            from tango_telemetry_server import TangoServerInstrumentor

            TangoServerInstrumentor().instrument()
            thread = threading.Thread(target=lambda: tango.DeviceProxy(peer).command_inout("Ping", "late"))
            thread.start()
            thread.join()

    MotorOfTest.run_server()
"""
    peer = system.servers[0].proxy_name("test/peer/1")
    server = system.start_server(late, "Motor/test", "test/motor/1", TANGO_TELEMETRY_TRACING_EXPORTERS="")
    script = "import sys, tango\ntango.DeviceProxy(sys.argv[1]).Start(sys.argv[2])"
    system.clear()
    system.run_client(script, server.proxy_name("test/motor/1"), peer, TANGO_TELEMETRY_ENABLE="off")
    spans = system.collect()
    system.stop_server(server)
    assert {span.service for span in spans if span.name == "DeviceProxy"} == {"MotorOfTest/test"}


def test_a_script_with_an_argument_is_no_server(system: System) -> None:
    peer = system.servers[0].proxy_name("test/peer/1")
    system.clear()
    system.run_client(
        """
        import sys
        import tango_telemetry_client
        import tango

        tango.DeviceProxy(sys.argv[2]).command_inout("Ping", "script")
        """,
        "once",
        peer,
    )
    assert {span.service for span in system.collect()} == {"pytango.client", "Peer"}
