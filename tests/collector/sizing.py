"""How much one collector takes: its processor time and memory under spans of ours, and bytes for each span.

The collectors are those of docs/how-to: ``collector.yaml`` (tail sampling) and ``collector-two-tiers.yaml``
(the tier in front of it), each with a back end that counts. Ours send 512 spans a request, as they do under
load; in the rows with 20 as many quiet processes would, once a second each.
"""

from __future__ import annotations

import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from processes import Collector, Load, find_free_port
from rows import SETTLE, Place, Ports, documented, ended

RATES = (1_000, 5_000, 10_000, 20_000)
FEW = 20
"""Spans in a request of the rows of quiet processes."""
SECONDS = 25
"""Of each row; a tail sampler has all that it ever holds after the 10 s that it waits."""


class _Counting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    counted = 0

    def do_POST(self) -> None:
        _Counting.counted += len(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None: ...


def measure_bytes(folder: Path, **variables: str) -> float:
    """Return the bytes of a span in the requests of ours, without the heads of HTTP."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Counting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _Counting.counted = 0
    telemetry = {
        "TANGO_TELEMETRY_TRACING_EXPORTERS": "http",
        "TANGO_TELEMETRY_TRACING_ENDPOINTS": f"http://127.0.0.1:{server.server_port}/v1/traces",
    }
    load = Load(folder, {**telemetry, **variables})
    load.order("make", calls=10_000)
    load.order("settle", seconds=SETTLE)
    made = load.leave()["traces"]["delivered"]
    server.shutdown()
    return _Counting.counted / made


def measure_row(engine: Path, folder: Path, tier: str, rate: int, per_request: int, protocol: str) -> str:
    """Return the line of one collector under one rate. protocol: with ``, gzip`` behind it or without."""
    folder.mkdir()
    port, ports = find_free_port(), Ports()
    receivers = {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{port}"}}}}
    pipeline = {"receivers": ["otlp"], "exporters": ["debug"]}
    counts: dict[str, Any] = {
        "receivers": receivers,
        "exporters": {"debug": {}},
        "service": {"pipelines": {"traces": pipeline}},
    }
    hosts = {"TRACES_BACKEND": f"127.0.0.1:{port}"}
    if tier == "collector-two-tiers.yaml":
        hosts = {"TRACES_COLLECTORS": f"[127.0.0.1:{port}]"}
    behind = Collector(engine, [counts], folder, name="behind")
    collector = documented(Place(engine, None, folder, False), folder, ports, "collector", **hosts)
    name, _, compression = protocol.partition(", ")
    more = {
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": str(per_request),
        "OTEL_BSP_SCHEDULE_DELAY": "1000",
        "OTEL_EXPORTER_OTLP_COMPRESSION": compression or "none",
    }
    load = Load(folder, ports.variables(name, **more))
    with ended(load, collector, behind):
        load.order("make", calls=100)
        load.order("settle", seconds=SETTLE)
        collector.forget_peak()
        before, begin = collector.cpu_seconds(), time.monotonic()
        accepted = collector.count("otelcol_receiver_accepted_spans")
        load.order("make", calls=rate * SECONDS // 2, rate=rate, fail_every=100)
        took = time.monotonic() - begin
        used = collector.cpu_seconds() - before
        accepted = collector.count("otelcol_receiver_accepted_spans") - accepted
        load.order("settle", seconds=SETTLE)
        peak = collector.resident_mib(most=True)
        refused = int(collector.count("otelcol_receiver_refused_spans"))
        early = int(collector.count("otelcol_processor_tail_sampling_sampling_trace_dropped_too_early"))
        account = load.leave()["traces"]
        found = {"refused": refused, "traces decided early": early}
        notes = [f"{name} {count:,}" for name, count in found.items() if count]
        if account["dropped"]:
            notes.append(f"dropped {account['dropped']:,} of {account['made']:,}")
    cost = f"{used / took:>8.2f}{used / accepted * 1e6:>10.1f}{peak:>8.0f}"
    return f"{tier:26}{protocol:11}{per_request:>8}{accepted / took:>10,.0f}{cost}  {', '.join(notes)}"


def measure(engine: Path) -> int:
    """Print the table; eight minutes."""
    with tempfile.TemporaryDirectory(prefix="tango-telemetry-sizing-") as home:
        folder = Path(home)
        plain = measure_bytes(folder)
        packed = measure_bytes(folder, OTEL_EXPORTER_OTLP_COMPRESSION="gzip")
        print(f"bytes for each span in a request: {plain:.0f}, with gzip {packed:.0f}")
        print(f"{'':26}{'':11}{'spans a':>8}{'spans':>10}{'CPU':>8}{'us CPU':>10}{'most':>8}")
        units = f"{'request':>8}{'a second':>10}{'cores':>8}{'a span':>10}{'MiB':>8}"
        print(f"{'collector':26}{'protocol':11}{units}", flush=True)
        number = 0
        for tier in ("collector.yaml", "collector-two-tiers.yaml"):
            loads = [(rate, 512, "grpc") for rate in RATES]
            loads += [
                (5_000, 512, "grpc, gzip"),
                (5_000, 512, "http"),
                (5_000, FEW, "grpc"),
                (5_000, FEW, "http"),
            ]
            for rate, per_request, protocol in loads:
                number += 1
                line = measure_row(engine, folder / str(number), tier, rate, per_request, protocol)
                print(line, flush=True)
    return 0
