"""The exporter of spans to files: OTLP JSON lines, one file for each process, rotated."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import re
import stat
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tango_telemetry.base.system import open_flags
from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.pipeline.delivery import DELIVERED, Outcome, Result
from tango_telemetry.pipeline.exporters.mend import mend_text
from tango_telemetry.pipeline.exporters.otlp import Grouping, to_json_lines
from tango_telemetry.pipeline.redact import clean_text
from tango_telemetry.pipeline.signals import TRACES, Signal

if TYPE_CHECKING:
    from tango_telemetry.otel.sdk import ReadableSpan

_logger = logging.getLogger("tango_telemetry.pipeline")
_ATTEMPTS = 3
_SPAN_BYTES = 4096
"""What a span takes in OTLP JSON, with a resource of its own, is mostly a quarter of it (measured: 600 to
1,100).
"""
_FLAGS = open_flags("O_WRONLY", "O_CREAT", "O_APPEND", "O_NOFOLLOW", "O_NONBLOCK")


def file_name(service: str, suffix: str = "") -> str:
    """A name that no other process uses: service, process id, start in nanoseconds, suffix."""
    service = re.sub(r"[^A-Za-z0-9._-]+", "_", service)[:80].strip("._") or "service"
    return f"{service}-{os.getpid()}-{time.time_ns()}{suffix}.jsonl"


class RotatedFile:
    """The file of one process in a folder. What `append` has taken can be found in that folder.

    Whoever rotates logs may rename, truncate or remove the file, or the folder, at any time: a new one is
    begun in the folder that was asked for. At `max_bytes` the file gets a number before its suffix and a new
    one takes its name, so that names sort by age; beyond `max_count` files the oldest is removed.
    """

    def __init__(self, directory: str, max_bytes: int, max_count: int, suffix: str = "") -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_count = max_count
        self._suffix = suffix
        self._file = -1
        self.begin_anew()

    def begin_anew(self) -> None:
        """Let go of the file: the next one gets a name of its own.

        In a forked child: the file is the parent's.
        """
        self.close()
        self._path = ""
        self._number = 0
        self._rotated: deque[str] = deque()

    def end_of_piece(self, data: bytes, start: int) -> int:
        """Where the lines of `data` end that fit into a file together, from `start` on: one line at least."""
        if len(data) - start <= self._max_bytes:
            return len(data)
        end = data.rfind(b"\n", start, start + self._max_bytes)
        if end < 0:
            end = data.find(b"\n", start)
        return end + 1 if end >= 0 else len(data)

    def append(self, data: bytes, service: str) -> None:
        """Write all of `data` or nothing, in a file named after `service` if a new one is begun; raises
        OSError.
        """
        for _ in range(_ATTEMPTS):
            self._open(service)
            if self._size and self._size + len(data) > self._max_bytes:
                self._rotate()
                continue
            try:
                self._write_whole(data)
            except OSError as error:
                if error.errno != errno.EFBIG or not self._size:
                    raise
                self._rotate()  # `ulimit -f` is below our bound: the next file has as much room
                continue
            if os.fstat(self._file).st_nlink:
                return
            self.close()  # removed in this moment, with what has just been written
        raise FileNotFoundError(errno.ENOENT, "the file is removed again and again", self._path)

    def _open(self, service: str) -> None:
        """Have the file open that stands at our path, and is one that can be written and read."""
        if self._file >= 0 and self._is_in_place():
            return
        self.close()
        os.makedirs(self._directory, exist_ok=True)
        for _ in range(_ATTEMPTS):
            if not self._path:
                self._path = os.path.join(self._directory, file_name(service, self._suffix))
                self._number = 0
            try:
                # What somebody else has put in our place may be a pipe that nobody reads.
                self._file = os.open(self._path, _FLAGS, 0o644)
                if self._is_in_place():
                    return
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.EPERM):
                    raise
                if not os.path.lexists(self._path):  # it is the folder that may not be written
                    raise
            self.close()
            self._path = ""  # left to whoever has put something else there

    def _is_in_place(self) -> bool:
        try:
            here, there = os.fstat(self._file), os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        self._size = here.st_size
        same = (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
        return same and stat.S_ISREG(here.st_mode) and bool(here.st_mode & stat.S_IRUSR)

    def _rotate(self) -> None:
        """Give the file a number, and remove the oldest beyond the bound."""
        self._number += 1
        numbered = f"{self._path.removesuffix('.jsonl')}.{self._number:06d}.jsonl"
        self.close()
        os.rename(self._path, numbered)
        self._rotated.append(numbered)
        while len(self._rotated) >= self._max_count:
            if len(self._rotated) == self._number:
                _logger.warning(
                    "tango-telemetry: %s takes PYTANGO_TELEMETRY_FILE_MAX_COUNT=%d files of"
                    " PYTANGO_TELEMETRY_FILE_MAX_BYTES=%d; from now on the oldest is removed for each new "
                    "one",
                    self._path,
                    self._max_count,
                    self._max_bytes,
                )
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._rotated[0])
            self._rotated.popleft()

    def _write_whole(self, data: bytes) -> None:
        """All of it or nothing: a full disk must not leave half a line in front of the next one."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            os.ftruncate(self._file, self._size)
            raise

    def close(self) -> None:
        """Close it; the next `append` opens it again."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


class FileExporter:
    """OTLP JSON lines in a directory, one file at a time for each process, written by the official file
    exporter.
    """

    spoolable = False

    def __init__(self, directory: str, max_bytes: int, max_count: int, signal: Signal = TRACES) -> None:
        # Lines are not cut, so that a file's bound can be kept only with lines that are much shorter.
        self.chunk_spans = min(16, max(1, max_bytes // _SPAN_BYTES))
        self._unfinished = b""
        otel_sdk.find_exporter("file")
        self._encoder = otel_sdk.Deferred(lambda: otel_sdk.load_encoder("file"))
        self._grouping = Grouping()
        directory = os.path.abspath(directory.removeprefix("file://"))
        # Tried here and now, so that an unwritable folder is a warning at start and not a loss later.
        os.makedirs(directory, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(f"folder {directory} is not writable")
        self._service = ""
        self._signal = signal
        self._file = RotatedFile(directory, max_bytes, max_count, signal.suffix)

    def prepare(self, encoding: bool) -> None:
        if encoding:
            self._encoder()

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        if not self._service and spans:
            self._service = mend_text(spans[0].resource.attributes.get("service.name", ""))
        text = io.StringIO()
        self._encoder().FileSpanExporter(stream=text).export(self._grouping.cheaper(spans))
        return text.getvalue().encode("utf-8", "backslashreplace")

    def transcode(self, resource_spans: bytes) -> bytes:
        return to_json_lines(resource_spans, self.chunk_spans, self._signal)

    def halve(self, payload: bytes, items: int) -> Sequence[tuple[bytes, int]]:
        return ()  # what is refused here is refused whatever it is

    def send(self, payload: bytes, timeout: float) -> Outcome:
        # Lines that were written before an attempt failed come again at the beginning of the next one.
        start = len(self._unfinished) if payload.startswith(self._unfinished) else 0
        try:
            while start < len(payload):
                end = self._file.end_of_piece(payload, start)
                self._file.append(payload[start:end], self._service)
                start = end
        except OSError as error:
            reason = f"{type(error).__name__}: {error.strerror}"
            return Outcome(Result.RETRY, reason, detail=clean_text(error.filename or ""))
        finally:
            self._unfinished = payload[:start] if start < len(payload) else b""
        return DELIVERED

    def reset_after_fork(self) -> None:
        self._unfinished = b""
        self._file.begin_anew()  # the child's spans go to a file of its own

    def close(self) -> None:
        self._file.close()
