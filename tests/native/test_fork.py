"""A forked child never hangs, whatever it does with Tango and however it ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tango
from native_support import IDL6_ON, Server, run_client, start_echo

HAS_TELEMETRY = bool(getattr(tango.constants, "TELEMETRY_SUPPORTED", False))
LIMIT = 15.0  # seconds for a child; it needs less than one

# An exporter with a thread behind it, and a collector that refuses: what made children of 10.3.1 hang.
EXPORTING = {
    "TANGO_TELEMETRY_ENABLE": "on",
    "TANGO_TELEMETRY_TRACES_EXPORTER": "grpc",
    "TANGO_TELEMETRY_TRACES_ENDPOINT": "grpc://127.0.0.1:9",
    "TANGO_TELEMETRY_TRACING_EXPORTERS": "grpc",
    "TANGO_TELEMETRY_TRACING_ENDPOINTS": "grpc://127.0.0.1:9",
}

# The parent is ended by os._exit: how long cppTango takes to give up its collector is not the subject.
CLIENT = """
import os, signal, sys, threading, time
import tango
import tango_telemetry_native as native
from tango_telemetry_native import giop
giop.install()
use, end, forker, url = sys.argv[1:]
proxy = tango.DeviceProxy(url)
parent = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"

def call():
    previous = giop.set_outgoing(parent, "")
    if use == "no bridge at all":
        answer = proxy.command_inout("Incoming")
    else:
        with native.TraceContextScope("x", parent, ""):
            answer = proxy.command_inout("Incoming")
    giop.restore_outgoing(previous)
    assert answer == parent + "|", answer

call()
request = proxy.command_inout_asynch("Incoming")
proxy.command_inout_reply(request, 3000)
status = []

def fork():
    child = os.fork()
    if child == 0:
        if use == "bridge":
            with native.TraceContextScope("x", parent, ""):
                native.get_trace_context()
            giop.set_outgoing(parent, "")
            giop.install()
            giop.status()
        if end == "_exit":
            os._exit(0)
        sys.exit(0)
    deadline = time.monotonic() + float(LIMIT)
    while time.monotonic() < deadline:
        pid, code = os.waitpid(child, os.WNOHANG)
        if pid:
            status.append(code)
            return
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    status.append("hangs")

if forker == "thread":
    # sys.exit in a thread ends the thread; so the child's ends the process as the interpreter would.
    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
else:
    fork()
if not status:  # the child, whose thread has ended by sys.exit
    sys.exit(0)
print(status, flush=True)
call()
os._exit(0 if status == [0] else 1)
""".replace("LIMIT", str(LIMIT))


@pytest.fixture(scope="module")
def idl6_echo() -> Iterator[Server]:
    with start_echo(IDL6_ON) as server:
        yield server


@pytest.mark.parametrize("forker", ["main", "thread"])
@pytest.mark.parametrize("end", ["exit", "_exit"])
@pytest.mark.parametrize("use", ["nothing", "bridge", "no bridge at all"])
@pytest.mark.parametrize("telemetry", ["off", "on"])
def test_child_of_a_client(idl6_echo: Server, telemetry: str, use: str, end: str, forker: str) -> None:
    extra = EXPORTING if telemetry == "on" and HAS_TELEMETRY else {}
    run_client(CLIENT, use, end, forker, idl6_echo.url(), extra=extra, timeout=LIMIT * 2)


@pytest.mark.parametrize("end", ["process", "_exit"])
@pytest.mark.parametrize("telemetry", ["off", "on"])
def test_child_of_a_server(telemetry: str, end: str) -> None:
    with start_echo(EXPORTING if telemetry == "on" and HAS_TELEMETRY else {}) as server:
        proxy = tango.DeviceProxy(server.url())
        proxy.set_timeout_millis(int(LIMIT * 1000))
        assert proxy.Fork(end) == "0"
        assert proxy.Fork(end) == "0"
        assert proxy.Incoming() == "-"
