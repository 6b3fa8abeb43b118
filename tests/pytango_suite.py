"""PyTango's own test-suite, without us and with both packages on: what fails only with us is a defect of
ours.

Usage: python tests/pytango_suite.py [--keep DIRECTORY] [--only with|without] [pytest arguments, such as -k
EXPRESSION]

Run by ``make test-pytango``. The sources of the installed PyTango come from the package registry that pip is
configured for; nothing of them is kept unless ``--keep`` says where. Each test runs in a process of its own,
as upstream runs them. Its telemetry tests are left out: they look into PyTango's own tracing, which ours
replaces. Those that need the C++ server TangoTest fail both ways where it is not installed (186 tests of
10.3.1).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from receiver import Receiver
from upstream import download_source, read_outcomes, run_own_pip

# The pytest that PyTango 10.3.1 is tested with; with pytest-forked 1.7.5 every test fails.
NEEDED = (
    "pytest==9.1.1",
    "pytest-forked==1.6.0",
    "pytest-asyncio",
    "pytest-cov",
    "pytest-env",
    "pytest-timeout",
    "gevent",
    "psutil",
)
LEFT_OUT = ("tests/test_telemetry.py",)
# Two servers in one process, which its own comment advises against: failed 8 times in 25 without us, 4 in 25
# with us.
FLAKY = ("tests/test_test_context.py::test_nested_single_device_in_same_process_failure",)
TEST_TIMEOUT = 60
RUN_TIMEOUT = 3 * 3600
PLUGIN = "import tango_telemetry_client, tango_telemetry_server\n"


def prepare(folder: Path) -> Path:
    """Return the folder of PyTango's sources, which is the one to run its tests in; the tests' needs stand
    beside it.
    """
    source = download_source("pytango", version("pytango"), folder)
    # Imported as `tango` from the current folder, the sources would hide the installed package.
    for package in ("tango", "PyTango"):
        if (source / package).exists():
            (source / package).rename(source / f"{package}-sources")
    if not (folder / "needed").exists():
        run_own_pip("install", "--target", str(folder / "needed"), *NEEDED)
    (folder / "plugin").mkdir(exist_ok=True)
    (folder / "plugin" / "tango_telemetry_on.py").write_text(PLUGIN)
    return source


def run(source: Path, with_us: bool, arguments: list[str]) -> dict[str, str]:
    """Run the suite once; gives the outcome of each test."""
    folder = source.parent
    name = "with" if with_us else "without"
    report = folder / f"{name}.xml"
    report.unlink(missing_ok=True)
    log = folder / f"{name}.log"
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("TANGO_", "PYTANGO_", "OTEL_"))
    }
    environment["PYTHONPATH"] = os.pathsep.join((str(folder / "plugin"), str(folder / "needed")))
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", f"--timeout={TEST_TIMEOUT}"]
    command += [f"--ignore={path}" for path in LEFT_OUT] + [f"--deselect={test}" for test in FLAKY]
    with log.open("w") as output, Receiver("http") as receiver:
        if with_us:
            # Not to files: a server that a test starts runs without us, and PyTango's own tracing takes
            # `file` for `console`. Its standard output is a pipe that the test does not read.
            environment |= {
                "TANGO_TELEMETRY_ENABLE": "on",
                "TANGO_TELEMETRY_TRACING_EXPORTERS": "http",
                "TANGO_TELEMETRY_TRACING_ENDPOINTS": receiver.endpoint,
                "PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS": "on",
            }
            command += ["-p", "tango_telemetry_on"]
        subprocess.run(
            [*command, *arguments],
            cwd=source,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=RUN_TIMEOUT,
            check=False,
        )
    if not report.exists():
        raise SystemExit(f"the run {name} us ended early:\n{log.read_text()[-3000:]}")
    outcomes = read_outcomes(report)
    return {test: "failed" if outcome == "error" else outcome for test, outcome in outcomes.items()}


def count(outcomes: dict[str, str]) -> str:
    listed = list(outcomes.values())
    return ", ".join(f"{listed.count(kind)} {kind}" for kind in ("passed", "failed", "skipped"))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", type=Path, help="a folder for the sources, the reports and the logs")
    parser.add_argument("--only", choices=("with", "without"))
    options, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="tango-telemetry-pytango-") as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        source = prepare(folder)
        results = {
            name: run(source, name == "with", arguments)
            for name in ("without", "with")
            if options.only in (None, name)
        }
        for name, outcomes in results.items():
            print(f"PyTango {version('pytango')} {name} us: {count(outcomes)}", flush=True)
        if len(results) < 2:
            return 0
        again = [
            test
            for test, outcome in results["with"].items()
            if outcome == "failed" and results["without"].get(test) != "failed"
        ]
        missing = sorted(set(results["without"]) - set(results["with"]))
        for test in again:
            print(f"fails only with us: {test}")
        for test in missing:
            print(f"did not run with us: {test}")
        print(f"{len(again)} fail only with us, {len(missing)} did not run with us")
        return 1 if again or missing else 0


if __name__ == "__main__":
    sys.exit(main())
