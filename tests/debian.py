"""Debian's own Python and PyTango, in roots made by debootstrap: installed as a user would, and tested there.

Usage: python tests/debian.py [--suite SUITE ...] [--directory DIR] [--no-tests] [-- PYTEST_ARGUMENT ...]

Each root is a minimal Debian (bookworm, trixie, sid) with python3, python3-venv and python3-tango. In it, one
after the other:

1. without a compiler, in an environment with ``--system-site-packages``, for else it does not see Debian's
   PyTango: ``tango-telemetry[full,tools]`` is installed, and ``tango-telemetry doctor`` says what it thinks;
2. the same after ``apt install g++ python3-dev``, as doctor has said;
3. ``tango-telemetry-auto``, and a program that nobody edited;
4. tests of this repository, with Debian's PyTango.

Roots are kept in DIR (default build/debian) and used again. It needs debootstrap, root and a Debian mirror;
where one of them is missing it says so and ends with 77. Nothing of the machine itself is changed: /proc and
/dev are mounted in a mount namespace of their own. Prints a table; exits with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITES = ("bookworm", "trixie", "sid")
PACKAGES = "python3,python3-venv,ca-certificates"
TREE = "/tree"
"""Where this repository is, as seen in a root."""
PURE = ("core", "client", "server", "tools")
# Debian's NumPy 2 and PyTango stay: an environment that sees the system's packages must not replace them.
TESTS = ("tests/native/test_wire.py", "tests/native/test_giop.py", "tests/contract", "tests/integration")
TOOLS = (*("pytest", "pytest-xdist", "hypothesis", "psutil", "gevent", "coverage"), "opentelemetry-distro")
SKIPPED = 77


def install(*packages: str) -> str:
    """Return the line of shell that installs packages; a mirror may be older than it says it may be."""
    apt = "apt-get -qq -o Acquire::Check-Valid-Until=false"
    return f"{apt} update && {apt} install -y --no-install-recommends {' '.join(packages)}"


def _mirror() -> list[str]:
    """Where this machine gets Debian's packages from; nothing for debootstrap's own choice."""
    for path in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")):
        for line in path.read_text().splitlines() if path.exists() else ():
            found = re.match(r"(?:deb\s+(?:\[.*?\]\s*)?|URIs:\s*)(\S+/debian)/?(?:\s|$)", line)
            if found:
                return [found.group(1)]
    return []


class StepError(Exception):
    """A step did not succeed; the message is what it said."""


class DebianRoot:
    """One Debian in a folder."""

    def __init__(self, suite: str, directory: Path) -> None:
        self.suite = suite
        self.path = directory / suite

    def make(self) -> None:
        """Make it where it is not there yet, and copy this repository into it."""
        if not (self.path / "usr/bin/python3").exists():
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            include = ("--variant=minbase", f"--include={PACKAGES}")
            _run("debootstrap", *include, self.suite, str(self.path), *_mirror(), timeout=1800)
        for name in ("/etc/hosts", "/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf"):
            if Path(name).exists():
                shutil.copy(name, self.path / name[1:])
        tree = self.path / TREE[1:]
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir()
        # debootstrap 1.0 does not find its way through what python3-tango needs; apt does.
        self.run(f"python3 -c 'import tango' 2> /dev/null || ({install('python3-tango')})")
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
        subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)

    def run(self, command: str, timeout: float = 900) -> str:
        """Run a line of shell in it and return what it says; raise StepError where it fails."""
        mounts = "mount -t proc proc {0}/proc && mount --rbind /dev {0}/dev && mount --rbind /sys {0}/sys"
        script = f'{mounts.format(self.path)} && cd {self.path} && exec chroot {self.path} sh -ec "$0"'
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        environment = {
            **kept,
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_FIND_LINKS": "",
        }
        line = f"cd {TREE}; {command}"
        return _run("unshare", "--mount", "sh", "-ec", script, line, environment=environment, timeout=timeout)


def _run(*command: str, environment: dict[str, str] | None = None, timeout: float) -> str:
    result = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    if result.returncode:
        raise StepError(result.stdout)
    return result.stdout


def try_suite(root: DebianRoot, tests: Sequence[str]) -> list[tuple[str, str]]:
    """Return what each step came to, by its title."""
    root.make()
    ask = "import sys, tango; print('Python', sys.version.split()[0] + ', PyTango', tango.__version__)"
    rows = [("versions", root.run(f'python3 -c "{ask}"').strip().splitlines()[-1])]
    # A root that is used again has the compiler of the last time.
    root.run("apt-get purge -y -qq --autoremove g++ python3-dev 'g++-*' 'gcc-*' > /purged.log 2>&1 || true")
    # pip must not put another PyTango over Debian's.
    root.run("rm -rf /env; python3 -m venv --system-site-packages /env")
    root.run("python3 -c \"import tango; print('pytango==' + tango.__version__)\" > /held.txt")
    packages = " ".join(f"./packages/tango-telemetry-{name}" for name in (*PURE, "native"))
    root.run(f"/env/bin/pip install -q --no-cache-dir {packages} '.[full,tools]' -c /held.txt", timeout=1200)
    rows.append(("without a compiler", _ask_doctor(root)))
    root.run(install("g++", "python3-dev"))
    again = "/env/bin/pip install -q --force-reinstall --no-cache-dir --no-deps"
    root.run(f"{again} ./packages/tango-telemetry-native", timeout=900)
    rows.append(("after apt install g++ python3-dev", _ask_doctor(root)))
    rows.append(("a program that nobody edited", _try_unedited(root)))
    if tests:
        root.run(f"/env/bin/pip install -q {' '.join(TOOLS)} -c /held.txt", timeout=900)
        pytest = f"/env/bin/python -m pytest -q -n 2 --dist loadfile -p no:cacheprovider {' '.join(tests)}"
        said = root.run(f"{pytest} > /tests.log 2>&1 || true; tail -1 /tests.log", timeout=3600)
        rows.append(("tests", said.strip().splitlines()[-1]))
        log = (root.path / "tests.log").read_text(errors="replace").splitlines()
        rows += [("", line[:160]) for line in log if line.startswith(("FAILED", "ERROR"))][:20]
    return rows


def _try_unedited(root: DebianRoot) -> str:
    """Whether a program that only imports Debian's ``tango`` is traced, and then take it out again: the tests
    run programs that must not be.
    """
    root.run("/env/bin/pip install -q --no-deps ./packages/tango-telemetry-auto")
    ask = "import tango, sys; print('traced' if 'tango_telemetry_server' in sys.modules else 'failed')"
    settings = "TANGO_TELEMETRY_ENABLE=on TANGO_TELEMETRY_TRACES_EXPORTER=none"
    said = root.run(f'{settings} /env/bin/python -c "{ask}"').strip().splitlines()[-1]
    root.run("/env/bin/pip uninstall -q -y tango-telemetry-auto")
    return said


def _ask_doctor(root: DebianRoot) -> str:
    settings = "TANGO_TELEMETRY_ENABLE=on TANGO_TELEMETRY_TRACES_EXPORTER=file"
    settings += " TANGO_TELEMETRY_TRACES_ENDPOINT=/traces"
    said = root.run(f"{settings} /env/bin/tango-telemetry doctor || true", timeout=120)
    lines = [line.strip() for line in said.splitlines()]
    wanted = ("extension modules", "bridge", "would arrive", "would not arrive")
    return "; ".join(line for line in lines if any(word in line for word in wanted)) or said


def why_not() -> str:
    """Return why no root can be made here, or ""."""
    if os.geteuid() != 0:
        return "only root can make them"
    absent = [name for name in ("debootstrap", "unshare", "chroot") if shutil.which(name) is None]
    return f"{', '.join(absent)} is not here" if absent else ""


def main() -> int:
    """Return the status of the process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", nargs="+", default=SUITES)
    parser.add_argument("--directory", type=Path, default=ROOT / "build/debian")
    parser.add_argument("--no-tests", action="store_true")
    parser.add_argument("pytest", nargs="*", help="what to test, after --")
    options = parser.parse_args()
    if reason := why_not():
        print(f"Debian's roots are left out: {reason}")
        return SKIPPED
    failed = False
    for suite in options.suite:
        try:
            rows = try_suite(
                DebianRoot(suite, options.directory.resolve()),
                () if options.no_tests else options.pytest or TESTS,
            )
        except (StepError, subprocess.SubprocessError) as error:
            rows = [("FAILED", str(error)[-3000:])]
        failed = failed or any(title == "FAILED" or "failed" in text for title, text in rows)
        for title, text in rows:
            print(f"{suite:10}{title:36}{text}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
