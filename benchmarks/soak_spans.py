"""Ten million spans through the tracer provider in C++, on four threads, with flat memory.

Usage: python benchmarks/soak_spans.py [SPANS]

Prints resident memory as it goes. The exit status is 1 if its peak in the
second half is more than half a byte a span above that of the first half, or if a span was lost.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys
import threading
import time
from pathlib import Path

from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanContext, StatusCode
from tango_telemetry_native.spans import (
    NativeTracerProvider,
    SpanQueue,
    create_native_tracer_provider,
    create_span_queue,
)

THREADS = 4


def resident() -> int:
    """Bytes in use: what the C library keeps for later goes up and down with the queue, and is given back
    first.
    """
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def work(provider: NativeTracerProvider, number: int, count: int) -> None:
    """Spans of every kind, mostly small."""
    tracer = provider.get_tracer(f"scope {number}")
    for i in range(count):
        with tracer.start_as_current_span("soak", attributes={"i": i, "text": "x" * (i % 40)}) as span:
            span.set_attribute("i", i + 1)
            if i % 16 == 0:
                span.set_attributes({f"key {i % 200}": [i, "ä" * (i % 90), {"n": 1.5}]})
                span.add_event("event", {"i": i})
                span.add_link(SpanContext(i + 1, i + 1, True), {"l": "x" * 300})
            if i % 64 == 0:
                span.record_exception(ValueError(i))
                span.set_status(StatusCode.ERROR, "x" * (i % 3000))
            if i % 1000 == 0:
                for j in range(300):
                    span.set_attribute(f"many {j}", j)
                    span.add_event("many")


def consume(queue: SpanQueue, done: threading.Event, total: list[int]) -> None:
    while True:
        last = done.is_set()
        spans = queue.drain(1 << 20)[1]
        total[0] += spans
        if not spans:
            if last:
                return
            time.sleep(0.005)


def main() -> int:
    logging.disable(logging.CRITICAL)
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    queue = create_span_queue(max_spans=1 << 20, max_bytes=1 << 28)
    done, total = threading.Event(), [0]
    consumer = threading.Thread(target=consume, args=(queue, done, total))
    consumer.start()
    seen: list[int] = []
    start = time.monotonic()
    for step in range(20):
        # Providers come and go, as with DevRestart.
        provider = create_native_tracer_provider(Resource({"service.name": f"device {step}"}), queue=queue)
        threads = [
            threading.Thread(target=work, args=(provider, n, wanted // 20 // THREADS)) for n in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while queue.pending()[0]:
            time.sleep(0.005)
        del provider
        gc.collect()
        seen.append(resident())
        print(
            f"{total[0]:>10} spans, {seen[-1] / 1e6:7.2f} MB, {time.monotonic() - start:6.1f} s", flush=True
        )
    done.set()
    consumer.join()
    grown = max(seen[10:]) - max(seen[:10])
    made = wanted // 20 // THREADS * THREADS * 20
    print(
        f"{made} spans made, {total[0]} drained, {queue.dropped()} refused, peak grew by {grown / 1e6:.2f} MB"
    )
    return 0 if grown < max(wanted / 2, 2_000_000) and total[0] == made else 1


if __name__ == "__main__":
    sys.exit(main())
