"""The queue of finished spans: bounded, grouped, drained, forgotten by forked children."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tango_telemetry_native._spans", reason="tango-telemetry-native is not built here")
pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
sys.path.insert(0, str(Path(__file__).parent))

from native_spans_support import drain
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tango_telemetry_native.spans import create_native_tracer_provider, create_span_queue


def names(payload: bytes) -> dict[tuple[str, str], list[str]]:
    """Span names by resource and scope; each pair must come once."""
    found: dict[tuple[str, str], list[str]] = {}
    resources = []
    for resource_spans in ExportTraceServiceRequest.FromString(payload).resource_spans:
        (resource,) = [attribute.value.string_value for attribute in resource_spans.resource.attributes]
        resources.append(resource)
        for scope_spans in resource_spans.scope_spans:
            key = resource, scope_spans.scope.name
            assert key not in found
            found[key] = [span.name for span in scope_spans.spans]
    assert len(set(resources)) == len(resources)
    return found


def test_spans_are_grouped_by_resource_and_scope() -> None:
    queue = create_span_queue()
    tracers = [
        create_native_tracer_provider({"service.name": device}, queue=queue).get_tracer(scope)
        for device in ("a", "b", "c")
        for scope in ("x", "y")
    ]
    # Two tracers of one provider share a resource.
    shared = create_native_tracer_provider({"service.name": "d"}, queue=queue)
    tracers += [shared.get_tracer("x"), shared.get_tracer("y")]
    for i in range(3):
        for tracer in tracers[6:]:
            tracer.start_span(str(i)).end()
    payload, spans = queue.drain(1 << 20)
    assert spans == 6
    assert names(payload) == {("d", "x"): ["0", "1", "2"], ("d", "y"): ["0", "1", "2"]}
    for tracer in tracers[:6:2]:
        tracer.start_span("s").end()
    assert names(queue.drain(1 << 20)[0]) == {("a", "x"): ["s"], ("b", "x"): ["s"], ("c", "x"): ["s"]}
    assert queue.drain(1 << 20) == (b"", 0)


@pytest.mark.parametrize("max_bytes", [0, 1, 300, 1000, 5000, 1 << 20])
def test_a_drain_keeps_to_its_size(max_bytes: int) -> None:
    queue = create_span_queue()
    tracers = [
        create_native_tracer_provider({"service.name": str(i)}, queue=queue).get_tracer("t") for i in range(3)
    ]
    for i in range(60):
        tracers[i % 3].start_span(str(i), attributes={"a": "x" * (i * 7)}).end()
    seen: list[str] = []
    while True:
        before = queue.pending()
        payload, spans = queue.drain(max_bytes)
        if not spans:
            break
        assert len(payload) <= max_bytes or spans == 1
        assert sum(len(group) for group in names(payload).values()) == spans
        seen += [name for group in names(payload).values() for name in group]
        assert queue.pending()[0] == before[0] - spans
    assert sorted(seen, key=int) == [str(i) for i in range(60)]
    assert queue.pending() == (0, 0)
    assert queue.accepted() == 60
    assert queue.dropped() == 0


def test_bounds_in_spans_and_in_bytes() -> None:
    for bounds in ({"max_spans": 10}, {"max_bytes": 5000}):
        queue = create_span_queue(**bounds)
        tracer = create_native_tracer_provider({"service.name": "s"}, queue=queue).get_tracer("t")
        for i in range(100):
            tracer.start_span(str(i), attributes={"a": "x" * 300}).end()
        spans, size = queue.pending()
        assert spans == 10 if "max_spans" in bounds else 4000 < size <= 5000
        assert (queue.accepted(), queue.dropped()) == (spans, 100 - spans)
        # The oldest are kept, and there is room again after a drain.
        assert names(queue.drain(1 << 20)[0])["s", "t"][0] == "0"
        tracer.start_span("again").end()
        assert queue.pending()[0] == 1
    tracer = create_native_tracer_provider({}, queue=create_span_queue(max_bytes=1000)).get_tracer("t")
    tracer.start_span("huge", attributes={"a": "x" * 10_000}).end()


def test_wake_is_called_when_there_is_enough() -> None:
    queue = create_span_queue(wake_spans=10)
    calls: list[int] = []
    queue.set_wake(lambda: calls.append(queue.pending()[0]))
    tracer = create_native_tracer_provider({}, queue=queue).get_tracer("t")
    for _ in range(25):
        tracer.start_span("s").end()
    assert calls == [1, 10]
    queue.drain(1 << 20)
    for _ in range(12):
        tracer.start_span("s").end()
    assert calls == [1, 10, 10]
    # Half of the bytes is enough as well.
    queue = create_span_queue(max_bytes=4000)
    queue.set_wake(lambda: calls.append(-1))
    tracer = create_native_tracer_provider({}, queue=queue).get_tracer("t")
    for _ in range(8):
        tracer.start_span("s", attributes={"a": "x" * 300}).end()
    assert calls == [1, 10, 10, -1, -1]


def test_a_wake_that_fails_does_not_reach_the_user() -> None:
    queue = create_span_queue(wake_spans=1)
    queue.set_wake(lambda: 1 / 0)
    create_native_tracer_provider({}, queue=queue).get_tracer("t").start_span("s").end()
    queue.set_wake(None)
    with pytest.raises(TypeError):
        queue.set_wake(5)  # type: ignore[arg-type]


def test_a_burst_loses_nothing() -> None:
    queue = create_span_queue()
    tracer = create_native_tracer_provider({"service.name": "s"}, queue=queue).get_tracer("t")
    for i in range(100_000):
        tracer.start_span("s", attributes={"i": i}).end()
    seen: set[int] = set()
    while (drained := queue.drain(4 << 20))[1]:
        request = ExportTraceServiceRequest.FromString(drained[0])
        for span in request.resource_spans[0].scope_spans[0].spans:
            seen.add(span.attributes[0].value.int_value)
    assert (len(seen), queue.dropped()) == (100_000, 0)


def test_producers_and_drains_on_many_threads() -> None:
    queue = create_span_queue()
    provider = create_native_tracer_provider({"service.name": "s"}, queue=queue)
    total = [0]
    lock = threading.Lock()
    done = threading.Event()

    def produce(number: int) -> None:
        tracer = provider.get_tracer(f"t{number % 3}")
        for i in range(3000):
            tracer.start_span(str(i), attributes={"a": "x" * (i % 50)}).end()

    def consume() -> None:
        while True:
            last = done.is_set()
            payload, spans = queue.drain(5000)
            assert sum(len(group) for group in names(payload).values()) == spans
            with lock:
                total[0] += spans
            if last and not spans:
                return

    producers = [threading.Thread(target=produce, args=(number,)) for number in range(4)]
    consumers = [threading.Thread(target=consume) for _ in range(3)]
    for thread in producers + consumers:
        thread.start()
    for thread in producers:
        thread.join()
    done.set()
    for thread in consumers:
        thread.join()
    assert (total[0], queue.pending(), queue.dropped()) == (12_000, (0, 0), 0)


FORKS = """
import os, sys, threading
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest as Request
from tango_telemetry_native.spans import create_native_tracer_provider, create_span_queue

