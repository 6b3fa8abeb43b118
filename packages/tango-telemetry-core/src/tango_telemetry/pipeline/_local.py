"""The exporters that stay on this machine: a file per process, and the console."""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tango_telemetry import _originals as originals
from tango_telemetry import _otel_sdk
from tango_telemetry.pipeline._delivery import DELIVERED, Outcome, Result
from tango_telemetry.pipeline._otlp import Grouping, to_json_line

if TYPE_CHECKING:
    from tango_telemetry._otel_sdk import ReadableSpan


def file_name(service: str) -> str:
    """A name that no other process uses: service, process id, start in nanoseconds."""
    service = re.sub(r"[^A-Za-z0-9._-]+", "_", service)[:80].strip("._") or "service"
    return f"{service}-{os.getpid()}-{time.time_ns()}.jsonl"


class FileExporter:
    """OTLP JSON lines in a directory, one file per process, written by the official file exporter."""

    spoolable = False
    chunk_spans = 16

    def __init__(self, directory: str) -> None:
        _otel_sdk.find_exporter("file")
        self._encoder = _otel_sdk.Deferred(lambda: _otel_sdk.load_encoder("file"))
        self._grouping = Grouping()
        self._directory = os.path.abspath(directory.removeprefix("file://"))
        # Tried here and now, so that an unwritable folder is a warning at start and not a loss later.
        os.makedirs(self._directory, exist_ok=True)
        if not os.access(self._directory, os.W_OK | os.X_OK):
            raise PermissionError(f"folder {self._directory} is not writable")
        self._service = "service"
        self._file = -1

    def prepare(self, encoding: bool) -> None:
        if encoding:
            self._encoder()

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        if self._file < 0 and spans:
            self._service = str(spans[0].resource.attributes.get("service.name", "service"))
        text = io.StringIO()
        self._encoder().FileSpanExporter(stream=text).export(self._grouping.cheaper(spans))
        return text.getvalue().encode("utf-8", "backslashreplace")

    def transcode(self, resource_spans: bytes) -> bytes:
        return to_json_line(resource_spans)

    def send(self, payload: bytes, timeout: float) -> Outcome:
        try:
            if self._file < 0:
                path = os.path.join(self._directory, file_name(self._service))
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self._write_whole(payload)
        except OSError as error:
            return Outcome(Result.RETRY, f"{type(error).__name__}: {error.strerror}")
        return DELIVERED

    def _write_whole(self, payload: bytes) -> None:
        """All of it or nothing: a full disk must not leave half a line in front of the next one."""
        start = os.fstat(self._file).st_size
        view = memoryview(payload)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            os.ftruncate(self._file, start)
            raise

    def reset_after_fork(self) -> None:
        self.close()  # the child's spans go to a file of its own

    def close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


class ConsoleExporter:
    """The SDK's console format on standard output or standard error."""

    spoolable = False
    chunk_spans = 16

    def __init__(self, target: str) -> None:
        _otel_sdk.find_exporter("console")
        if target not in ("cout", "cerr"):
            raise ValueError("not one of cout, cerr")
        self._encoder = _otel_sdk.Deferred(lambda: _otel_sdk.load_encoder("console"))
        self._stream = "stdout" if target == "cout" else "stderr"
        self._written = 0

    def prepare(self, encoding: bool) -> None:
        if encoding:
            self._encoder()

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        text = io.StringIO()
        self._encoder().ConsoleSpanExporter(out=text).export(spans)
        return text.getvalue().encode("utf-8", "backslashreplace")

    def transcode(self, resource_spans: bytes) -> bytes:
        return to_json_line(resource_spans)

    def send(self, payload: bytes, timeout: float) -> Outcome:
        # Looked up at each use: pytest, IPython and servers replace sys.stdout after import.
        stream = getattr(sys, self._stream)
        try:
            descriptor = _descriptor(stream)
            if descriptor >= 0:
                return self._write_descriptor(descriptor, payload, timeout)
            if stream is not None:
                stream.write(payload.decode("utf-8", "replace"))
                stream.flush()
        except (OSError, ValueError) as error:  # a closed or broken pipe
            self._written = 0
            return Outcome(Result.REJECTED, type(error).__name__)
        return DELIVERED

    def _write_descriptor(self, descriptor: int, payload: bytes, timeout: float) -> Outcome:
        """Write past the stream, whose lock the interpreter needs at its end, and only where the reader has room.

        What was written of a payload before the time was over is left out when it comes again, at the head of the next.
        """
        poll = originals.poll()
        poll.register(descriptor, select.POLLOUT)
        deadline = time.monotonic() + timeout
        while self._written < len(payload):
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return Outcome(Result.RETRY, "nobody reads the console")
            # A pipe that has room at all takes so much without waiting.
            piece = payload[self._written : self._written + select.PIPE_BUF]
            with contextlib.suppress(
                BlockingIOError
            ):  # another writer was faster, on a descriptor that does not block
                self._written += os.write(descriptor, piece)
        self._written = 0
        return DELIVERED

    def reset_after_fork(self) -> None:
        self._written = 0

    def close(self) -> None:
        pass


def _descriptor(stream: object) -> int:
    """The file descriptor of Python's own kind of text file; -1 for another, such as a notebook's or a test's in memory."""
    if type(stream) is not io.TextIOWrapper or isinstance(stream.buffer, io.BytesIO):
        return -1
    return stream.fileno()
