"""What a short script pays for telemetry from its start to its end: CPU and wall, in milliseconds.

Usage: python benchmarks/short_scripts.py [ROUNDS]     (15)

Each script imports PyTango, makes one call to a device and ends. The stacks take turns, in an order that is
turned round every time. The machine's noise only adds, so the least CPU is given beside the median.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _receiver import Receiver
from _stacks import BUILTIN, BUILTIN_OFF, OURS_OFF, STACKS, UNTOUCHED, Farm, create_environment, device_name

_BY_NAME = {stack.name: stack for stack in STACKS}
_DEVICE = "bench/follower/1"
_CALL = "import sys, tango; tango.DeviceProxy(sys.argv[1]).ping()"


def _run(script: str, device: str, environment: Mapping[str, str]) -> tuple[float, float]:
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", script, device], env=dict(environment))
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"a script ended with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime, seconds


def main() -> int:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    receiver = Receiver()
    scripts: dict[str, tuple[str, dict[str, str]]] = {}
    try:
        with Farm(receiver) as farm, tempfile.TemporaryDirectory(prefix="tango-telemetry-bench-") as home:
            for stack in (
                UNTOUCHED,
                BUILTIN_OFF,
                BUILTIN,
                OURS_OFF,
                _BY_NAME["default"],
                _BY_NAME["sdk-idl"],
            ):
                environment = create_environment(stack, receiver, home)
                ours = environment.pop("BENCH_IMPORT", "") == "ours"
                script = f"import tango_telemetry_client; {_CALL}" if ours else _CALL
                scripts[stack.label] = (script, environment)
                if ours and stack is not OURS_OFF:
                    files = {
                        name: "file" if name.endswith(("EXPORTER", "EXPORTERS")) else f"{home}/{stack.name}"
                        for name in environment
                        if name.startswith(("TANGO_TELEMETRY_TRACES", "TANGO_TELEMETRY_TRACING"))
                    }
                    scripts[f"{stack.label}, to files"] = (script, environment | files)
            server, port = farm.start_server(UNTOUCHED, "follower", _DEVICE)
            server.wait_until_ready()
            device = device_name(port, _DEVICE)
            found: dict[str, list[tuple[float, float]]] = {label: [] for label in scripts}
            for index in range(rounds + 1):  # the first one fills the caches of files
                for label in scripts if index % 2 else reversed(scripts):
                    measured = _run(scripts[label][0], device, scripts[label][1])
                    if index:
                        found[label].append(measured)
    finally:
        receiver.stop()
    print("| one call | CPU, least | CPU, median | wall, least | wall, median |\n|---|---|---|---|---|")
    for label, values in found.items():
        columns = [
            f"{choose(1000 * value[index] for value in values):.0f}"
            for index in (0, 1)
            for choose in (min, statistics.median)
        ]
        print(f"| {label} | {' | '.join(columns)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
