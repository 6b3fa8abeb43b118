"""The version stands in one place, `tango_telemetry/_version.py`; everything else that must name it is checked or written.

Usage: python tools/set_version.py            say which files name another version, exit status 1 if one does
       python tools/set_version.py VERSION    write it everywhere
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "packages/tango-telemetry-core/src/tango_telemetry/_version.py"
_VERSION = r"[0-9][0-9A-Za-z.+-]*"
# `version = "..."` of a project, and the lockstep `tango-telemetry-core==...` of its dependencies.
_NAMED = re.compile(rf'(^version = "|\btango-telemetry-[a-z]+==)({_VERSION})', re.MULTILINE)


def read_version() -> str:
    """Return the version of the product."""
    found = re.search(rf'^VERSION = "({_VERSION})"$', SOURCE.read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f'{SOURCE}: no line VERSION = "..."')
    return found[1]


def project_files() -> list[Path]:
    """Return the `pyproject.toml` of each distribution."""
    return [ROOT / "pyproject.toml", *sorted(ROOT.glob("packages/*/pyproject.toml"))]


def find_others(version: str) -> list[str]:
    """Return a line for each place that names another version than `version`."""
    return [
        f"{path.relative_to(ROOT)}: {found[0]!r} is not {version}"
        for path in project_files()
        for found in _NAMED.finditer(path.read_text())
        if found[2] != version
    ]


def write(version: str) -> None:
    """Write `version` everywhere."""
    SOURCE.write_text(
        re.sub(rf'(?<=^VERSION = ")({_VERSION})', version, SOURCE.read_text(), flags=re.MULTILINE)
    )
    for path in project_files():
        path.write_text(_NAMED.sub(lambda found: found[1] + version, path.read_text()))


def main(arguments: list[str]) -> int:
    if arguments:
        if re.fullmatch(_VERSION, arguments[0]) is None:
            print(f"{arguments[0]!r} is not a version such as 0.2.0", file=sys.stderr)
            return 2
        write(arguments[0])
    others = find_others(read_version())
    print("\n".join(others) or f"{read_version()} everywhere")
    return 1 if others else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
