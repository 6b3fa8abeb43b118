"""Real software without us, with us and telemetry off, with us and telemetry on: what is only so with us is a
defect of ours.

Usage: python tests/software/run.py [--only NAME ...] [--mode without|off|on ...] [--strict]

Run by ``make test-software``. Other people's test suites come from their source distributions, the programs
beside this file are ordinary ones. Each has an environment of its own below ``build/software``; a ``.pth``
file lets our packages in, so that nobody's code is changed. Logs and reports stay in
``build/software/results``. A suite is run again, up to twice, where a test fails only with us or the time is
more than allowed: the shortest times count, and every failure, but for one that may be chance (see
``Result.by_chance``). Exits with 1 if a test fails only with us, if a suite takes more than 10 % longer (and
what the start of our packages takes, measured, for each process that it starts), if telemetry is on and no
span was written, or if nothing could run.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

# Run as a script, this folder is the only one on the path.
sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from software.comparison import BAD, MODES, Result, Run, format_table  # noqa: E402
from software.installation import (  # noqa: E402
    HOME,
    MissingError,
    get_versions,
    install_ours,
    install_theirs,
    let_in,
    write_constraints,
)
from software.programs.spans import read_spans  # noqa: E402
from software.suites import PROGRAMS, SUITES, Suite  # noqa: E402
from upstream import download_source, read_outcomes  # noqa: E402

RUNS = 3
"""Runs of a suite at most, in each mode."""
FEW = 10
"""Failing tests that may be chance; more are not asked for again."""
WHOLE_RUN = "the run as a whole"
"""Stands for the tests of a run that ended without a report."""
STARTS = 9
IS_IN = "import sys; print('tango_telemetry_server' in sys.modules)"


def cpu_seconds() -> float:
    """Return the processor time of all programs that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Place:
    """Where one suite runs: its environment, and the folder in which pytest is started."""

    def __init__(self, suite: Suite, environment: Path, folder: Path, strict: bool) -> None:
        self.suite, self.folder = suite, folder
        self._environment, self._strict = environment, strict
        self._python = str(environment / "bin" / "python")
        self._results = HOME / "results" / suite.name.replace(" ", "-")
        shutil.rmtree(self._results, ignore_errors=True)
        self._results.mkdir(parents=True)

    def _variables(self, mode: str, spans: Path) -> dict[str, str]:
        """The environment of a process in one mode: nothing of ours, of Tango or of Python comes from
        outside.
        """
        hidden = ("TANGO_", "PYTANGO_", "OTEL_", "PYTHON", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        home = HOME / "home"
        home.mkdir(exist_ok=True)
        # itango's tests start a TangoTest; the real one comes first where it is installed.
        path = (str(self._environment / "bin"), kept.get("PATH", os.defpath), str(PROGRAMS))
        variables = {**kept, "PATH": os.pathsep.join(path), "HOME": str(home), "QT_QPA_PLATFORM": "offscreen"}
        if mode == "off":
            variables["TANGO_TELEMETRY_ENABLE"] = "off"
        if mode == "on":
            variables |= {
                "TANGO_TELEMETRY_ENABLE": "on",
                "TANGO_TELEMETRY_TRACES_EXPORTER": "file",
                "TANGO_TELEMETRY_TRACES_ENDPOINT": str(spans),
                # Ours hides the endpoint from cppTango, and so from the checks.
                "TANGO_TELEMETRY_SOFTWARE_SPANS": str(spans),
            }
        if self._strict and mode != "without":
            variables["PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS"] = "on"
        return variables

    def enter(self, mode: str) -> None:
        """Put our packages in or take them out, and make sure of it."""
        let_in(self._environment, mode != "without")
        result = subprocess.run(
            [self._python, "-c", IS_IN],
            env=self._variables(mode, self._results),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if result.stdout.strip() != str(mode != "without"):
            raise SystemExit(f"our packages do not load in {self._environment}:\n{result.stderr}")

    def measure_start(self, mode: str) -> float:
        """Return the median time that an interpreter takes from start to end, in seconds."""
        times = []
        for _ in range(STARTS):
            began = time.perf_counter()
            subprocess.run(
                [self._python, "-c", ""], env=self._variables(mode, self._results), check=True, timeout=60
            )
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    def collect(self) -> None:
        """Import everything once, so that no measured run is the one that compiles."""
        command = [self._python, "-m", "pytest", "-q", "--collect-only", *self.suite.arguments]
        self._run(command, self._variables("without", self._results), self._results / "collect.log")

    def run(self, mode: str, number: int) -> Run:
        """Run the tests once."""
        name = f"{mode}-{number}"
        report, spans = self._results / f"{name}.xml", self._results / f"{name}-spans"
        spans.mkdir()
        starts = self._results / f"{name}.starts"
        variables = {**self._variables(mode, spans), "TANGO_TELEMETRY_SOFTWARE_STARTS": str(starts)}
        command = [self._python, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}"]
        began, used = time.perf_counter(), cpu_seconds()
        status = self._run([*command, *self.suite.arguments], variables, self._results / f"{name}.log")
        seconds, used = time.perf_counter() - began, cpu_seconds() - used
        outcomes = read_outcomes(report) if report.exists() else {}
        if not outcomes or status not in ("exit status 0", "exit status 1"):
            outcomes[f"{WHOLE_RUN}: {status}"] = "error"
        loaded = len(starts.read_text()) if starts.exists() else 0
        return Run(outcomes, seconds, len(read_spans(spans)), loaded, used)

    def _run(self, command: list[str], variables: dict[str, str], log: Path) -> str:
        """Run a program and whatever it starts to its end; returns how it ended."""
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                return f"exit status {process.wait(self.suite.timeout)}"
            except subprocess.TimeoutExpired:
                return f"not within {self.suite.timeout} s"
            finally:
                # What the tests have left running would disturb the next run.
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                process.wait()


def run_suite(suite: Suite, modes: list[str], constraints: Path, strict: bool) -> Result:
    """Run one suite in every mode, and again where something is only so with us."""
    result = Result(suite.name, get_versions(constraints)[suite.distribution])
    try:
        environment = install_theirs(suite.requirements, constraints)
        sources = HOME / "sources"
        sources.mkdir(exist_ok=True)
        folder = (
            download_source(suite.distribution, result.version, sources) if suite.has_source else PROGRAMS
        )
    except (MissingError, subprocess.CalledProcessError) as error:
        result.reason = f"cannot be had here: {error}"
        return result
    place = Place(suite, environment, folder, strict)
    place.enter("without")
    place.collect()
    start = place.measure_start("without")
    for number in range(1, RUNS + 1):
        # Every mode again: the shortest of three times is not compared with the only one.
        if number > 1 and not any(needs_another_run(result, mode) for mode in modes):
            break
        for mode in modes:
            place.enter(mode)
            if mode != "without" and mode not in result.start_seconds:
                result.start_seconds[mode] = max(0.0, place.measure_start(mode) - start)
            run = place.run(mode, number)
            result.runs.setdefault(mode, []).append(run)
            print(f"  {mode}, run {number}: {run}", flush=True)
            if mode == "without" and not set(run.outcomes.values()) - set(BAD):
                result.reason = f"does not run here without us: {next(iter(run.outcomes))}"
                return result
    let_in(environment, False)
    return result


def needs_another_run(result: Result, mode: str) -> bool:
    """Whether a difference may be chance: few tests, or the time of a run in which none failed."""
    only = len(result.only_with_us(mode))
    return 0 < only <= FEW or (not only and result.is_slow(mode))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [suite.name for suite in SUITES]
    parser.add_argument("--only", action="append", choices=names, help="a suite; may be given more than once")
    parser.add_argument("--mode", action="append", choices=MODES, help="a mode; may be given more than once")
    parser.add_argument(
        "--strict", action="store_true", help="internal errors of ours are raised, not logged"
    )
    options = parser.parse_args()
    modes = [mode for mode in MODES if mode in (options.mode or MODES)]
    # The programs of a run are in a session of their own: they end with this one where it is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    HOME.mkdir(parents=True, exist_ok=True)
    constraints = write_constraints()
    print("our wheels", flush=True)
    install_ours(constraints)
    results = []
    for suite in SUITES:
        if suite.name in (options.only or names):
            print(suite.name, flush=True)
            results.append(run_suite(suite, modes, constraints, options.strict))
    print("\n" + format_table(results, modes))
    ran = any(not result.reason for result in results)
    return 0 if ran and not any(result.complaints() for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
