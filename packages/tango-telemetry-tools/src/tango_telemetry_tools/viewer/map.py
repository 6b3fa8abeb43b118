"""`tango-telemetry map`: who calls whom, by device or class: as text, as a picture, for Graphviz and for
programs.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from . import layout, selection
from .glyphs import choose_glyphs
from .table import Column, milliseconds, print_table

if TYPE_CHECKING:
    from ..store.database import Store
    from ..store.queries import DeviceMap

_NOBODY = "(nobody)"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "map",
        help="who calls whom, by device or class: calls, errors, p95, events",
        description="Calls from programs and devices to devices, and events from the devices that push "
        "them to those who get "
        "them. An event that reaches nobody is listed as such.",
        epilog="Exit status: 0 something was shown, 1 there was nothing to show, 2 wrong usage.",
    )
    selection.add_arguments(parser)
    parser.add_argument("--by", choices=("device", "class"), default="device")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a picture")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write a page with the picture and the numbers"
    )
    parser.add_argument("--dot", action="store_true", help="print it for Graphviz")
    parser.add_argument("--json", action="store_true", help="print it as JSON, durations in nanoseconds")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say; give the exit status."""
    places = selection.places(arguments)
    return selection.run_on_store("map", places, lambda store, problems: _map(arguments, store))


def _map(arguments: argparse.Namespace, store: Store) -> int:
    from ..store.queries import device_map

    found = device_map(store, selection.criteria(arguments), arguments.by)
    if arguments.json:
        json.dump(
            {"nodes": found.nodes, "edges": [asdict(edge) for edge in found.edges]}, sys.stdout, indent=1
        )
        print()
        return 0
    if not found.edges:
        print("tango-telemetry map: no call and no event is left by these filters", file=sys.stderr)
        return 1
    for path, page in ((arguments.svg, False), (arguments.html, True)):
        if path:
            from .map_picture import render_page, render_svg

            try:
                path.write_text(render_page(found) if page else render_svg(found), encoding="utf-8")
            except OSError as error:
                print(f"tango-telemetry map: the picture could not be written: {error}", file=sys.stderr)
                return 1
            print(f"picture: {path}")
    if arguments.dot:
        print(as_dot(found))
    elif not arguments.svg and not arguments.html:
        _print(found)
    return 0


def _print(found: DeviceMap) -> None:
    console = Console(highlight=False)
    columns = [Column("caller", 2, name=True), Column("callee", 2, name=True), Column("what", 1, "dim")]
    columns += [Column("event", 1, "dim", name=True)]
    columns += [Column("count"), Column("errors"), Column("p95 ms")]
    rows = [
        [
            edge.caller,
            edge.callee or _NOBODY,
            "events" if edge.event else "calls",
            edge.what or "-",
            str(edge.calls),
            str(edge.errors),
            "-" if edge.event else milliseconds(edge.p95),
        ]
        for edge in found.edges
    ]
    print_table(console, choose_glyphs(console), columns, rows)


def as_dot(found: DeviceMap) -> str:
    """Return the map in Graphviz's language."""
    lines = [
        "digraph calls {",
        "  rankdir=LR; node [shape=box, fontname=sans]; edge [fontname=sans, fontsize=9];",
    ]
    for name, kind in found.nodes.items():
        lines.append(f"  {_quote(name)}{' [style=rounded]' if kind == 'program' else ''};")
    for edge in found.edges:
        label = f"{edge.calls}" + (f", {layout.count(edge.errors, 'error')}" if edge.errors else "")
        label += (
            f" events {edge.what}".rstrip() if edge.event else f", p95 {layout.format_duration(edge.p95)}"
        )
        style = ", style=dashed" if edge.event else ""
        colour = ', color="#d92d3a"' if edge.errors else ""
        callee = _quote(edge.callee or _NOBODY)
        lines.append(f"  {_quote(edge.caller)} -> {callee} [label={_quote(label)}{style}{colour}];")
    return "\n".join([*lines, "}"])


def _quote(text: str) -> str:
    cleaned = layout.clean(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{cleaned}"'
