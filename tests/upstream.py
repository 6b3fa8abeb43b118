"""Other people's distributions: their sources from the package index, and what a JUnit report says of each of
their tests.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

WORST_FIRST = ("error", "failed", "passed", "skipped")


def run_own_pip(*arguments: str) -> None:
    """Run the pip of this interpreter, with its messages shown."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, timeout=1200)


def download_source(distribution: str, version: str, folder: Path) -> Path:
    """Return the unpacked source distribution below ``folder``, downloaded where it is not there yet."""
    source = folder / f"{distribution.replace('-', '_')}-{version}"
    if not source.exists():
        # The metadata of a source distribution is built to read it; its build requirements may come as
        # wheels.
        run_own_pip(
            "download", "--no-deps", "--no-binary", distribution, "-d", str(folder), f"{distribution}=={version}"  # noqa: E501
        )  # fmt: skip
        with tarfile.open(folder / f"{source.name}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return source


def read_outcomes(report: Path) -> dict[str, str]:
    """Return ``passed``, ``failed``, ``error`` or ``skipped`` for each test of a JUnit report.

    A test that fails and whose fixture then fails too stands in the report twice; the worse of both counts.
    """
    outcomes: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        found = "error" if "error" in kinds else "failed" if "failure" in kinds else ""
        found = found or ("skipped" if "skipped" in kinds else "passed")
        test = f"{case.get('classname')}::{case.get('name')}"
        outcomes[test] = min(found, outcomes.get(test, found), key=WORST_FIRST.index)
    return outcomes
