"""The store of `tango-telemetry`: how quickly spans go in, and how long questions over many millions take.

    python benchmarks/store.py [--spans 10000000] [--files 200000]

`--files` spans are written as OTLP JSON lines and read by one process on one core. Copies of them with other
ids and other times fill the store up to `--spans`; the questions are asked by a process of its own, whose
memory is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tango_telemetry_tools.store.criteria import Criteria
from tango_telemetry_tools.store.database import Store
from tango_telemetry_tools.store.feed import Feeder
from tango_telemetry_tools.store.queries import device_map, find_traces, top
from tango_telemetry_tools.viewer.reader import Problems

DEVICES, SPANS_OF_A_TRACE, LINE = 500, 10, 500
START = 1_760_000_000 * 10**9


def attributes(**values: str | int) -> list[dict[str, Any]]:
    """Return attributes as OTLP JSON has them."""
    return [
        {
            "key": key.replace("__", "."),
            "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value},
        }
        for key, value in values.items()
    ]


def write_spans(path: Path, number: int) -> None:
    """Write calls as the client and server packages do: a client's span and the server's below it, five in a
    trace.
    """
    draw = random.Random(1)
    trace = root = ""
    with path.open("w") as stream:
        for block in range(0, number, LINE):
            client: list[dict[str, Any]] = []
            server: list[dict[str, Any]] = []
            for index in range(block, block + LINE, 2):
                call = f"{draw.getrandbits(64):016x}"
                parent = {"parentSpanId": root}
                if index % SPANS_OF_A_TRACE == 0:
                    trace, root, parent = f"{draw.getrandbits(128):032x}", call, {}
                start, length = START + index * 10**6, int(draw.expovariate(1 / 5e6)) + 200_000
                device = f"sys/tg_test/{draw.randrange(DEVICES)}"
                status = (
                    {"status": {"code": 2, "message": "API_AttrNotAllowed"}} if draw.random() < 0.01 else {}
                )
                common = {"traceId": trace, **status}
                attribute = draw.choice(("pressure", "temperature", "position", "State"))
                both = {"rpc__system__name": "tango", "rpc__method": attribute, "tango__device__name": device}
                both |= {"tango__operation": "read_attribute", "tango__attribute__name": attribute}
                client.append(
                    {
                        **common,
                        **parent,
                        "spanId": call,
                        "name": f"read_attribute {attribute}",
                        "kind": 3,
                        "startTimeUnixNano": str(start),
                        "endTimeUnixNano": str(start + length),
                        "attributes": attributes(**both, server__address="host", server__port=10000),
                    }
                )
                server.append(
                    {
                        **common,
                        "parentSpanId": call,
                        "spanId": f"{draw.getrandbits(64):016x}",
                        "name": f"TangoTest.read {attribute}",
                        "kind": 2,
                        "startTimeUnixNano": str(start + 90_000),
                        "endTimeUnixNano": str(start + length - 90_000),
                        "attributes": attributes(
                            **both, tango__device__class="TangoTest", tango__client_ident__pid=4567
                        ),
                    }
                )
            for service, spans in (("pytango.client", client), ("TangoTest", server)):
                block_of_one = {
                    "resource": {"attributes": attributes(service__name=service)},
                    "scopeSpans": [{"scope": {"name": "bench"}, "spans": spans}],
                }
                stream.write(json.dumps({"resourceSpans": [block_of_one]}, separators=(",", ":")) + "\n")


def ingest(folder: Path, store_path: Path) -> None:
    """Read the files, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with Store(store_path, print) as store:
        begin, cpu = time.perf_counter(), time.process_time()
        found = Feeder(store, [folder], Problems(print)).poll()
        wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    print(
        f"ingest            {found:>10,} spans  {found / wall:>9,.0f} spans/s  ({found / cpu:,.0f} a second "
        "of CPU)"
    )


def fill(store_path: Path, spans: int) -> None:
    """Copy what is there until there are `spans`."""
    with Store(store_path, print) as store, store.session() as connection:
        (count, first, last) = connection.execute(
            "select count(*), min(start), max(start) from spans"
        ).fetchall()[0]
        for copy in range(1, spans // count):
            connection.execute(
                "insert into spans select hash(hi + $1), hash(lo + $1), hash(span + $1),"
                " case when parent = 0 then 0 else hash(parent + $1) end, start + $1 * $2, duration, "
                "operation, resource,"
                " error, folded, arrived, detail from spans where start <= $3",
                # A hash of hi + copy is the same for all spans of a trace, and another for each copy.
                {"1": copy, "2": last - first + 10**6, "3": last},
            )
        connection.execute("checkpoint")
    print(f"store             {spans:>10,} spans  {store_path.stat().st_size >> 20:>9,} MiB on disk")


def ask(store_path: Path) -> None:
    """Ask the questions, each on a store that has just been opened and once more."""
    with Store(store_path, print) as store:
        (first, last) = store.query("select min(start), max(start) from spans")[0]
        middle = first + (last - first) // 2
        questions: list[tuple[str, Callable[[], object]]] = [
            (
                "list, filtered",
                lambda: find_traces(
                    store, Criteria(errors=True, device="sys/tg_test/4*", minimum=10**7), "duration", 20
                ),
            ),
            (
                "list, one hour",
                lambda: find_traces(store, Criteria(since=middle, until=middle + 3600 * 10**9), limit=20),
            ),
            ("list, slowest", lambda: find_traces(store, Criteria(), "duration", 20)),
            ("top", lambda: top(store, Criteria())),
            ("top, by caller", lambda: top(store, Criteria(), "caller")),
            ("map", lambda: device_map(store, Criteria())),
        ]
        for name, question in questions:
            times = []
            for _ in range(2):
                begin = time.perf_counter()
                question()
                times.append(time.perf_counter() - begin)
            print(f"{name:<18}{times[0]:>10.2f} s first   {times[1]:>6.2f} s again")
        (wanted,) = find_traces(store, Criteria(), limit=1).traces
        begin = time.perf_counter()
        store.trace(wanted.trace_id)
        print(f"{'one trace':<18}{time.perf_counter() - begin:>10.2f} s")
    print(f"memory            {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10:>10,} MiB at most")


def main() -> int:
    """Run all of it, each part in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spans", type=int, default=10_000_000)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--part", choices=("ingest", "fill", "ask"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        store_path = arguments.folder / "store.duckdb"
        if arguments.part == "ingest":
            ingest(arguments.folder, store_path)
        elif arguments.part == "fill":
            fill(store_path, arguments.spans)
        else:
            ask(store_path)
        return 0
    with tempfile.TemporaryDirectory(prefix="tango-telemetry-bench-") as folder:
        write_spans(Path(folder) / "spans.jsonl", arguments.files)
        for part in ("ingest", "fill", "ask"):
            command = [
                sys.executable,
                __file__,
                "--part",
                part,
                "--folder",
                folder,
                "--spans",
                str(arguments.spans),
            ]
            if status := subprocess.call(command):
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
