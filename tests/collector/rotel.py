"""The smaller run, where no Go is: ``rotel``, a collector in Rust whose wheel carries the program, passes on
what ours send to the receiver of the tests.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = HERE.parents[1] / "build" / "collector"
VERSION = "0.0.1a15"
sys.path.insert(1, str(HERE.parent))
# gRPC says at each fork that it does nothing (1.85).
os.environ["GRPC_VERBOSITY"] = "ERROR"


def install() -> Path:
    """Return rotel's program, installed from its wheel if need be."""
    folder = HOME / f"rotel-{VERSION}"
    if not folder.exists():
        unfinished = folder.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "--target", str(unfinished), f"rotel=={VERSION}"], check=True, timeout=300)
        unfinished.rename(folder)
    return folder / "rotel" / "rotel-agent"


def run_smaller() -> int:
    """Print the table of a run without Go."""
    from processes import Load, Running, find_free_port, is_listening, wait_until
    from receiver import Receiver
    from rows import CALLS, SETTLE, Ports, Row, ended
    from run import HEAD, format_row

    print("no Go here (https://go.dev): the OpenTelemetry Collector and Jaeger are left out")
    print(f"a smaller run with rotel {VERSION}\n{HEAD}", flush=True)
    program, failed = install(), 0
    with tempfile.TemporaryDirectory(prefix="tango-telemetry-rotel-") as home:
        # Over HTTP rotel does not take gzip (0.0.1-alpha10).
        for protocol, compression in (("http", "none"), ("grpc", "none"), ("grpc", "gzip")):
            folder, ports = Path(home) / f"{protocol}-{compression}", Ports()
            folder.mkdir()
            with Receiver("grpc", find_free_port()) as receiver:
                addresses = [
                    *("--otlp-grpc-endpoint", f"127.0.0.1:{ports.grpc}"),
                    *("--otlp-http-endpoint", f"127.0.0.1:{ports.http}"),
                    *("--exporter", "otlp", "--otlp-exporter-protocol", "grpc"),
                    *("--otlp-exporter-endpoint", f"http://127.0.0.1:{receiver.port}"),
                ]
                rotel = Running([str(program), "start", *addresses], folder / "rotel.log")
                wait_until("rotel listens", lambda p=ports: is_listening(p.grpc) and is_listening(p.http))
                more = {"OTEL_EXPORTER_OTLP_COMPRESSION": compression, "PYTANGO_TELEMETRY_LOGS": "logging"}
                load = Load(folder, ports.variables(protocol, **more))
                with ended(load, rotel):
                    load.order("make", calls=CALLS)
                    load.order("log", count=10)
                    load.order("settle", seconds=SETTLE)
                    account = load.leave()["traces"]
                    made = account["made"]
                    with contextlib.suppress(TimeoutError):
                        wait_until("all has come", lambda r=receiver, m=made: len(r.spans) >= m)
                    spans, logs = {span.span_id for span in receiver.spans}, len(receiver.logs)
                holds = len(spans) + account["dropped"] == made and logs == 10
                name = f"rotel: {protocol}{', gzip' * (compression == 'gzip')}"
                row = Row(name, made, len(spans), account["dropped"], holds, f"and {logs} of 10 log records")
                print(format_row(row), flush=True)
                failed += not holds
    return 1 if failed else 0
