"""What a collector in trouble does to programs: PyTango untouched, its built-in tracing, and ours, with all
defaults.

Usage: python benchmarks/faults.py [--rounds N] [--protocol http|grpc] [--parts exit,loss,burst]

Prints three tables: how long a client and servers take to exit, by the outside clock; how many spans of 100
calls arrive from a client that ends in different ways; how many of a burst of 20,000 arrive at a collector
that takes 50 ms a request. The built-in needs up to a minute for each exit, so one round takes about five.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import receiver as receivers
from receiver import Fault, Receiver

LONGEST = 180
"""Seconds after which a process that does not end is killed."""
FAULTS: Mapping[str, Fault | None] = {
    "none": None,
    "refuses": receivers.REFUSE,
    "never answers": receivers.HANG,
}
ENDS: Mapping[str, tuple[str, Fault | None]] = {
    "normal": ("normal", None),
    "SIGTERM": ("SIGTERM", None),
    "`os._exit` at once": ("os._exit 0", None),
    "`os._exit` 1.5 s after the last call": ("os._exit 1.5", None),
    "the same, collector away until the next start": ("os._exit 1.5", receivers.REFUSE),
}
STACKS = ("off", "built-in", "ours")
CALLS = 100
BURST = 20_000

SERVER = """
import os
if os.environ["BENCH_STACK"] == "ours":
    import tango_telemetry_server
from tango.server import Device, command

class Faults(Device):
    @command
    def Go(self):
        pass

Faults.run_server()
"""

# The built-in names a client span after the function that calls.
CLIENT = """
import os, sys, time
if os.environ["BENCH_STACK"] == "ours":
    import tango_telemetry_client
import tango

def calls(count, proxies):
    for number in range(count):
        proxies[number % len(proxies)].command_inout("Go")

count, end, *names = sys.argv[1:]
calls(int(count), [tango.DeviceProxy(name) for name in names])
print(time.monotonic(), flush=True)
if end == "SIGTERM":
    time.sleep(60)
if end.startswith("os._exit"):
    time.sleep(float(end.partition(" ")[2]))
    os._exit(0)
"""

BURST_PROGRAM = """
import os, sys, time
count, exporter, endpoint = int(sys.argv[1]), sys.argv[2], sys.argv[3]
if os.environ["BENCH_STACK"] == "ours":
    import tango_telemetry_client
    from tango_telemetry import create_tracer_provider
    provider = create_tracer_provider("burst")
else:
    import tango
    from tango._telemetry import TelemetryEndpoint, TelemetryExporter
    factory = tango.utils.get_telemetry_tracer_provider_factory()
    provider = factory("burst", endpoints=(TelemetryEndpoint(TelemetryExporter[exporter.upper()], endpoint),))
tracer = provider.get_tracer("burst")
for number in range(count):
    tracer.start_span("burst").end()
provider.force_flush(60_000)
"""


def environment(stack: str, receiver: Receiver, **more: str) -> dict[str, str]:
    """The variables of a process of `stack`; nothing about telemetry is inherited."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TANGO_", "PYTANGO_", "OTEL_"))
    }
    return {
        **inherited,
        "BENCH_STACK": stack,
        "PYTHONUNBUFFERED": "1",
        "TANGO_TELEMETRY_ENABLE": "off" if stack == "off" else "on",
        "TANGO_TELEMETRY_TRACING_EXPORTERS": receiver.protocol,
        "TANGO_TELEMETRY_TRACING_ENDPOINTS": receiver.endpoint,
        **more,
    }


def end_of(process: subprocess.Popen[str]) -> float:
    """Wait for the end of a process; the time of it, as `time.monotonic` gives it."""
    descriptor = os.pidfd_open(process.pid)
    try:
        if not select.select([descriptor], [], [], LONGEST)[0]:
            process.kill()
        return time.monotonic()
    finally:
        os.close(descriptor)
        process.wait()


