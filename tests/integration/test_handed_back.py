"""After the last ``uninstrument()`` the environment is the user's again, and PyTango's own tracing follows
it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.support import PYTANGO, Server, System

FOLLOWER = Path(__file__).parent / "follower.py"
SCRIPT = """
import os, sys
def settings():
    return {name: value for name, value in os.environ.items() if "TELEMETRY" in name}
before = settings()
{imports}
from tango_telemetry_client import TangoClientInstrumentor
from tango_telemetry_server import TangoServerInstrumentor

proxy = tango.DeviceProxy(sys.argv[1])

def ours():
    proxy.command_inout("Go")

def pytangos():
    proxy.command_inout("Go")

ours()
handed = settings()
TangoClientInstrumentor().uninstrument()
assert settings() == handed
TangoServerInstrumentor().uninstrument()  # the last one
assert settings() == before, (settings(), before)
pytangos()
print("handed on" if handed != before else "nothing handed on")
"""
# What PyTango's own tracing understands, in the names of its version.
FAMILY = (
    ("TRACING_EXPORTERS", "TRACING_ENDPOINTS")
    if PYTANGO >= (10, 3)
    else ("TRACES_EXPORTER", "TRACES_ENDPOINT")
)


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with System() as system:
        yield system


@pytest.fixture(scope="module")
def server(system: System) -> Server:
    return system.start_server(FOLLOWER, "Follower/test", "test/follower/1")


def run(system: System, server: Server, imports: str, **environment: str) -> str:
    script = SCRIPT.replace("{imports}", imports)
    return system.run_client(script, server.proxy_name("test/follower/1"), **environment)


@pytest.mark.skipif(PYTANGO < (10,), reason="Tango 9 is handed nothing, and PyTango 9 does not trace")
@pytest.mark.parametrize(
    "imports",
    ["import tango\nimport tango_telemetry_server", "import tango_telemetry_server\nimport tango"],
    ids=["tango first", "telemetry first"],
)
@pytest.mark.parametrize("kernel", ["", "on"])
def test_pytangos_own_tracing_follows_the_users_settings(
    system: System, server: Server, imports: str, kernel: str
) -> None:
    system.clear()
    exporter, endpoint = (f"TANGO_TELEMETRY_{name}" for name in FAMILY)
    names = {"TANGO_TELEMETRY_TRACES_EXPORTER": "", "TANGO_TELEMETRY_TRACES_ENDPOINT": ""}
    settings = {**names, exporter: "http", endpoint: system.receiver.endpoint}
    output = run(system, server, imports, TANGO_TELEMETRY_KERNEL_ENABLE=kernel, **settings)
    # With the native package cppTango is answered where it asks, and the environment is the user's all the
    # time.
    native = importlib.util.find_spec("tango_telemetry_native") is not None
    assert output.splitlines()[-1] == ("nothing handed on" if native else "handed on")
    spans = [span for span in system.collect() if span.service == "pytango.client"]
    # PyTango names a client span after the function that makes the call.
    assert "pytangos" in [span.name.rpartition(".")[2] for span in spans], [span.name for span in spans]
    assert "command_inout Go" in [span.name for span in spans]
    assert "ours" not in [span.name.rpartition(".")[2] for span in spans]
    system.clear()


def to_files(system: System) -> dict[str, str]:
    """The exporter that only we have, in the names of this PyTango's version."""
    exporter, endpoint = (f"TANGO_TELEMETRY_{name}" for name in FAMILY)
    names = {"TANGO_TELEMETRY_TRACES_EXPORTER": "", "TANGO_TELEMETRY_TRACES_ENDPOINT": ""}
    return {**names, exporter: "file", endpoint: str(system.folder / "spans")}


def test_an_exporter_that_only_we_have_leaves_nothing_that_could_fail(system: System, server: Server) -> None:
    """cppTango 10.3.1 fails at each new proxy for an exporter that it does not know."""
    script = """
    import os, sys
    import tango, tango_telemetry_client
    from tango_telemetry_client import TangoClientInstrumentor
    tango_telemetry_client.TangoClientInstrumentor().uninstrument()
    tango.DeviceProxy(sys.argv[1]).command_inout("Go")
    import tango_telemetry
    print(tango_telemetry.TelemetryConfig.from_env(os.environ).endpoints[0].exporter)
    """
    settings = to_files(system)
    output = system.run_client(script, server.proxy_name("test/follower/1"), **settings)
    assert output.split() == [
        "file"
    ]  # and nothing on the console; a child process still reads what the user set
    system.clear()


@pytest.mark.parametrize("enable", ["off", ""])
def test_that_exporter_does_not_stop_a_program_that_is_off(
    system: System, server: Server, enable: str
) -> None:
    script = """
    import sys
    import tango_telemetry_client, tango
    print(tango.DeviceProxy(sys.argv[1]).command_inout("Echo", "served"))
    """
    settings = {**to_files(system), "TANGO_TELEMETRY_ENABLE": enable}
    output = system.run_client(script, server.proxy_name("test/follower/1"), **settings)
    assert output.split() == ["served"]
