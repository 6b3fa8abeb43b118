"""`tango-telemetry compare A B`: what became slower, more frequent, new or gone, between two traces or two
spans of time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from . import selection
from .glyphs import choose_glyphs
from .table import Column, print_table

if TYPE_CHECKING:
    from ..store.database import Store


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "compare",
        help="two traces, or two spans of time: what became slower, more frequent, new, gone",
        description="A and B are the first digits of trace ids, or spans of time FROM..TO such as 2h..1h, "
        "9:00..10:00 or "
        "2026-11-29T09:00..2026-11-29T10:00. What takes the most more, or less, time comes first.",
        epilog="Exit status: 0 something was shown, 1 there was nothing to show, 2 wrong usage.",
    )
    parser.add_argument("a", metavar="A", help="before")
    parser.add_argument("b", metavar="B", help="after")
    selection.add_arguments(parser, filters=False)
    parser.add_argument(
        "-n", type=selection.count_argument, default=0, metavar="20", dest="length", help="how many lines"
    )
    parser.add_argument("--json", action="store_true", help="as JSON, durations in nanoseconds")
    parser.add_argument(
        "--all", action="store_true", help="also what is the same, and connects and polled reads"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say; give the exit status."""
    # Which of the two is a folder is a mistake that is made easily.
    for side in (arguments.a, arguments.b):
        if Path(side).exists() and ".." not in side:
            arguments.parser.error(f"{side} is a file or folder; first come the two traces or spans of time")
    places = selection.places(arguments)
    return selection.run_on_store("compare", places, lambda store, problems: _compare(arguments, store))


def _compare(arguments: argparse.Namespace, store: Store) -> int:
    from ..store.queries import compare

    sides = []
    for side in (arguments.a, arguments.b):
        try:
            totals = _totals(store, side, arguments.all)
        except (ValueError, OverflowError, OSError) as error:
            print(f"tango-telemetry compare: {error}", file=sys.stderr)
            return 1
        if not totals:
            print(f"tango-telemetry compare: no spans in {side}", file=sys.stderr)
            return 1
        sides.append(totals)
    changes = [change for change in compare(*sides) if arguments.all or change.kind != "same"]
    changes = changes[: arguments.length or None]
    if arguments.json:
        json.dump([asdict(change) for change in changes], sys.stdout, indent=1)
        print()
        return 0
    if not changes:
        print("the same: no operation differs by more than a tenth")
        return 0
    console = Console(highlight=False)
    columns = [
        *(Column("change", 3), Column("device", 3, name=True), Column("operation", 4, name=True)),
        *(Column("count A", optional=True), Column("count B", optional=True)),
        *(Column("mean A ms"), Column("mean B ms")),
        *(Column("errors A", optional=True), Column("errors B", optional=True), Column("more ms")),
    ]
    rows = [
        [
            change.kind,
            *change.key,
            str(change.before),
            str(change.after),
            f"{change.mean_before / 1e6:.2f}",
            f"{change.mean_after / 1e6:.2f}",
            str(change.errors_before),
            str(change.errors_after),
            f"{change.extra / 1e6:+.1f}",
        ]
        for change in changes
    ]
    print_table(console, choose_glyphs(console), columns, rows)
    return 0


def _totals(store: Store, side: str, everything: bool) -> dict[tuple[str, ...], Sequence[int]]:
    from ..store.criteria import Criteria, parse_time
    from ..store.queries import operation_totals

    if ".." in side:
        first, _, last = side.partition("..")
        since, until = parse_time(first), parse_time(last) if last else 0
        if until and until < since:
            raise ValueError(f"{side} ends before it begins")
        return operation_totals(store, Criteria(since=since, until=until, everything=everything))
    lowered = side.lower()
    if not lowered or len(lowered) > 32 or lowered.strip("0123456789abcdef"):
        raise ValueError(f"{side!r} is neither a trace id nor a span of time such as 2h..1h")
    found = store.find(lowered)
    if len(found) != 1:
        raise ValueError(
            f"{len(found) or 'no'} trace{'s start' if len(found) > 1 else ' starts'} with {side}"
        )
    return operation_totals(store, Criteria(everything=everything), found[0])
