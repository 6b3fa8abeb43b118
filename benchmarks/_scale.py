"""How the cost grows: many devices, many threads, a large trace; and what importing the client
package takes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from _receiver import Receiver
from _stacks import BUILTIN, STACKS, UNTOUCHED, Farm, Stack, create_environment, warm_up

_BY_NAME = {stack.name: stack for stack in STACKS}
_BUILTIN_LIMIT = 100  # its 1,000 devices would take some 2,000 threads


def measure_devices(
    receiver: Receiver, *, numbers: Sequence[int], rounds: int, names: Sequence[str]
) -> dict[str, Any]:
    """Start one server with many devices: seconds until it serves, threads and resident KiB then, stacks
    taking turns.

    The kernel's own noise only adds, so the quickest start of each stack is compared.
    """
    result: dict[str, Any] = {}
    for number in numbers:
        devices = [f"bench/follower/{index:04}" for index in range(number)]
        stacks = [UNTOUCHED, *(_BY_NAME[name] for name in names)]
        stacks += [BUILTIN] if number <= _BUILTIN_LIMIT else []
        samples: dict[str, list[tuple[float, int, int]]] = {stack.name: [] for stack in stacks}
        for index in range(rounds):
            for stack in stacks if index % 2 else reversed(stacks):
                with Farm(receiver) as farm:
                    server, _ = farm.start_server(stack, "follower", *devices)
                    seconds = server.wait_until_ready()
                    time.sleep(0.3)
                    server.ask(do="state")  # the spans of init_device have left
                    samples[stack.name].append((seconds, server.status("Threads"), server.status("VmRSS")))
        result[str(number)] = {
            name: {
                "seconds": min(sample[0] for sample in found),
                "seconds_median": statistics.median(sample[0] for sample in found),
                "threads": max(sample[1] for sample in found),
                "rss_kib": statistics.median(sample[2] for sample in found),
            }
            for name, found in samples.items()
        }
    return result


def measure_database_start(
    receiver: Receiver, *, devices: int, rounds: int, names: Sequence[str]
) -> dict[str, Any]:
    """Start one server with many devices from a Tango database, as facilities do: seconds until it serves,
    and of its CPU.

    Most of the time goes into the calls to PyTango's database server (SQLite), which is on the same machine.
    """
    stacks = [UNTOUCHED, *(_BY_NAME[name] for name in names)]
    samples: dict[str, list[tuple[float, float]]] = {stack.name: [] for stack in stacks}
    with Farm(receiver) as farm:
        host = farm.start_database(devices)
        for index in range(rounds):
            for stack in stacks if index % 2 else reversed(stacks):
                server = farm.start_registered_server(stack, host)
                seconds = server.wait_until_ready()
                samples[stack.name].append((seconds, server.cpu_seconds()))
                server.stop()
    return {
        name: {
            "seconds": min(sample[0] for sample in found),
            "cpu_seconds": min(sample[1] for sample in found),
        }
        for name, found in samples.items()
    }


def measure_threads(
    receiver: Receiver, *, threads: Sequence[int], rounds: int, seconds: float, names: Sequence[str]
) -> dict[str, Any]:
    """Calls per second of one client with many threads, by stack; medians of interleaved rounds."""
    stacks = [UNTOUCHED, BUILTIN, *(_BY_NAME[name] for name in names)]
    rates: dict[str, dict[str, list[float]]] = {s.name: {str(t): [] for t in threads} for s in stacks}
    with Farm(receiver) as farm:
        warm = warm_up(farm, stacks)
        for _ in range(rounds):
            for number in threads:
                for one in warm:
                    rate = one.client.ask(do="threads", threads=number, seconds=seconds)
                    rates[one.stack.name][str(number)].append(rate)
    return {
        name: {number: statistics.median(values) for number, values in found.items()}
        for name, found in rates.items()
    }


def _span(index: int, trace_id: str) -> dict[str, Any]:
    start = 1_700_000_000_000_000_000 + index * 1000
    parent = "" if index == 0 else f"{(index - 1) // 10 + 1:016x}"
    return {
        "traceId": trace_id,
        "spanId": f"{index + 1:016x}",
        "parentSpanId": parent,
        "name": f"Follower.Command{index % 100}",
        "kind": 2,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + 100_000_000 - index * 1000),
        "attributes": [{"key": "tango.device.name", "value": {"stringValue": f"bench/follower/{index}"}}],
        "status": {},
    }


def measure_show(spans: int) -> dict[str, float]:
    """Draw one trace of many spans with ``tango-telemetry show``: seconds and the peak of resident memory in
    MiB.
    """
    trace_id = f"{1:032x}"
    with TemporaryDirectory(prefix="tango-telemetry-bench-") as folder:
        with (Path(folder) / "trace.jsonl").open("w") as file:
            for first in range(0, spans, 500):
                batch = [_span(index, trace_id) for index in range(first, min(first + 500, spans))]
                service = {"key": "service.name", "value": {"stringValue": "Follower"}}
                scope = {"scope": {"name": "tango_telemetry.server"}, "spans": batch}
                request = {"resourceSpans": [{"resource": {"attributes": [service]}, "scopeSpans": [scope]}]}
                file.write(json.dumps(request) + "\n")
        start = time.perf_counter()
        command = [sys.executable, "-m", "tango_telemetry_tools", "show", folder]
        with (Path(folder) / "shown").open("w+") as shown:
            process = subprocess.Popen(command, stdout=shown, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.perf_counter() - start
            shown.seek(0)
            lines = sum(1 for _ in shown)
    if process.returncode:
        raise RuntimeError(f"{command} ended with status {process.returncode}")
    return {"spans": spans, "lines": lines, "seconds": seconds, "peak_mib": usage.ru_maxrss / 1024}


_IMPORTS = {
    "base": "import tango, opentelemetry.sdk.trace",
    "client": "import tango, opentelemetry.sdk.trace, tango_telemetry_client",
}
_TIMED = """
import time
import tango, opentelemetry.sdk.trace
start = time.perf_counter()
import tango_telemetry_client
print(time.perf_counter() - start)
"""


def measure_import(receiver: Receiver, *, rounds: int) -> dict[str, float]:
    """Milliseconds that importing the client package adds to importing tango and the SDK, telemetry on and
    off.

    By the clock of fresh processes, taking turns with processes that import the other two only; and, with
    less noise, by the clock of one process around the one import.
    """
    result: dict[str, float] = {}
    with TemporaryDirectory() as home:
        for title, stack in (("on", _BY_NAME["default"]), ("off", Stack("off", "", False))):
            environment = create_environment(stack, receiver, home)
            environment.pop("BENCH_IMPORT", None)
            pairs = []
            inside = []
            for _ in range(rounds):
                taken = {}
                for name, code in _IMPORTS.items():
                    start = time.perf_counter()
                    _run([sys.executable, "-c", f"{code}\nimport os; os._exit(0)"], environment)
                    taken[name] = time.perf_counter() - start
                pairs.append(taken["client"] - taken["base"])
                inside.append(float(_run([sys.executable, "-c", _TIMED], environment)))
            result[title] = statistics.median(inside) * 1000
            result[f"{title}_minimum"] = min(inside) * 1000
            result[f"{title}_processes"] = statistics.median(pairs) * 1000
    return result


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True, cwd=os.sep
    )
    return done.stdout
