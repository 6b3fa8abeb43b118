"""Make the development environment: a virtual environment with every package of this repository installed in
place.

Usage: python3 tools/setup_venv.py DIRECTORY

The native package needs a C++17 compiler. Where it cannot be built the rest is installed without it and this
says so: everything but the native package's own tests then still runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PURE = ("core", "client", "server", "tools")


def main(directory: str) -> int:
    if sys.version_info < (3, 10):  # noqa: UP036 - run by whatever Python the user has
        print(
            f"tango-telemetry needs Python 3.10 or newer; this is {sys.version.split()[0]}", file=sys.stderr
        )
        return 1
    print(f"Setting up {directory}: the first time this takes some minutes.", flush=True)
    environment = ROOT / directory
    venv.EnvBuilder(with_pip=True, clear=False, symlinks=True).create(environment)
    python = environment / "bin" / "python"
    # Who works on it wants to see why it cannot be compiled, not a wheel without its extension modules.
    os.environ["TANGO_TELEMETRY_NATIVE_BUILD"] = "required"

    def pip(*arguments: str) -> int:
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        return subprocess.call([*command, "-c", str(ROOT / "constraints.txt"), *arguments], cwd=ROOT)

    editable = [item for name in PURE for item in ("-e", f"packages/tango-telemetry-{name}")]
    requirements = ["-r", "requirements-dev.txt", "-r", "requirements-full.txt"]
    # tango-telemetry-auto stays out: it would trace the tests' own programs, and has tests in environments of
    # its own. Type checkers do not look for stubs behind an editable installation.
    print("  PyTango, OpenTelemetry, the tools and what of tango-telemetry is pure Python", flush=True)
    if status := pip(*requirements, *editable, "./packages/tango-telemetry-stubs"):
        return status
    print("  tango-telemetry-native, which is compiled: about a minute", flush=True)
    if pip("./packages/tango-telemetry-native"):
        print(
            "tango-telemetry-native could not be built (it needs a C++17 compiler and Python's headers). "
            "Everything else works without it; see docs/how-to/native.md for what that costs.",
            file=sys.stderr,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ".venv"))
