"""Events carry the span that sent them to whoever receives them, unless `PYTANGO_TELEMETRY_EVENT_CONTEXT` is
off.
"""

from __future__ import annotations

from collections import Counter

import pytest
from receiver import ReceivedSpan
from support import System

pytest.importorskip("tango_telemetry_native")

SERVER = """
import tango_telemetry_server
from tango.server import Device, attribute, command
import tango

class Sender(Device):
    def init_device(self):
        super().init_device()
        for name in ("level", "text", "spectrum"):
            self.set_change_event(name, True, False)
            self.set_archive_event(name, True, False)
            self.set_data_ready_event(name, True)
    @attribute(dtype=float)
    def level(self):
        return -1.0
    @attribute(dtype=str)
    def text(self):
        return "read"
    @attribute(dtype=(float,), max_dim_x=100000)
    def spectrum(self):
        return [0.0]
    @command(dtype_in=int)
    def Send(self, number):
        self.push_change_event("level", float(number))
        self.push_archive_event("level", float(number))
        self.push_event("level", [], [], float(number))
        self.push_data_ready_event("level", number)
        self.push_change_event("text", str(number))
        self.push_change_event("spectrum", [float(number)] * 50000)
    @command
    def Fail(self):
        try:
            tango.Except.throw_exception("Broken", "the axis is stuck", "Sender.Fail")
        except tango.DevFailed as error:
            self.push_change_event("level", error)

Sender.run_server()
"""

CLIENT = """
import queue, sys, tango
import tango_telemetry_client
from tango import EventType
device = tango.DeviceProxy(sys.argv[1])
count = int(sys.argv[2])
seen = queue.Queue()
kinds = [("level", EventType.CHANGE_EVENT), ("level", EventType.ARCHIVE_EVENT), ("level", EventType.USER_EVENT),
         ("level", EventType.DATA_READY_EVENT), ("text", EventType.CHANGE_EVENT), ("spectrum", EventType.CHANGE_EVENT)]
def on_event(event):
    seen.put(event.err)
for name, kind in kinds:
    device.subscribe_event(name, kind, on_event)
for number in range(count):
    device.Send(number)
device.Fail()
expected = count * len(kinds) + 1 + 5  # and the values at the subscriptions; data ready has none
errors = sum(seen.get(timeout=20) for _ in range(expected))
assert errors == 1, errors
"""  # noqa: E501


def _run(parent: str, count: int = 3) -> list[ReceivedSpan]:
    with System(
        PYTANGO_TELEMETRY_EVENT_PARENT=parent,
        OTEL_BSP_SCHEDULE_DELAY="100",
    ) as system:
        server = system.start_server(SERVER, "Sender/test", "test/sender/1")
        system.clear()
        system.run_client(CLIENT, server.proxy_name("test/sender/1"), str(count))
        return system.collect()


def _split(spans: list[ReceivedSpan]) -> tuple[dict[str, ReceivedSpan], list[ReceivedSpan]]:
    producers = {span.span_id: span for span in spans if span.kind == "PRODUCER"}
    return producers, [span for span in spans if span.kind == "CONSUMER"]


def _agrees(consumer: ReceivedSpan, producer: ReceivedSpan) -> bool:
    keys = ("tango.attribute.name", "tango.event.type")
    return all(consumer.attributes[key] == producer.attributes[key] for key in keys)


def assert_linked(spans: list[ReceivedSpan], count: int, *, some_are_lost: bool = False) -> None:
    """Each of the events of so many ``Send`` and one ``Fail`` names its own producer, in both senses.

    :param some_are_lost: events may be missing, and data ready may have a value at the subscription
    """
    producers, consumers = _split(spans)
    assert len(producers) == count * 6 + 1
    linked = []
    for consumer in consumers:
        assert not consumer.parent_span_id
        found = [link.span_id for link in consumer.links if link.span_id in producers]
        linked += found
        assert all(_agrees(consumer, producers[span_id]) for span_id in found), consumer
        # The subscription's link is there as ever.
        assert len(consumer.links) == len(found) + 1
    assert len(linked) == len(set(linked))  # none is swapped
    # Those without a producer are the values at the subscriptions.
    assert len(consumers) - len(linked) in ((5, 6) if some_are_lost else (5,))
    assert len(linked) >= (len(producers) // 2 if some_are_lost else len(producers))


def test_each_consumer_is_linked_to_its_own_producer() -> None:
    assert_linked(_run("link"), 3)


def test_a_consumer_can_be_a_child_of_its_producer() -> None:
    producers, consumers = _split(_run("producer"))
    children = [consumer for consumer in consumers if consumer.parent_span_id]
    assert Counter(child.parent_span_id for child in children) == Counter(list(producers))
    for child in children:
        producer = producers[child.parent_span_id]
        assert child.trace_id == producer.trace_id
        assert _agrees(child, producer)


GREEN = """
import asyncio, sys
import tango_telemetry_client
from tango import EventType
from tango.asyncio import DeviceProxy

async def main():
    device = await DeviceProxy(sys.argv[1])
    seen = asyncio.Queue()
    loop = asyncio.get_running_loop()
    def on_event(event):
        loop.call_soon_threadsafe(seen.put_nowait, event.attr_value.value)
    await device.subscribe_event("level", EventType.CHANGE_EVENT, on_event)
    await asyncio.wait_for(seen.get(), 20)
    for number in range(3):
        await device.Send(number)
        await asyncio.wait_for(seen.get(), 20)

asyncio.run(main())
"""


def test_in_asyncio_the_callback_finds_its_producer() -> None:
    with System() as system:
        server = system.start_server(SERVER, "Sender/test", "test/sender/1")
        system.clear()
        system.run_client(GREEN, server.proxy_name("test/sender/1"))
        producers, consumers = _split(system.collect())
    linked = [link.span_id for consumer in consumers for link in consumer.links if link.span_id in producers]
    changes = [
        span_id
        for span_id, span in producers.items()
        if (span.attributes["tango.event.type"], span.attributes["tango.attribute.name"])
        == ("change", "level")
    ]
    assert Counter(linked) == Counter(changes)


UNTRACED = CLIENT.replace("import tango_telemetry_client\n", "")


@pytest.mark.parametrize("setting", ["on", "off"])
def test_a_subscriber_without_us_sees_the_same_events(setting: str) -> None:
    with System(PYTANGO_TELEMETRY_EVENT_CONTEXT=setting) as system:
        server = system.start_server(SERVER, "Sender/test", "test/sender/1")
        system.run_client(UNTRACED, server.proxy_name("test/sender/1"), "20", TANGO_TELEMETRY_ENABLE="off")


@pytest.mark.parametrize("setting", ["PYTANGO_TELEMETRY_EVENT_CONTEXT", "TANGO_TELEMETRY_ENABLE"])
def test_off_is_off(setting: str) -> None:
    with System() as system:
        told = system.run_client(
            "import tango_telemetry_client, tango_telemetry_native\n"
            "print(tango_telemetry_native.events.status()['installed'])",
            **{setting: "off"},
        )
    assert told == "False\n"
