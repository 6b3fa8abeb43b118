"""`tango-telemetry top`: where the time goes and what fails, per device and operation."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from . import selection
from .glyphs import choose_glyphs
from .table import Column, milliseconds, print_table

if TYPE_CHECKING:
    from ..store.database import Store

_SORTS = ("total", "count", "errors", "p50", "p95", "longest")
_WATCH_SECONDS = 2.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "top",
        help="per device and operation: how often, how often in vain, how long",
        description="Count, errors, median, 95th percentile, longest, and the share of all time, over all "
        "traces. A call counts "
        "once: in the server, where that is traced; by caller in the client.",
        epilog="Exit status: 0 something was shown, 1 there was nothing to show, 2 wrong usage.",
    )
    selection.add_arguments(parser)
    parser.add_argument(
        "--by",
        choices=("class", "device", "operation", "caller"),
        default="",
        help="one line for each of these",
    )
    parser.add_argument(
        "--sort", choices=_SORTS, default="total", help="what comes first (default: total, the time)"
    )
    parser.add_argument(
        "-n", type=selection.count_argument, default=0, metavar="20", dest="length", help="how many lines"
    )
    parser.add_argument("--json", action="store_true", help="as JSON, durations in nanoseconds")
    parser.add_argument(
        "--watch", action="store_true", help="read what is new and draw again, every two seconds"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say; give the exit status."""
    places = selection.places(arguments)

    again = _WATCH_SECONDS if arguments.watch else 0.0
    return selection.run_on_store("top", places, lambda store, problems: _top(arguments, store), again)


def _top(arguments: argparse.Namespace, store: Store) -> int:
    from ..store.queries import GROUPS, top

    rows = top(store, selection.criteria(arguments), arguments.by)
    rows.sort(key=lambda row: getattr(row, arguments.sort), reverse=True)
    console = Console(highlight=False)
    # What scrolls away at the top is what matters most; below the rows stands the cursor.
    screen = max(1, console.height - 2) if arguments.watch and console.is_terminal else None
    rows = rows[: arguments.length or screen]
    names = GROUPS[arguments.by]
    if arguments.json:
        values = [
            {
                **dict(zip(names, row.key, strict=True)),
                "count": row.count,
                "errors": row.errors,
                "p50_ns": row.p50,
                "p95_ns": row.p95,
                "longest_ns": row.longest,
                "total_ns": row.total,
                "share": round(row.share, 6),
            }
            for row in rows
        ]
        json.dump(values, sys.stdout, indent=1)
        print()
        return 0
    if not rows:
        print("tango-telemetry top: no span is left by these filters", file=sys.stderr)
        return 1
    columns = [
        *(Column(name, 2, name=True) for name in names),
        *(Column("count"), Column("errors"), Column("p50 ms", optional=True), Column("p95 ms")),
        *(Column("longest ms"), Column("share %", optional=True)),
    ]
    lines = [
        [
            *row.key,
            str(row.count),
            str(row.errors),
            milliseconds(row.p50),
            milliseconds(row.p95),
            milliseconds(row.longest),
            f"{100 * row.share:.1f}",
        ]
        for row in rows
    ]
    print_table(console, choose_glyphs(console), columns, lines)
    return 0
