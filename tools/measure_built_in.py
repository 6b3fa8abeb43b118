"""Runs a Tango program with one setting after the other, without us and with us, and says what became of it.

Each run is a process of its own with one device and one call, in a network of its own, in which nothing but
our two collectors listens: on OpenTelemetry's ports, 4317 and 4318, and on 14317 and 14318.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import fcntl
import multiprocessing
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

GRPC, HTTP = "grpc://localhost:14317", "http://localhost:14318"
GRPC_PORTS, HTTP_PORTS = (4317, 14317), (4318, 14318)
REFUSED = "/refused"
"""A path to which the collector answers 404."""
FOLDER = "tango-traces"
"""Where the exporter `file` is told to write."""
SIDES = ("built-in", "ours")

PROGRAM = """
import sys
if sys.argv[1] == "ours":
    import tango_telemetry_server
from tango.server import Device, attribute
from tango.test_context import DeviceTestContext
class Motor(Device):
    @attribute
    def position(self) -> float:
        self.info_stream("it moves")
        return 1.5
with DeviceTestContext(Motor, device_name="test/motor/1", process=False, debug=4) as proxy:
    proxy.position
    print("CALLED", flush=True)
"""
_TIMEOUT = 60


class Probe(NamedTuple):
    """One setting to try, with telemetry on if it says nothing else."""

    variable: str
    settings: Mapping[str, str]
    facts: tuple[str, ...]
    """What is told of it: names of the functions below that begin with ``_tell_``."""
    tangorc: bool = False
    """Whether the settings stand in tangorc and not in the environment."""

    @property
    def given(self) -> dict[str, str]:
        return {"TANGO_TELEMETRY_ENABLE": "on", **self.settings}

    @property
    def title(self) -> str:
        """How a reader would set it."""
        shown = [f"`{name}={value}`" for name, value in self.settings.items()]
        return (", ".join(shown) or f"`{self.variable}` unset") + (" in `tangorc`" if self.tangorc else "")


class Seen(NamedTuple):
    """What a run did. A place is ``cout``, ``cerr`` or the URL of a collector."""

    status: int
    spans: frozenset[tuple[str, str, str]]
    """(place, who made it: ``python`` or ``cpptango``, service)"""
    logs: frozenset[str]
    before_return: bool
    """Whether a span stood on ``cout`` before the call returned."""
    errors: str


class _Collector:
    """Both protocols on both ports; keeps what comes."""

    def __init__(self) -> None:
        import grpc

        self.spans: set[tuple[str, str, str]] = set()
        self.logs: set[str] = set()
        self._lock = threading.Lock()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                if self.path != REFUSED:
                    port = self.server.server_address[1]
                    is_json = "json" in self.headers.get("Content-Type", "")
                    collector.keep(f"http://localhost:{port}{self.path}", self.path, body, is_json)
                self.send_response(404 if self.path == REFUSED else 200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        class _Calls(grpc.GenericRpcHandler):
            def __init__(self, port: int) -> None:
                self._port = port

            def service(self, details: Any) -> Any:
                def take(body: bytes, _: Any) -> bytes:
                    collector.keep(f"grpc://localhost:{self._port}", details.method, body, False)
                    return b""

                return grpc.unary_unary_rpc_method_handler(take)

        for port in HTTP_PORTS:
            server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self._grpc = []
        for port in GRPC_PORTS:
            own = grpc.server(concurrent.futures.ThreadPoolExecutor(2), handlers=[_Calls(port)])
            own.add_insecure_port(f"127.0.0.1:{port}")
            own.start()
            self._grpc.append(own)

    def keep(self, place: str, path: str, body: bytes, is_json: bool) -> None:
        from google.protobuf import json_format
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        is_logs = "logs" in path.lower()
        message = ExportLogsServiceRequest() if is_logs else ExportTraceServiceRequest()
        if is_json:
            json_format.Parse(body, message, ignore_unknown_fields=True)
        else:
            message.ParseFromString(body)
        with self._lock:
            if is_logs:
                self.logs.add(place)
                return
            for of_resource in message.resource_spans:
                service = next(
                    a.value.string_value for a in of_resource.resource.attributes if a.key == "service.name"
                )
                for of_scope in of_resource.scope_spans:
                    self.spans.add((place, _maker(of_scope.scope.name), service))

    def take(self) -> tuple[frozenset[tuple[str, str, str]], frozenset[str]]:
        with self._lock:
            found = frozenset(self.spans), frozenset(self.logs)
            self.spans.clear()
            self.logs.clear()
        return found


def _maker(scope: str) -> str:
    return "cpptango" if "cpp" in scope.lower() else "python"


def own_network() -> None:
    """Leave the machine's network for one that has nothing but a loopback of its own.

    :raises OSError: where that is not allowed
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000) and libc.unshare(0x40000000 | 0x10000000):  # CLONE_NEWNET, CLONE_NEWUSER
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        up = struct.pack("16sH14s", b"lo", 0x1 | 0x40, b"")  # IFF_UP, IFF_RUNNING
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS


