"""The reference pages say all there is: each variable, each attribute, each public function."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from docs_examples import ROOT, clean_environment
from tango_telemetry import semantic_conventions
from tango_telemetry.settings.variables import NOT_FOR_USERS, OPENTELEMETRYS, VARIABLES

REFERENCE = ROOT / "docs" / "reference"
# Values and names of events, not of attributes.
NOT_ATTRIBUTES = {"tango", "exception", "_OTHER"}


def constants(module: ModuleType) -> set[str]:
    return {value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)}


@pytest.mark.skipif(
    not importlib.util.find_spec("tango_telemetry_native"),
    reason="the page has the native package's functions too",
)
def test_what_is_written_by_the_script_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "make_reference.py"), "--check"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("page", "variables"),
    [
        ("docs/reference/environment-variables.md", {*VARIABLES, *OPENTELEMETRYS}),
        ("README.md", {*VARIABLES}),
    ],
)
def test_each_variable_is_there(page: str, variables: set[str]) -> None:
    named = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / page).read_text(), re.MULTILINE))
    assert named == variables - NOT_FOR_USERS


def test_each_attribute_is_there_and_no_other() -> None:
    text = (REFERENCE / "attributes.md").read_text()
    named = set(re.findall(r"^\| `([a-z_.]+)` \|", text, re.MULTILINE))
    assert named == constants(semantic_conventions) - NOT_ATTRIBUTES


def test_no_page_names_a_path_of_this_machine() -> None:
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        assert not re.search(r"/(work|root|home/\w+)/", page.read_text()), page


def test_no_variable_of_tangos_is_left_out_beside_the_built_in_tracing() -> None:
    tango = importlib.util.find_spec("tango")
    assert tango is not None
    assert tango.origin is not None
    known = set()
    for path in (
        Path(tango.origin).parent / "_telemetry.py",
        *Path(tango.origin).parent.parent.glob("pytango.libs/libtango*"),
    ):
        if path.exists():
            known |= set(re.findall(rb"\bP?Y?TANGO_(?:DISABLE_)?TELEMETRY_[A-Z_]+\b", path.read_bytes()))
    table = (REFERENCE / "built-in.md").read_text()
    firsts = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    named = {name for first in firsts for name in re.findall(r"`(P?Y?TANGO_[A-Z_]+)[=`]", first)}
    assert {name.decode() for name in known} <= named
    assert {name for name in VARIABLES if name.startswith("TANGO_")} <= named
