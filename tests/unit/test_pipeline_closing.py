"""The last sending of a process that has a spool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tango_telemetry.pipeline.delivery import Outcome, Result
from tango_telemetry.pipeline.queue import SpanQueue
from tango_telemetry.pipeline.sender import Sender
from tango_telemetry.pipeline.settings import PipelineSettings
from tango_telemetry.pipeline.spool import Spool


class Refusing:
    """A collector that is away."""

    spoolable = True
    chunk_spans = 16

    def __init__(self) -> None:
        self.attempts: list[bytes] = []

    def encode(self, spans: Sequence[Any]) -> bytes:
        return b"x" * len(spans)

    def transcode(self, resource_spans: bytes) -> bytes:
        return resource_spans

    def halve(self, payload: bytes, items: int) -> tuple[()]:
        return ()

    def send(self, payload: bytes, timeout: float) -> Outcome:
        self.attempts.append(payload)
        return Outcome(Result.RETRY, "refused")

    def reset_after_fork(self) -> None: ...

    def close(self) -> None: ...


def closing_sender(folder: Path, max_bytes: int) -> tuple[SpanQueue, Spool, Refusing, Sender]:
    spans, spool, exporter = (
        SpanQueue(100, 1 << 20, False),
        Spool(str(folder), "there", max_bytes),
        Refusing(),
    )
    sender = Sender("there", spans, exporter, PipelineSettings(), spool)
    sender.closing_deadline = 1e12
    spans.set_running(True)
    for _ in range(20):
        spans.offer(object())  # type: ignore[arg-type]
    return spans, spool, exporter, sender


def test_what_waits_in_memory_is_left_to_the_spool(tmp_path: Path) -> None:
    """Taken by the sender, the first chunk would come back from its failed attempt too late for the last
    writing.
    """
    spans, spool, exporter, sender = closing_sender(tmp_path, 1 << 20)
    spans.put(exporter.encode(spans.take(16)))
    sender.send_all()
    assert exporter.attempts == []
    spans.put(exporter.encode(spans.take(16)))
    spans.spool_out(spool, 1 << 20)
    assert (spans.stats().spooled, spans.stats().queued) == (20, 0)
    sender.send_all()
    assert exporter.attempts == [b"x" * 20]
    assert sender.gave_up


def test_without_room_in_the_spool_it_is_sent_from_memory(tmp_path: Path) -> None:
    spans, spool, exporter, sender = closing_sender(tmp_path, 10)
    spans.put(exporter.encode(spans.take(20)))
    spans.spool_out(spool, 1 << 20)
    assert (spans.stats().spooled, spans.stats().queued) == (0, 20)
    sender.send_all()
    assert exporter.attempts == [b"x" * 20]
