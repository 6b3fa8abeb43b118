"""What a span costs: the tracer provider in C++ beside the SDK's, in one run, so that the ratios hold on any
machine.

Usage: python benchmarks/spans.py [--rounds N] [--sustained SECONDS]

Rounds of either alternate, and the median of each counts. "Exported" is the CPU of the whole process for a
span that is made, ended, encoded as OTLP in batches and thrown away: the SDK's by the official encoder, ours
by `drain`.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider, sampling
from opentelemetry.trace import SpanKind, Tracer
from tango_telemetry_native.spans import create_native_tracer_provider, create_span_queue

# What a client span of ours says.
ATTRIBUTES = {
    "rpc.system.name": "tango",
    "rpc.method": "TurnOn",
    "tango.device.name": "sys/tg_test/1",
    "tango.command.name": "TurnOn",
    "tango.operation": "command_inout",
    "code.line.number": 77,
    "thread.id": 140_123_456_789,
    "thread.name": "MainThread",
}
RESOURCE = Resource(
    {"service.name": "Motor", "service.instance.id": "sys/tg_test/1", "service.namespace": "tango"}
)
BATCH = 512


class Collect(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def at_creation(tracer: Tracer) -> None:
    tracer.start_span("command_inout TurnOn", kind=SpanKind.CLIENT, attributes=ATTRIBUTES).end()


def one_by_one(tracer: Tracer) -> None:
    span = tracer.start_span("command_inout TurnOn")
    for key, value in ATTRIBUTES.items():
        span.set_attribute(key, value)
    span.end()


def as_current(tracer: Tracer) -> None:
    with tracer.start_as_current_span("command_inout TurnOn", kind=SpanKind.CLIENT, attributes=ATTRIBUTES):
        pass


class Native:
    name = "C++"

    def __init__(self, sampler: Any = None) -> None:
        self.queue = create_span_queue(max_spans=1 << 20, max_bytes=1 << 30)
        self.tracer = create_native_tracer_provider(RESOURCE, sampler=sampler, queue=self.queue).get_tracer(
            "bench"
        )

    def export(self) -> int:
        return sum(iter(lambda: self.queue.drain(1 << 20)[1], 0))

    def waiting(self) -> int:
        return self.queue.pending()[0]


class Sdk:
    name = "SDK"

    def __init__(self, sampler: Any = None) -> None:
        self.collect = Collect()
        provider = TracerProvider(resource=RESOURCE, sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(self.collect)
        self.tracer = provider.get_tracer("bench")

    def export(self) -> int:
        spans, self.collect.spans = self.collect.spans, []
        for start in range(0, len(spans), BATCH):
            encode_spans(spans[start : start + BATCH]).SerializeToString()
        return len(spans)

    def waiting(self) -> int:
        return len(self.collect.spans)


def make(side: Any, span: Callable[[Tracer], None], count: int, clock: Callable[[], int]) -> float:
    """Microseconds for each span, of `clock`."""
    tracer = side.tracer
    start = clock()
    for _ in range(count):
        span(tracer)
    return (clock() - start) / count / 1000


def make_and_export(side: Any, span: Callable[[Tracer], None], count: int) -> float:
    start = time.process_time_ns()
    for _ in range(count // BATCH):
        for _ in range(BATCH):
            span(side.tracer)
        side.export()
    return (time.process_time_ns() - start) / (count // BATCH * BATCH) / 1000


def paired(
    title: str, measure: Callable[[Any], float], sides: tuple[Any, Any], rounds: int, target: float
) -> None:
    """Measure both in turns, and print the medians and their ratio."""
    results: dict[str, list[float]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            results[side.name].append(measure(side))
            side.export()
    ours, theirs = (statistics.median(results[side.name]) for side in sides)
    verdict = "" if not target else "  ok" if ours / theirs <= target else f"  MISSED, wanted {target}"
    print(f"{title:44} {ours:9.2f} {theirs:9.2f} {ours / theirs:7.3f}{verdict}")


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory(side: Any, count: int) -> float:
    """Bytes that the process grows by for each span that waits."""
    gc.collect()
    before = resident()
    for _ in range(count):
        at_creation(side.tracer)
    grown = resident() - before
    assert side.waiting() == count
    return grown / count


def burst(side: Native, count: int) -> None:
    queue = create_span_queue()
    tracer = create_native_tracer_provider(RESOURCE, queue=queue).get_tracer("bench")
    start = time.perf_counter_ns()
    for _ in range(count):
        at_creation(tracer)
    took = (time.perf_counter_ns() - start) / 1e9
    drained = sum(iter(lambda: queue.drain(1 << 20)[1], 0))
    print(f"burst of {count}: {count - drained} lost, {count / took:,.0f} spans/s, default bounds")


def sustained(seconds: float, rate: int) -> None:
    """A steady rate with a drain twice a second: the share of one core, and what is lost."""
    queue = create_span_queue()
    tracer = create_native_tracer_provider(RESOURCE, queue=queue).get_tracer("bench")
    cpu, start, made, drained = time.process_time(), time.monotonic(), 0, 0
    next_drain = start
    while (now := time.monotonic()) < start + seconds:
        while made < (now - start) * rate:
            at_creation(tracer)
            made += 1
        if now >= next_drain:
            drained += sum(iter(lambda: queue.drain(1 << 20)[1], 0))
            next_drain = now + 0.5
        time.sleep(0.001)
    drained += sum(iter(lambda: queue.drain(1 << 20)[1], 0))
    share = (time.process_time() - cpu) / (time.monotonic() - start)
    print(
        f"{rate} spans/s for {seconds:g} s: {share:.1%} of one core (with this loop's own), {made - drained} "
        "lost"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sustained", type=float, default=0, metavar="SECONDS")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    print(f"Python {sys.version.split()[0]}, medians of {rounds} rounds")
    print(f"{'microseconds a span':44} {'C++':>9} {'SDK':>9} {'ratio':>7}")
    recording = Native(), Sdk()
    clock = time.perf_counter_ns
    for title, span, target in (
        ("start, 8 attributes at creation, end", at_creation, 0.10),
        ("start, 8 attributes one by one, end", one_by_one, 0.10),
        ("start_as_current_span, 8 attributes", as_current, 0.10),
    ):
        paired(title, lambda side, span=span: make(side, span, 1000, clock), recording, rounds, target)
    paired(
        "CPU with encoding, 8 attributes",
        lambda side: make_and_export(side, at_creation, 2048),
        recording,
        rounds,
        0.10,
    )
    dropping = Native(sampling.ALWAYS_OFF), Sdk(sampling.ALWAYS_OFF)
    paired("not sampled", lambda side: make(side, at_creation, 1000, clock), dropping, rounds, 0)
    print(f"{'bytes a waiting span':44}", end=" ")
    ours, theirs = memory(Native(), 50_000), memory(Sdk(), 20_000)
    print(f"{ours:9.0f} {theirs:9.0f} {ours / theirs:7.3f}")
    burst(recording[0], 100_000)
    if arguments.sustained:
        sustained(arguments.sustained, 10_000)
    return 0


if __name__ == "__main__":
    sys.exit(main())
