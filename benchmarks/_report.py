"""The tables that ``make bench`` prints."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from _latency import BOTH_SIDES, CALLS, Blocks, added, added_by_farm, flatten, standard_error
from _stacks import STACKS, Stack


def _heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def print_blocks(stacks: Sequence[Stack], blocks: Blocks) -> None:
    """Microseconds of each call, and what each stack adds against what the built-in tracing adds."""
    farms = blocks["untouched"]["ping"]
    _heading(
        f"One call after the other: microseconds, median (minimum) of {len(flatten(farms))} interleaved "
        "blocks; "
        f"processes started {len(farms)} times"
    )
    print(f"{'':26}" + "".join(f"{call:>18}" for call in CALLS) + f"{'added':>8}{'ratio':>8}{'±':>7}")
    builtin = added(blocks, "builtin")
    for stack in stacks:
        rows = [flatten(blocks[stack.name][call]) for call in CALLS]
        cells = "".join(f"{statistics.median(row):10.0f} ({min(row):5.0f})" for row in rows)
        own, error = added(blocks, stack.name), standard_error(added_by_farm(blocks, stack.name))
        spread = f"{error / builtin:.3f}" if len(farms) > 1 else "-"
        print(f"{stack.label:26}{cells}{own:8.0f}{own / builtin:8.3f}{spread:>7}")
    print(
        f"added: the sum over {', '.join(BOTH_SIDES)}, against PyTango untouched; ratio: to the built-in's, "
        "and its standard error over the starts, where there are several."
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
    for stack in stacks:
        row = paced[stack.name]
        own = _added_cpu(paced, stack.name)
        print(
            f"{stack.label:26}{row['cpu_us']['client']:10.0f}{row['cpu_us']['follower']:10.0f}{own:10.0f}"
            f"{own / _added_cpu(paced, 'builtin'):10.2f}{row['p50']:10.0f}"
            f"{row['p99']:10.0f}{row['maximum']:10.0f}"
            f"{row['made']:10d}{row['received']:10d}"
        )
    print(f"{paced['untouched']['calls']} calls of each; spans made and received are those of Python.")


def _added_cpu(paced: dict[str, Any], stack: str) -> float:
    return float(sum(paced[stack]["cpu_us"].values()) - sum(paced["untouched"]["cpu_us"].values()))


def _label(name: str) -> str:
    return next(stack.label for stack in STACKS if stack.name == name)


def print_scale(scale: dict[str, Any]) -> None:
    """Devices, threads, a large trace, the import."""
    _heading("A device server with many devices: seconds until it serves (minimum), OS threads, resident MiB")
    for number, found in scale["devices"].items():
        base = found["untouched"]
        for name, row in found.items():
            print(
                f"{number:>6} devices  {_label(name):26}{row['seconds']:8.2f} s "
                f"({row['seconds'] / base['seconds'] - 1:+7.1%})"
                f"{row['threads']:6d} threads ({row['threads'] - base['threads']:+d})"
                f"{row['rss_kib'] / 1024:8.1f} MiB ({(row['rss_kib'] - base['rss_kib']) / 1024:+.1f})"
            )
    if "database" in scale:
        _heading(
            "The same with 1,000 devices from a Tango database: seconds until it serves, and of its CPU "
            "(minima)"
        )
        base = scale["database"]["untouched"]
        for name, row in scale["database"].items():
            print(
                f"{_label(name):26}{row['seconds']:8.2f} s ({row['seconds'] / base['seconds'] - 1:+7.1%})"
                f"{row['cpu_seconds']:8.2f} s of CPU ({row['cpu_seconds'] - base['cpu_seconds']:+.2f} s)"
            )
    _heading("A client with many threads: calls per second")
    numbers = list(next(iter(scale["threads"].values())))
    print(f"{'':26}" + "".join(f"{number + ' threads':>12}" for number in numbers))
    for name, row in scale["threads"].items():
        print(f"{_label(name):26}" + "".join(f"{row[number]:12.0f}" for number in numbers))
    show = scale["show"]
    _heading("A large trace")
    print(
        f"tango-telemetry show, {show['spans']} spans: {show['seconds']:.1f} s, {show['peak_mib']:.0f} MiB "
        "at most"
    )
    _heading("Import of tango_telemetry_client over tango and the OpenTelemetry SDK, milliseconds")
    for title in ("on", "off"):
        times = scale["import"]
        print(
            f"telemetry {title:4}{times[title]:8.1f} median{times[title + '_minimum']:8.1f} minimum"
            f"{times[title + '_processes']:8.1f} as a difference between processes"
        )


# case, what was measured, the most it may be, how to write it
_Row = tuple[str, float, float, str]


def _latency_rows(blocks: Blocks) -> Iterator[_Row]:
    builtin = added(blocks, "builtin")
    if "off" in blocks:
        base = sum(statistics.median(flatten(blocks["untouched"][call])) for call in BOTH_SIDES)
        yield "7: installed, telemetry off, against untouched", 1 + added(blocks, "off") / base, 1.01, ".3f"
    for issue, name, limit in (
        (7, "sdk-idl", 0.42),
        (7, "sdk-giop", 0.35),
        (7, "sdk-idl-unsampled", 0.27),
        (7, "sdk-giop-unsampled", 0.20),
        (8, "cpp-idl", 0.18),
        (8, "cpp-giop", 0.10),
        (8, "cpp-idl-unsampled", 0.12),
        (8, "cpp-giop-unsampled", 0.05),
        (18, "cpp-giop", 0.045),
        (18, "default-unsampled", 0.03),
    ):
        if name in blocks:
            label = f"{issue}: {_label(name)}: added, of the built-in's"
            yield label, added(blocks, name) / builtin, limit, ".3f"
    for call, limit in zip(BOTH_SIDES, (0.06, 0.08, 0.07), strict=True):
        if "default" in blocks:
            ratio = added(blocks, "default", [call]) / added(blocks, "builtin", [call])
            yield f"18: all defaults, {call}: added, of the built-in's", ratio, limit, ".3f"


def _paced_rows(paced: dict[str, Any]) -> Iterator[_Row]:
    for name in ("sdk-idl", "sdk-giop", "cpp-idl", "cpp-giop"):
        if name in paced:
            ratio = _added_cpu(paced, name) / _added_cpu(paced, "builtin")
            yield f"7: {_label(name)}: CPU added, of the built-in's", ratio, 0.45, ".3f"
            yield (
                f"7: {_label(name)}: p99, of the built-in's",
                paced[name]["p99"] / paced["builtin"]["p99"],
                1.0,
                ".3f",
            )
            lost = 1 - paced[name]["received"] / max(paced[name]["made"], 1)
            yield f"7: {_label(name)}: spans lost at that rate", lost, 0.0, ".3f"


def _scale_rows(scale: dict[str, Any]) -> Iterator[_Row]:
    number, found = list(scale["devices"].items())[-1]
    base = found["untouched"]
    for name, row in found.items():
        if name not in ("untouched", "builtin"):
            case = f"7: {_label(name)}: {number} devices"
            yield f"{case}: threads added", row["threads"] - base["threads"], 2, ".0f"
            yield f"{case}: MiB added", (row["rss_kib"] - base["rss_kib"]) / 1024, 30, ".1f"
            yield f"{case}: start-up added, %", (row["seconds"] / base["seconds"] - 1) * 100, 5, ".1f"
    database = scale.get("database", {})
    for name, row in database.items():
        if name != "untouched":
            case = f"7: {_label(name)}: {number} devices of a database: start-up added, %"
            yield case, (row["seconds"] / database["untouched"]["seconds"] - 1) * 100, 5, ".1f"
    yield "7: import of the client package, ms", scale["import"]["on"], 50, ".1f"


def print_verdict(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The numbers to reach, what was measured, yes or no."""
    rows: list[_Row] = []
    if "blocks" in results:
        rows += _latency_rows(results["blocks"])
    if "paced" in results:
        rows += _paced_rows(results["paced"])
    if "scale" in results:
        rows += _scale_rows(results["scale"])
    rows += [(case, value, limit, ".3f") for case, value, limit in results.get("spans", {}).get("rows", ())]
    _heading("The numbers to reach (issue: case)")
    print(f"{'':70}{'measured':>10}{'at most':>10}")
    for case, value, limit, form in rows:
        print(f"{case:70}{value:10{form}}{limit:10g}  {'yes' if value <= limit else 'no'}")
    return [
        {"case": case, "measured": value, "at_most": limit, "reached": value <= limit}
        for case, value, limit, _ in rows
    ]
