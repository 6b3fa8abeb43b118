"""An OTLP HTTP receiver that costs next to nothing while a benchmark runs: it keeps the bodies and decodes
them when asked.

The first part of a request's path is the name of the stack that sent it. ``GET /counts`` gives, as JSON, the
spans received so far by stack and instrumentation scope.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from typing import Any

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Store:
    """Bodies that wait to be decoded, and the counts of those that were."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, bytes, bytes]] = []
        self.counts: dict[str, Counter[str]] = {}

    def count(self) -> dict[str, dict[str, int]]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        waiting, self.waiting = self.waiting, []
        for stack, head, body in waiting:
            counter = self.counts.setdefault(stack, Counter())
            if b"content-encoding: gzip" in head:
                body = gzip.decompress(body)
            if b"application/json" in head:
                for resource in json.loads(body).get("resourceSpans", ()):
                    for scope in resource.get("scopeSpans", ()):
                        counter[scope.get("scope", {}).get("name", "")] += len(scope.get("spans", ()))
                continue
            for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope_spans in resource_spans.scope_spans:
                    counter[scope_spans.scope.name] += len(scope_spans.spans)
        return {stack: dict(counter) for stack, counter in self.counts.items()}


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as far as OTLP exporters use it: a length, and perhaps ``Expect``."""

    def __init__(self, store: _Store) -> None:
        self._store = store
        self._buffer = bytearray()
        self._expected = 0  # the length of the head that was answered with 100 Continue

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            lines = bytes(self._buffer[:end]).split(b"\r\n")
            head = b"\r\n".join(lines[1:]).lower()
            length = next((int(x[15:]) for x in head.split(b"\r\n") if x.startswith(b"content-length:")), 0)
            if len(self._buffer) < end + 4 + length:
                if b"100-continue" in head and not self._expected:
                    self._expected = end
                    self._transport.write(_CONTINUE)
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            del self._buffer[: end + 4 + length]
            self._expected = 0
            self._answer(lines[0].split(b" ")[1].decode(), head, body)

    def _answer(self, path: str, head: bytes, body: bytes) -> None:
        if path == "/counts":
            text = json.dumps(self._store.count()).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
            return
        self._store.waiting.append((path.split("/")[1], head, body))
        self._transport.write(_ANSWER)


async def _serve() -> None:
    store = _Store()
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(store), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Until the parent closes it, or ends.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


class Receiver:
    """The receiver in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def endpoint(self, stack: str) -> str:
        """Return the URL that a stack sends its traces to."""
        return f"{self._url}/{stack}/v1/traces"

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the spans received so far, by stack and scope."""
        with urllib.request.urlopen(f"{self._url}/counts", timeout=60) as answer:
            counts: dict[str, dict[str, int]] = json.load(answer)
        return counts

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


if __name__ == "__main__":
    asyncio.run(_serve())
