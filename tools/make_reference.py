"""Write what comes from elsewhere: the reference of variables and functions, and the index of decisions.

Usage: python tools/make_reference.py            write them
       python tools/make_reference.py --check    say which are not up to date, exit status 1 if one is not

The variables come from the table in `tango_telemetry.settings.variables`, their defaults from the settings
themselves, the functions from the `__all__` of the public modules. Run it with the packages installed (`make
setup`).
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from built_in_tracing import built_in_page
from tango_telemetry import TelemetryConfig
from tango_telemetry.settings.config import get_field
from tango_telemetry.settings.variables import NOT_FOR_USERS, OPENTELEMETRYS, VARIABLES, Variable

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Written by tools/make_reference.py; change the docstrings, not this page. -->\n"
MODULES = (
    "tango_telemetry",
    "tango_telemetry.pipeline",
    "tango_telemetry.bridge",
    "tango_telemetry.testing",
    "tango_telemetry_client",
    "tango_telemetry_server",
    "tango_telemetry_native",
    "tango_telemetry_native.giop",
)
# A builtin type's docstring or a typing alias says nothing about our name.
_ROLE = re.compile(r":(?:class|meth|func|mod|data):`~?([^`]+)`")


def _markdown(docstring: str | None) -> str:
    """Return a docstring as Markdown: double backticks single, roles as code, field lists as bullets."""
    text = inspect.cleandoc(docstring or "")
    text = _ROLE.sub(r"`\1`", text).replace("``", "`")
    text = re.sub(r"^:param ([^:]+): ?", r"- `\1`: ", text, flags=re.MULTILINE)
    text = re.sub(r"^:returns?: ?", "- returns ", text, flags=re.MULTILINE)
    text = re.sub(r"^:raises ([^:]+): ?", r"- raises `\1` ", text, flags=re.MULTILINE)
    first = re.search(r"(\n+)- (?:`|returns|raises)", text)
    if first and len(first[1]) == 1:
        text = f"{text[: first.start()]}\n{text[first.start() :]}"
    return text


def _default(variable: Variable) -> str:
    """Return the default of a variable's field as a sentence, empty where the text says it or there
    is none.
    """
    value = get_field(TelemetryConfig(), variable.field) if variable.read else None
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        shown = "on" if value else "off"
    elif isinstance(value, tuple):
        shown = ",".join(value)
    elif variable.unit == "bytes":
        shown = f"{value // 2**20} MiB"
    elif variable.unit:
        shown = f"{value * (1000 if variable.unit == 'ms' else 1):g} {variable.unit}"
    else:
        shown = str(value)
    return f" Default: {shown}." if variable.unit or isinstance(value, int) else f" Default: `{shown}`."


def variables_table(variables: Mapping[str, Variable]) -> str:
    """Return the table of variables, for the reference page and the README."""
    rows = ["| variable | meaning |", "|---|---|"]
    for name, variable in variables.items():
        if name not in NOT_FOR_USERS:
            line = " ".join((_markdown(variable.doc) + _default(variable)).split()).replace("|", "\\|")
            rows.append(f"| `{name}` | {line} |")
    return "\n".join(rows) + "\n"


def variables_page() -> str:
    """Return docs/reference/environment-variables.md: what stands before and after the tables is written by
    hand.
    """
    text = (REFERENCE / "_environment-notes.md").read_text()
    text = text.replace("OPENTELEMETRYS_TABLE", variables_table(OPENTELEMETRYS).rstrip())
    return f"# Environment variables\n\n{NOTE}\n{text.replace('TABLE', variables_table(VARIABLES).rstrip())}"


def decisions_page() -> str:
    """Return docs/decisions/index.md: each record with its title."""
    lines = [
        "# Decisions\n",
        NOTE.replace("docstrings", "records"),
        "One record for each decision that somebody might wonder about, with its reason. A record is "
        "changed when the decision is.\n",
        "| | |",
        "|---|---|",
    ]
    for record in sorted((ROOT / "docs" / "decisions").glob("0*.md")):
        number, _, title = record.read_text().splitlines()[0].removeprefix("# ").partition(": ")
        lines.append(f"| [{number}]({record.name}) | {title} |")
    return "\n".join(lines) + "\n"


def readme() -> str:
    """Return README.md with its table of variables up to date."""
    text = (ROOT / "README.md").read_text()
    region = re.compile(r"(?<=<!-- variables -->\n).*?(?=<!-- /variables -->)", re.DOTALL)
    table = re.sub(r"\(?,? ?see `docs/[^`]*`\)?", "", variables_table(VARIABLES))
    return region.sub(lambda _: table, text)


def _signature(thing: Any) -> str:
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    text = str(signature).replace("'", "")
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def _describe_class(name: str, cls: type) -> list[str]:
    if dataclasses.is_dataclass(cls):
        lines = [
            f"### class `{name}`\n",
            _markdown(cls.__doc__),
            "",
            "| field | type | default |",
            "|---|---|---|",
        ]
        for field in dataclasses.fields(cls):
            default = "" if field.default is dataclasses.MISSING else f"`{field.default!r}`"
            if dataclasses.is_dataclass(field.default):
                default = f"`{type(field.default).__name__}()`"
            kind = str(field.type).replace("|", "\\|")
            lines.append(f"| `{field.name}` | `{kind}` | {default} |")
        lines.append("")
    else:
        lines = [f"### class `{name}`\n", _markdown(cls.__doc__), ""]
    for method_name, method in _methods(cls):
        lines += [f"#### `{name}.{method_name}{_signature(method)}`\n", _markdown(method.__doc__), ""]
    return lines


def _methods(cls: type) -> list[tuple[str, Any]]:
    found: dict[str, Any] = {}
    for base in reversed([base for base in cls.__mro__ if base.__module__.startswith("tango_telemetry")]):
        for name, raw in vars(base).items():
            method = getattr(raw, "__func__", raw)
            if not name.startswith("_") and inspect.isroutine(method) and method.__doc__:
                found[name] = method
    return list(found.items())


def _describe(module: ModuleType, name: str) -> list[str]:
    thing = getattr(module, name)
    if inspect.ismodule(thing):
        return []
    if inspect.isclass(thing):
        return _describe_class(name, thing)
    if callable(thing):
        return [f"### `{name}{_signature(thing)}`\n", _markdown(thing.__doc__), ""]
    return [f"### `{name}`\n", f"`{thing!r}`", ""]


def api_page() -> str:
    """Return docs/reference/api.md."""
    lines = ["# Functions and classes\n", NOTE]
    lines.append("What may be imported. Everything else may change without notice.\n")
    for module_name in MODULES:
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError:
            continue
        lines += [f"## `{module_name}`\n", _markdown(module.__doc__), ""]
        for name in sorted(module.__all__, key=str.lower):
            lines += _describe(module, name)
    return "\n".join(lines).rstrip() + "\n"


def generate() -> dict[Path, str]:
    """Return the content of each page that is written here."""
    return {
        REFERENCE / "environment-variables.md": variables_page(),
        REFERENCE / "built-in.md": built_in_page(NOTE.replace("the docstrings", "tools/built_in_tracing.py")),
        REFERENCE / "api.md": api_page(),
        ROOT / "docs" / "decisions" / "index.md": decisions_page(),
        ROOT / "README.md": readme(),
    }


def main(arguments: list[str]) -> int:
    stale = [path for path, text in generate().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if "--check" in arguments:
            print(
                f"{path.relative_to(ROOT)} is not up to date; run: python tools/make_reference.py",
                file=sys.stderr,
            )
        else:
            path.write_text(generate()[path])
            print(f"written: {path.relative_to(ROOT)}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
