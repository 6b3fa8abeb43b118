"""The integration tests on every PyTango and Python, each in an environment of its own, and a table of what
came out.

Usage: python tests/matrix.py [--python 3.11 ...] [--pytango 10.3.1 ...] [--processes N] [--directory DIR]
           [-- PYTEST_ARGUMENT ...]

Cells run one after the other, each with N processes of tests. Our wheels are built first: the pure ones once,
the native one once for each Python; it fits every PyTango. Environments are made in DIR (default
.venv-matrix) and used again; what they need besides is installed again only when the lists of it change.
Interpreters are found as python3.X on PATH or among pyenv's; a PyTango without a wheel for one is left out.
Each cell's results stay in DIR as ``3.11-10.3.1.xml``. Exits with 1 if a test failed anywhere, or if nothing
could run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
PYTANGOS = ("9.5.1", "10.0.2", "10.1.5", "10.3.1")
# Wheels of 9.5 were compiled against NumPy 1.
NEEDS = {"9.5.1": ["numpy<2"]}
PURE = ("core", "client", "server", "tools")
TOOLS = (
    *("pytest", "pytest-xdist", "hypothesis", "psutil", "gevent", "coverage"),
    *("opentelemetry-distro", "opentelemetry-instrumentation"),
)
RUN_TIMEOUT = 3600
"""Seconds for the tests in one environment."""


@dataclass
class Cell:
    """What came out of one PyTango on one Python: a reason why it did not run, or counts of tests."""

    reason: str = ""
    good: bool = True
    tests: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """What stands in the table."""
        if self.reason:
            return self.reason
        counts = (
            f"{self.tests[kind]} {kind}" for kind in ("passed", "skipped", "FAILED") if self.tests[kind]
        )
        return f"{', '.join(counts)} in {self.seconds / 60:.1f} min"


def find_python(version: str) -> Path | None:
    """Return an interpreter of this version that starts."""

    def candidates() -> Iterator[Path]:
        if found := shutil.which(f"python{version}"):
            yield Path(found)
        home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
        yield from sorted(home.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)

    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    for candidate in candidates():
        result = subprocess.run([str(candidate), "-c", ask], capture_output=True, text=True, timeout=30)
        if result.stdout.strip() == version:
            return candidate
    return None


def run_pip(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Install into the environment of ``python``."""
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=1200)


