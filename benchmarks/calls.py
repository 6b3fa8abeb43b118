"""What tracing costs: PyTango untouched, its built-in tracing, and ours, side by side in one run.

Usage: python benchmarks/calls.py [--quick] [--only NAME,…] [--parts latency,paced,scale,spans] [--json FILE]

Trust the ratios, not the microseconds: every stack has client and server processes of its own, and they take
turns every few milliseconds, so what else the machine does falls on all alike. All processes are started
several times, because two of the same stack differ by some microseconds a call for as long as they live.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import _latency
import _report
import _scale
import _spans_alone
from _receiver import Receiver
from _stacks import STACKS, Farm, Stack, warm_up

PARTS = ("latency", "paced", "scale", "spans")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer blocks: under 90 s, and coarser")
    parser.add_argument("--only", default="", help="stacks by name, beside untouched and builtin")
    parser.add_argument("--parts", default=",".join(PARTS), help="what to measure")
    parser.add_argument("--rounds", type=int, default=9, help="blocks of each call, on each farm (9)")
    parser.add_argument(
        "--farms", type=int, default=0, help="times that all processes are started (9; quick: 1)"
    )
    parser.add_argument("--sustained", type=float, default=0, help="seconds at 10,000 spans/s (20; quick: 2)")
    parser.add_argument("--json", type=Path, default=Path(__file__).with_name("results.json"))
    return parser.parse_args()


def measure_calls(
    receiver: Receiver,
    stacks: Sequence[Stack],
    started: float,
    parts: Sequence[str],
    results: dict[str, Any],
    arguments: argparse.Namespace,
) -> None:
    """Blocks of calls on processes started several times, then calls at a fixed rate on the last ones."""
    farms = (arguments.farms or (1 if arguments.quick else 9)) if "latency" in parts else 1
    blocks: _latency.Blocks = {}
    for index in range(farms):
        with Farm(receiver) as farm:
            warm = warm_up(farm, stacks)
            _say(started, f"{len(warm)} stacks are up ({index + 1} of {farms})")
            if "latency" in parts:
                count = 20 if arguments.quick else 30
                _latency.measure_blocks(warm, blocks, rounds=arguments.rounds, count=count)
                _say(started, "blocks measured")
            if "paced" in parts and index == farms - 1:
                slices, count = (2, 150) if arguments.quick else (6, 250)
                results["paced"] = _latency.measure_paced(
                    warm, receiver, rate=250, slices=slices, count=count
                )
                _say(started, "paced calls measured")
    if blocks:
        results["blocks"] = blocks
        _report.print_blocks(stacks, blocks)
    if "paced" in results:
        _report.print_paced(stacks, results["paced"])


def measure_scale(receiver: Receiver, started: float, *, quick: bool) -> dict[str, Any]:
    """Many devices, many threads, a large trace, the import."""
    names = ("sdk-idl", "default")
    scale: dict[str, Any] = {"show": _scale.measure_show(10_000)}
    scale["import"] = _scale.measure_import(receiver, rounds=3 if quick else 9)
    _say(started, "the import and a large trace measured")
    scale["devices"] = _scale.measure_devices(
        receiver,
        numbers=(1000,) if quick else (1, 100, 1000),
        rounds=2 if quick else 5,
        names=names[1:] if quick else names,
    )
    _say(started, "many devices measured")
    if not quick:
        scale["database"] = _scale.measure_database_start(receiver, devices=1000, rounds=2, names=names)
        _say(started, "many devices of a database measured")
    scale["threads"] = _scale.measure_threads(
        receiver,
        threads=(1, 8) if quick else (1, 8, 32),
        rounds=1 if quick else 3,
        seconds=0.5 if quick else 1.0,
        names=names,
    )
    _say(started, "many threads measured")
    return scale


def _say(started: float, text: str) -> None:
    """Progress, on standard error: the tables alone go to standard output."""
    print(f"[{time.perf_counter() - started:4.0f} s] {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print, write the file."""
    arguments = parse_arguments()
    parts = arguments.parts.split(",")
    wanted = {"untouched", "builtin", *arguments.only.split(",")}
    stacks = [stack for stack in STACKS if not arguments.only or stack.name in wanted]
    results: dict[str, Any] = {
        "python": platform.python_version(),
        "pytango": version("pytango"),
        "opentelemetry-sdk": version("opentelemetry-sdk"),
        "quick": arguments.quick,
    }
    receiver = Receiver()
    started = time.perf_counter()
    try:
        if "latency" in parts or "paced" in parts:
            measure_calls(receiver, stacks, started, parts, results, arguments)
        if "spans" in parts:
            sustained = arguments.sustained or (2 if arguments.quick else 20)
            results["spans"] = _spans_alone.measure_spans(
                rounds=5 if arguments.quick else 15, sustained=sustained
            )
            _say(started, "C++ spans measured")
            print(f"\nC++ spans alone\n---------------\n{results['spans']['output']}")
        if "scale" in parts:
            results["scale"] = measure_scale(receiver, started, quick=arguments.quick)
            _report.print_scale(results["scale"])
    finally:
        receiver.stop()
    results["verdict"] = _report.print_verdict(results)
    results["seconds"] = round(time.perf_counter() - started, 1)
    arguments.json.write_text(json.dumps(results, indent=1))
    print(f"\n{results['seconds']} s; written to {arguments.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
