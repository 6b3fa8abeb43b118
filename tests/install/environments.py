"""Virtual environments into which the wheels of this repository are installed as a user would."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PURE = (".", *(f"packages/tango-telemetry-{name}" for name in ("core", "client", "server", "tools", "auto")))
NATIVE = ROOT / "packages/tango-telemetry-native"


def run_pip(*arguments: str, python: Path | None = None, timeout: float = 400) -> None:
    """Run this environment's pip, for another interpreter perhaps: a virtual environment without pip is made
    at once.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    if python is not None:
        command += ["--python", str(python)]
    result = subprocess.run(
        [*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert result.returncode == 0, result.stderr


def fingerprint(folder: Path) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "build" not in path.relative_to(folder).parts and path.suffix != ".pyc":
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def build_wheels(wheels: Path) -> Path:
    """Build the wheel of every package into ``wheels``.

    The native one is compiled again only where its source has changed.
    """
    run_pip(
        "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(wheels), *(f"./{p}" for p in PURE)  # noqa: E501
    )  # fmt: skip
    kept = ROOT / "build" / "wheels" / fingerprint(NATIVE)
    if not list(kept.glob("*.whl")):
        os.environ["TANGO_TELEMETRY_NATIVE_BUILD"] = "required"
        run_pip("wheel", "--no-deps", "-w", str(kept), str(NATIVE))
    for wheel in kept.glob("*.whl"):
        shutil.copy(wheel, wheels)
    return wheels


class Environment:
    """A virtual environment of one PyTango; its state is the last extra that was installed into it."""

    def __init__(self, folder: Path, pytango: str, wheelhouse: Path) -> None:
        venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
        self.pytango = pytango
        self.python = folder / "bin" / "python"
        self.extra = ""
        self._wheelhouse = wheelhouse
        lines = (ROOT / "constraints.txt").read_text().splitlines()
        self._constraints = folder / "constraints.txt"
        numpy = "numpy<2" if pytango.startswith("9.") else ""
        kept = (line for line in lines if not line.startswith("pytango"))
        self._constraints.write_text("\n".join([*kept, f"pytango=={pytango}", numpy, ""]))

    def install(self, extra: str) -> None:
        """Type what the documentation says. Extras only add, so they are installed one after the other."""
        self._install(extra)
        self.extra = extra

    def install_tools(self) -> None:
        """Install the command `tango-telemetry`, which is no configuration of its own."""
        self._install("tools")

    def _install(self, extra: str) -> None:
        run_pip(
            "install",
            "--no-compile",
            "--find-links",
            str(self._wheelhouse),
            "-c",
            str(self._constraints),
            f"tango-telemetry[{extra}]",
            python=self.python,
        )

    def variables(self, **more: str) -> dict[str, str]:
        """The environment of a process that sees nothing of this repository."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        return {**kept, "PYTHONUNBUFFERED": "1", "PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS": "on", **more}
