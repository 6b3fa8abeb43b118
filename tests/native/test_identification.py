"""Tango's client identification, written and read in cppTango's place: between real servers, and the reader
alone.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import tango
from native_support import IDL6_ON, Server, run_client, start_echo

HERE = Path(__file__).resolve().parent
BRIDGE = HERE.parents[1] / "packages/tango-telemetry-native/src/bridge"
HAS_TELEMETRY = bool(getattr(tango.constants, "TELEMETRY_SUPPORTED", False))
needs_telemetry = pytest.mark.skipif(
    not HAS_TELEMETRY, reason="this PyTango has no client identification with a context (10.0 and later do)"
)


def test_the_reader_alone(tmp_path: Path) -> None:
    """Under sanitizers: what peers may send, another layout, who is believed."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None or not BRIDGE.is_dir():
        pytest.skip("no C++ compiler, or the sources are not here")
    flags = ["-g", "-O1", "-std=c++17", "-Wall", "-Wextra", "-Werror"]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = [str(HERE / "identification_check.cpp"), str(BRIDGE / "identification.cpp")]
    program = tmp_path / "check"
    subprocess.run(
        [compiler, *flags, *sanitizers, "-I", str(BRIDGE), *sources, "-o", str(program)], check=True
    )
    result = subprocess.run([str(program)], text=True, capture_output=True, check=False)
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr[-3000:]


@pytest.mark.parametrize(
    ("prelude", "reason"),
    [
        ("", "PyTango is not imported"),
        ("import tango", "omniORB's interceptors are not registered"),
        ("import tango; tango._tango.__file__ = '/nowhere'", "not found"),
    ],
)
@needs_telemetry
def test_what_is_refused(prelude: str, reason: str) -> None:
    script = f"""
{prelude}
from tango_telemetry_native import identification, status
assert status()["identification"]["reason"] == "it was not asked for"
assert not identification.install()
found = status()["identification"]
assert not found["client"] and not found["server"]
assert {reason!r} in found["reason"], found
"""
    run_client(script)


@pytest.mark.skipif(HAS_TELEMETRY, reason="this PyTango has telemetry")
def test_tango_9_is_refused() -> None:
    script = """
import tango
from tango_telemetry_native import giop, identification
assert giop.install() and not identification.install()
assert "not found" in identification.status()["reason"]
"""
    run_client(script)


CLIENT = """
import sys, threading
import tango
import tango_telemetry_native as native
from tango_telemetry_native import giop, identification
A = "00-" + "a" * 32 + "-" + "1" * 16 + "-01"
B = "00-" + "b" * 32 + "-" + "2" * 16 + "-00"
ENTRY = "tango=" + "2" * 16 + "-00"
assert giop.install() and identification.install(), native.status()
proxy = tango.DeviceProxy(sys.argv[1])

class given:
    def __init__(self, *texts):
        self.texts = texts
    def __enter__(self):
        self.previous = giop.set_outgoing(*self.texts)
    def __exit__(self, *error):
        giop.restore_outgoing(self.previous)

def trace(seen):
    # cppTango's own span stands there where cppTango has read it
    parent, _, state = seen.partition("|")
    return parent[3:35], state

def expect(seen, parent, state):
    assert trace(seen) == (parent[3:35], state), seen
"""
WRITES = """
def check():
    for _ in range(3):
        with given(A, "x=1"):
            expect(proxy.command_inout("Idl6"), A, "x=1")
            expect(proxy.read_attribute("idl6").value, A, "x=1")
            proxy.write_attribute("written6", "w")
            word, seen = proxy.read_attribute("written6").value.split()[:2]
            expect(seen, A, "x=1")
            for seen in proxy.write_read_attribute("written6", "v").value.split()[1:]:
                expect(seen, A, "x=1")
            number = proxy.command_inout_asynch("Idl6")
            with given(B, ENTRY):
                expect(proxy.command_inout("Idl6"), B, ENTRY)
                other = proxy.read_attribute_asynch("idl6")
            with given("", ""):
                assert "a" * 32 not in proxy.command_inout("Idl6")
            expect(proxy.command_inout_reply(number, 5000), A, "x=1")
            expect(proxy.read_attribute_reply(other, 5000).value, B, ENTRY)
            group = tango.Group("g")
            group.add(sys.argv[1:])
            for reply in group.command_inout("Idl6"):
                expect(reply.get_data(), A, "x=1")
        seen = proxy.command_inout("Idl6")
        assert "a" * 32 not in seen and "b" * 32 not in seen, seen

check()
failed = []
def work(number):
    global_parent = f"00-{number:032x}-{number:016x}-01"
    own = tango.DeviceProxy(sys.argv[1])
    try:
        for call in range(200):
            with given(global_parent, f"n={number}"):
                expect(own.command_inout("Idl6"), global_parent, f"n={number}")
            if call % 50 == 0:
                assert f"{number:032x}" not in own.command_inout("Idl6")
    except BaseException as error:
        failed.append(repr(error))
threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed
assert identification.status()["counters"]["answered"] > 1600
identification.disable()
with given(A, "x=1"):
    assert "a" * 32 not in proxy.command_inout("Idl6")  # cppTango's own again
assert not identification.status()["client"]
"""


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    """A server whose context is read by cppTango."""
    with start_echo(IDL6_ON) as server:
        yield server


@needs_telemetry
@pytest.mark.parametrize("telemetry", ["off", "on"])
def test_what_is_sent(plain: Server, telemetry: str) -> None:
    """Also without cppTango's telemetry in the client."""
    run_client(
        CLIENT + WRITES, plain.url(), plain.url("test/echo/2"), extra=IDL6_ON if telemetry == "on" else {}
    )


