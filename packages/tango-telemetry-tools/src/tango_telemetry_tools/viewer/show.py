"""`tango-telemetry show`: merge trace files, find traces, draw one."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from . import layout, selection
from .details import Details
from .glyphs import choose_glyphs
from .list import as_json, log_as_json, print_list, print_logs, print_metrics
from .model import LogRecord, Relation, Span
from .page import write_page
from .reader import Problem, Problems, read_spans
from .related import Related
from .trace_data import json_safe
from .tree import Forest, build_forest
from .waterfall import Waterfall

if TYPE_CHECKING:
    from ..store.database import Store

SHOWN, NOTHING_TO_SHOW = 0, 1
_DEFAULT_LENGTH = 50


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "show",
        help="find and draw traces of OTLP JSON files",
        description="Read OTLP JSON lines (what TANGO_TELEMETRY_TRACES_EXPORTER=file writes) of any "
        "number of processes, "
        "and draw one trace in the terminal: the newest, or the first that the filters leave.",
        epilog="Exit status: 0 something was shown, 1 there was nothing to show, 2 wrong usage.",
    )
    selection.add_arguments(parser)
    parser.add_argument(
        "--trace",
        type=_trace_id,
        metavar="ID",
        help="the trace to draw; its first digits do (default: the newest)",
    )
    parser.add_argument(
        "--logs",
        action="store_true",
        help="also the log records, under their spans; with --list these and no traces",
    )
    parser.add_argument("--metrics", action="store_true", help="a table of the metrics, and no trace")
    parser.add_argument("--list", action="store_true", help="list the traces and draw none")
    parser.add_argument(
        "-n",
        type=selection.count_argument,
        default=_DEFAULT_LENGTH,
        metavar="20",
        dest="length",
        help="how many (0: all)",
    )
    parser.add_argument(
        "--sort",
        choices=("start", "duration", "spans", "errors"),
        default="start",
        help="what comes first: most, or newest",
    )
    parser.add_argument(
        "--slowest", action="store_const", const="duration", dest="sort", help="the same as --sort duration"
    )
    parser.add_argument("--json", action="store_true", help="the list, or all spans of the trace, as JSON")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="also attributes, events, links and whole error texts"
    )
    parser.add_argument(
        "--depth",
        type=selection.count_argument,
        default=0,
        metavar="N",
        help="draw N levels only, with the number of spans below",
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="also write the trace as one self-contained HTML page"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say; give the exit status."""
    places = selection.places(arguments)
    return selection.run_on_store("show", places, lambda store, problems: _show(arguments, store))


def _show(arguments: argparse.Namespace, store: Store) -> int:
    from ..store.signals import logs_of_trace, relations

    if arguments.metrics:
        return _metrics(arguments, store)
    if arguments.list and arguments.logs:
        return _logs(arguments, store)
    if not store.query("select 1 from spans limit 1"):
        some = bool(store.files)
        print("tango-telemetry show: no spans found" + (" in these files" if some else ""), file=sys.stderr)
        return NOTHING_TO_SHOW
    if arguments.list:
        return _list(arguments, store)
    chosen, total = _choose(arguments, store)
    if chosen is None:
        return NOTHING_TO_SHOW
    forest = build_forest(store.trace(chosen))
    found = relations(store, chosen)
    logs = logs_of_trace(store, chosen)
    if arguments.json:
        spans = [span_as_json(span, found, logs if arguments.logs else None) for span in forest.spans]
        json.dump(spans, sys.stdout, indent=1)
        print()
        return SHOWN
    console = Console(highlight=False)
    related = Related(forest, found, logs if arguments.logs else ())
    draw(console, forest, arguments.depth, not arguments.all, arguments.verbose, time.time(), related)
    if logs and not arguments.logs:
        console.print(f"\n{layout.count(len(logs), 'log record')}: --logs draws them", style="dim")
    if total > 1:
        text = f"\n1 of {layout.count(total, 'trace')}; --list shows all, --trace ID draws another"
        console.print(text, style="dim")
    return write_html(arguments.html, forest, found, logs) if arguments.html else SHOWN


def _list(arguments: argparse.Namespace, store: Store) -> int:
    from ..store.queries import find_traces

    found = find_traces(store, selection.criteria(arguments), arguments.sort, arguments.length)
    if arguments.json:
        json.dump([as_json(trace) for trace in found.traces], sys.stdout, indent=1)
        print()
        return SHOWN
    if not found.traces:
        print(
            f"tango-telemetry show: no trace is left by these filters{_more(0, found.folded)}",
            file=sys.stderr,
        )
        return NOTHING_TO_SHOW
    console = Console(highlight=False)
    print_list(console, choose_glyphs(console), found)
    text = ""
    if found.total > len(found.traces):
        text = f"{len(found.traces)} of {layout.count(found.total, 'trace')}; -n 0 lists all"
    text += _more(bool(text), found.folded)
    if text and console.is_terminal:
        console.print(f"\n{text.strip('; ')}", style="dim")
    elif text:
        # Not among the lines that another program reads.
        print(f"tango-telemetry show: {text.strip('; ')}", file=sys.stderr)
    return SHOWN


