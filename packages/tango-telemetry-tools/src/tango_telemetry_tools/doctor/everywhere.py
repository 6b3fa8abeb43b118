"""`tango-telemetry doctor --all`: every exported device of the database is asked whether it is traced."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ..viewer.glyphs import choose_glyphs
from ..viewer.table import Column, print_table
from . import device
from .asker import Asker
from .model import SCHEMA_VERSION, DeviceReport

AT_ONCE = 16
"""Devices that are asked at the same time: those that do not answer take three seconds each."""
_COLUMNS = (
    Column("server", 3),
    Column("host", 2),
    Column("devices"),
    Column("traced"),
    Column("tango-telemetry", 3),
    Column("spans go to", 4),
)


def run(as_json: bool, verbose: bool) -> int:
    """Ask all of them and print what they say; 0, or 1 where there is no database to ask."""
    tango = device.prepare()
    if tango is None:
        print("PyTango cannot be imported. Type: pip install pytango", file=sys.stderr)
        return 1
    try:
        exported = map(str, tango.Database().get_device_exported("*"))
    except tango.DevFailed as failure:
        reason = " ".join(failure.args[0].desc.split())
        print(f"No database answers: {reason}. Type: export TANGO_HOST=HOST:10000", file=sys.stderr)
        return 1
    # cppTango's own device of each server makes no spans of ours.
    names = sorted(name for name in exported if not name.lower().startswith("dserver/"))
    asker = Asker()
    if not asker.can_ask:
        print(
            "No context travels from here, so nobody can be asked. Type: pip install tango-telemetry-native",
            file=sys.stderr,
        )
        return 1
    found = sorted(_ask_all(tango, asker, names), key=lambda report: (report.server or "", report.name))
    if as_json:
        json.dump(
            {"schema_version": SCHEMA_VERSION, "devices": [asdict(report) for report in found]},
            sys.stdout,
            indent=2,
        )
        print()
    else:
        _print(found, verbose)
    return 0


def _ask_all(tango: Any, asker: Asker, names: list[str]) -> Iterator[DeviceReport]:
    bars = (TextColumn("asking {task.total:.0f} devices"), BarColumn(), MofNCompleteColumn())
    progress = Progress(*bars, console=Console(stderr=True), transient=True)
    with progress, ThreadPoolExecutor(AT_ONCE) as pool:
        task = progress.add_task("", total=len(names))
        for future in as_completed([pool.submit(_ask, tango, asker, name) for name in names]):
            progress.advance(task)
            yield future.result()


def _ask(tango: Any, asker: Asker, name: str) -> DeviceReport:
    with tango.EnsureOmniThread():
        return device.ask(tango, asker, name)


def _print(found: list[DeviceReport], verbose: bool) -> None:
    """One row for each server, or with `verbose` for each device."""
    groups: dict[str, list[DeviceReport]] = {}
    for report in found:
        groups.setdefault(report.name if verbose else report.server or report.name, []).append(report)
    console = Console(highlight=False)
    columns = (Column("device", 3), *_COLUMNS) if verbose else _COLUMNS
    rows = [((name, *_row(group)) if verbose else _row(group)) for name, group in groups.items()]
    print_table(console, choose_glyphs(console), columns, rows)
    traced = sum(_is_traced(report) for report in found)
    console.print(f"{traced} of {len(found)} devices are traced", highlight=False)


def _row(group: list[DeviceReport]) -> tuple[str, ...]:
    first = group[0]
    asked = next((each.report for each in group if each.report is not None), None)
    if asked is not None:
        says, target = str(asked["tango_telemetry"]), ", ".join(asked.get("endpoints", ())) or "nowhere"
    else:
        says, target = ("no" if first.answers else f"does not answer: {first.unknown}"), ""
    traced = sum(map(_is_traced, group))
    return first.server or first.name, first.host or "", str(len(group)), str(traced), says, target


def _is_traced(report: DeviceReport) -> bool:
    return bool(report.report and report.report.get("traced") and report.report.get("endpoints"))