READS = """
identification.disable()  # cppTango sends, from a scope
def expect_inside():
    for state in ("x=1", "tango=" + "9" * 16 + "-01", "y=" + "z" * 250):
        with native.TraceContextScope("outer", A, state):
            expect(proxy.command_inout("Idl6"), A, state)
            expect(proxy.read_attribute("idl6").value, A, state)
            proxy.write_attribute("written6", "w")
            expect(proxy.read_attribute("written6").value.split()[1], A, state)
            for seen in proxy.write_read_attribute("written6", "v").value.split()[1:]:
                expect(seen, A, state)
    assert "a" * 32 not in proxy.command_inout("Idl6")

for _ in range(4):
    expect_inside()
import json
status = json.loads(proxy.IdentificationStatus())
assert status["reason"] == "" and status["server"], status
counters = status["counters"]
assert counters["taken"] >= 50 and counters["failed_checks"] == 0, counters
print(counters["compared"])
"""


@needs_telemetry
@pytest.mark.parametrize("how", ["read", "scopes"])
@pytest.mark.parametrize("telemetry", ["off", "on"])
def test_what_is_received(telemetry: str, how: str) -> None:
    """Also without cppTango's telemetry in the server, and where its scopes are kept."""
    extra = {**(IDL6_ON if telemetry == "on" else {}), "ECHO_IDENTIFICATION": how}
    with start_echo(extra) as server:
        output = run_client(CLIENT + READS, server.url(), extra=IDL6_ON).stdout
    # cppTango has nothing to compare with where its telemetry is off.
    assert int(output.strip().splitlines()[-1]) == (8 if telemetry == "on" else 0)


BOTH = """
for _ in range(3):
    with given(A, "x=1"):
        assert proxy.command_inout("Idl6") == A + "|x=1"  # as it was set, character for character
        assert proxy.command_inout("Incoming") == A + "|x=1"
    with given(B, ENTRY):
        assert proxy.command_inout("Idl6") == B + "|" + ENTRY
    with given(B, "x=1"):  # neither sampled nor with our entry: what GIOP says is the same
        assert proxy.command_inout("Idl6") == B + "|x=1"
    assert "a" * 32 not in proxy.command_inout("Idl6") and "b" * 32 not in proxy.command_inout("Idl6")
"""
HANDED_ON = """
with given(A, "x=1"):
    print(repr(list(proxy.command_inout("CallUnseen", sys.argv[2]))))
"""
OWN = "00-" + "a" * 32 + "-" + "1" * 16 + "-01|x=1"
SET_THERE = f"00-{0xCA11:032x}-{4:016x}-01|tango=0000000000000004-01,on=1"


def call_on(server: Server, device: str, extra: dict[str, str]) -> list[str]:
    """What CallUnseen of one device gives for another, called with OWN."""
    output = run_client(CLIENT + BOTH + HANDED_ON, server.url(), device, extra=extra).stdout
    seen: list[str] = ast.literal_eval(output.strip().splitlines()[-1])
    return seen


@needs_telemetry
@pytest.mark.parametrize("telemetry", ["off", "on"])
def test_a_call_that_was_given_nothing_hands_on_what_came(plain: Server, telemetry: str) -> None:
    extra = {**(IDL6_ON if telemetry == "on" else {}), "ECHO_IDENTIFICATION": "read"}
    with start_echo(extra) as server:
        here, unseen, given, again = call_on(server, plain.url(), extra)
    assert here == again == OWN
    assert (unseen[3:35], unseen.partition("|")[2]) == ("a" * 32, "x=1")
    assert (given[3:35], given.partition("|")[2]) == (SET_THERE[3:35], SET_THERE.partition("|")[2])


@needs_telemetry
def test_inside_a_process() -> None:
    """Nothing is read there, and the caller's request counts again afterwards."""
    extra = {**IDL6_ON, "ECHO_IDENTIFICATION": "read"}
    with start_echo(extra) as server:
        for _ in range(2):
            here, unseen, _, again = call_on(server, server.url("test/echo/2"), extra)
            assert here == unseen == again == OWN


@needs_telemetry
def test_a_client_that_becomes_a_server(plain: Server) -> None:
    """omniORB forgets the interceptors with the client's ORB; the two redirected calls it does not."""
    extra = {**IDL6_ON, "ECHO_IDENTIFICATION": "read", "ECHO_FIRST_CALL": plain.url()}
    with start_echo(extra) as server:
        run_client(CLIENT + BOTH, server.url(), extra=IDL6_ON)


@needs_telemetry
def test_after_a_restart_of_the_devices() -> None:
    script = BOTH + "tango.DeviceProxy(sys.argv[2]).DevRestart('test/echo/1')\n"
    with start_echo({**IDL6_ON, "ECHO_IDENTIFICATION": "read"}) as server:
        admin = server.url("dserver/echo_server/test")
        run_client(CLIENT + script + BOTH, server.url(), admin, extra=IDL6_ON)
        status = json.loads(tango.DeviceProxy(server.url()).IdentificationStatus())
    assert status["counters"]["failed_checks"] == 0


FORK = """
import os
def check():
    with given(A, "x=1"):
        child = os.fork()
        if child == 0:
            seen = tango.DeviceProxy(sys.argv[1]).command_inout("Idl6")
            os._exit(0 if trace(seen) == ("a" * 32, "x=1") else 1)
        assert os.waitpid(child, 0)[1] == 0
        expect(proxy.command_inout("Idl6"), A, "x=1")
check()
os._exit(0)
"""


@needs_telemetry
def test_in_a_forked_child(plain: Server) -> None:
    run_client(CLIENT + FORK, plain.url(), timeout=60)
