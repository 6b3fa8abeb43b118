"""The tables that ``make bench`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from _latency import BOTH_SIDES, CALLS, added
from _stacks import Stack


def _heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def print_blocks(stacks: Sequence[Stack], blocks: dict[str, Any]) -> None:
    """Microseconds of each call, and what each stack adds against what the built-in tracing adds."""
    rounds = len(blocks["untouched"]["ping"]["blocks"])
    _heading(f"One call after the other: microseconds, median (minimum) of {rounds} interleaved blocks")
    print(f"{'':26}" + "".join(f"{call:>18}" for call in CALLS) + f"{'added':>8}{'ratio':>7}")
    builtin = added(blocks, "builtin")
    for stack in stacks:
        row = blocks[stack.name]
        cells = "".join(f"{row[c]['median']:10.0f} ({row[c]['minimum']:5.0f})" for c in CALLS)
        own = added(blocks, stack.name)
        print(f"{stack.label:26}{cells}{own:8.0f}{own / builtin:7.2f}")
    print(
        f"added: the sum over {', '.join(BOTH_SIDES)}, against PyTango untouched; ratio: to the built-in's."
    )
    print("\nThe same ratio by call:")
    print(f"{'':26}" + "".join(f"{call:>18}" for call in CALLS))
    for stack in stacks:
        ratios = [added(blocks, stack.name, [c]) / added(blocks, "builtin", [c]) for c in CALLS]
        print(f"{stack.label:26}" + "".join(f"{ratio:18.2f}" for ratio in ratios))


def print_paced(stacks: Sequence[Stack], paced: dict[str, Any]) -> None:
    """CPU time and latency of calls at a fixed rate, and what became of their spans."""
    _heading("At a fixed rate (command_inout): CPU microseconds per call, export included, and latency")
    columns = ("client", "server", "added", "ratio", "p50", "p99", "maximum", "made", "received")
    print(f"{'':26}" + "".join(f"{name:>10}" for name in columns))
    base = sum(paced["untouched"]["cpu_us"].values())
    builtin = sum(paced["builtin"]["cpu_us"].values()) - base
    for stack in stacks:
        row = paced[stack.name]
        own = sum(row["cpu_us"].values()) - base
        print(
            f"{stack.label:26}{row['cpu_us']['client']:10.0f}{row['cpu_us']['follower']:10.0f}{own:10.0f}"
            f"{own / builtin:10.2f}{row['p50']:10.0f}{row['p99']:10.0f}{row['maximum']:10.0f}"
            f"{row['made']:10d}{row['received']:10d}"
        )
