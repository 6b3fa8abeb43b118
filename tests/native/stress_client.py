"""8 threads x 5,000 calls, each with a context of its own. Prints JSON: mismatches and memory, in KiB."""

from __future__ import annotations

import gc
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tango
from tango_telemetry_native import giop

THREADS = 8


def resident_memory(pid: int | str = "self") -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


def work(task: tuple[str, int, int]) -> int:
    url, worker, calls = task
    proxy = tango.DeviceProxy(url)
    proxy.set_timeout_millis(20000)
    mismatches = 0
    for call in range(calls):
        number = worker << 20 | call | 1 << 40
        parent = f"00-{number:032x}-{number:016x}-01"
        state = f"n={number}"
        previous = giop.set_outgoing(parent, state)
        answer = proxy.command_inout("IncomingOf", str(number))
        giop.restore_outgoing(previous)
        mismatches += answer != f"{number} {parent}|{state}"
    return mismatches


def main(url: str, server: int, calls: int) -> None:
    giop.install()
    with ThreadPoolExecutor(THREADS) as pool:
        run = lambda count: sum(pool.map(work, [(url, worker, count) for worker in range(THREADS)]))  # noqa: E731
        run(200)
        gc.collect()
        before = resident_memory(), resident_memory(server)
        mismatches = run(calls)
        gc.collect()
        after = resident_memory(), resident_memory(server)
    print(
        json.dumps(
            {
                "mismatches": mismatches,
                "client_growth": after[0] - before[0],
                "server_growth": after[1] - before[1],
                "status": giop.status(),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
