"""Programs that make spans, run as processes of their own against a receiver that fails."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from receiver import Receiver

PREAMBLE = """
import json, os, signal, sys, time
import tango_telemetry.pipeline as pipeline
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

settings = json.loads(sys.argv[3])
pipeline.configure_pipelines(pipeline.PipelineSettings(**settings))
pipe = pipeline.get_pipeline(pipeline.Endpoint(sys.argv[1], sys.argv[2]), sys.argv[4])

if sys.argv[5] == "native":
    from tango_telemetry_native.spans import create_native_tracer_provider, create_span_queue
    queue = create_span_queue(pipe.capacity, 64 * 1024 * 1024, 1 if sys.argv[4] == "simple" else 512)
    pipe.accept_encoded(queue)

def provider(service="program"):
    resource = Resource({"service.name": service})
    if sys.argv[5] == "native":
        return create_native_tracer_provider(resource, queue=queue, flush=pipe.flush)
    made = TracerProvider(resource=resource, shutdown_on_exit=False)
    made.add_span_processor(pipe.create_span_processor())
    return made

tracer = provider().get_tracer("test")

def say(*words):
    print(*words, flush=True)

def spans(count, name="span"):
    for number in range(count):
        tracer.start_span(f"{name} {number}", attributes={"number": number}).end()

"""


@dataclass
class Ended:
    """A program that came to its end. exit_seconds: from the program's word "leaving" to the end of the
    process.
    """

    returncode: int
    output: list[str]
    errors: str
    exit_seconds: float
    seconds: float


class Program:
    """A Python program with a pipeline, running. spans: "sdk" or "native", whose tracer provider it has."""

    def __init__(
        self,
        body: str,
        exporter: str,
        target: str,
        processor: str = "batch",
        spans: str = "sdk",
        environment: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        import json

        self._started = time.monotonic()
        variables = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        variables.pop("PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS", None)
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                PREAMBLE + textwrap.dedent(body),
                exporter,
                target,
                json.dumps(settings),
                processor,
                spans,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=variables,
        )
        self._left = 0.0
        self._output: list[str] = []

    def wait_for(self, word: str) -> str:
        """Read its output up to a line that begins with `word`; gives that line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._output.append(line.rstrip("\n"))
            if line.startswith(word):
                return line.rstrip("\n")
        raise AssertionError(
            f"no {word!r} in {self._output}; {self.process.stderr and self.process.stderr.read()}"
        )

    def say(self, line: str = "") -> None:
        """Write a line to its input."""
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)

    def signal(self, number: int) -> None:
        """Send it a signal; its end counts from now."""
        self._left = time.monotonic()
        self.process.send_signal(number)

    def end(self, timeout: float = 60.0) -> Ended:
        """Wait for its end."""
        output, errors = self.process.communicate(timeout=timeout)
        now = time.monotonic()
        self._output += output.splitlines()
        for line in self._output:
            if line.startswith("leaving "):
                self._left = float(line.split()[1])
        return Ended(self.process.returncode, self._output, errors, now - self._left, now - self._started)


@pytest.fixture
def program() -> Iterator[Callable[..., Program]]:
    """`program(body, exporter, target, **settings)` starts one; it is killed at the end of the test at the
    latest.
    """
    running: list[Program] = []

    def start(*arguments: Any, **settings: Any) -> Program:
        running.append(Program(*arguments, **settings))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


@pytest.fixture(params=["sdk", "native"])
def spans(request: pytest.FixtureRequest) -> str:
    """Who records the spans of a program."""
    if request.param == "native":
        pytest.importorskip("tango_telemetry_native.spans")
    return str(request.param)


@pytest.fixture(params=["http", "grpc"])
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    """A receiver that works, for each protocol."""
    with Receiver(request.param) as made:
        yield made


def within_seconds(
    bound: float,
    run: Callable[[], tuple[int, float, str]],
    control: Callable[[], float] | None = None,
    attempts: int = 3,
) -> tuple[int, float, str]:
    """Run until it took less than `bound` seconds; fails if no attempt did. Gives (status, seconds, errors).

    A busy machine only ever adds to a time, and what the exit of the same program without telemetry takes in
    the same moment, `control()`, is the machine's share and the program's own.
    """
    took = []
    for _ in range(attempts):
        status, seconds, errors = run()
        if seconds < bound:
            return status, seconds, errors
        without = (control or exit_without_spans)()
        if seconds - without < bound:
            return status, seconds, errors
        took.append((round(seconds, 2), round(without, 2)))
    raise AssertionError(f"exits took (with telemetry, without) {took} s, more than {bound} s longer")


def exit_without_spans() -> float:
    """Seconds that a program with the same imports and no span takes to exit."""
    control = Program("import requests, grpc\n" + LEAVE, "console", "cout")
    return control.end().exit_seconds


def within(bound: float, run: Callable[[], Ended]) -> Ended:
    """The same for a program."""
    last: list[Ended] = []

    def measured() -> tuple[int, float, str]:
        last[:] = [run()]
        return last[0].returncode, last[0].exit_seconds, last[0].errors

    within_seconds(bound, measured)
    return last[0]


LEAVE = 'say("leaving", time.monotonic())\n'
"""The last line of a program whose exit is measured. CLOCK_MONOTONIC is the same in all processes."""
