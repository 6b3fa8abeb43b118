"""A whole pipeline over an exporter that does what a test tells it to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer
from tango_telemetry.pipeline import Endpoint, PipelineSettings
from tango_telemetry.pipeline.account import PipelineStats
from tango_telemetry.pipeline.delivery import DELIVERED, Outcome, Result
from tango_telemetry.pipeline.drops import DropLog
from tango_telemetry.pipeline.noise import RateLimit, calm_sdk_loggers
from tango_telemetry.pipeline.pipeline import Pipeline

QUICK = PipelineSettings(schedule_delay=0.05, retry_initial=0.01, retry_max=0.05)


class FakeExporter:
    """Payloads are span names, one a line; `on_send` may raise, block or give an outcome."""

    spoolable = True
    chunk_spans = 4

    def prepare(self, encoding: bool) -> None:
        pass

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.on_send: Callable[[bytes], Outcome] = lambda payload: DELIVERED
        self.on_encode: Callable[[], None] = lambda: None

    def encode(self, spans: Sequence[Any]) -> bytes:
        self.on_encode()
        return "".join(f"{span.name}\n" for span in spans).encode()

    def transcode(self, resource_spans: bytes) -> bytes:
        return resource_spans

    def halve(self, payload: bytes, items: int) -> Sequence[tuple[bytes, int]]:
        lines = payload.splitlines(keepends=True)
        parts = lines[: items // 2], lines[items // 2 :]
        return [(b"".join(part), len(part)) for part in parts if len(lines) > 1]

    def send(self, payload: bytes, timeout: float) -> Outcome:
        outcome = self.on_send(payload)
        if outcome.result is Result.DELIVERED:
            self.sent += payload.decode().splitlines()
        return outcome

    def reset_after_fork(self) -> None:
        pass

    def close(self) -> None:
        pass


def build(
    settings: PipelineSettings = QUICK, processor: str = "batch"
) -> tuple[Pipeline, FakeExporter, Tracer]:
    exporter = FakeExporter()
    pipeline = Pipeline(Endpoint("http", "http://fake"), processor, settings, exporter)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(pipeline.create_span_processor())
    return pipeline, exporter, provider.get_tracer("test")


def end_spans(tracer: Tracer, count: int) -> list[str]:
    names = [str(number) for number in range(count)]
    for name in names:
        tracer.start_span(name).end()
    return names


def wait_until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.002)


@pytest.mark.parametrize("processor", ["batch", "simple"])
def test_spans_arrive_in_order(processor: str) -> None:
    pipeline, exporter, tracer = build(processor=processor)
    names = end_spans(tracer, 1000)
    assert pipeline.flush(10)
    assert exporter.sent == names


def test_spans_arrive_without_a_flush() -> None:
    _, exporter, tracer = build()
    names = end_spans(tracer, 3)
    wait_until(lambda: exporter.sent == names)


def test_simple_does_not_wait_for_the_delay() -> None:
    settings = PipelineSettings(schedule_delay=3600)
    _, exporter, tracer = build(settings, "simple")
    names = end_spans(tracer, 1)
    wait_until(lambda: exporter.sent == names)


def test_unsampled_spans_do_not_count() -> None:
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    pipeline, _, _ = build()
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(pipeline.create_span_processor())
    end_spans(provider.get_tracer("t"), 5)
    assert pipeline.stats().made == 0


@pytest.mark.parametrize("processor", ["batch", "simple"])
def test_a_call_never_waits_for_the_network(processor: str) -> None:
    pipeline, exporter, tracer = build(processor=processor)
    release = threading.Event()
    exporter.on_send = lambda payload: (release.wait(30), DELIVERED)[1]
    end_spans(tracer, 1)
    wait_until(lambda: pipeline.in_flight == 1)
    begin = time.monotonic()
    end_spans(tracer, 200)
    assert time.monotonic() - begin < 1.0
    assert not exporter.sent
    release.set()
    assert pipeline.flush(10)
    assert len(exporter.sent) == 201


@pytest.mark.parametrize(
    "error", [ValueError, OSError, MemoryError, SystemExit, KeyboardInterrupt, GeneratorExit, BaseException]
)
def test_an_exporter_may_raise_anything(error: type[BaseException]) -> None:
    pipeline, exporter, tracer = build()
    left = [3]

    def fail(payload: bytes) -> Outcome:
        if left[0]:
            left[0] -= 1
            raise error("from the exporter")
        return DELIVERED

    exporter.on_send = fail
    names = end_spans(tracer, 10)
    wait_until(lambda: exporter.sent == names)
    assert pipeline.stats().failed_attempts == 3


@pytest.mark.parametrize("error", [ValueError, SystemExit, BaseException])
def test_spans_that_cannot_be_encoded_are_counted(error: type[BaseException]) -> None:
    pipeline, exporter, tracer = build()

    def fail() -> None:
        raise error("from the encoder")

    exporter.on_encode = fail
    end_spans(tracer, 10)
    wait_until(lambda: pipeline.stats().dropped == 10)
    assert dict(pipeline.stats().dropped_by_reason) == {"encoding": 10}
    exporter.on_encode = lambda: None
    end_spans(tracer, 5)
    assert pipeline.flush(10)
    assert len(exporter.sent) == 5


def test_a_batch_is_kept_until_it_is_delivered_and_comes_first() -> None:
    pipeline, exporter, tracer = build()
    exporter.on_send = lambda payload: Outcome(Result.RETRY, "not now")
    names = end_spans(tracer, 50)
    wait_until(lambda: pipeline.stats().failed_attempts >= 2)
    assert pipeline.stats().queued == 50
    exporter.on_send = lambda payload: DELIVERED
    wait_until(lambda: exporter.sent == names)


@pytest.mark.parametrize("spooled", [False, True])
def test_what_fails_each_time_does_not_hold_up_the_others(spooled: bool, tmp_path: Path) -> None:
    """A server that fails over one span, and would take all others."""
    settings = replace(QUICK, spool_dir=str(tmp_path) if spooled else "", spool_file_bytes=20)
    pipeline, exporter, tracer = build(settings)

    def fail(payload: bytes) -> Outcome:
        bad = b"7\n" in payload.splitlines(keepends=True)
        return Outcome(Result.RETRY, "status 500", doubtful=True) if bad else DELIVERED

    exporter.on_send = fail
    names = end_spans(tracer, 40)
    chunk = 20 if spooled else exporter.chunk_spans
    wait_until(lambda: len(exporter.sent) >= 40 - chunk)
    kept = pipeline.stats().queued + pipeline.stats().spooled
    assert 0 < kept <= chunk
    exporter.on_send = lambda payload: DELIVERED
    wait_until(lambda: sorted(exporter.sent) == sorted(names))


def test_one_span_that_cannot_be_encoded_costs_itself() -> None:
    pipeline, exporter, tracer = build()
    encode = exporter.encode

    def fail(spans: Sequence[Any]) -> bytes:
        if any(span.name == "7" for span in spans):
            raise ValueError("no")
        return encode(spans)

    exporter.encode = fail  # type: ignore[method-assign]
    end_spans(tracer, 20)
    assert pipeline.flush(10)
    assert len(exporter.sent) == 19
    assert dict(pipeline.stats().dropped_by_reason) == {"encoding": 1}


def test_partial_success_is_counted() -> None:
    pipeline, exporter, tracer = build()
    exporter.on_send = lambda payload: Outcome(Result.DELIVERED, rejected_spans=2)
    end_spans(tracer, 4)
    assert pipeline.flush(10)
    stats = pipeline.stats()
    assert (stats.delivered, dict(stats.dropped_by_reason)) == (2, {"rejected": 2})


def test_a_flush_gives_one_attempt() -> None:
    settings = PipelineSettings(schedule_delay=3600, retry_initial=3600, retry_max=3600)
    pipeline, exporter, tracer = build(settings)
    exporter.on_send = lambda payload: Outcome(Result.RETRY, "not now")
    end_spans(tracer, 4)
    begin = time.monotonic()
    assert not pipeline.flush(20)
    exporter.on_send = lambda payload: DELIVERED
    assert pipeline.flush(20)
    assert time.monotonic() - begin < 10


def test_shutdown_counts_what_is_left_and_what_comes_later(caplog: pytest.LogCaptureFixture) -> None:
    pipeline, exporter, tracer = build()
    exporter.on_send = lambda payload: Outcome(Result.RETRY, "not now")
    end_spans(tracer, 4)
    for _ in range(2):
        deadline = time.monotonic() + 5
        pipeline.begin_shutdown(deadline)
        pipeline.finish_shutdown(deadline)
    end_spans(tracer, 1)
    assert dict(pipeline.stats().dropped_by_reason) == {"shutdown": 5}
    assert caplog.text.count("not delivered before exit") == 1


def test_a_span_processor_is_shut_down_alone() -> None:
    pipeline, exporter, tracer = build()
    other = TracerProvider(shutdown_on_exit=False)
    other.add_span_processor(pipeline.create_span_processor())
    other.shutdown()
    names = end_spans(tracer, 3)
    assert pipeline.flush(10)
    assert exporter.sent == names


def test_the_beginning_and_the_end_of_a_loss_are_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("tango_telemetry.pipeline.drops.time.monotonic", lambda: now[0])
    log = DropLog("somewhere")
    for dropped in (0, 5, 9, 9, 20):
        log.look(PipelineStats(dropped=dropped, dropped_by_reason={"queue_full": dropped}))
        now[0] += 1
    assert len(caplog.records) == 1
    now[0] += 60
    for _ in range(3):
        log.look(PipelineStats(dropped=20, dropped_by_reason={"queue_full": 20}))
    assert len(caplog.records) == 2
    assert "20 were lost" in caplog.records[1].getMessage()


def test_a_second_kind_of_loss_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    log = DropLog("somewhere")
    for reasons in ({"queue_full": 5}, {"queue_full": 6, "encoding": 1}, {"queue_full": 7, "encoding": 2}):
        log.look(PipelineStats(dropped=sum(reasons.values()), dropped_by_reason=reasons))
    assert len(caplog.records) == 2
    assert "encoding: 1" in caplog.records[1].getMessage()


def test_a_message_is_let_through_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("tango_telemetry.pipeline.noise.time.monotonic", lambda: now[0])
    limit = RateLimit()

    def passes(text: str) -> bool:
        return limit.filter(logging.LogRecord("opentelemetry", logging.WARNING, "", 0, text, (), None))

    assert [passes("a"), passes("a"), passes("b"), passes("a")] == [True, False, True, False]
    now[0] = 61.0
    assert passes("a")


def test_the_same_message_about_something_else_is_let_through_a_few_times() -> None:
    limit = RateLimit()
    passed = [
        limit.filter(
            logging.LogRecord("opentelemetry", logging.WARNING, "", 0, "key %s", (f"k{n // 2}",), None)
        )
        for n in range(100)
    ]
    assert passed[:4] == [True, False, True, False]
    assert sum(passed) == 4


def test_two_defects_in_one_place_are_two_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    from tango_telemetry.base.guard import guarded

    def first() -> None:
        raise ValueError("first")

    def second() -> None:
        raise ValueError("second")

    def work(step: Callable[[], None]) -> None:
        step()

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS", raising=False)
        for step in (first, second) * 3:
            guarded(work, step)
    assert ["first" in record.getMessage() for record in caplog.records] == [True, False]


@pytest.mark.parametrize("reason", ["HTTP status 413", "gRPC status INVALID_ARGUMENT"])
def test_what_a_collector_refuses_takes_no_other_with_it(reason: str) -> None:
    pipeline, exporter, tracer = build()

    def refuse(payload: bytes) -> Outcome:
        bad = b"7\n" in payload.splitlines(keepends=True)
        return Outcome(Result.REJECTED, reason) if bad else DELIVERED

    exporter.on_send = refuse
    end_spans(tracer, 40)
    assert pipeline.flush(10)
    assert dict(pipeline.stats().dropped_by_reason) == {"rejected": 1}
    assert exporter.sent == [str(number) for number in range(40) if number != 7]


def test_a_collector_that_refuses_everything_is_not_asked_about_each_span() -> None:
    pipeline, exporter, tracer = build()
    requests = 0

    def refuse(payload: bytes) -> Outcome:
        nonlocal requests
        requests += 1
        return Outcome(Result.REJECTED, "HTTP status 400")

    exporter.on_send = refuse
    for _ in range(10):
        end_spans(tracer, 200)
        assert pipeline.flush(10)
    assert dict(pipeline.stats().dropped_by_reason) == {"rejected": 2000}
    assert requests < 200
    exporter.on_send = lambda payload: DELIVERED
    end_spans(tracer, 10)
    assert pipeline.flush(10)
    assert len(exporter.sent) == 10


def test_an_outage_between_two_halves_costs_nothing() -> None:
    pipeline, exporter, tracer = build()
    answers = [
        Outcome(Result.REJECTED, "HTTP status 413"),
        DELIVERED,
        Outcome(Result.RETRY, "ConnectionError"),
    ]

    def answer(payload: bytes) -> Outcome:
        alone = payload.count(b"\n") == 1
        # A span that happens to come alone cannot be halved.
        return DELIVERED if not answers or (alone and len(answers) == 3) else answers.pop(0)

    exporter.on_send = answer
    names = end_spans(tracer, 8)
    # A flush that meets the outage says that it has failed.
    assert pipeline.flush(10) or pipeline.flush(10)
    assert not answers
    assert pipeline.stats().dropped == 0
    assert set(exporter.sent) == set(names)


def test_the_account_as_metrics() -> None:
    from tango_telemetry.otel import sdk as otel_sdk
    from tango_telemetry.pipeline import metrics

    pipeline, exporter, tracer = build()
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    real = otel_sdk.load_metrics_api()

    class Api:
        Observation = real.Observation
        get_meter = staticmethod(meters.get_meter)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(otel_sdk, "load_metrics_api", lambda: Api)
        assert metrics.register(lambda: [pipeline])
    exporter.on_send = lambda payload: Outcome(Result.DELIVERED, rejected_spans=1)
    end_spans(tracer, 4)
    assert pipeline.flush(10)
    data = reader.get_metrics_data()
    assert data is not None
    found = {
        (metric.name, point.attributes.get("error.type", "")): point.value
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
    }
    assert found == {
        ("otel.sdk.processor.span.processed", ""): 4,
        ("otel.sdk.exporter.span.exported", ""): 3,
        ("otel.sdk.exporter.span.exported", "rejected"): 1,
        ("otel.sdk.exporter.span.inflight", ""): 0,
        ("otel.sdk.processor.span.queue.size", ""): 0,
        ("otel.sdk.processor.span.queue.capacity", ""): QUICK.max_queue_spans,
    }


def test_a_peers_baggage_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    calm_sdk_loggers("")
    for _ in range(5):
        W3CBaggagePropagator().extract({"baggage": "b\u00fc=1"})
    assert len(caplog.records) <= 1
