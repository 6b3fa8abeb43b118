"""Twenty concurrent clients, a thousand operations through Leaders of each green mode, in a seeded random
order.

Each operation has a number, which travels as a value through every hop; each program notes it on the span
that is current where it runs. So the record of what really happened does not depend on the tracing that is
examined. Printed: wrong/total.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from integration.support import Server, System
from receiver import ReceivedSpan

CLIENTS = 20
OPERATIONS = 1000

FOLLOWER = """
import tango_telemetry_server
import tango
from opentelemetry.trace import get_current_span
from tango import AttrWriteType
from tango.server import Device, attribute, command, run

class Follower(Device):
    number = attribute(dtype=int, access=AttrWriteType.READ_WRITE)

    @command(dtype_in=int, dtype_out=int)
    def Go(self, number):
        get_current_span().set_attribute("number", number)
        return number

    def read_number(self):
        return 1

    def write_number(self, number):
        get_current_span().set_attribute("number", number)

run((Follower,))
"""

LEADER = """
import sys
import tango_telemetry_server
import tango
from opentelemetry.trace import get_current_span
from tango.server import Device, command, run

NAMES = sys.argv.pop().split(",")

class Leader(Device):
    def init_device(self):
        super().init_device()
        self.proxies = [tango.DeviceProxy(name) for name in NAMES]

    @command(dtype_in=int, dtype_out=int)
    def One(self, number):
        get_current_span().set_attribute("number", number)
        return self.proxies[number % 2].command_inout("Go", number)

    @command(dtype_in=int, dtype_out=int)
    def Both(self, number):
        get_current_span().set_attribute("number", number)
        self.proxies[0].write_attribute("number", number)
        return self.proxies[1].command_inout("Go", number)

    @command(dtype_in=int, dtype_out=int)
    def Indirect(self, number):
        get_current_span().set_attribute("number", number)
        return self.One(number)

run((Leader,), green_mode=tango.GreenMode.Synchronous)
"""

GEVENT = (
    LEADER.replace("Synchronous", "Gevent")
    .replace("import sys\n", "import sys\nimport gevent\n", 1)
    .replace(
        '        self.proxies[0].write_attribute("number", number)\n'
        '        return self.proxies[1].command_inout("Go", number)\n',
        '        calls = [gevent.spawn(self.proxies[0].write_attribute, "number", number),\n'
        '                 gevent.spawn(self.proxies[1].command_inout, "Go", number)]\n'
        "        gevent.joinall(calls, raise_error=True)\n"
        "        return calls[1].value\n",
    )
    .replace("tango.DeviceProxy(name)", "tango.gevent.DeviceProxy(name)")
    .replace("import tango\n", "import tango, tango.gevent\n")
)

ASYNCIO = """
import asyncio, sys
import tango_telemetry_server
import tango
from opentelemetry.trace import get_current_span
from tango.asyncio import DeviceProxy
from tango.server import Device, command, run

NAMES = sys.argv.pop().split(",")

class Leader(Device):
    green_mode = tango.GreenMode.Asyncio

    async def init_device(self):
        await super().init_device()
        self.proxies = [await DeviceProxy(name) for name in NAMES]

    @command(dtype_in=int, dtype_out=int)
    async def One(self, number):
        get_current_span().set_attribute("number", number)
        return await self.proxies[number % 2].command_inout("Go", number)

    @command(dtype_in=int, dtype_out=int)
    async def Both(self, number):
        get_current_span().set_attribute("number", number)
        _, result = await asyncio.gather(
            self.proxies[0].write_attribute("number", number), self.proxies[1].command_inout("Go", number)
        )
        return result

    @command(dtype_in=int, dtype_out=int)
    async def Indirect(self, number):
        get_current_span().set_attribute("number", number)
        return await asyncio.create_task(self.One(number))

run((Leader,))
"""

# The record goes to standard output: number and operation.
CLIENT = f"""
import random, sys
from concurrent.futures import ThreadPoolExecutor
import tango_telemetry_client, tango
from tango_telemetry import get_tracer

tracer = get_tracer("my.app")
record = []

