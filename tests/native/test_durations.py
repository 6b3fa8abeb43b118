"""Durations in C++ against the SDK's exponential histogram, bucket for bucket, and their OTLP."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.trace import TracerProvider

spans = pytest.importorskip("tango_telemetry_native.spans")
from tango_telemetry_native._spans import Durations  # noqa: E402

VALUES = 1_000_000
Values = Callable[[random.Random], int]


def usual(source: random.Random) -> int:
    """A call of 20 us to some ms, in nanoseconds."""
    return int(source.lognormvariate(11, 1.5))


DISTRIBUTIONS: dict[str, Values] = {
    "usual": usual,
    "everything": lambda source: int(2 ** source.uniform(0, 45)),
    "one": lambda source: 1_000_000,
    "powers of two": lambda source: 1 << source.randrange(40),
    "halves of seconds": lambda source: 500_000_000 * source.randrange(1, 64),
    "with zeros": lambda source: source.choice((0, 0, 1, usual(source))),
    "zeros": lambda source: 0,
}


def of_sdk(values: list[int]) -> Any:
    reader = InMemoryMetricReader()
    view = View(instrument_name="*", aggregation=ExponentialBucketHistogramAggregation())
    provider = MeterProvider(metric_readers=[reader], views=[view], shutdown_on_exit=False)
    histogram = provider.get_meter("test").create_histogram("durations", "s")
    for value in values:
        histogram.record(value / 1e9)
    data = reader.get_metrics_data()
    return data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_equals_the_sdk_bucket_for_bucket(name: str) -> None:
    source = random.Random(name)
    # The SDK takes some 6 us a value.
    values = [DISTRIBUTIONS[name](source) for _ in range(VALUES if name == "usual" else VALUES // 20)]
    durations = Durations(b"")
    for value in values:
        durations.record(value)
    found, expected = durations.snapshot(), of_sdk(values)
    assert found["count"] == expected.count == len(values)
    assert found["zero_count"] == expected.zero_count
    assert found["scale"] == expected.scale
    assert (found["min"], found["max"]) == (expected.min, expected.max)
    assert found["sum"] == pytest.approx(expected.sum, rel=1e-9)
    counts = list(expected.positive.bucket_counts)
    if any(counts):
        assert found["offset"] == expected.positive.offset
        # The SDK's array may be longer than what it holds.
        assert found["buckets"] == counts[: len(found["buckets"])]
        assert not any(counts[len(found["buckets"]) :])
    else:
        assert found["buckets"] == []


def test_encodes_what_it_holds() -> None:
    durations = Durations(b"\x0a\x07\x0a\x01a\x12\x02\x18\x05")
    for value in (0, 1_000_000, 1_500_000, 3_000_000_000):
        durations.record(value)
    message = ExponentialHistogram.FromString(durations.encode(1, 2))
    (point,) = message.data_points
    snapshot = durations.snapshot()
    assert (point.start_time_unix_nano, point.time_unix_nano) == (1, 2)
    assert [(item.key, item.value.int_value) for item in point.attributes] == [("a", 5)]
    assert (point.count, point.zero_count, point.sum) == (4, 1, 3.0025)
    assert (point.scale, point.positive.offset) == (snapshot["scale"], snapshot["offset"])
    assert list(point.positive.bucket_counts) == snapshot["buckets"]
    assert (point.min, point.max) == (0.0, 3.0)
    assert not point.exemplars
    assert not point.negative.bucket_counts


def test_empty_and_reset() -> None:
    durations = Durations(b"")
    empty = durations.encode(1, 2)
    (point,) = ExponentialHistogram.FromString(empty).data_points
    assert (point.count, point.sum, point.HasField("min")) == (0, 0.0, False)
    durations.begin()
    durations.begin()
    durations.record(5)
    assert (durations.count, durations.active) == (1, 1)
    durations.reset()
    assert durations.encode(1, 2) == empty
    assert (durations.count, durations.active) == (0, 0)


@pytest.fixture(params=["native", "sdk"])
def tracer(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "native":
        yield spans.create_native_tracer_provider({}).get_tracer("test")
    else:
        provider = TracerProvider(shutdown_on_exit=False)
        yield provider.get_tracer("test")
        provider.shutdown()


def test_a_sampled_span_is_an_exemplar_once(tracer: Any) -> None:
    durations = Durations(b"")
    span = tracer.start_span("call")
    span.end()
    before = time.time_ns()
    durations.record(2_000_000, span)
    (point,) = ExponentialHistogram.FromString(durations.encode(1, 2)).data_points
    (exemplar,) = point.exemplars
    context = span.get_span_context()
    assert exemplar.trace_id == context.trace_id.to_bytes(16, "big")
    assert exemplar.span_id == context.span_id.to_bytes(8, "big")
    assert exemplar.as_double == 0.002
    assert abs(exemplar.time_unix_nano - before) < 10**9
    (point,) = ExponentialHistogram.FromString(durations.encode(1, 2)).data_points
    assert not point.exemplars


def test_an_unsampled_span_is_none() -> None:
    settings = spans.read_settings()._replace(rule=spans.SamplerRule(0, True))
    tracer = spans.create_native_tracer_provider({}, settings=settings).get_tracer("test")
    durations = Durations(b"")
    for span in (tracer.start_span("call"), None):
        durations.record(1, span)
    (point,) = ExponentialHistogram.FromString(durations.encode(1, 2)).data_points
    assert point.count == 2
    assert not point.exemplars


def test_a_call_that_fails_becomes_another_series() -> None:
    failed = Durations(b"")
    durations = Durations(b"", lambda error: failed)
    durations.begin()
    assert durations.fail(ValueError()) is failed
    assert (durations.active, failed.active) == (0, 1)
    with pytest.raises(TypeError):
        failed.fail(ValueError())


def test_refuses_what_is_no_duration() -> None:
    durations = Durations(b"")
    for wrong in ("1", None, 1.5):
        with pytest.raises(TypeError):
            durations.record(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Durations("text")  # type: ignore[arg-type]
    durations.record(1, object())  # no span: logged once, and counted
    assert durations.count == 1


def test_records_in_some_thirty_nanoseconds() -> None:
    """Held loosely: what is printed is the figure."""
    durations, values = Durations(b""), [usual(random.Random(1)) for _ in range(200_000)]
    record, nothing = durations.record, durations.begin

    def per_call(function: Callable[..., Any], *more: Any) -> float:
        best = float("inf")
        for _ in range(5):
            begun = time.perf_counter_ns()
            for value in values:
                function(*([value] if not more else []))
            best = min(best, (time.perf_counter_ns() - begun) / len(values))
        return best

    cost = per_call(record) - per_call(nothing, None)
    print(f"\nrecord() takes {cost:.0f} ns more than a method that does nothing")
    assert cost < 300
