"""What a device server's start does without: the packages that export are imported when the first export is
due.
"""

from __future__ import annotations

import subprocess
import sys

import receiver as receivers

PROGRAM = """
import os, sys, time
import tango_telemetry.pipeline as pipeline
from opentelemetry.sdk.trace import TracerProvider
from tango_telemetry.otel import sdk as otel_sdk

HEAVY = ("requests", "google.protobuf", "opentelemetry.exporter.otlp.proto.common.trace_encoder")

def loaded():
    return [name for name in HEAVY if name in sys.modules]

def start(waits=True, delay=0.4, **settings):
    if waits:
        pipeline.wait_for_start()
    pipeline.configure_pipelines(pipeline.PipelineSettings(schedule_delay=delay, **settings))
    made = pipeline.get_pipeline(pipeline.Endpoint("http", sys.argv[1]))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(made.create_span_processor())
    return made, provider.get_tracer("test")

def spans(tracer, count, name="span"):
    for number in range(count):
        tracer.start_span(f"{name} {number}").end()

def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)

"""


def run(body: str, expected: int) -> str:
    with receivers.Receiver("http") as receiver:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM + body, receiver.endpoint],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        names = [span.name for span in receiver.spans]
        assert len(set(names)) == len(names) == expected
    return done.stderr


def test_a_starting_server_imports_them_when_the_first_export_is_due() -> None:
    run(
        """
made, tracer = start(delay=1.0)
begin = time.monotonic()
spans(tracer, 1000)
while time.monotonic() < begin + 0.5:
    assert not loaded()
    time.sleep(0.01)
wait_for(lambda: made.stats().delivered == 1000)
assert loaded() == list(HEAVY)
""",
        1000,
    )


def test_a_script_has_them_before_its_first_span() -> None:
    run(
        """
made, tracer = start(waits=False)
assert loaded() == list(HEAVY)
spans(tracer, 5)
""",
        5,
    )


def test_many_spans_do_not_wait() -> None:
    run(
        """
made, tracer = start(delay=50.0)
spans(tracer, 4200)
wait_for(lambda: made.stats().delivered >= 4000)
""",
        4200,
    )


def test_a_full_queue_does_not_wait() -> None:
    run(
        """
made, tracer = start(delay=50.0, max_queue_bytes=1_000_000)
spans(tracer, 128)
wait_for(loaded)  # encoded, they take a tenth of the room
assert pipeline.flush(20)
""",
        128,
    )


def test_a_flush_does_not_wait() -> None:
    run(
        """
made, tracer = start(delay=50.0)
spans(tracer, 3)
assert not loaded()
assert pipeline.flush(20)
assert made.stats().delivered == 3
""",
        3,
    )


def test_a_fork_waits_for_an_import() -> None:
    run(
        """
real = otel_sdk.load_transport
importing, imported = [], []
def slow(exporter):
    importing.append(exporter)
    time.sleep(0.5)
    found = real(exporter)
    imported.append(time.monotonic())
    importing.clear()
    return found
otel_sdk.load_transport = slow
made, tracer = start(delay=0.05)
spans(tracer, 3)
wait_for(lambda: importing)
child = os.fork()
waited = time.monotonic()
assert not importing
if child == 0:
    spans(tracer, 2, "child")
    assert made.stats().made == 2
    os._exit(0)
assert waited - imported[0] < 1.0  # for the import, and then no longer
assert os.waitpid(child, 0)[1] == 0
assert pipeline.flush(20)
""",
        5,
    )


def test_a_package_that_cannot_be_imported_is_named_with_the_command() -> None:
    errors = run(
        """
def broken(exporter):
    raise otel_sdk.MissingPackageError("the 'http' exporter", "requests", "it is broken")
real, otel_sdk.load_transport = otel_sdk.load_transport, broken
made, tracer = start(retry_initial=0.05)
spans(tracer, 3)
wait_for(lambda: made.stats().failed_attempts)
assert made.stats().queued == 3
otel_sdk.load_transport = real
wait_for(lambda: made.stats().delivered == 3)
""",
        3,
    )
    assert 'pip install "tango-telemetry[full]"' in errors
    assert errors.count("it is broken") == 1