queue = create_span_queue(max_spans=1 << 20)
provider = create_native_tracer_provider({"process.pid": os.getpid(), "service.name": "s"}, queue=queue)
tracer = provider.get_tracer("t")
stop = threading.Event()
parent_ids, lock, made = [], threading.Lock(), [0, 0]

def spans(payload):
    for resource_spans in Request.FromString(payload).resource_spans:
        pid = [a.value.int_value for a in resource_spans.resource.attributes if a.key == "process.pid"][0]
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield pid, span.trace_id + span.span_id

def produce(number):
    while not stop.is_set():
        for i in range(50):
            with tracer.start_as_current_span("parent", attributes={"a": ["x" * 20]}):
                pass
            made[number] += 1
        stop.wait(0.002)

def consume():
    while not stop.is_set():
        payload, count = queue.drain(20000)
        parent_ids.extend(spans(payload))
        stop.wait(0.001)

threads = [threading.Thread(target=produce, args=(n,)) for n in range(2)] + [threading.Thread(target=consume) for _ in range(2)]
for thread in threads:
    thread.start()
children = []
for number in range(20):
    stop.wait(0.01)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        assert queue.pending() == (0, 0), queue.pending()
        assert (queue.accepted(), queue.dropped()) == (0, 0)
        woken = []
        queue.set_wake(lambda: woken.append(1))
        for i in range(100):
            with tracer.start_as_current_span("child"):
                pass
        payload, count = queue.drain(1 << 20)
        assert count == 100 and woken
        found = list(spans(payload))
        assert {pid for pid, _ in found} == {os.getpid()}
        os.write(write, b"".join(i for _, i in found))
        os._exit(0)
    os.close(write)
    data = b""
    while chunk := os.read(read, 65536):
        data += chunk
    os.close(read)
    status = os.waitpid(pid, 0)[1]
    assert status == 0, status
    children += [data[i:i + 24] for i in range(0, len(data), 24)]
stop.set()
for thread in threads:
    thread.join()
while (drained := queue.drain(1 << 20))[1]:
    parent_ids.extend(spans(drained[0]))
ids = [i for _, i in parent_ids] + children
assert {pid for pid, _ in parent_ids} == {os.getpid()}
assert len(children) == 2000, len(children)
assert len(parent_ids) == sum(made) == queue.accepted(), (len(parent_ids), made, queue.accepted())
assert len(set(ids)) == len(ids)
assert len({i[:16] for i in ids}) == len(ids)
print("done", len(parent_ids))
"""  # noqa: E501


def test_twenty_forks_under_load() -> None:
    """No span of the parent leaves from a child, none is lost, none comes twice, and no two processes share
    an id.
    """
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("done")


def test_the_child_of_a_fork_is_another_instance() -> None:
    made_up = [create_native_tracer_provider(), create_native_tracer_provider()]
    named = create_native_tracer_provider({"service.instance.id": "sys/tg_test/1"})

    def instances() -> list[str]:
        return [made.resource.attributes["service.instance.id"] for made in (*made_up, named)]

    before = instances()
    assert before[0] == before[1]
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        made_up[0].get_tracer("t").start_span("s").end()
        (sent,) = drain(made_up[0]).resource_spans
        found = [a.value.string_value for a in sent.resource.attributes if a.key == "service.instance.id"]
        os.write(write, " ".join(instances() + found).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    after = os.read(read, 1000).decode().split()
    os.close(read)
    os.close(write)
    assert after[0] == after[1] == after[3] != before[0]
    assert after[2] == before[2] == "sys/tg_test/1"
    assert instances() == before


def test_queues_come_and_go() -> None:
    for _ in range(200):
        queue = create_span_queue()
        span: Any = create_native_tracer_provider({}, queue=queue).get_tracer("t").start_span("s")
        del queue
        span.end()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_wrong_arguments() -> None:
    for wrong in ((0,), (1, 0), (1, 1, 0), (-5,)):
        with pytest.raises(ValueError, match="positive"):
            create_span_queue(*wrong)
    with pytest.raises(TypeError):
        create_span_queue().drain("x")  # type: ignore[arg-type]
    assert create_span_queue().drain(-5) == (b"", 0)
