"""The integration tests on every PyTango and Python, each in an environment of its own, and a table of what came out.

Usage: python tests/matrix.py [--python 3.11 ...] [--pytango 10.3.1 ...] [--directory DIR] [-- PYTEST_ARGUMENT ...]

Environments are made in DIR (default .venv-matrix) and used again. Interpreters are found as python3.X on PATH or among
pyenv's; a PyTango without a wheel for one is left out. Exits with 1 if a test failed anywhere, or if nothing could run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PYTANGOS = ("9.5.1", "10.0.3", "10.1.5", "10.3.1")
# Wheels of 9.5 were compiled against NumPy 1.
NEEDS = {"9.5.1": ["numpy<2"]}
PURE = ("core", "client", "server", "tools")
TOOLS = ("pytest", "hypothesis", "psutil", "gevent", "opentelemetry-distro", "opentelemetry-instrumentation")
RUN_TIMEOUT = 1800
"""Seconds for the tests in one environment."""


def find_python(version: str) -> Path | None:
    """Give an interpreter of this version that starts."""

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


def prepare(interpreter: Path, version: str, pytango: str, directory: Path) -> tuple[Path | None, str]:
    """Make or renew one environment.

    :returns: its interpreter, or None and the reason
    """
    home = directory / f"{version}-{pytango}"
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([str(interpreter), "-m", "venv", "--symlinks", str(home)], check=True, timeout=300)
    constraints = home / "constraints.txt"
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    lines = [line for line in pinned if not line.startswith("pytango")]
    constraints.write_text("\n".join([*lines, f"pytango=={pytango}", *NEEDS.get(pytango, []), ""]))
    if run_pip(python, "--only-binary", "pytango,numpy", "-c", str(constraints), "pytango").returncode:
        return None, "no wheel"
    requirements = ("-r", "requirements-full.txt", *TOOLS)
    ours = [f"./packages/tango-telemetry-{name}" for name in PURE]
    for arguments in ((*requirements, *ours), ("--no-deps", "--force-reinstall", *ours)):
        result = run_pip(python, "-c", str(constraints), *arguments)
        if result.returncode:
            return None, f"pip failed: {result.stderr.strip().splitlines()[-1][:60]}"
    if run_pip(python, "--no-deps", "--force-reinstall", "./packages/tango-telemetry-native").returncode:
        print("  native could not be built here; its tests are skipped", flush=True)
    return python, ""


def run_tests(python: Path, arguments: list[str]) -> tuple[str, bool]:
    """Give the cell of the table, and whether nothing failed."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        environment = {name: v for name, v in os.environ.items() if not name.startswith(("TANGO_", "OTEL_"))}
        try:
            result = subprocess.run(
                [*command, *(arguments or ["tests/integration"])],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=RUN_TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return f"not in {RUN_TIMEOUT} s", False
        if not report.exists():
            return f"exit status {result.returncode}", False
        suite = ElementTree.parse(report).getroot().find("testsuite")
        assert suite is not None
        count = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
        for case in suite.iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                print(f"  failed: {case.get('classname')}::{case.get('name')}", flush=True)
    bad = count["failures"] + count["errors"]
    good = count["tests"] - bad - count["skipped"]
    skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
    failed = f", {bad} FAILED" if bad else ""
    return f"{good} passed{skipped}{failed}", not bad and good > 0


def print_table(cells: dict[tuple[str, str], str], pythons: list[str], pytangos: list[str]) -> None:
    """One row for each Python, one column for each PyTango."""
    width = max(len(text) for text in (*cells.values(), *pytangos)) + 2
    print("\nPython".ljust(8) + "".join(f"PyTango {pytango}".ljust(max(width, 18)) for pytango in pytangos))
    for version in pythons:
        row = (cells.get((version, pytango), "-").ljust(max(width, 18)) for pytango in pytangos)
        print(version.ljust(7) + "".join(row).rstrip())


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", action="append", choices=PYTHONS)
    parser.add_argument("--pytango", action="append")
    parser.add_argument("--directory", type=Path, default=ROOT / ".venv-matrix")
    parser.add_argument("pytest_arguments", nargs="*")
    options = parser.parse_args()
    pythons, pytangos = options.python or list(PYTHONS), options.pytango or list(PYTANGOS)
    cells: dict[tuple[str, str], str] = {}
    outcomes: list[bool] = []
    for version in pythons:
        interpreter = find_python(version)
        for pytango in pytangos:
            print(f"Python {version}, PyTango {pytango}", flush=True)
            if interpreter is None:
                cells[version, pytango] = "no interpreter"
                continue
            python, reason = prepare(interpreter, version, pytango, options.directory)
            if python is None:
                cells[version, pytango] = reason
                outcomes += [] if reason == "no wheel" else [False]
                continue
            cells[version, pytango], good = run_tests(python, options.pytest_arguments)
            outcomes.append(good)
    print_table(cells, pythons, pytangos)
    return 0 if outcomes and all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
