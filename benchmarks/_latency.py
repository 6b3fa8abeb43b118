"""What one call costs: interleaved blocks of calls, and calls at a fixed rate."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

from _receiver import Receiver
from _stacks import Warm

BOTH_SIDES = ("command_inout", "read_attribute", "write_attribute")
"""The calls that have a span on both sides; what a stack adds is the sum over them.

Not the chain: with three busy processes it waits for the scheduler of a small machine more than for anything
else.
"""
CALLS = (*BOTH_SIDES, "chain", "ping")
SPANS_PER_CALL = {"command_inout": 2}
_PACED = "command_inout"


Blocks = dict[str, dict[str, list[list[float]]]]
"""By stack and call: for each farm the medians of its blocks, in microseconds."""


def measure_blocks(warm: Sequence[Warm], blocks: Blocks, *, rounds: int, count: int, settle: int = 6) -> None:
    """Time each call on each stack of one farm: ``rounds`` blocks of ``count`` calls, stacks taking turns.

    The order is turned round at every other round, so that nobody always comes after the same neighbour. What
    is found goes to the end of ``blocks``.
    """
    for one in warm:
        for call in CALLS:
            blocks.setdefault(one.stack.name, {}).setdefault(call, []).append([])
    for index in range(rounds + 1):
        for call in CALLS:
            for one in warm if index % 2 else reversed(warm):
                taken = one.client.ask(do="block", call=call, warm=settle, count=count)
                if index:  # the first round only warms up
                    blocks[one.stack.name][call][-1].append(statistics.median(taken))


def flatten(farms: Sequence[Sequence[float]]) -> list[float]:
    """Return the blocks of all farms together."""
    return [block for farm in farms for block in farm]


def added_by_farm(blocks: Blocks, stack: str, calls: Sequence[str] = BOTH_SIDES) -> list[float]:
    """Microseconds that a stack adds to PyTango untouched in each farm: the median over the blocks, each
    against its neighbour.
    """
    pairs = ((blocks[stack][call], blocks["untouched"][call]) for call in calls)
    medians = (
        [
            statistics.median(mine - other for mine, other in zip(*farm, strict=True))
            for farm in zip(own, base, strict=True)
        ]
        for own, base in pairs
    )
    return [sum(farm) for farm in zip(*medians, strict=True)]


def added(blocks: Blocks, stack: str, calls: Sequence[str] = BOTH_SIDES) -> float:
    """Microseconds that a stack adds to PyTango untouched: the mean over the farms.

    Two processes of one and the same stack differ by some microseconds a call, each for as long as it lives:
    where its memory came to lie. Blocks do not average that out, processes started anew do.
    """
    return statistics.fmean(added_by_farm(blocks, stack, calls))


def standard_error(farms: Sequence[float]) -> float:
    """Return the standard error of the mean; not a number for a single farm."""
    return statistics.stdev(farms) / math.sqrt(len(farms)) if len(farms) > 1 else math.nan


def _counts(receiver: Receiver, stack: str) -> dict[str, int]:
    return receiver.counts().get(stack, {})


def _made_in_python(counts: dict[str, int]) -> int:
    """Spans of Python's scopes: ours, or the built-in's ``tango.…`` (cppTango's own are of the scope
    ``cppTango``).
    """
    return sum(number for scope, number in counts.items() if "cpp" not in scope.lower())


def measure_paced(
    warm: Sequence[Warm], receiver: Receiver, *, rate: float, slices: int, count: int
) -> dict[str, Any]:
    """Make calls at a fixed rate, stacks taking turns by slices of ``count`` calls.

    CPU time is what the operating system accounts to each process from the first slice until everything was
    exported, so export and idling are in it. Spans are counted where they were made and at the receiver.
    """
    for one in warm:
        for process in one.processes.values():
            process.ask(do="state")
    time.sleep(1.0)
    before = {}
    for one in warm:
        state = [process.ask(do="state") for process in one.processes.values()]
        counts = _counts(receiver, one.stack.name)
        cpu = {role: process.cpu_seconds() for role, process in one.processes.items()}
        before[one.stack.name] = (state, counts, cpu)
    latencies: dict[str, list[float]] = {one.stack.name: [] for one in warm}
    for index in range(slices):
        for one in warm if index % 2 else reversed(warm):
            latencies[one.stack.name] += one.client.ask(do="paced", call=_PACED, rate=rate, count=count)
    result = {}
    calls = slices * count
    for one in warm:
        states = [process.ask(do="state") for process in one.processes.values()]
        earlier, counts, cpu = before[one.stack.name]
        made = sum(
            now.get("made", 0) - then.get("made", 0) for now, then in zip(states, earlier, strict=True)
        )
        dropped = sum(now.get("dropped", 0) for now in states)
        if one.stack.name == "builtin":
            made = calls * SPANS_PER_CALL[_PACED]  # it keeps no account: what it should have made
        received = _await_spans(receiver, one.stack.name, counts, made)
        ordered = sorted(latencies[one.stack.name])
        result[one.stack.name] = {
            "cpu_us": {
                role: (process.cpu_seconds() - cpu[role]) / calls * 1e6
                for role, process in one.processes.items()
                if role != "leader"
            },
            "p50": statistics.median(ordered),
            "p99": ordered[int(len(ordered) * 0.99)],
            "maximum": ordered[-1],
            "calls": calls,
            "made": made,
            "received": received,
            "dropped": dropped,
            "scopes": {
                scope: number - counts.get(scope, 0)
                for scope, number in _counts(receiver, one.stack.name).items()
            },
        }
    return result


def _await_spans(receiver: Receiver, stack: str, before: dict[str, int], expected: int) -> int:
    """Wait until the spans are there (cppTango's batches leave every 5 s), and give how many came."""
    deadline = time.monotonic() + 8
    while True:
        received = _made_in_python(_counts(receiver, stack)) - _made_in_python(before)
        if received >= expected or time.monotonic() > deadline:
            return received
        time.sleep(0.2)
