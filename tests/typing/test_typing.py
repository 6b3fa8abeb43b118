"""What users write, under ``mypy --strict`` and pyright, with OpenTelemetry installed and without."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EVERYWHERE = ("user_device.py", "user_script.py")
WITH_API = (*EVERYWHERE, "user_opentelemetry.py")


@pytest.fixture(scope="session", params=["with OpenTelemetry", "without OpenTelemetry"])
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bool]:
    """An interpreter whose environment has our packages and PyTango, and OpenTelemetry or not."""
    if request.param == "with OpenTelemetry":
        return Path(sys.executable), True
    folder = tmp_path_factory.mktemp("without")
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    interpreter = folder / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    installed = Path(sysconfig.get_path("purelib"))
    for package in ("tango", "tango-stubs", "typing_extensions.py"):
        (site / package).symlink_to(installed / package)
    sources = (ROOT / "packages" / f"tango-telemetry-{name}" / "src" for name in ("core", "client", "server"))
    (site / "ours.pth").write_text("".join(f"{source}\n" for source in sources))
    return interpreter, False


def _programs(tmp_path: Path, has_api: bool) -> list[str]:
    """Copies outside this repository, whose own settings for type checkers must not help."""
    names = WITH_API if has_api else EVERYWHERE
    for name in names:
        (tmp_path / name).write_text((HERE / name).read_text())
    return list(names)


def _run(*command: str, folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_mypy_strict(python: tuple[Path, bool], tmp_path: Path) -> None:
    interpreter, has_api = python
    programs = _programs(tmp_path, has_api)
    _run(
        sys.executable, "-m", "mypy", "--strict", "--python-executable", str(interpreter), *programs, folder=tmp_path  # noqa: E501
    )  # fmt: skip


def test_pyright(python: tuple[Path, bool], tmp_path: Path) -> None:
    interpreter, has_api = python
    programs = _programs(tmp_path, has_api)
    _run(sys.executable, "-m", "pyright", "--pythonpath", str(interpreter), *programs, folder=tmp_path)


def test_a_wrong_use_is_found(tmp_path: Path) -> None:
    """The checks above mean something: what they look at is not Any."""
    program = tmp_path / "wrong.py"
    program.write_text(
        "from tango.server import Device\n"
        "class Motor(Device):\n"
        "    def create_telemetry_tracer_provider(self, class_name: int) -> str:\n"
        "        return self.get_telemetry_tracer()\n"
    )
    for command in (("mypy", "--strict"), ("pyright", "--pythonpath", sys.executable)):
        result = subprocess.run(
            [sys.executable, "-m", *command, str(program)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert result.returncode == 1
        assert "create_telemetry_tracer_provider" in result.stdout
        assert "Tracer" in result.stdout


def test_stubs_agree_with_the_run_time(tmp_path: Path) -> None:
    """``--ignore-missing-stub``: what is not described is Any."""
    allow = tmp_path / "allow"
    allow.write_text("\n".join(ALLOWED))
    _run(
        sys.executable,
        "-m",
        "mypy.stubtest",
        "--ignore-missing-stub",
        "--ignore-positional-only",
        "--allowlist",
        str(allow),
        "tango.server",
        folder=tmp_path,
    )


ALLOWED = (
    # PyTango's devices have a metaclass of pybind11's, which users need not know.
    r"tango\.server\.(LatestDeviceImpl|BaseDevice|DeviceMeta\.__new__)",
    r"tango\.server\.BaseDevice\.DEVICE_CLASS_DESCRIPTION",  # None until a user's class says it
    # Another name of the parameter, which is given by position.
    r"tango\.server\.BaseDevice\.create_telemetry_tracer",
)


def test_every_package_says_that_it_is_typed() -> None:
    for source in ROOT.glob("packages/*/src/tango_telemetry*"):
        if source.is_dir():  # the modules of tango-telemetry-auto are nobody's to import
            assert (source / "py.typed").exists(), source
