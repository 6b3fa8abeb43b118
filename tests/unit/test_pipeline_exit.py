"""How much of an exit's bound the last spans get."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest
from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.pipeline import metrics
from tango_telemetry.pipeline import registry as pipeline_registry
from tango_telemetry.pipeline.process.exit import time_to_deliver
from tango_telemetry.pipeline.process.watchdog import Watchdog


@pytest.mark.parametrize(
    ("timeout", "load", "expected"),
    [(1.0, 0.5, 0.6), (1.0, 4.0, 0.52), (1.0, 7.0, 0.3), (0.3, 1.0, 0.18), (10.0, 1.0, 9.6), (0.0, 1.0, 0.0)],
)
def test_the_rest_of_the_bound_is_for_the_end_of_the_interpreter(
    timeout: float, load: float, expected: float
) -> None:
    """On a busy machine that end takes longer; a machine in trouble still gets its spans out in a part of the
    bound.
    """
    assert time_to_deliver(timeout, load) == pytest.approx(expected)


@pytest.mark.parametrize(("load", "expected"), [(0.5, 0.8), (10.0, 0.7), (100.0, 0.3)])
def test_a_process_that_dies_at_once_needs_less(load: float, expected: float) -> None:
    assert time_to_deliver(1.0, load, dies=True) == pytest.approx(expected)


def test_without_a_file_to_spare_there_is_no_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is installed with the first pipeline, which never raises."""

    def refuse() -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe", refuse)
    watchdog = Watchdog(lambda asked: None)
    watchdog.install()
    assert not watchdog.installed


def test_a_thread_that_waits_in_vain_to_fork_takes_nothing_from_the_one_that_forks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the first one held was held for ever, and the pipelines could import nothing any more."""
    monkeypatch.setattr(pipeline_registry, "LOADING_PAUSE", 0.01)
    monkeypatch.setattr(otel_sdk, "loading", threading.RLock())
    registry = pipeline_registry.Registry()

    def in_another_thread(function: Callable[[], object]) -> None:
        thread = threading.Thread(target=function)
        thread.start()
        thread.join()

    def fork() -> None:
        registry.pause_for_fork(0.0)
        registry.resume_after_fork()

    registry.pause_for_fork(0.0)
    in_another_thread(fork)
    registry.resume_after_fork()
    acquired: list[bool] = []
    in_another_thread(lambda: acquired.append(otel_sdk.loading.acquire(blocking=False)))
    assert acquired == [True]


def test_no_instruments_are_asked_for_once_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent first is sent at the exit of a short script, when the SDK's provider has been shut
    down.
    """
    asked: list[object] = []
    monkeypatch.setattr(metrics, "register", lambda pipelines: asked.append(pipelines) or True)
    registry = pipeline_registry.Registry()
    registry.shutdown(0.0)
    registry._register_metrics()
    assert asked == []
    still_running = pipeline_registry.Registry()
    still_running._register_metrics()
    still_running._register_metrics()
    assert len(asked) == 1