def _more(joined: int, folded: int) -> str:
    if not folded:
        return ""
    return f"; {layout.count(folded, 'trace')} of connects, inits and polled reads: --all lists them too"


def _choose(arguments: argparse.Namespace, store: Store) -> tuple[str | None, int]:
    from ..store.criteria import Criteria
    from ..store.queries import find_traces

    if arguments.trace is not None:
        found = store.find(arguments.trace)
        total = find_traces(store, Criteria(everything=True), limit=1).total
        if len(found) == 1:
            return found[0], total
        number = f"{len(found)}" + (" or more" if len(found) == 20 else "")
        what = "no trace starts with" if not found else f"{number} traces start with"
        print(f"tango-telemetry show: {what} {arguments.trace}; --list shows all {total}", file=sys.stderr)
        return None, total
    wanted = selection.criteria(arguments)
    traces = find_traces(store, wanted, arguments.sort, 1)
    if not traces.traces and traces.folded:
        # Better a connect than nothing.
        traces = find_traces(store, replace(wanted, everything=True), arguments.sort, 1)
    if not traces.traces:
        print("tango-telemetry show: no trace is left by these filters", file=sys.stderr)
        return None, 0
    return traces.traces[0].trace_id, traces.total + traces.folded


def _logs(arguments: argparse.Namespace, store: Store) -> int:
    from ..store.signals import find_logs

    found, total = find_logs(store, selection.criteria(arguments), arguments.length)
    if arguments.json:
        json.dump([log_as_json(record) for record in found], sys.stdout, indent=1)
        print()
        return SHOWN
    if not found:
        print("tango-telemetry show: no log record is left by these filters", file=sys.stderr)
        return NOTHING_TO_SHOW
    console = Console(highlight=False)
    print_logs(console, choose_glyphs(console), found[::-1])
    if total > len(found):
        text = f"the newest {len(found)} of {layout.count(total, 'log record')}; -n 0 lists all"
        print(f"tango-telemetry show: {text}", file=sys.stderr)
    return SHOWN


def _metrics(arguments: argparse.Namespace, store: Store) -> int:
    from ..store.signals import metrics

    found = metrics(store, selection.criteria(arguments))
    if arguments.json:
        # JSON has no infinity, and the outermost buckets have no bound.
        json.dump([json_safe(asdict(metric)) for metric in found], sys.stdout, indent=1)
        print()
        return SHOWN
    if not found:
        print("tango-telemetry show: no metric is left by these filters", file=sys.stderr)
        return NOTHING_TO_SHOW
    console = Console(highlight=False)
    print_metrics(console, choose_glyphs(console), found)
    return SHOWN


def load_trace(files: Collection[Path], trace_id: str, problems: Problems) -> Forest:
    """Read the spans of one trace. Holds only these, however much the files have."""
    return build_forest(span for span in read_spans(files, problems) if span.trace_id == trace_id)


def draw(
    console: Console,
    forest: Forest,
    depth: int = 0,
    groups: bool = True,
    verbose: bool = False,
    now: float = 0.0,
    related: Related | None = None,
) -> None:
    """Draw the waterfall, with the characters that the terminal can show, and what the spans carry if
    `verbose`.
    """
    glyphs = choose_glyphs(console)
    waterfall = Waterfall(forest, glyphs, depth, groups, now, related)
    console.print(waterfall, soft_wrap=True)
    if verbose:
        console.print(Details(forest, waterfall.lines, glyphs, related), soft_wrap=True)


def write_html(
    path: Path, forest: Forest, relations: Sequence[Relation] | None = None, logs: Sequence[LogRecord] = ()
) -> int:
    """Write the page and say where; give the exit status."""
    try:
        write_page(path, forest, relations, logs)
    except OSError as error:
        print(f"tango-telemetry: the page could not be written: {error}", file=sys.stderr)
        return NOTHING_TO_SHOW
    print(f"page: {path}")
    return SHOWN


def span_as_json(
    span: Span, relations: Sequence[Relation] = (), logs: Sequence[LogRecord] | None = None
) -> dict[str, Any]:
    """Return all of a span, attributes as an object, and what of `relations` and `logs` belongs to it."""
    values = asdict(span)
    values["attributes"] = dict(span.attributes)
    values["resource"] = dict(span.resource.attributes)
    values["service"] = span.service
    for name in ("events", "links"):
        values[name] = [{**item, "attributes": dict(item["attributes"])} for item in values[name]]
    values["linked_from"] = [
        {
            "trace_id": item.trace,
            "span_id": item.other,
            "name": item.name,
            "by": item.actor,
            "kind": item.kind,
        }
        for item in relations
        if item.span_id == span.span_id and not item.forwards
    ]
    if logs is not None:
        values["logs"] = [log_as_json(record) for record in logs if record.span_id == span.span_id]
    return values


def report_problem(problem: Problem) -> None:
    """Say on stderr what could not be read."""
    selection.reporter("show")(problem)


def _trace_id(text: str) -> str:
    lowered = text.lower()
    if not lowered or len(lowered) > 32 or lowered.strip("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a trace id: up to 32 hexadecimal digits")
    return lowered
