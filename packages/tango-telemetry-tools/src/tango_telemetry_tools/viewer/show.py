"""`tango-telemetry show`: merge trace files, list the traces, draw one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection
from pathlib import Path

from rich.console import Console

from . import layout
from .glyphs import choose_glyphs
from .list import TraceList
from .page import write_page
from .reader import Problem, Problems, find_files, read_spans
from .summary import TraceSummary, summarise
from .tree import Forest, build_forest
from .waterfall import Waterfall

SHOWN, NOTHING_TO_SHOW = 0, 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "show",
        help="draw traces from OTLP JSON files",
        description="Read OTLP JSON lines (what TANGO_TELEMETRY_TRACES_EXPORTER=file writes) of any number of processes, "
        "and draw one trace in the terminal.",
        epilog="Exit status: 0 something was shown, 1 there was nothing to show, 2 wrong usage.",
    )
    parser.add_argument(
        "places", nargs="+", type=Path, metavar="DIR|FILE", help="folders with *.jsonl, or files"
    )
    parser.add_argument(
        "--trace",
        type=_trace_id,
        metavar="ID",
        help="the trace to draw; its first digits do (default: the newest)",
    )
    parser.add_argument("--list", action="store_true", help="list the traces, newest first, and draw none")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="also write the trace as one self-contained HTML page"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say; give the exit status."""
    problems = Problems(report=report_problem)
    files = find_files(arguments.places, problems)
    traces = summarise(read_spans(files, problems))
    if not traces:
        print("tango-telemetry show: no spans found" + (" in these files" if files else ""), file=sys.stderr)
        return NOTHING_TO_SHOW
    console = Console(highlight=False)
    if arguments.list:
        console.print(TraceList(traces, choose_glyphs(console)), soft_wrap=True)
        return SHOWN
    chosen = _choose(traces, arguments.trace)
    if chosen is None:
        return NOTHING_TO_SHOW
    forest = load_trace(files, chosen.trace_id, problems)
    draw(console, forest)
    if len(traces) > 1:
        console.print(
            f"\n1 of {layout.count(len(traces), 'trace')}; --list shows all, --trace ID draws another",
            style="dim",
        )
    return write_html(arguments.html, forest) if arguments.html else SHOWN


def load_trace(files: Collection[Path], trace_id: str, problems: Problems) -> Forest:
    """Read the spans of one trace. Holds only these, however much the files have."""
    return build_forest(span for span in read_spans(files, problems) if span.trace_id == trace_id)


def draw(console: Console, forest: Forest) -> None:
    """Draw the waterfall, with the characters that the terminal can show."""
    console.print(Waterfall(forest, choose_glyphs(console)), soft_wrap=True)


def write_html(path: Path, forest: Forest) -> int:
    """Write the page and say where; give the exit status."""
    try:
        write_page(path, forest)
    except OSError as error:
        print(f"tango-telemetry: the page could not be written: {error}", file=sys.stderr)
        return NOTHING_TO_SHOW
    print(f"page: {path}")
    return SHOWN


def _choose(traces: list[TraceSummary], wanted: str | None) -> TraceSummary | None:
    if wanted is None:
        return traces[0]
    found = [trace for trace in traces if trace.trace_id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    what = "no trace starts with" if not found else f"{len(found)} traces start with"
    print(f"tango-telemetry show: {what} {wanted}; --list shows all {len(traces)}", file=sys.stderr)
    return None


def report_problem(problem: Problem) -> None:
    """Say on stderr what could not be read."""
    print(f"tango-telemetry show: {problem}", file=sys.stderr)


def _trace_id(text: str) -> str:
    lowered = text.lower()
    if not lowered or len(lowered) > 32 or lowered.strip("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a trace id: up to 32 hexadecimal digits")
    return lowered
