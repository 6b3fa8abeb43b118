"""Write or check the version of all packages: ``python tools/set_version.py [VERSION]``.

The version stands in ``tango_telemetry/_version.py``. Each ``pyproject.toml`` repeats it, as its own version
and as the one that it asks of its siblings, because an index reads only that. Without VERSION the files are
only checked.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION_FILE = Path("packages/tango-telemetry-core/src/tango_telemetry/_version.py")
_CONSTANT = re.compile(r'^(VERSION(?:: \S+)? = ")([^"]*)(")', re.MULTILINE)
_REPEATED = re.compile(r'(^version = "|"tango-telemetry-[a-z]+(?:\[[^\]]*\])?==)([^";]*)([";])', re.MULTILINE)
_VALID = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?")


def read_version(root: Path = ROOT) -> str:
    """Return the version that ``_version.py`` below `root` names; raise ValueError where it names none."""
    found = _CONSTANT.search((root / VERSION_FILE).read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f'{VERSION_FILE} has no line VERSION = "..."')
    return found[2]


def find_disagreements(root: Path = ROOT) -> list[str]:
    """Return one sentence for each place of a ``pyproject.toml`` that disagrees with ``_version.py``."""
    version = read_version(root)
    wrong = []
    for path in _find_projects(root):
        text = path.read_text(encoding="utf-8")
        if re.search(r'^version = "', text, re.MULTILINE) is None:
            wrong.append(f"{path.relative_to(root)}: there is no version")
        for found in _REPEATED.finditer(text):
            if found[2] != version:
                line = text.count("\n", 0, found.start()) + 1
                wrong.append(f"{path.relative_to(root)}:{line}: {found[0].strip()} is not {version}")
    return wrong


def write_version(version: str, root: Path = ROOT) -> None:
    """Write `version` into ``_version.py`` and every ``pyproject.toml``; raise ValueError for one of no valid
    form.
    """
    if not _VALID.fullmatch(version):
        raise ValueError(f"{version!r} is not a version; write one like 0.2.0 or 1.0.0rc1")
    for path, pattern in [
        (root / VERSION_FILE, _CONSTANT),
        *((path, _REPEATED) for path in _find_projects(root)),
    ]:
        text = path.read_text(encoding="utf-8")
        path.write_text(pattern.sub(rf"\g<1>{version}\g<3>", text), encoding="utf-8")


def _find_projects(root: Path) -> list[Path]:
    return [root / "pyproject.toml", *sorted(root.glob("packages/*/pyproject.toml"))]


def main() -> int:
    """Return the status of the process: 0 where all files agree."""
    if len(sys.argv) > 1:
        try:
            write_version(sys.argv[1])
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
    wrong = find_disagreements()
    print("\n".join(wrong) or f"all packages: {read_version()}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