def client(which):
    dice = random.Random(1000 + which)
    with tango.EnsureOmniThread():
        leader = tango.DeviceProxy(sys.argv[1])
        for count in range({OPERATIONS // CLIENTS}):
            number = which * 1000 + count
            operation = dice.choice(("One", "Both", "Indirect"))
            with tracer.start_as_current_span("operation", attributes={{"number": number}}):
                assert leader.command_inout(operation, number) == number
            record.append(f"{{number}} {{operation}}")

with ThreadPoolExecutor({CLIENTS}) as pool:
    list(pool.map(client, range({CLIENTS})))
print("\\n".join(record))
"""

SOURCES = {"Synchronous": LEADER, "Gevent": GEVENT, "Asyncio": ASYNCIO}
DEVICES = ("test/follower/1", "test/follower/2")


class Expected(NamedTuple):
    """One span of an operation: what it is, who emits it, what its parent is, and on which device."""

    name: str
    service: str
    parent: str
    device: str


def expect(operation: str, number: int) -> list[Expected]:
    """Return the spans that one operation must make below its root."""
    last = DEVICES[1] if operation == "Both" else DEVICES[number % 2]
    leader = "Leader.One" if operation == "Indirect" else f"Leader.{operation}"
    spans = [
        Expected(f"command_inout {operation}", "pytango.client", "operation", "test/leader/1"),
        Expected(f"Leader.{operation}", "Leader", f"command_inout {operation}", "test/leader/1"),
        Expected("command_inout Go", "Leader", leader, last),
        Expected("Follower.Go", "Follower", "command_inout Go", last),
    ]
    if operation == "Indirect":
        spans.append(Expected("Leader.One", "Leader", "Leader.Indirect", "test/leader/1"))
    if operation == "Both":
        spans.append(Expected("write_attribute number", "Leader", "Leader.Both", DEVICES[0]))
        spans.append(Expected("Follower.write number", "Follower", "write_attribute number", DEVICES[0]))
    return sorted(spans)


@pytest.fixture(scope="module")
def followers() -> Iterator[tuple[System, Server]]:
    with System(OTEL_BSP_MAX_QUEUE_SIZE="100000") as system:
        yield system, system.start_server(FOLLOWER, "Follower/test", *DEVICES)


@pytest.mark.parametrize("mode", list(SOURCES))
def test_every_span_has_the_parent_and_the_service_of_the_record(
    followers: tuple[System, Server], mode: str
) -> None:
    system, follower = followers
    names = ",".join(follower.proxy_name(device) for device in DEVICES)
    leader = system.start_server(SOURCES[mode], "Leader/test", "test/leader/1", arguments=[names])
    system.clear()
    output = system.run_client(CLIENT, leader.proxy_name("test/leader/1"))
    record = {int(line.split()[0]): line.split()[1] for line in output.splitlines()}
    assert len(record) == OPERATIONS
    spans = system.collect()
    system.stop_server(leader)
    wrong, total = compare(record, spans)
    print(f"{mode}: {wrong}/{total} wrong")
    assert wrong == 0
    assert total > 5 * OPERATIONS


def compare(record: dict[int, str], spans: list[ReceivedSpan]) -> tuple[int, int]:
    """Return how many spans are wrong, missing ones and strangers included, and how many there are."""
    by_id = {span.span_id: span for span in spans}
    traces: dict[str, list[ReceivedSpan]] = {}
    for span in spans:
        traces.setdefault(span.trace_id, []).append(span)
    wrong = total = 0
    seen = set()
    for trace in traces.values():
        roots = [span for span in trace if span.name == "operation"]
        if not roots:  # what a proxy asks when it is made
            wrong += sum(span.service != "pytango.client" for span in trace)
            continue
        number = int(str(roots[0].attributes["number"]))
        seen.add(number)
        expected = expect(record[number], number)
        found = sorted(
            Expected(
                span.name,
                span.service,
                by_id[span.parent_span_id].name if span.parent_span_id in by_id else "?",
                str(span.attributes.get("tango.device.name")),
            )
            for span in trace
            if span is not roots[0] and not is_helper(span, by_id)
        )
        total += len(expected)
        wrong += len(set(expected) ^ set(found)) + abs(len(expected) - len(found)) + len(roots) - 1
        wrong += sum(int(str(span.attributes.get("number", number))) != number for span in trace)
    return wrong + len(set(record) - seen), total


def is_helper(span: ReceivedSpan, by_id: dict[str, ReceivedSpan]) -> bool:
    """What PyTango asks for itself the first time it uses a proxy: of the right service and under the right
    span.
    """
    parent = by_id.get(span.parent_span_id)
    return (
        span.name in ("command_list_query", "attribute_list_query_ex", "get_command_config")
        and parent is not None
        and span.service == ("Leader" if parent.name.startswith("Leader.") else "pytango.client")
    )
