"""All packages have one version, which stands in one file; a tool writes it into the others."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import tango_telemetry

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("set_version", ROOT / "tools/set_version.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tool: ModuleType, tmp_path: Path) -> Path:
    for path in [*ROOT.glob("packages/*/pyproject.toml"), ROOT / "pyproject.toml", ROOT / tool.VERSION_FILE]:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def test_every_package_has_the_version_of_core(tool: ModuleType) -> None:
    assert tool.find_disagreements() == []
    assert tool.read_version() == tango_telemetry.__version__


@pytest.mark.parametrize("package", ["core", "client", "server", "native", "stubs", "tools"])
def test_a_package_with_another_version_is_named(tool: ModuleType, copy: Path, package: str) -> None:
    path = copy / f"packages/tango-telemetry-{package}/pyproject.toml"
    path.write_text(path.read_text().replace(f'version = "{tool.read_version()}"', 'version = "9.9.9"', 1))
    (wrong,) = tool.find_disagreements(copy)
    assert wrong.startswith(f"packages/tango-telemetry-{package}/pyproject.toml:")
    assert "9.9.9" in wrong


def test_a_sibling_asked_for_in_another_version_is_named(tool: ModuleType, copy: Path) -> None:
    path = copy / "packages/tango-telemetry-client/pyproject.toml"
    path.write_text(path.read_text().replace("tango-telemetry-core==", "tango-telemetry-core==8."))
    (wrong,) = tool.find_disagreements(copy)
    assert "tango-telemetry-core==8." in wrong


def test_the_tool_writes_one_version_everywhere(tool: ModuleType, copy: Path) -> None:
    tool.write_version("1.2.0rc1", copy)
    assert tool.read_version(copy) == "1.2.0rc1"
    assert tool.find_disagreements(copy) == []


def test_what_is_no_version_is_refused(tool: ModuleType, copy: Path) -> None:
    before = tool.read_version(copy)
    with pytest.raises(ValueError, match=r"'1\.x' is not a version"):
        tool.write_version("1.x", copy)
    assert tool.read_version(copy) == before
