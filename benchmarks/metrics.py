"""What metrics add to a call: the same two processes with them on and off in turns.

Usage: python benchmarks/metrics.py [--pairs N]

A client calls a command of a device server. First the client's metrics are switched on and off every few
hundred calls, then the server's; what is shown is the median over the pairs of blocks, with its standard
error: of the processor time of the thread that calls, and of the process that serves, by the operating
system's account, because what else the machine does is not in it. Nothing else differs between the two sides
of a pair: not the process, not the place of its memory.

Beside it what they add to the client's wrapper in a loop around a method that does nothing, where caches are
warm: the difference of the minima.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import hot_path
from _receiver import Receiver
from _stacks import device_name, find_free_port

_CALLS = 300
_WARM = 8
_LIMIT = 0.2
_SWITCH = """
def switch(on):
    from tango_telemetry.metrics.switch import switch_metrics
    from tango_telemetry.state import state
    switch_metrics(state.config if on else None)
"""
_SERVER = f"""
import tango, tango_telemetry_server
from tango.server import Device, command, run
{_SWITCH}
class Bench(Device):
    @command
    def TurnOn(self):
        pass

    @command(dtype_in=bool)
    def Switch(self, on):
        switch(on)

run((Bench,))
"""


def _switch(on: bool) -> None:
    from tango_telemetry.metrics.switch import switch_metrics
    from tango_telemetry.state import state

    switch_metrics(state.config if on else None)


def _block(call: Callable[[], object], clock: Callable[[], int]) -> float:
    """Microseconds of one call."""
    for _ in range(_WARM):
        call()
    begun = clock()
    for _ in range(_CALLS):
        call()
    return (clock() - begun) / _CALLS / 1000


def _pairs(
    call: Callable[[], object], clock: Callable[[], int], switch: Callable[[bool], None], count: int
) -> list[float]:
    """What metrics add in each pair of blocks, microseconds. Which is first changes from pair to pair."""
    added = []
    for index in range(count):
        found = {}
        for on in (True, False) if index % 2 else (False, True):
            switch(on)
            found[on] = _block(call, clock)
        added.append(found[True] - found[False])
    return added


def _client(name: str, server: int, pairs: int) -> int:
    """Run in a process of its own, whose environment chose the sampling."""
    import tango
    import tango_telemetry_client  # noqa: F401

    proxy = tango.DeviceProxy(name)
    gc.disable()
    call = lambda: proxy.command_inout("TurnOn")  # noqa: E731
    print("base", _block(call, time.perf_counter_ns), 0.0)
    _switch(False)
    proxy.Switch(False)
    # CLOCK_PROCESS_CPUTIME_ID of another process, as in _stacks.
    of_server = lambda: time.clock_gettime_ns((~server << 3) | 2)  # noqa: E731
    sides = {"client": (time.thread_time_ns, _switch), "server": (of_server, proxy.Switch)}
    for side, (clock, switch) in sides.items():
        added = _pairs(call, clock, switch, pairs)
        error = 1.25 * statistics.stdev(added) / math.sqrt(len(added))  # of a median
        print(side, statistics.median(added), error)
        switch(False)
    wrapped = hot_path._pieces()["client wrapper"]
    least = {True: math.inf, False: math.inf}
    for index in range(4 * pairs):
        on = bool(index % 2)
        _switch(on)
        least[on] = min(least[on], _block(wrapped, time.perf_counter_ns))
    print("loop", least[True] - least[False], 0.0)
    return 0


def _measure(receiver: Receiver, sampler: str, pairs: int) -> dict[str, tuple[float, float]]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TANGO_", "PYTANGO_", "OTEL_"))}
    with tempfile.TemporaryDirectory(prefix="tango-telemetry-bench-") as folder:
        environment = {
            **kept,
            "HOME": folder,
            "PYTHONUNBUFFERED": "1",
            "TANGO_TELEMETRY_ENABLE": "on",
            "TANGO_TELEMETRY_TRACES_EXPORTER": "http",
            "TANGO_TELEMETRY_TRACES_ENDPOINT": receiver.endpoint("metrics"),
            "OTEL_TRACES_SAMPLER": sampler,
            "PYTANGO_TELEMETRY_METRICS": "on",
        }
        script = Path(folder, "bench_server.py")
        script.write_text(_SERVER)
        port = find_free_port()
        options = ["-ORBendPoint", f"giop:tcp:127.0.0.1:{port}", "-nodb", "-dlist", "bench/metrics/1"]
        server = subprocess.Popen(
            [sys.executable, str(script), "bench", *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert server.stdout is not None
            while "Ready to accept request" not in server.stdout.readline():
                if server.poll() is not None:
                    raise RuntimeError("the server has ended")
            name = device_name(port, "bench/metrics/1")
            command = [sys.executable, __file__, "--client", name, "--server", str(server.pid)]
            done = subprocess.run(
                [*command, "--pairs", str(pairs)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(done.stderr)
        finally:
            server.kill()
            server.wait(10)
    lines = (line.split() for line in done.stdout.splitlines())
    return {name: (float(value), float(error)) for name, value, error in lines}


def main() -> int:
    """Measure with every span and with none, and say whether the bound holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--client", default="", help=argparse.SUPPRESS)
    parser.add_argument("--server", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        return _client(arguments.client, arguments.server, arguments.pairs)
    receiver = Receiver()
    good = True
    try:
        heads = "".join(f"{head:>18}" for head in ("client", "server", "client, in a loop"))
        print(f"{'microseconds':24}{'one call':>10}{heads}   at most {_LIMIT} a side")
        for title, sampler in (("every span", "always_on"), ("no span sampled", "always_off")):
            found = _measure(receiver, sampler, arguments.pairs)
            cells = "".join(f"{found[side][0]:+11.3f} ±{found[side][1]:.3f}" for side in ("client", "server"))
            cells += f"{found['loop'][0]:+18.3f}"
            reached = all(found[side][0] <= _LIMIT for side in ("client", "server"))
            good = good and reached
            print(f"{title:24}{found['base'][0]:10.1f}{cells}   {'yes' if reached else 'no'}", flush=True)
    finally:
        receiver.stop()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
