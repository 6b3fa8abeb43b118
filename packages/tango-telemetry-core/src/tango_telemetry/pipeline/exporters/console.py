"""The exporter of spans to the console: the SDK's own JSON of a span, on standard output or standard
error.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tango_telemetry.base import originals
from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.pipeline.delivery import DELIVERED, Outcome, Result
from tango_telemetry.pipeline.exporters.mend import Mender
from tango_telemetry.pipeline.exporters.otlp import to_json_lines
from tango_telemetry.pipeline.signals import TRACES, Signal

if TYPE_CHECKING:
    from tango_telemetry.otel.sdk import ReadableSpan


_PIPE_BUF: int = getattr(select, "PIPE_BUF", 512)  # Windows has none, and needs none


# Spans, log records and metrics come from threads of their own: a payload is written whole before another one
# begins.
_turns = {"stdout": originals.Lock(), "stderr": originals.Lock()}


class ConsoleExporter:
    """The SDK's console format on standard output or standard error."""

    spoolable = False
    chunk_spans = 16

    def __init__(self, target: str, signal: Signal = TRACES) -> None:
        otel_sdk.find_exporter("console")
        if target not in ("cout", "cerr"):
            raise ValueError("not one of cout, cerr")
        self._mender = Mender(bytes_as_text=True)
        self._encoder = otel_sdk.Deferred(lambda: otel_sdk.load_encoder("console"))
        self._stream = "stdout" if target == "cout" else "stderr"
        self._signal = signal
        self._written = 0

    def prepare(self, encoding: bool) -> None:
        if encoding:
            self._encoder()

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        text = io.StringIO()
        self._encoder().ConsoleSpanExporter(out=text).export(self._mender.mend_all(spans))
        return text.getvalue().encode("utf-8", "backslashreplace")

    def transcode(self, resource_spans: bytes) -> bytes:
        return to_json_lines(resource_spans, self.chunk_spans, self._signal)

    def halve(self, payload: bytes, items: int) -> Sequence[tuple[bytes, int]]:
        return ()  # what is refused here is refused whatever it is

    def send(self, payload: bytes, timeout: float) -> Outcome:
        # Looked up at each use: pytest, IPython and servers replace sys.stdout after import.
        stream = getattr(sys, self._stream)
        if stream is None:  # a program without a console, as pythonw or a daemon that has closed it
            return Outcome(Result.REJECTED, f"there is no sys.{self._stream}")
        turn = _turns[self._stream]
        if not turn.acquire(timeout=timeout):
            return Outcome(Result.RETRY, "nobody reads the console")
        try:
            descriptor = _descriptor(stream)
            wait = originals.poll_for_writing(descriptor) if descriptor >= 0 else None
            if wait is not None:
                return self._write_descriptor(wait, descriptor, payload, timeout)
            stream.write(payload.decode("utf-8", "replace"))
            stream.flush()
        except (OSError, ValueError) as error:  # a closed or broken pipe
            self._written = 0
            return Outcome(Result.REJECTED, type(error).__name__)
        finally:
            turn.release()
        return DELIVERED

    def _write_descriptor(
        self, wait: Callable[[float], Any], descriptor: int, payload: bytes, timeout: float
    ) -> Outcome:
        """Write past the stream, whose lock the interpreter needs at its end, and only where the reader has
        room.

        What was written of a payload before the time was over is left out when it comes again, at the head of
        the next.
        """
        deadline = time.monotonic() + timeout
        while self._written < len(payload):
            if not wait(max(0.0, deadline - time.monotonic()) * 1000):
                return Outcome(Result.RETRY, "nobody reads the console")
            # A pipe that has room at all takes so much without waiting.
            piece = payload[self._written : self._written + _PIPE_BUF]
            # Another writer was faster, on a descriptor that does not block.
            with contextlib.suppress(BlockingIOError):
                self._written += os.write(descriptor, piece)
        self._written = 0
        return DELIVERED

    def reset_after_fork(self) -> None:
        self._written = 0
        _turns[self._stream] = originals.Lock()

    def close(self) -> None:
        pass


def _descriptor(stream: object) -> int:
    """The file descriptor of Python's own kind of text file; -1 for another, such as a notebook's or a test's
    in memory.
    """
    if type(stream) is not io.TextIOWrapper or isinstance(stream.buffer, io.BytesIO):
        return -1
    return stream.fileno()