@contextlib.contextmanager
def server(
    folder: Path, devices: int, variables: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A running server without a database, and the names of its devices."""
    source = folder / "Faults.py"
    source.write_text(SERVER)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = [f"test/faults/{number}" for number in range(devices)]
    options = ["test", "-nodb", "-dlist", ",".join(names), "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"]
    process = subprocess.Popen(
        [sys.executable, str(source), *options],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        if not any("Ready to accept" in line for line in process.stdout):
            raise RuntimeError("the server did not start")
        yield process, [f"tango://127.0.0.1:{port}/{name}#dbase=no" for name in names]
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def run_client(
    variables: Mapping[str, str], names: list[str], calls: int = CALLS, end: str = "normal"
) -> float:
    """Run a client to its end; the seconds that its exit took."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(calls), end, *names],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    left = float(process.stdout.readline())
    if end == "SIGTERM":
        left = time.monotonic()
        process.send_signal(signal.SIGTERM)
    return end_of(process) - left


def exit_of_client(folder: Path, receiver: Receiver, stack: str) -> float:
    with server(folder, 1, environment("off", receiver)) as (_, names):
        return run_client(environment(stack, receiver), names)


def exit_of_server(folder: Path, receiver: Receiver, stack: str, devices: int) -> float:
    with server(folder, devices, environment(stack, receiver)) as (process, names):
        run_client(environment("off", receiver), names)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        return end_of(process) - begin


def measure_exits(folder: Path, protocol: str, rounds: int) -> None:
    print(f"\nSeconds from the wish to the end of the process, {protocol}, median (longest) of {rounds}\n")
    print("| process | collector | " + " | ".join(STACKS) + " |\n|---|---|" + "---|" * len(STACKS))
    for name, devices in (("client", 0), ("server, 1 device", 1), ("server, 50 devices", 50)):
        for fault, trouble in FAULTS.items():
            took: dict[str, list[float]] = {stack: [] for stack in STACKS}
            for _ in range(rounds):
                for stack in STACKS:
                    with Receiver(protocol, fault=trouble) as receiver:
                        took[stack].append(
                            exit_of_server(folder, receiver, stack, devices)
                            if devices
                            else exit_of_client(folder, receiver, stack)
                        )
            cells = [f"{statistics.median(took[stack]):.2f} ({max(took[stack]):.2f})" for stack in STACKS]
            print(f"| {name} | {fault} | " + " | ".join(cells) + " |", flush=True)


def measure_losses(folder: Path, protocol: str) -> None:
    print(f"\nSpans of {CALLS} calls that arrive, {protocol}, by the way the client ends\n")
    print("| end | built-in | ours | ours, with a spool, after the next start |\n|---|---|---|---|")
    for number, (label, (end, fault)) in enumerate(ENDS.items()):
        cells = []
        for stack, spool in (("built-in", ""), ("ours", ""), ("ours", str(folder / f"spool-{number}"))):
            more = {"PYTANGO_TELEMETRY_SPOOL_DIR": spool} if spool else {}
            with Receiver(protocol, fault=fault) as receiver:
                variables = environment(stack, receiver, **more)
                with server(folder, 1, environment("off", receiver)) as (_, names):
                    run_client(variables, names, CALLS, end)
                    receiver.fault = None
                    if spool:
                        run_client(variables, names, 0)
                cells.append(str(count(receiver)))
        print(f"| {label} | " + " | ".join(cells) + " |", flush=True)


def count(receiver: Receiver) -> int:
    """The spans of the calls, by the names that the two give them."""
    return sum(span.name in ("calls", "command_inout Go") for span in receiver.spans)


def measure_burst(protocol: str) -> None:
    print(
        f"\nSpans of a burst of {BURST} that arrive at a collector that takes 50 ms a request, {protocol}\n"
    )
    print("| stack | arrived |\n|---|---|")
    for stack in STACKS[1:]:
        with Receiver(protocol, fault=receivers.slow(0.05)) as receiver:
            command = [sys.executable, "-c", BURST_PROGRAM, str(BURST), protocol, receiver.endpoint]
            subprocess.run(
                command,
                env=environment(stack, receiver),
                stderr=subprocess.DEVNULL,
                timeout=LONGEST,
                check=False,
            )
            arrived = sum(span.name == "burst" for span in receiver.spans)
        print(f"| {stack} | {arrived} ({arrived / BURST:.0%}) |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--protocol", choices=("http", "grpc"), default="http")
    parser.add_argument("--parts", default="exit,loss,burst")
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    with tempfile.TemporaryDirectory() as folder:
        parts = options.parts.split(",")
        if "loss" in parts:
            measure_losses(Path(folder), options.protocol)
        if "burst" in parts:
            measure_burst(options.protocol)
        if "exit" in parts:
            measure_exits(Path(folder), options.protocol, options.rounds)


if __name__ == "__main__":
    main()
