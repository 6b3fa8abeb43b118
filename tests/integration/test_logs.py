"""Log records of real device servers: each carries the trace and span of the handler that wrote it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from integration.support import PYTANGO, System
from receiver import ReceivedLog, Receiver

RECORDS = int(os.environ.get("TANGO_TELEMETRY_TEST_LOGS", "600"))
"""Records of each green mode; 10,000 for the figure in the documentation (make test-logs)."""

# Each record says which span its writer has found current. What it must carry is in its text, then.
SYNCHRONOUS = """
import logging, sys, threading
import tango, tango_telemetry_server, tango_telemetry
from opentelemetry.trace import get_current_span
from tango.server import Device, command, run

log = logging.getLogger("program")
log.setLevel(logging.INFO)

def here(what):
    context = get_current_span().get_span_context()
    return f"{what} {context.trace_id:032x} {context.span_id:016x}"

class Writer(Device):
    @command(dtype_in=int)
    def Write(self, number):
        self.warn_stream("%s", here("stream"))
        log.info(here("logging"))
        with self.get_telemetry_tracer().start_as_current_span("own"):
            self.error_stream(here("own"))
            log.warning("%s", here("own"))
        thread = threading.Thread(target=tango_telemetry.carry_context(lambda: log.warning(here("thread"))))
        thread.start()
        thread.join()
        print(here("printed"), file=self.log_fatal)

run((Writer,), green_mode=tango.GreenMode.MODE)
"""
ASYNCIO = """
import asyncio, logging
import tango, tango_telemetry_server, tango_telemetry
from opentelemetry.trace import get_current_span
from tango.server import Device, command, run

log = logging.getLogger("program")
log.setLevel(logging.INFO)

def here(what):
    context = get_current_span().get_span_context()
    return f"{what} {context.trace_id:032x} {context.span_id:016x}"

class Writer(Device):
    @command(dtype_in=int)
    async def Write(self, number):
        self.warn_stream("%s", here("stream"))
        await asyncio.sleep(0)
        log.info(here("logging"))
        with self.get_telemetry_tracer().start_as_current_span("own"):
            await asyncio.sleep(0)
            self.error_stream(here("own"))
            log.warning("%s", here("own"))
        await asyncio.create_task(self.task())
        print(here("printed"), file=self.log_fatal)

    async def task(self):
        log.warning(here("thread"))

run((Writer,), green_mode=tango.GreenMode.Asyncio)
"""
# Four clients at once, then a callback of each.
CLIENT = """
import logging, sys, threading
import tango, tango_telemetry_client, tango_telemetry
from opentelemetry.trace import get_current_span

logging.getLogger().setLevel(logging.INFO)
log = logging.getLogger("client")
names, calls = sys.argv[1].split(","), int(sys.argv[2])

def here(what):
    context = get_current_span().get_span_context()
    return f"{what} {context.trace_id:032x} {context.span_id:016x}"

def called_back(event):
    log.info(here("callback"))

def work(number):
    proxy = tango.DeviceProxy(names[number % len(names)])
    with tango_telemetry.get_tracer("client").start_as_current_span("work"):
        for call in range(calls):
            proxy.Write(call)
        log.info(here("client"))

def call_back(number):
    proxy = tango.DeviceProxy(names[number % len(names)])
    with tango_telemetry.get_tracer("client").start_as_current_span("work"):
        proxy.command_inout_asynch("Write", 1, called_back)
        proxy.get_asynch_replies(10000)

threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for number in range(4):  # one after the other: PyTango mixes up the replies of several threads
    call_back(number)
"""
MODES = ["Synchronous", "Futures", "Gevent", "Asyncio"]


@pytest.mark.parametrize("mode", MODES)
def test_every_record_carries_the_span_that_was_current(mode: str) -> None:
    calls = max(1, RECORDS // 24)
    source = ASYNCIO if mode == "Asyncio" else SYNCHRONOUS.replace("MODE", mode)
    with System(PYTANGO_TELEMETRY_LOGS="all") as system:
        devices = ("test/writer/1", "test/writer/2")
        server = system.start_server(source, "Writer/logs", *devices)
        system.run_client(CLIENT, ",".join(map(server.proxy_name, devices)), str(calls), timeout=240)
        server.flush()
        expected = 6 * 4 * (calls + 1)
        logs = [log for log in system.receiver.logs if log.service == "Writer"]
        assert len(logs) == expected
        wrong = [log for log in logs if not _fits(log)]
        assert not wrong, wrong[:3]
        spans = {(span.trace_id, span.span_id): span for span in system.receiver.spans}
        for log in logs:
            span = spans[log.trace_id, log.span_id]
            assert span.name == ("own" if log.body.startswith("own") else "Writer.Write")
            assert span.resource["service.instance.id"] == log.resource["service.instance.id"]
        of_client = [log for log in system.receiver.logs if log.scope == "client"]
        assert len(of_client) == 8
        assert all(_fits(log) and log.service == "pytango.client" for log in of_client)


def _fits(log: ReceivedLog) -> bool:
    _, trace, span = log.body.split()
    return bool(log.trace_id) and (log.trace_id, log.span_id) == (trace, span)


LEVELS = """
import sys
import tango, tango_telemetry_server
from tango import DebugIt, InfoIt
from tango.server import Device, command, run

