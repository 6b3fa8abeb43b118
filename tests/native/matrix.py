"""Every PyTango with every other, as client and as server, each in an environment of its own.

Usage: python tests/native/matrix.py [--directory DIR] [--version VERSION ...]

Run by ``make test-native-matrix``. Environments are made in DIR (default .venv-native-matrix beside this
repository's files) and kept there. Debian's python3-tango (9.3.6) takes part where /usr/bin/python3 has it
and is of the same version of Python as the one that runs this; Debian's TangoTest, a C++ server that knows
nothing of us, where it is installed.

Exits with 1 if any check of any pair fails. Context by IDL v6 is expected between two of PyTango 10 and
later.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from native_support import (  # noqa: E402
    IDL6_ON,
    Server,
    create_environment,
    free_port,
    start_echo,
    start_process,
)

VERSIONS = ("9.5.1", "10.1.5", "10.3.1")
# Wheels of 9.5 were compiled against NumPy 1.
NEEDS = {"9.5.1": ["numpy<2"]}
DEBIAN_PYTHON = Path("/usr/bin/python3")
TANGO_TEST = Path("/usr/lib/tango/TangoTest")
DEVICES = ("test/echo/1", "test/echo/2")


@dataclass(frozen=True)
class Environment:
    """A Python with one PyTango and our package."""

    label: str
    python: str
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_idl6(self) -> bool:
        """Whether its cppTango has telemetry."""
        return int(self.label.split()[0].split(".")[0]) >= 10


def build_wheel(directory: Path) -> Path:
    """Build the native package once; the wheel fits every PyTango."""
    wheels = directory / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(wheels)]
    subprocess.run([*command, str(ROOT / "packages/tango-telemetry-native")], check=True)
    return next(wheels.glob("*.whl"))


def create_environment_for(version: str, directory: Path, wheel: Path) -> Environment:
    """Make or reuse a virtual environment with this PyTango, and put the wheel in."""
    home = directory / version
    python = str(home / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not Path(python).exists():
        venv.EnvBuilder(with_pip=True, symlinks=True).create(home)
        subprocess.run([*pip, f"pytango=={version}", *NEEDS.get(version, [])], check=True)
    subprocess.run([*pip, "--no-deps", "--force-reinstall", str(wheel)], check=True)
    return Environment(version, python)


def find_debian(directory: Path, wheel: Path) -> Environment | None:
    """Return Debian's own PyTango, with the wheel on its path; nothing is installed into the system."""
    ask = "import sys, tango; print(tango.__version__, *sys.version_info[:2])"
    if not DEBIAN_PYTHON.exists():
        return None
    result = subprocess.run([str(DEBIAN_PYTHON), "-c", ask], text=True, capture_output=True, check=False)
    if result.returncode != 0 or result.stdout.split()[1:] != [str(part) for part in sys.version_info[:2]]:
        return None
    target = directory / "debian"
    shutil.rmtree(target, ignore_errors=True)
    shutil.unpack_archive(wheel, target, "zip")
    label = f"{result.stdout.split()[0]} (Debian)"
    return Environment(label, str(DEBIAN_PYTHON), {"PYTHONPATH": str(target)})


def run_pair(client: Environment, kind: str, urls: list[str]) -> dict[str, str]:
    """Return what each check of pair_client.py found."""
    command = [client.python, str(HERE / "pair_client.py"), kind, *urls]
    environment = create_environment({**IDL6_ON, **client.extra})
    result = subprocess.run(
        command, env=environment, text=True, capture_output=True, timeout=180, check=False
    )
    if result.returncode != 0:
        return {"process": f"exit status {result.returncode}: {result.stderr.strip()[-300:]}"}
    checks: dict[str, str] = json.loads(result.stdout.strip().splitlines()[-1])
    return checks


@contextmanager
def start_tango_test() -> Iterator[Server]:
    """Start Debian's TangoTest."""
    port = free_port()
    endpoint = f"giop:tcp:127.0.0.1:{port}"
    command = [str(TANGO_TEST), "test", "-nodb", "-dlist", "sys/tg_test/1", "-ORBendPoint", endpoint]
    with start_process(command, port, create_environment()) as server:
        yield server


def judge(checks: dict[str, str], idl6_expected: bool) -> tuple[str, list[str]]:
    """Return the table's cell and the failures."""
    failures = [f"{name}: {found}" for name, found in checks.items() if found not in ("ok", "not carried")]
    if idl6_expected and checks.get("idl6") == "not carried":
        failures.append("idl6: not carried")
    passed = len(checks) - len(failures) - (checks.get("idl6") == "not carried" and not idl6_expected)
    cell = f"{passed} ok" + (f", {len(failures)} FAILED" if failures else "")
    if "idl6" in checks:
        cell += ", IDL v6" if checks["idl6"] == "ok" else ", GIOP only"
    return cell, failures


def run_matrix(environments: list[Environment]) -> tuple[list[list[str]], list[str]]:
    """Return the table's rows, one for each server, and all failures."""
    rows: list[list[str]] = []
    failures: list[str] = []

    def add_row(label: str, kind: str, server: Server, devices: tuple[str, ...], has_idl6: bool) -> None:
        row = [label]
        for client in environments:
            checks = run_pair(client, kind, [server.url(device) for device in devices])
            cell, wrong = judge(checks, kind == "echo" and has_idl6 and client.has_idl6)
            row.append(cell)
            failures.extend(f"client {client.label}, server {label}: {line}" for line in wrong)
        rows.append(row)

    for environment in environments:
        with start_echo({**IDL6_ON, **environment.extra}, python=environment.python) as server:
            add_row(environment.label, "echo", server, DEVICES, environment.has_idl6)
    if TANGO_TEST.exists():
        with start_tango_test() as server:
            add_row("TangoTest (C++)", "foreign", server, ("sys/tg_test/1",), False)
    return rows, failures


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Print columns of equal width."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main() -> int:
    """Make the environments, run every pair, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--directory", type=Path, default=ROOT / ".venv-native-matrix")
    parser.add_argument("--version", action="append", help=f"a PyTango; default {', '.join(VERSIONS)}")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)

    wheel = build_wheel(options.directory)
    versions = options.version or VERSIONS
    environments = [create_environment_for(version, options.directory, wheel) for version in versions]
    if debian := find_debian(options.directory, wheel):
        environments.insert(0, debian)
    else:
        print("Debian's python3-tango is not here, or of another Python: left out")
    if not TANGO_TEST.exists():
        print("Debian's tango-test is not here: left out")

    rows, failures = run_matrix(environments)
    print_table(["server \\ client", *(environment.label for environment in environments)], rows)
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