_collector: _Collector | None = None


def _begin() -> None:
    global _collector
    own_network()
    _collector = _Collector()


def run(probe: Probe, side: str) -> Seen:
    """Run the program once, in a process in which :func:`_begin` has run."""
    assert _collector is not None
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **{name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ},
            **{"HOME": folder, "PYTANGO_TELEMETRY_AUTO": "off"},
            **({} if probe.tangorc else probe.given),
        }
        if probe.tangorc:
            lines = (f"{name}={value}\n" for name, value in probe.given.items())
            (Path(folder) / ".tangorc").write_text("".join(lines))
        done = subprocess.run(
            [sys.executable, "-W", "default", "-c", PROGRAM, side],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        files = list(Path(folder).glob(f"{FOLDER}/*"))
    spans, logs = _collector.take()
    if files:
        spans |= {(FOLDER, "python", "")}
    for place, text in (("cout", done.stdout), ("cerr", done.stderr)):
        spans |= frozenset((place, maker, service) for maker, service in _printed(text))
        if re.search(r'^( +severity_text|{"resourceLogs")', text, re.MULTILINE):
            logs |= {place}
    before = any(maker == "python" for maker, _ in _printed(done.stdout.partition("CALLED")[0]))
    return Seen(done.returncode, spans, logs, before, done.stderr)


def _printed(text: str) -> Iterator[tuple[str, str]]:
    """(maker, service) of each span that a console exporter has written: the SDK's JSON, cppTango's text."""
    for service in re.findall(r'^ +"service.name": "([^"]*)"', text, re.MULTILINE):
        yield "python", service
    for block in re.findall(r"^  parent_span_id.*?^}", text, re.MULTILINE | re.DOTALL):
        for service in re.findall(r"^\tservice.name: (.*)$", block, re.MULTILINE):
            yield "cpptango", service


def _list(places: Any) -> str:
    return ", ".join(f"`{place}`" for place in sorted(places)) or "nowhere"


def _tell_traces(seen: Seen) -> str:
    return f"spans to {_list({place for place, maker, _ in seen.spans if maker == 'python'})}"


def _tell_logs(seen: Seen) -> str:
    return f"log records to {_list(seen.logs)}"


def _tell_kernel(seen: Seen) -> str:
    own = any(maker == "cpptango" for _, maker, _ in seen.spans)
    return f"cppTango's own spans {'too' if own else 'not'}"


def _tell_client(seen: Seen) -> str:
    """The service of calls outside handlers, in a device server."""
    others = {service for _, maker, service in seen.spans if maker == "python" and service != "Motor"}
    return f"service of calls outside handlers: {_list(others)}"


def _tell_when(seen: Seen) -> str:
    return "each span is written as it ends" if seen.before_return else "spans are written in batches"


def _tell_errors(seen: Seen) -> str:
    said = re.search(r"404", seen.errors)
    return f"what the exporters log is {'printed' if said else 'not printed'}"


def _tell_warnings(seen: Seen) -> str:
    kinds = sorted(set(re.findall(r": (\w+Warning): [^\n]*TELEMETRY", seen.errors)))
    return f"{_list(kinds)} on standard error" if kinds else "no warning"


def tell(seen: Seen, facts: tuple[str, ...]) -> str:
    """Return what is to be told of a run, in words."""
    if seen.status != 0:
        return "the program ends with `DevFailed`" if "DevFailed" in seen.errors else "the program fails"
    tellers = globals()
    return "; ".join(tellers[f"_tell_{fact}"](seen) for fact in facts)


def measure(probes: Sequence[Probe], workers: int = 2) -> dict[str, list[str]]:
    """Run each probe without us and with us; return the two texts of each by its title.

    :raises OSError: where no process may have a network of its own
    """
    context = multiprocessing.get_context("spawn")
    begin = {"mp_context": context, "initializer": _begin}
    with concurrent.futures.ProcessPoolExecutor(workers, **begin) as pool:  # type: ignore[arg-type]
        made = [[pool.submit(run, probe, side) for side in SIDES] for probe in probes]
        return {
            probe.title: [tell(future.result(timeout=600), probe.facts) for future in futures]
            for probe, futures in zip(probes, made, strict=True)
        }
