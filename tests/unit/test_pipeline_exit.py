"""How much of an exit's bound the last spans get."""

from __future__ import annotations

import os

import pytest
from tango_telemetry.pipeline._exit import time_to_deliver
from tango_telemetry.pipeline._watchdog import Watchdog


@pytest.mark.parametrize(
    ("timeout", "load", "expected"),
    [(1.0, 0.5, 0.6), (1.0, 4.0, 0.52), (1.0, 7.0, 0.3), (0.3, 1.0, 0.18), (10.0, 1.0, 9.6), (0.0, 1.0, 0.0)],
)
def test_the_rest_of_the_bound_is_for_the_end_of_the_interpreter(
    timeout: float, load: float, expected: float
) -> None:
    """On a busy machine that end takes longer; a machine in trouble still gets its spans out in a part of the bound."""
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
