"""What came out of a suite in each mode, and what is only so with us. Nothing here runs anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MODES = ("without", "off", "on")
BAD = ("failed", "error")
KINDS = ("passed", "failed", "error", "skipped")
RATIO = 1.10
"""The wall time that is allowed, as a multiple of the time without us; the start of our packages comes on
top.
"""

ENOUGH = 3
"""Runs after which a single failure may be called chance."""


@dataclass
class Run:
    """One run of a suite."""

    outcomes: Mapping[str, str]
    seconds: float
    spans: int = 0
    starts: int = 0
    """Processes that loaded our packages."""
    cpu_seconds: float = 0.0
    """Processor time: what others on the machine do shows in the wall time and less in this."""

    def __str__(self) -> str:
        return f"{self.counts} {self.seconds:.1f} s, {self.cpu_seconds:.1f} s of CPU, {self.spans} spans"

    @property
    def counts(self) -> str:
        counts = Counter(self.outcomes.values())
        return "/".join(str(counts[kind]) for kind in KINDS)


@dataclass
class Result:
    """Every run of a suite, by mode; with a reason instead where it could not run without us."""

    name: str
    version: str
    runs: dict[str, list[Run]] = field(default_factory=dict)
    reason: str = ""
    start_seconds: dict[str, float] = field(default_factory=dict)
    """What the start of our packages costs one process, by mode."""

    def seconds(self, mode: str) -> float:
        """The shortest time: what else ran on the machine only adds to it."""
        return min(run.seconds for run in self.runs[mode])

    def allowed_seconds(self, mode: str) -> float:
        starts = max(run.starts for run in self.runs[mode])
        return RATIO * self.seconds("without") + starts * self.start_seconds.get(mode, 0.0)

    def is_slow(self, mode: str) -> bool:
        return (
            "without" in self.runs and mode in self.runs and self.seconds(mode) > self.allowed_seconds(mode)
        )

    def bad_tests(self, mode: str) -> Counter[str]:
        """How often each test failed in the runs of a mode."""
        return Counter(
            test
            for run in self.runs.get(mode, ())
            for test, outcome in run.outcomes.items()
            if outcome in BAD
        )

    def only_with_us(self, mode: str) -> list[str]:
        """Tests that failed in some run with us, or did not run, and never failed without us."""
        return sorted(self._suspects(mode) - self.by_chance(mode))

    def by_chance(self, mode: str) -> set[str]:
        """Tests that failed once in several runs, of a suite in which some fail now and then without us too.

        Tests with time-outs of their own do so where the machine is busy; which of them it hits differs from
        run to run.
        """
        runs = self.runs.get("without", ())
        unsteady = any(0 < count < len(runs) for count in self.bad_tests("without").values())
        if not unsteady or len(self.runs.get(mode, ())) < ENOUGH:
            return set()
        bad = self.bad_tests(mode)
        return {test for test in self._suspects(mode) if bad[test] == 1}

    def _suspects(self, mode: str) -> set[str]:
        if "without" not in self.runs or mode not in self.runs:
            return set()
        known = set().union(*(run.outcomes for run in self.runs["without"]))
        missing = {test for run in self.runs[mode] for test in known - set(run.outcomes)}
        return (set(self.bad_tests(mode)) | missing) - set(self.bad_tests("without"))

    def untraced(self) -> bool:
        """Telemetry was on, and nothing of the suite was traced: the run has shown nothing."""
        return any(not run.spans for run in self.runs.get("on", ()))

    def complaints(self) -> list[str]:
        """What makes the comparison fail, one sentence each."""
        said = []
        for mode in MODES[1:]:
            if mode not in self.runs:
                continue
            count = len(self.runs[mode])
            bad = self.bad_tests(mode)
            for test in self.only_with_us(mode):
                how = f"in {bad[test]} of {count} runs" if test in bad else "by not running"
                said.append(f"{self.name}, {mode}: fails only with us, {how}: {test}")
            if self.is_slow(mode):
                said.append(
                    f"{self.name}, {mode}: {self.seconds(mode):.1f} s, allowed "
                    f"{self.allowed_seconds(mode):.1f} s"
                )
        if self.untraced():
            said.append(f"{self.name}, on: no span was written")
        return said

    def cell(self, mode: str) -> str:
        """What stands in the table for a mode: counts of the last run, time, ratio, spans."""
        if mode not in self.runs:
            return "-"
        run = self.runs[mode][-1]
        text = f"{run.counts} {self.seconds(mode):6.1f} s"
        if mode != "without" and "without" in self.runs:
            text += f" {self.seconds(mode) / self.seconds('without'):.2f}"
        return text + (f" {run.spans} spans" if mode == "on" else "")


def format_table(results: Sequence[Result], modes: Sequence[str]) -> str:
    """One row for each suite, one column for each mode, then what fails only with us."""
    rows = [("software", *modes)]
    rows += (
        (f"{result.name} ({result.version})" if result.version else result.name,)
        + ((result.reason,) if result.reason else tuple(result.cell(mode) for mode in modes))
        for result in results
    )
    full = [row for row in rows if len(row) == len(rows[0])]
    widths = [
        max(len(row[0]) for row in rows),
        *(max(len(row[i]) for row in full) for i in range(1, len(rows[0]))),
    ]
    lines = ["passed/failed/errors/skipped, shortest wall time, ratio to the time without us"]
    lines += (
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip()
        for row in rows
    )
    complaints = [line for result in results for line in result.complaints()]
    tests = sum(len(set().union(*(result.only_with_us(mode) for mode in modes))) for result in results)
    slow = sum(any(result.is_slow(mode) for mode in modes) for result in results)
    could_not = sum(bool(result.reason) for result in results)
    chance = [
        f"{result.name}, {mode}: not counted, once in {len(result.runs[mode])} runs, and others fail so "
        f"without us: {test}"
        for result in results
        for mode in modes
        for test in sorted(result.by_chance(mode))
    ]
    lines += (
        "",
        *chance,
        *complaints,
        f"{len(results) - could_not} of {len(results)} ran; {tests} tests fail only with us, {slow} are "
        "slower than allowed",
    )
    return "\n".join(lines)