class Motor(Device):
    @InfoIt(show_args=True)
    @command(dtype_in=str)
    def Say(self, text):
        self.debug_stream("debug " + text)
        self.info_stream("info %s", text)
        self.get_logger().error("error " + text)
        if False:
            raise RuntimeError

    @command
    def Decorated(self):
        self.inner(1)

    @InfoIt(show_args=True)
    def inner(self, value):
        pass

run((Motor,))
"""
TALK = """
import sys, tango
device = tango.DeviceProxy(sys.argv[1])
admin = tango.DeviceProxy(device.adm_name()) if "#" not in sys.argv[1] else None
device.Say("one")
device.set_logging_level(int(sys.argv[2]))
device.Say("two")
device.Decorated()
"""


def _bodies(receiver: Receiver) -> list[str]:
    return [log.body for log in sorted(receiver.logs, key=lambda log: log.time_ns)]


def test_the_devices_own_level_and_ours_count() -> None:
    with System(PYTANGO_TELEMETRY_LOGS="streams", PYTANGO_TELEMETRY_LOGS_LEVEL="info") as system:
        server = system.start_server(LEVELS, "Motor/logs", "test/motor/1")
        system.run_client(TALK, server.proxy_name("test/motor/1"), "5")
        server.flush()
        bodies = [body for body in _bodies(system.receiver) if "Say" not in body]
        assert bodies[:3] == ["error one", "info two", "error two"]
        assert bodies[3:] == ["-> Motor.inner(1)", "<- Motor.inner()"]
        decorated = next(log for log in system.receiver.logs if log.body.startswith("-> Motor.inner"))
        assert decorated.attributes["code.function.name"] == "Motor.inner"
        error = next(log for log in system.receiver.logs if log.body == "error one")
        assert error.attributes["code.function.name"] == "Motor.Say"
        assert error.attributes["code.file.path"].endswith("Motor_logs.py")
        assert {log.service for log in system.receiver.logs} == {"Motor"}
        assert {log.resource["service.instance.id"] for log in system.receiver.logs} == {"test/motor/1"}


def test_dash_v_is_obeyed_and_the_console_line_can_have_the_trace() -> None:
    with System(PYTANGO_TELEMETRY_LOGS="streams", PYTANGO_TELEMETRY_LOGS_TRACE_ID="on") as system:
        server = system.start_server(LEVELS, "Motor/logs", "test/motor/1", arguments=["-v3"])
        system.run_client(TALK, server.proxy_name("test/motor/1"), "5")
        server.flush()
        record = next(log for log in system.receiver.logs if log.body == "info one")
        server.wait_for(f"info one [trace_id={record.trace_id} span_id={record.span_id}]")


@pytest.mark.skipif(PYTANGO < (10, 3), reason="10.0's names are tried with the settings")
def test_tangos_own_variables_ask_for_logs_and_each_record_comes_once() -> None:
    with Receiver("http") as logs, System() as system:
        asked = {
            "TANGO_TELEMETRY_TYPES": "tracing,logging",
            "TANGO_TELEMETRY_LOGGING_EXPORTERS": "http",
            "TANGO_TELEMETRY_LOGGING_ENDPOINTS": logs.endpoint_of("logs"),
        }
        server = system.start_server(LEVELS, "Motor/logs", "test/motor/1", **asked)
        system.run_client(TALK, server.proxy_name("test/motor/1"), "3")
        server.flush()
        system.stop_server(server)
        assert _bodies(logs) == ["error one", "error two"]
        assert not system.receiver.logs
        spans = {(span.trace_id, span.span_id) for span in system.receiver.spans}
        assert {(log.trace_id, log.span_id) for log in logs.logs} <= spans


def test_unsampled_records_name_their_span_with_flags_of_0() -> None:
    with System(PYTANGO_TELEMETRY_LOGS="streams", OTEL_TRACES_SAMPLER="always_off") as system:
        server = system.start_server(LEVELS, "Motor/logs", "test/motor/1")
        system.run_client(TALK, server.proxy_name("test/motor/1"), "3", TANGO_TELEMETRY_ENABLE="off")
        server.flush()
        assert _bodies(system.receiver) == ["error one", "error two"]
        for log in system.receiver.logs:
            assert log.flags & 1 == 0
            assert log.trace_id
            assert log.span_id
        assert not system.receiver.spans


def test_files_have_lines_of_their_own(tmp_path: Path) -> None:
    folder = {
        "TANGO_TELEMETRY_TRACES_EXPORTER": "file",
        "TANGO_TELEMETRY_TRACES_ENDPOINT": str(tmp_path),
        "PYTANGO_TELEMETRY_LOGS": "streams",
    }
    with System() as system:
        server = system.start_server(LEVELS, "Motor/logs", "test/motor/1", **folder)
        system.run_client(TALK, server.proxy_name("test/motor/1"), "3")
        server.flush()
    (file,) = tmp_path.glob("*-logs.jsonl")
    assert file.read_text().count('"resourceLogs"') >= 1
    assert "error two" in file.read_text()
