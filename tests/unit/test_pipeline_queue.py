"""The middle of the pipeline: bounds and the account."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from tango_telemetry.pipeline.queue import SPAN_BYTES, UNWEIGHED_SPANS, WAKE_SPANS, SpanQueue, weigh


def span(**attributes: Any) -> Any:
    return SimpleNamespace(attributes=attributes, events=(), links=())


def running(max_spans: int = 1000, max_bytes: int = 1 << 30, simple: bool = False) -> SpanQueue:
    queue = SpanQueue(max_spans, max_bytes, simple)
    queue.set_running(True)
    return queue


def balanced(queue: SpanQueue) -> bool:
    stats = queue.stats()
    return stats.made == stats.delivered + stats.queued + stats.spooled + stats.dropped


def test_nothing_is_lost_up_to_the_bound_and_the_rest_is_counted() -> None:
    queue = running(max_spans=700)
    for _ in range(1000):
        queue.offer(span())
    stats = queue.stats()
    assert (stats.made, stats.queued, stats.dropped) == (1000, 700, 300)
    assert dict(stats.dropped_by_reason) == {"queue_full": 300}


def test_bytes_are_a_bound_too() -> None:
    queue = running(max_spans=100_000, max_bytes=1_000_000)
    for _ in range(UNWEIGHED_SPANS):
        queue.offer(span())
    for _ in range(100):
        queue.offer(span(text="x" * 100_000))
    stats = queue.stats()
    assert stats.queued_bytes <= 1_000_000
    assert stats.queued == UNWEIGHED_SPANS + 9
    assert balanced(queue)


def test_encoded_batches_count_by_their_exact_size() -> None:
    queue = running(max_bytes=250)
    for _ in range(3):
        queue.offer(span())
        queue.take(1)
        queue.put(b"x" * 100)
    stats = queue.stats()
    assert (stats.queued, stats.queued_bytes, stats.dropped) == (2, 200, 1)


def test_a_batch_larger_than_the_bound_may_wait_alone() -> None:
    queue = running(max_bytes=50)
    queue.offer(span())
    queue.take(1)
    queue.put(b"x" * 100)
    assert queue.stats().queued == 1


def test_what_is_checked_out_still_counts_as_queued_until_it_is_settled() -> None:
    queue = running()
    for _ in range(10):
        queue.offer(span())
    assert len(queue.take(4)) == 4
    assert queue.stats().queued == 10
    queue.put(b"four")
    assert len(queue.take(100)) == 6
    queue.put(b"six")
    assert queue.check_out(512, 1000) == b"foursix"
    assert queue.stats().queued == 10
    queue.put_back()
    assert queue.check_out(5, 1000) == b"four"
    queue.settle(rejected=1)
    stats = queue.stats()
    assert (stats.delivered, stats.queued, dict(stats.dropped_by_reason)) == (3, 6, {"rejected": 1})
    assert balanced(queue)


def test_a_batch_is_never_empty_however_small_the_bounds() -> None:
    queue = running()
    queue.offer(span())
    queue.take(1)
    queue.put(b"x" * 100)
    assert queue.check_out(0, 0) == b"x" * 100


def test_refuse_drops_what_waits_wherever_it_is() -> None:
    queue = running()
    for _ in range(9):
        queue.offer(span())
    queue.take(3)
    queue.put(b"a")
    queue.check_out(512, 1000)
    queue.take(3)
    queue.refuse("shutdown")
    queue.put(b"late")
    queue.settle()
    queue.offer(span())
    assert dict(queue.stats().dropped_by_reason) == {"shutdown": 10}
    assert balanced(queue)


def test_the_worker_is_woken_now_and_then_and_for_simple_at_each_span() -> None:
    queue = running()
    for _ in range(WAKE_SPANS - 1):
        queue.offer(span())
    assert queue.wake.empty()
    queue.offer(span())
    assert not queue.wake.empty()
    simple = running(simple=True)
    simple.offer(span())
    assert not simple.wake.empty()


def test_the_first_span_starts_the_threads() -> None:
    queue = SpanQueue(10, 1 << 30, False)
    started = []
    queue.on_first_span = lambda: (started.append(1), queue.set_running(True))  # type: ignore[func-returns-value, assignment]
    queue.offer(span())
    queue.offer(span())
    assert started == [1]
    assert queue.stats().queued == 2


def test_weigh_knows_texts_events_and_links() -> None:
    heavy = SimpleNamespace(
        attributes={"a": "x" * 1000, "b": 1},
        events=[SimpleNamespace(attributes={"e": "y" * 500})],
        links=[1, 2],
    )
    assert weigh(heavy) == SPAN_BYTES + 1000 + 400 + 500 + 800  # type: ignore[arg-type]


def test_the_account_is_exact_at_all_times_under_threads() -> None:
    queue = running(max_spans=5000)
    stop = threading.Event()
    wrong: list[Any] = []

    def produce() -> None:
        for _ in range(20_000):
            queue.offer(span())

    def consume() -> None:
        while not stop.is_set() or queue.stats().queued:
            if queue.take(7):
                queue.put(b"x")
            if queue.check_out(20, 1000):
                queue.settle(rejected=1)

    def look() -> None:
        made = 0
        while not stop.is_set():
            stats = queue.stats()
            total = stats.delivered + stats.queued + stats.spooled + stats.dropped
            if stats.made != total or stats.made < made or stats.queued < 0:
                wrong.append(stats)
            made = stats.made

    producers = [threading.Thread(target=produce) for _ in range(3)]
    others = [threading.Thread(target=consume), threading.Thread(target=look)]
    for thread in producers + others:
        thread.start()
    for thread in producers:
        thread.join()
    stop.set()
    for thread in others:
        thread.join()
    assert not wrong
    stats = queue.stats()
    assert (stats.made, stats.queued) == (60_000, 0)
