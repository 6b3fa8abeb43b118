"""What every distribution needs on an index: licence texts, links that work there, the same facts in all."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[2]
PROJECTS = [ROOT, *sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))]
LICENCES = ("LICENSE", "LICENSE.GPL")
LINK = re.compile(r"\]\(([^)]+)\)")


def read(project: Path) -> dict[str, Any]:
    return dict(tomllib.loads((project / "pyproject.toml").read_text())["project"])


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_both_licence_texts_are_in_it(project: Path) -> None:
    """The LGPL adds permissions to the GPL, whose text has to come with it (section 4 b of the LGPL)."""
    assert read(project)["license-files"] == [*LICENCES]
    for name in LICENCES:
        assert (project / name).read_bytes() == (ROOT / name).read_bytes()
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("GNU LESSER GENERAL PUBLIC LICENSE")
    assert (ROOT / "LICENSE.GPL").read_text().lstrip().startswith("GNU GENERAL PUBLIC LICENSE")


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_all_say_the_same_of_themselves(project: Path) -> None:
    found, first = read(project), read(ROOT)
    assert found["urls"] == first["urls"]
    assert found["license"] == "LGPL-3.0-or-later"
    assert found["requires-python"] == first["requires-python"]
    # An index refuses a licence classifier beside the expression (PEP 639).
    assert not [line for line in found["classifiers"] if line.startswith("License")]
    pythons = [line for line in found["classifiers"] if line.startswith("Programming Language :: Python")]
    assert pythons == [
        line for line in first["classifiers"] if line.startswith("Programming Language :: Python")
    ]


@pytest.mark.parametrize("project", PROJECTS[1:], ids=lambda path: path.name)
def test_the_links_of_a_readme_work_on_an_index_and_lead_to_what_is_there(project: Path) -> None:
    tree = f"{read(project)['urls']['Homepage']}/-/blob/main/"
    for link in LINK.findall((project / "README.md").read_text()):
        assert link.startswith("https://"), link
        if link.startswith(tree):
            assert (ROOT / link.removeprefix(tree).partition("#")[0]).is_file(), link


def test_the_first_page_of_the_index_has_links_that_work_there(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (sdist,) = tmp_path.glob("*.tar.gz")
    unpack = ["tar", "-xzOf", str(sdist), f"{sdist.name.removesuffix('.tar.gz')}/PKG-INFO"]
    metadata = subprocess.run(unpack, check=True, capture_output=True, text=True).stdout
    links = LINK.findall(metadata)
    assert f"{read(ROOT)['urls']['Homepage']}/-/blob/v{read(ROOT)['version']}/docs/index.md" in links
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
