"""Environments for other people's software, each of its own, and a folder with our packages that a ``.pth``
adds to them.

Everything is below ``build/software`` and used again while the requirements and our sources are the same.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

from install.environments import ROOT, build_wheels, fingerprint, run_pip

HERE = Path(__file__).resolve().parent
HOME = ROOT / "build" / "software"
OURS = HOME / "ours"
PTH = "tango-telemetry-software.pth"
SHARED = ("pytango", "opentelemetry-", "gevent", "greenlet", "grpcio", "protobuf", "psutil", "requests")


class MissingError(Exception):
    """A package cannot be had here."""


def get_versions(constraints: Path) -> dict[str, str]:
    """Return the version that the constraints give to each distribution."""
    lines = constraints.read_text().splitlines()
    pairs = (line.partition(";")[0].partition("==") for line in lines if not line.startswith("#"))
    return {name.strip(): version.strip() for name, _, version in pairs}


def write_constraints() -> Path:
    """Return the file of all constraints: PyTango's and OpenTelemetry's versions are the repository's."""
    shared = (line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith(SHARED))
    path = HOME / "constraints.txt"
    path.write_text("\n".join([*shared, (HERE / "constraints.txt").read_text()]))
    return path


def _is_current(stamp: Path, *parts: str) -> str:
    """Return the text that the stamp should have, or nothing where it has it."""
    wanted = hashlib.sha256("\0".join((sys.version, *parts)).encode()).hexdigest()
    return "" if stamp.exists() and stamp.read_text() == wanted else wanted


def install_ours(constraints: Path) -> None:
    """Install wheels of the tree, with all that the extra ``full`` brings, into a folder of their own."""
    stamp = HOME / "ours.stamp"
    sources = (fingerprint(ROOT / "packages"), (ROOT / "pyproject.toml").read_text())
    if not (wanted := _is_current(stamp, *sources, constraints.read_text())):
        return
    shutil.rmtree(OURS, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="tango-telemetry-wheels-") as folder:
        wheels = build_wheels(Path(folder))
        run_pip(
            *("install", "--target", str(OURS), "--find-links", str(wheels), "-c", str(constraints)),
            "tango-telemetry[full]",
        )
    stamp.write_text(wanted)


def install_theirs(requirements: Sequence[str], constraints: Path) -> Path:
    """Return the folder of an environment with ``requirements`` and nothing of ours.

    :raises MissingError: a package or a version of it cannot be had
    """
    folder = HOME / ("environment-" + hashlib.sha256(" ".join(requirements).encode()).hexdigest()[:8])
    stamp = folder / "installed.stamp"
    if wanted := _is_current(stamp, *requirements, constraints.read_text()):
        shutil.rmtree(folder, ignore_errors=True)
        venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
        try:
            run_pip("install", "-c", str(constraints), *requirements, python=folder / "bin" / "python")
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise MissingError(str(error).strip().splitlines()[-1][:90]) from error
        stamp.write_text(wanted)
    return folder


def let_in(environment: Path, with_us: bool) -> None:
    """Have every start of a Python of this environment load our packages, or know nothing of them."""
    (packages,) = environment.glob("lib/python3.*/site-packages")
    pth = packages / PTH
    pth.unlink(missing_ok=True)
    if with_us:
        pth.write_text(f"{OURS}\n{HERE / 'arrival'}\nimport tango_telemetry_arrival\n")