def build_wheels(interpreter: Path, names: Sequence[str], folder: Path) -> list[Path]:
    """Build packages of this repository; what cannot be built is left out."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in names:
        command = [
            str(interpreter),
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "wheel",
            "--no-deps",
        ]
        command += ["-w", str(folder), f"./packages/tango-telemetry-{name}"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
        if result.returncode:
            print(f"  {name} could not be built for {interpreter.name}:\n{result.stderr[-2000:]}", flush=True)
    return sorted(folder.glob("*.whl"))


def prepare(
    interpreter: Path, version: str, pytango: str, directory: Path, wheels: Sequence[Path]
) -> tuple[Path | None, str]:
    """Make or renew one environment.

    :returns: its interpreter, or None and the reason
    """
    home = directory / f"{version}-{pytango}"
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([str(interpreter), "-m", "venv", "--symlinks", str(home)], check=True, timeout=300)
    constraints, stamp = home / "constraints.txt", home / "installed.txt"
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    lines = [line for line in pinned if not line.startswith("pytango")]
    constraints.write_text("\n".join([*lines, f"pytango=={pytango}", *NEEDS.get(pytango, []), ""]))
    wanted = "\n".join([constraints.read_text(), (ROOT / "requirements-full.txt").read_text(), *TOOLS])
    if not stamp.exists() or stamp.read_text() != wanted:
        if run_pip(python, "--only-binary", "pytango,numpy", "-c", str(constraints), "pytango").returncode:
            return None, "no wheel"
        requirements = ("-r", "requirements-full.txt", "rich", *TOOLS)
        result = run_pip(python, "-c", str(constraints), *requirements)
        if result.returncode:
            return None, f"pip failed: {result.stderr.strip().splitlines()[-1][:60]}"
        stamp.write_text(wanted)
    result = run_pip(python, "--no-deps", "--no-index", "--force-reinstall", *map(str, wheels))
    return (None, "our wheels do not go in") if result.returncode else (python, "")


def run_tests(python: Path, arguments: list[str], processes: int, report: Path) -> Cell:
    """Run the tests with one environment."""
    report.unlink(missing_ok=True)
    # The packages' sources are not on the path: what is tested is the wheels.
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    command += ["-n", str(processes), "--dist", "loadfile"] if processes > 1 else []
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TANGO_", "PYTANGO_", "OTEL_", "PYTHONPATH"))
    }
    began = time.monotonic()
    log = report.with_suffix(".log")
    with log.open("w") as output:
        try:
            status = subprocess.run(
                [*command, *(arguments or ["tests/integration"])],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                timeout=RUN_TIMEOUT,
            ).returncode
        except subprocess.TimeoutExpired:
            return Cell(f"not in {RUN_TIMEOUT} s", good=False)
    if not report.exists():
        return Cell(f"exit status {status}", good=False)
    return read_report(report, time.monotonic() - began)


def read_report(report: Path, seconds: float) -> Cell:
    """Count what a JUnit report says, and name what failed."""
    tests: Counter[str] = Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        kind = "FAILED" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        tests[kind] += 1
        if kind == "FAILED":
            print(f"  failed: {case.get('classname')}::{case.get('name')}", flush=True)
    return Cell(good=not tests["FAILED"] and tests["passed"] > 0, tests=tests, seconds=seconds)


def print_table(cells: dict[tuple[str, str], Cell], pythons: list[str], pytangos: list[str]) -> None:
    """One row for each Python, one column for each PyTango, and the sums."""
    width = max(18, *(len(cell.text) + 2 for cell in cells.values()))
    print("\nPython".ljust(9) + "".join(f"PyTango {pytango}".ljust(width) for pytango in pytangos).rstrip())
    for version in pythons:
        row = "".join(cells[version, pytango].text.ljust(width) for pytango in pytangos)
        print(version.ljust(8) + row.rstrip())
    ran = [cell for cell in cells.values() if not cell.reason]
    tests = sum((cell.tests for cell in ran), Counter[str]())
    bad = sum(not cell.good for cell in cells.values())
    print(
        f"\n{len(ran)} of {len(cells)} cells ran, {bad} bad: {tests['passed']} tests passed, "
        f"{tests['FAILED']} failed, {tests['skipped']} skipped"
    )


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", action="append", choices=PYTHONS)
    parser.add_argument("--pytango", action="append", choices=PYTANGOS)
    parser.add_argument("--processes", type=int, default=2, help="processes of tests (default 2)")
    parser.add_argument("--directory", type=Path, default=ROOT / ".venv-matrix")
    parser.add_argument("pytest_arguments", nargs="*")
    options = parser.parse_args()
    pythons, pytangos = options.python or list(PYTHONS), options.pytango or list(PYTANGOS)
    directory: Path = options.directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    cells: dict[tuple[str, str], Cell] = {}
    pure: list[Path] = []
    for version in pythons:
        interpreter = find_python(version)
        if interpreter is None:
            cells |= {(version, pytango): Cell("no interpreter") for pytango in pytangos}
            continue
        print(f"Python {version}: wheels", flush=True)
        pure = pure or build_wheels(interpreter, PURE, directory / "wheels" / "pure")
        native = build_wheels(interpreter, ("native",), directory / "wheels" / version)
        for pytango in pytangos:
            print(f"Python {version}, PyTango {pytango}", flush=True)
            python, reason = prepare(interpreter, version, pytango, directory, (*pure, *native))
            if python is None:
                cells[version, pytango] = Cell(reason, good=reason == "no wheel")
            else:
                report = directory / f"{version}-{pytango}.xml"
                cells[version, pytango] = run_tests(
                    python, options.pytest_arguments, options.processes, report
                )
            print(f"  {cells[version, pytango].text}", flush=True)
    print_table(cells, pythons, pytangos)
    ran = any(not cell.reason for cell in cells.values())
    return 0 if ran and all(cell.good for cell in cells.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
