"""Polling begins traces of its own and says so; polling, State and Status can be left out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from integration.server_operation import assert_operation, run
from integration.support import PYTANGO, System
from receiver import ReceivedSpan

SOURCE = """
import tango_telemetry_server
import tango
from tango import AttrWriteType
from tango.server import Device, attribute, command, run

class Polled(Device):
    stored = attribute(dtype=float, access=AttrWriteType.READ_WRITE, memorized=True, hw_memorized=True)

    @attribute(dtype=float, polling_period=50)
    def temperature(self):
        self.Look()
        return 1.0

    @command
    def Look(self):
        pass

    @command(polling_period=50, dtype_out=int)
    def Count(self):
        return 1

    def read_stored(self):
        return 1.0

    def write_stored(self, value):
        pass

    def dev_state(self):
        self.Look()
        return tango.DevState.ON

    def always_executed_hook(self):
        pass

    @command
    def Direct(self):
        import threading
        def act():
            with tango.EnsureOmniThread():
                self.Look()
        thread = threading.Thread(target=act)
        thread.start()
        thread.join()

run((Polled,))
"""
DEVICE = "test/polled/1"
needs_identity = pytest.mark.skipif(
    PYTANGO < (10, 1), reason="PyTango before 10.1 does not say who called, nor that it was polling"
)


def wait_for(system: System, done: Callable[[list[ReceivedSpan]], bool]) -> list[ReceivedSpan]:
    """Polling has a clock of its own: look at the spans until they are there."""
    deadline = time.monotonic() + 10
    while True:
        spans = system.collect()
        if done(spans):
            return spans
        assert time.monotonic() < deadline, [span.name for span in spans]
        threading.Event().wait(0.05)


@needs_identity
def test_polling_begins_traces_of_its_own_and_says_so() -> None:
    with System() as system:
        server = system.start_server(SOURCE, "Polled/test", DEVICE)
        spans = wait_for(
            system,
            lambda spans: {"Polled.read temperature", "Polled.Count"} <= {span.name for span in spans},
        )
        for name in ("Polled.read temperature", "Polled.Count"):
            polled = [span for span in spans if span.name == name]
            assert all(span.attributes["tango.polling"] is True for span in polled)
            assert all(not span.parent_span_id and span.kind == "SERVER" for span in polled)
            assert len({span.trace_id for span in polled}) == len(polled)
        roots = {span.span_id for span in spans if span.name == "Polled.read temperature"}
        assert all(span.parent_span_id in roots for span in spans if span.name == "Polled.Look")
        run(system, server, "device.command_inout('Direct'); device.read_attribute('stored')", DEVICE)
        spans = system.collect()
        by_request = [span for span in spans if span.name in ("Polled.Direct", "Polled.read stored")]
        direct = [span for span in spans if span.name == "Polled.Look" and not span.parent_span_id]
        assert len(by_request) == 2
        assert len(direct) == 1  # called on a thread of the user's, which nobody polls
        assert not any("tango.polling" in span.attributes for span in by_request + direct)


@needs_identity
def test_polling_can_be_left_out() -> None:
    with System(PYTANGO_TELEMETRY_POLLING="off") as system:
        server = system.start_server(SOURCE, "Polled/test", DEVICE)
        code = """
for _ in range(200):
    if len(device.command_history('Count', 3)) == 3:
        break
    time.sleep(0.02)
else:
    raise AssertionError('not polled')
device.read_attribute('stored')
"""
        run(system, server, code, DEVICE)
        spans = system.collect()
        names = {span.name for span in spans if span.kind != "CLIENT"}
        assert names == {
            "operation",
            "Polled.always_executed_hook",
            "Polled.read stored",
        }
        hooks = [span for span in spans if span.name == "Polled.always_executed_hook"]
        assert all(hook.parent_span_id for hook in hooks)  # none of polling's


def test_state_and_status_can_be_left_out() -> None:
    with System(PYTANGO_TELEMETRY_STATE_STATUS="off") as system:
        server = system.start_server(
            SOURCE.replace(", polling_period=50", "").replace("polling_period=50, ", ""),
            "Polled/test",
            DEVICE,
        )
        code = "device.command_inout('State'); device.command_inout('Status'); device.command_inout('Count')"
        run(system, server, code, DEVICE)
        assert_operation(
            system,
            """
            command_inout Count            CLIENT    pytango.client
              Polled.always_executed_hook  INTERNAL  Polled
              Polled.Count                 SERVER    Polled
            """,
        )
