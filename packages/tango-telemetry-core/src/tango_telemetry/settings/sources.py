"""Where values come from: the environment as the user set it, and below it the tangorc files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from tango_telemetry.pipeline.redact import HIDDEN, redact_url
from tango_telemetry.settings import variables as env

__all__ = [
    "as_the_user_set_it",
    "read_environment",
    "read_note",
    "read_tangorc",
    "redact_setting",
    "tangorc_paths",
]

_SECRET = re.compile(r"HEADER|TOKEN|PASSW|SECRET|CREDENTIAL", re.IGNORECASE)


def read_note(mapping: Mapping[str, str]) -> dict[str, tuple[str, str | None]]:
    """Return what a process handed to cppTango through the environment, by name, and what the user had there.

    The note is written by ``pytango/environment.py``.
    """
    try:
        note = json.loads(mapping.get(env.PYTANGO_TELEMETRY_HANDED_ON) or "{}")
        return {
            str(name): (str(given), None if original is None else str(original))
            for name, (given, original) in note.items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}


def as_the_user_set_it(mapping: Mapping[str, str]) -> Mapping[str, str]:
    """Return the mapping without what this process or its parent handed to cppTango through the
    environment.
    """
    note = read_note(mapping)
    if not note:
        return mapping
    restored = dict(mapping)
    for name, (given, original) in note.items():
        if restored.get(name, "") != given:
            continue  # somebody has set it since: that is the user's word
        if original is None:
            restored.pop(name, None)
        else:
            restored[name] = original
    return restored


def read_tangorc(path: Path) -> dict[str, str]:
    """Return the ``NAME=value`` lines about telemetry, as cppTango's ``ApiUtil::get_env_var`` reads them
    (10.3).

    ``#`` starts a comment.
    """
    values: dict[str, str] = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")[:1_000_000]
    except OSError:
        return values
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator and not name.lstrip().startswith("#") and "TEL" in name.upper():
            # In a URL it is a part of it, unless it stands apart: cppTango would take the comment for an
            # endpoint.
            end = "#" if "://" not in value else " #"
            values[name.strip().upper()] = value.replace("\t", " ").split(end, 1)[0].strip()
    return values


def tangorc_paths() -> tuple[Path, ...]:
    """Return the files that cppTango 10.3 looks a variable up in when the environment has it not, first one
    first.
    """
    return (Path(os.path.expanduser("~/.tangorc")), Path("/etc/tangorc"))


def read_environment() -> dict[str, str]:
    """Return the environment of the process, as the user set it, over what the tangorc files say about
    telemetry.
    """
    merged: dict[str, str] = {}
    for path in reversed(tangorc_paths()):
        merged.update(read_tangorc(path))
    merged.update(as_the_user_set_it(os.environ))
    merged.pop(env.PYTANGO_TELEMETRY_HANDED_ON, None)
    return merged


def redact_setting(name: str, value: str) -> str:
    """Return a value as it may be shown: of secrets only the names, of URLs no credentials."""
    if _SECRET.search(name):
        return ", ".join(
            f"{pair.partition('=')[0].strip()}={HIDDEN}" if "=" in pair else HIDDEN
            for pair in value.split(",")
        )
    return ",".join(redact_url(part) for part in value.split(","))
