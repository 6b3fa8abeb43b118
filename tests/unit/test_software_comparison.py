"""What `make test-software` calls a defect of ours, and how it reads a report."""

from __future__ import annotations

from pathlib import Path

import pytest
from software.comparison import Result, Run, format_table
from upstream import read_outcomes

GOOD = {"a": "passed", "b": "skipped"}


def result(without: list[Run], on: list[Run]) -> Result:
    return Result("panel", "1.0", {"without": without, "on": on}, start_seconds={"on": 0.5})


def test_nothing_to_say() -> None:
    said = result([Run(GOOD, 10.0)], [Run(GOOD, 11.0, spans=3)])
    assert not said.complaints()
    assert format_table([said], ("without", "on")).splitlines()[1:] == [
        "software     without           on",
        "panel (1.0)  1/0/0/1   10.0 s  1/0/0/1   11.0 s 1.10 3 spans",
        "",
        "1 of 1 ran; 0 tests fail only with us, 0 are slower than allowed",
    ]


@pytest.mark.parametrize("outcome", ["failed", "error"])
def test_a_test_that_fails_once_with_us_is_ours(outcome: str) -> None:
    said = result([Run(GOOD, 1.0)] * 2, [Run(GOOD, 1.0, 1), Run(GOOD | {"a": outcome}, 1.0, 1)])
    assert said.complaints() == ["panel, on: fails only with us, in 1 of 2 runs: a"]


def test_a_test_that_fails_once_without_us_is_not_ours() -> None:
    bad = GOOD | {"a": "failed"}
    assert not result([Run(GOOD, 1.0), Run(bad, 1.0)], [Run(bad, 1.0, 1)] * 2).complaints()


def test_one_failure_in_three_runs_is_chance_only_in_a_suite_that_is_unsteady_without_us() -> None:
    good, bad, other = (
        Run(GOOD, 1.0, 1),
        Run(GOOD | {"a": "failed"}, 1.0, 1),
        Run(GOOD | {"b": "failed"}, 1.0, 1),
    )
    unsteady = result([good, other, good], [good, bad, good])
    assert not unsteady.complaints()
    assert "panel, on: not counted, once in 3 runs" in format_table([unsteady], ("without", "on"))
    assert result([good] * 3, [good, bad, good]).only_with_us("on") == ["a"]
    assert result([other] * 3, [good, bad, good]).only_with_us("on") == ["a"]
    assert result([good, other, good], [bad, bad, good]).only_with_us("on") == ["a"]
    assert result([good, other], [good, bad]).only_with_us("on") == ["a"]


def test_a_test_that_did_not_run_is_ours() -> None:
    ended = {"the run as a whole: exit status -6": "error"}
    assert result([Run(GOOD, 1.0)], [Run(ended, 1.0, 1)]).only_with_us("on") == ["a", "b", *ended]


@pytest.mark.parametrize(
    ("seconds", "starts", "is_slow"), [(11.1, 0, True), (11.9, 2, False), (12.1, 2, True)]
)
def test_time(seconds: float, starts: int, is_slow: bool) -> None:
    """A tenth more, and the start of ours for each process; the shortest time of each mode counts."""
    said = result(
        [Run(GOOD, 10.0), Run(GOOD, 14.0)], [Run(GOOD, seconds, 1, starts), Run(GOOD, 30.0, 1, starts)]
    )
    assert said.is_slow("on") is is_slow


def test_telemetry_that_is_on_writes_spans() -> None:
    assert result([Run(GOOD, 1.0)], [Run(GOOD, 1.0)]).complaints() == ["panel, on: no span was written"]


def test_what_could_not_run_is_not_counted_as_passed() -> None:
    table = format_table([Result("panel", "1.0", reason="cannot be had here")], ("without", "on"))
    assert "panel (1.0)  cannot be had here" in table
    assert table.endswith("0 of 1 ran; 0 tests fail only with us, 0 are slower than allowed")


def test_the_worse_of_two_entries_counts(tmp_path: Path) -> None:
    """pytest writes a test and its failing fixture as two entries, in the order in which they end."""
    report = tmp_path / "report.xml"
    case = '<testcase classname="c" name="{}">{}</testcase>'
    entries = [
        ("t", "<failure/>"),
        ("t", "<error/>"),
        ("u", "<error/>"),
        ("u", ""),
        ("v", "<skipped/>"),
        ("w", ""),
    ]
    report.write_text(f"<testsuite>{''.join(case.format(*entry) for entry in entries)}</testsuite>")
    expected = {"c::t": "error", "c::u": "error", "c::v": "skipped", "c::w": "passed"}
    assert read_outcomes(report) == expected
