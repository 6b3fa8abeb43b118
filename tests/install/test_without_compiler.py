"""What pip installs where the native package cannot be compiled: everything but its extension modules."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from environments import NATIVE, run_pip

# Programs that pip, CMake and the interpreter itself use; no compiler is among them.
TOOLS = ("sh", "uname", "ldd", "ls", "cat", "rm", "mkdir")
BROKEN_COMPILER = """#!/bin/sh
# Compiles CMake's own trials and one source of ours, and fails for the others.
for argument; do
    case "$argument" in
        */id_source.cpp) ;;
        */src/bridge/*.cpp | */src/spans/*.cpp) echo "$argument: cannot allocate memory" >&2; exit 1 ;;
    esac
done
exec {compiler} "$@"
"""


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with what pip would install to build the native package."""
    folder = tmp_path_factory.mktemp("builder")
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    python = folder / "bin" / "python"
    run_pip("install", "--no-compile", "scikit-build-core", "pybind11", "cmake", "ninja", python=python)
    return python


def build(builder: Path, folder: Path, path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Have pip make the wheel with nothing but ``path`` to find programs in."""
    source = folder / "source"
    shutil.copytree(NATIVE, source, ignore=shutil.ignore_patterns("build"))
    unwanted = ("CC", "CXX", "TANGO_TELEMETRY_NATIVE_BUILD")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    pip = [sys.executable, "-m", "pip", "--python", str(builder), "wheel", "-v", "--no-cache-dir"]
    return subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "-w", str(folder / "wheels"), str(source)],
        env={**environment, "PATH": str(path), **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PATH without a compiler."""
    folder = tmp_path_factory.mktemp("programs")
    for name in TOOLS:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return folder


def find_wheel(folder: Path) -> Path:
    (wheel,) = (folder / "wheels").glob("*.whl")
    return wheel


def test_without_a_compiler_the_rest_is_installed_and_doctor_says_what_is_missing(
    builder: Path, tmp_path: Path, programs: Path
) -> None:
    built = build(builder, tmp_path, programs)
    assert built.returncode == 0, built.stderr
    wheel = find_wheel(tmp_path)
    assert wheel.name.endswith("-0without_extension_modules-py3-none-any.whl")
    assert "g++ python3-dev" in built.stdout + built.stderr
    assert [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")] == []

    installed = tmp_path / "installed"
    run_pip("install", "--no-deps", "--target", str(installed), str(wheel))

    def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
        return subprocess.run(
            [sys.executable, *command],
            env={**kept, "PATH": str(programs), "PYTHONPATH": str(installed), **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    imported = run("-c", "import tango_telemetry_native")
    assert imported.returncode == 1
    (last,) = imported.stderr.splitlines()[-1:]
    assert last.startswith("ImportError: it was installed without its extension modules")
    assert "Debian: g++" in last
    # Nothing else is missing, so a program is told nothing that it cannot do without.
    telemetry = {"TANGO_TELEMETRY_ENABLE": "on", "TANGO_TELEMETRY_TRACES_EXPORTER": "none"}
    program = "import tango_telemetry_server, tango_telemetry_client; print(tango_telemetry_client.__name__)"
    traced = run("-c", program, **telemetry)
    assert (traced.returncode, traced.stdout, traced.stderr) == (0, "tango_telemetry_client\n", "")
    # Without cppTango's telemetry nothing else carries the context, which is said with how to have it.
    nothing_else = "import tango; tango._tango._telemetry.TELEMETRY_ENABLED = False\n" + program
    alone = run("-c", nothing_else, **telemetry)
    assert alone.returncode == 0, alone.stderr
    assert alone.stderr.count("TelemetryWarning") == 1, alone.stderr
    assert "Debian: g++" in alone.stderr
    verdict = run("-m", "tango_telemetry_tools", "doctor", **telemetry)
    assert "it was installed without its extension modules" in verdict.stdout, verdict.stderr
    assert "pip install --force-reinstall --no-cache-dir --no-deps tango-telemetry-native" in verdict.stdout


def test_where_the_compiler_fails_half_way_no_extension_module_is_installed(
    builder: Path, tmp_path: Path, programs: Path
) -> None:
    path = tmp_path / "path"
    shutil.copytree(programs, path, symlinks=True)
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no compiler here")
    for name in ("as", "ld", "ar", "ranlib", "nm"):
        if found := shutil.which(name):
            (path / name).symlink_to(found)
    for name in ("c++", "g++"):  # scikit-build-core takes the name that the interpreter was built with
        (path / name).write_text(BROKEN_COMPILER.format(compiler=compiler))
        (path / name).chmod(0o755)
    built = build(builder, tmp_path, path)
    assert built.returncode == 0, built.stderr
    assert "cannot allocate memory" in built.stdout + built.stderr  # the reason is there to be read
    names = zipfile.ZipFile(find_wheel(tmp_path)).namelist()
    assert "tango_telemetry_native/__init__.py" in names
    assert [name for name in names if name.endswith(".so")] == []


def test_whoever_builds_for_others_gets_an_error_not_a_wheel_without_extension_modules(
    builder: Path, tmp_path: Path, programs: Path
) -> None:
    built = build(builder, tmp_path, programs, TANGO_TELEMETRY_NATIVE_BUILD="required")
    assert built.returncode != 0
    assert not list(tmp_path.glob("wheels/*.whl"))
