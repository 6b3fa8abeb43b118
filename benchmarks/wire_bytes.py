"""What one command and one read cost in bytes on the way to a collector, in files and in the spool.

Usage: python benchmarks/wire_bytes.py [CALLS]     (500)

A client and a device server, all defaults, make CALLS of one kind one after the other, each a trace of two
spans, and send what they have. Bodies of requests are counted, not the heads of HTTP (some 300 bytes for each
batch of 512 spans); files and the spool as they lie on the disk, and as gzip makes them.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _stacks import STACKS, Process, create_environment, device_name, find_free_port

DEFAULT = next(stack for stack in STACKS if stack.name == "default")
KINDS = {"command": "command_inout", "read": "read_attribute", "write": "write_attribute"}
SPANS = 2


class _Counting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    counted: int = 0

    def do_POST(self) -> None:
        _Counting.counted += len(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None: ...


class _Endpoint:
    """Gives its own URL where ``create_environment`` asks for that of a stack."""

    def __init__(self, port: int) -> None:
        self._port = port

    def endpoint(self, stack: str) -> str:
        return f"http://127.0.0.1:{self._port}/v1/traces"


@contextmanager
def start_pair(port: int, folder: Path, more: dict[str, str]) -> Iterator[tuple[Process, Process]]:
    """Start a device server and its client."""
    environment = create_environment(DEFAULT, _Endpoint(port), str(folder), **more)  # type: ignore[arg-type]
    environment |= more  # over the endpoint that stands there already
    served = find_free_port()
    name = device_name(served, "bench/follower/1")
    options = ["-ORBendPoint", f"giop:tcp:127.0.0.1:{served}", "-nodb", "-dlist", "bench/follower/1"]
    server = Process(["follower", "bench", *options], environment, folder / "server.log")
    processes = [server]
    try:
        server.wait_until_ready()
        client = Process(["client", name, name], environment, folder / "client.log")
        processes.append(client)
        client.wait_until_ready()
        yield server, client
    finally:
        for process in processes:
            process.stop()


def read_files(folder: Path) -> bytes:
    """Return what lies in a folder."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def measure(way: str, calls: int) -> dict[str, tuple[float, float]]:
    """Return the bytes for each call of each kind by one way: as they are, and with gzip (0: the same)."""
    result = {}
    for kind, call in KINDS.items():
        with tempfile.TemporaryDirectory(prefix="tango-telemetry-bytes-") as home:
            folder = Path(home)
            kept = folder / "kept"
            kept.mkdir()
            more = {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip" if way == "http, gzip" else "none"}
            httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Counting)
            threading.Thread(target=httpd.serve_forever, daemon=True).start()
            port = httpd.server_port
            if way == "file":
                for names in ("TRACES_EXPORTER TRACES_ENDPOINT", "TRACING_EXPORTERS TRACING_ENDPOINTS"):
                    exporter, endpoint = names.split()
                    more[f"TANGO_TELEMETRY_{exporter}"] = "file"
                    more[f"TANGO_TELEMETRY_{endpoint}"] = str(kept / "spans.jsonl")
            elif way == "spool":
                port = find_free_port()
                more["PYTANGO_TELEMETRY_SPOOL_DIR"] = str(kept)
            with start_pair(port, folder, more) as pair:
                for process in pair:
                    process.ask(do="state") if way != "spool" else None
                before = _Counting.counted, len(read_files(kept))
                pair[1].ask(do="block", call=call, warm=0, count=calls)
                for process in reversed(pair):
                    process.ask(do="state")
                sent, written = _Counting.counted - before[0], read_files(kept)[before[1] :]
            httpd.shutdown()
            if way.startswith("http"):
                result[kind] = sent / calls, 0.0
            else:
                result[kind] = len(written) / calls, len(gzip.compress(written)) / calls
    return result


def main() -> int:
    """Measure each way, and print a table."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    print(f"{'bytes for one call (two spans)':34}" + "".join(f"{kind:>12}" for kind in KINDS))
    for way in ("http", "http, gzip", "file", "spool"):
        found = measure(way, calls)
        print(f"{way:34}" + "".join(f"{found[kind][0]:12.0f}" for kind in KINDS))
        if any(found[kind][1] for kind in KINDS):
            print(f"{way + ', compressed':34}" + "".join(f"{found[kind][1]:12.0f}" for kind in KINDS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
