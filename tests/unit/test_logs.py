"""Log records: which are asked for, where they go, what they say, and what stays as it is."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs._internal import LoggingHandler
from opentelemetry.sdk.trace import TracerProvider
from receiver import REFUSE, ReceivedLog, Receiver, decode_logs
from tango_telemetry import Endpoint, TelemetryConfig
from tango_telemetry.logs.emit import Emitter
from tango_telemetry.logs.python_logging import LONGEST_BODY, LONGEST_STACK, patch_logging, severity_of
from tango_telemetry.logs.records import UNWEIGHED, LogSource
from tango_telemetry.logs.text import LOG_FORMAT, TraceContextFilter
from tango_telemetry.pipeline import LOGS
from tango_telemetry.pytango.patching import Patches

TANGO = "TANGO_TELEMETRY_"
HTTP = {f"{TANGO}TRACES_EXPORTER": "http", f"{TANGO}TRACES_ENDPOINT": "http://h:1/v1/traces"}
OURS = "PYTANGO_TELEMETRY_LOGS"


# --- the settings


@pytest.mark.parametrize(
    ("variables", "logs", "target"),
    [
        ({}, "off", None),
        ({OURS: "all"}, "all", "http://h:1/v1/logs"),
        ({f"{TANGO}LOGGING_EXPORTERS": "http"}, "streams", "http://localhost:4318/v1/logs"),
        ({f"{TANGO}LOGGING_EXPORTERS": "http", f"{TANGO}TYPES": "tracing"}, "off", None),
        ({f"{TANGO}LOGGING_EXPORTERS": "none"}, "off", None),
        ({f"{TANGO}LOGS_EXPORTER": "grpc", f"{TANGO}LOGS_ENDPOINT": "grpc://l:2"}, "streams", "grpc://l:2"),
        ({f"{TANGO}LOGGING_EXPORTERS": "http", OURS: "off"}, "off", None),
        ({f"{TANGO}LOGGING_EXPORTERS": "file", f"{TANGO}LOGGING_ENDPOINTS": "/x"}, "streams", "/x"),
        ({OURS: "logging", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://o:3/p"}, "logging", "http://o:3/p"),
    ],
)
def test_what_asks_for_logs_and_where_they_go(
    variables: dict[str, str], logs: str, target: str | None
) -> None:
    config = TelemetryConfig.from_env({**HTTP, **variables})
    assert config.logs == logs
    assert [endpoint.target for endpoint in config.logs_endpoints] == ([target] if target else [])
    assert all(endpoint.signal == LOGS for endpoint in config.logs_endpoints)
    assert not config.problems


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {OURS: "everything"},
            "PYTANGO_TELEMETRY_LOGS='everything' is not one of off, streams, logging, all",
        ),
        ({f"{OURS}_LEVEL": "loud"}, "LEVEL='loud' is not one of debug, info, warning, warn, error"),
        ({f"{TANGO}LOGGING_EXPORTERS": "htp"}, "LOGGING_EXPORTERS='htp' is not one of console, grpc, http"),
        ({f"{TANGO}LOGS_EXPORTER": "smoke"}, "LOGS_EXPORTER='smoke' is not one of console, grpc, http"),
        ({f"{TANGO}LOGGING_EXPORTERS": "file"}, "LOGGING_ENDPOINTS is not set, and 'file' needs a directory"),
        ({OURS: "all", f"{TANGO}TRACES_ENDPOINT": "http://h:1/own"}, "does not say where logs go"),
    ],
)
def test_bad_values_get_one_warning_with_the_choices(variables: dict[str, str], said: str) -> None:
    problems = TelemetryConfig.from_env({**HTTP, **variables}).problems
    assert len(problems) == 1
    assert said in problems[0]


def test_levels_are_opentelemetrys() -> None:
    found = {level: severity_of(level) for level in (5, 10, 13, 19, 20, 30, 35, 40, 50, 53, 90)}
    expected = {5: 0, 10: 5, 13: 8, 19: 8, 20: 9, 30: 13, 35: 16, 40: 17, 50: 21, 53: 24, 90: 24}
    assert found == expected


# --- the records of logging


class Records:
    """A source of records with the patch of ``logging`` in place."""

    def __init__(self, level: int = logging.INFO) -> None:
        config = TelemetryConfig()
        self.source = LogSource(lambda owner: {"service.name": "test"}, 10_000, 10_000_000)
        self.emitter = Emitter(config)
        self.emitter._put = self.source.put
        self.patches = Patches()
        patch_logging(self.patches, self.emitter, level)

    def take(self) -> list[ReceivedLog]:
        found = []
        while (drained := self.source.drain(1_000_000))[1]:
            found += decode_logs(ExportLogsServiceRequest.FromString(drained[0]))
        return found


@pytest.fixture
def records() -> Iterator[Records]:
    made = Records()
    yield made
    made.patches.undo()


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    found = logging.getLogger("some.program")
    found.setLevel(logging.DEBUG)
    yield found
    found.setLevel(logging.NOTSET)
    found.handlers.clear()
    found.propagate = True


def test_a_record_says_what_the_logger_said(records: Records, logger: logging.Logger) -> None:
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner") as span:
        logger.warning("axis %d", 3, extra={"axis": 3, "limits": (1.5, 2.5), "unit": "mm"})
    (record,) = records.take()
    context = span.get_span_context()
    assert (record.trace_id, record.span_id) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    assert record.flags & 1
    assert (record.body, record.severity, record.severity_text) == ("axis 3", 13, "WARN")
    assert (record.scope, record.service) == ("some.program", "test")
    assert record.attributes["code.file.path"] == __file__
    assert record.attributes["code.function.name"] == "test_a_record_says_what_the_logger_said"
    assert record.attributes["thread.id"] == threading.get_ident()
    assert record.attributes["axis"] == 3
    assert record.attributes["unit"] == "mm"
    assert abs(record.time_ns - span.end_time) < 10**9  # type: ignore[attr-defined]


def test_without_a_span_there_is_no_trace(records: Records, logger: logging.Logger) -> None:
    logger.error("alone")
    (record,) = records.take()
    assert (record.trace_id, record.span_id, record.flags) == ("", "", 0)


def test_exceptions_are_told_and_cut(records: Records, logger: logging.Logger) -> None:
    try:
        raise KeyError("k" * 100_000)
    except KeyError:
        logger.exception("it failed")
    (record,) = records.take()
    assert record.attributes["exception.type"] == "KeyError"
    assert len(record.attributes["exception.message"]) <= 4096
    assert "test_exceptions_are_told" in record.attributes["exception.stacktrace"]
    assert len(record.attributes["exception.stacktrace"]) <= LONGEST_STACK


class Recursive:
    def __str__(self) -> str:
        logging.getLogger("some.program").warning("asked for my text")
        return "recursive"


class Failing:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("message", "arguments", "body"),
    [
        ("%d and %d", (1,), "%d and %d"),
        ("%s", (Failing(),), "%s"),
        (Failing(), (), f"<{__name__}.Failing object>"),
        ("half of a \ud83d pair", (), "half of a \N{REPLACEMENT CHARACTER} pair"),
        ("null \0 and \x1b[0m", (), "null \0 and \x1b[0m"),
        ("x" * 1_000_000, (), "x" * (LONGEST_BODY - 3) + "..."),
        (Recursive(), (), "recursive"),
        ({"a": 1}, (), "{'a': 1}"),
    ],
)
def test_any_text_gets_through_repaired(
    records: Records,
    logger: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
    message: Any,
    arguments: tuple[Any, ...],
    body: str,
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger.propagate = False  # the handlers of a test would fail for what logging itself cannot write
    logger.addHandler(logging.NullHandler())
    logger.warning(message, *arguments)
    assert [record.body for record in records.take()] == [body]


def test_ours_the_exporters_and_our_threads_are_not_heard(records: Records) -> None:
    for name in ("tango_telemetry.pipeline", "opentelemetry.sdk", "grpc._channel"):
        logging.getLogger(name).error("cannot deliver")
    from tango_telemetry.base.originals import SimpleQueue, start_thread

    done: Any = SimpleQueue()

    def body() -> None:
        logging.getLogger("urllib3.connectionpool").error("retrying")
        done.put(None)

    start_thread(body, "ours")
    done.get(timeout=5)
    assert records.take() == []


def test_levels_and_filters_come_first(records: Records, logger: logging.Logger) -> None:
    logger.debug("below ours")
    logger.setLevel(logging.ERROR)
    logger.warning("below the logger's")
    logger.addFilter(lambda record: False)
    logger.error("filtered")
    logger.filters.clear()
    assert records.take() == []


@pytest.mark.filterwarnings("ignore:.LoggingHandler. in:DeprecationWarning")
def test_what_opentelemetrys_handler_exports_is_not_taken_twice(
    records: Records, logger: logging.Logger
) -> None:
    logger.addHandler(LoggingHandler())
    logging.getLogger("some.program.part").warning("exported by its handler")
    logger.handlers.clear()
    logger.warning("by ours")
    assert [record.body for record in records.take()] == ["by ours"]


def test_a_logger_provider_of_the_users_gets_the_records(
    records: Records, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry._logs import _internal
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

    exporter, provider = InMemoryLogRecordExporter(), LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(_internal, "_LOGGER_PROVIDER", provider)
    with TracerProvider().get_tracer("test").start_as_current_span("span") as span:
        logger.warning("for the user", extra={"axis": 1})
    (found,) = exporter.get_finished_logs()
    assert found.log_record.body == "for the user"
    assert found.log_record.span_id == span.get_span_context().span_id
    assert found.log_record.attributes["axis"] == 1
    assert found.log_record.severity_text == "WARN"
    assert records.take() == []


def test_a_full_queue_drops_and_counts() -> None:
    waiting = LogSource(lambda owner: {}, UNWEIGHED * 2, 10_000_000)
    small = LogSource(lambda owner: {}, 100_000, 100_000)
    record: Any = (None, "s", 1, 1, 9, "INFO", "x" * 4000, 0, 0, 0, "", 0, "", 1, "", None, None, 0)
    for _ in range(UNWEIGHED * 3):
        waiting.put(record)
        small.put(record)
    assert waiting.pending()[0] == UNWEIGHED * 2
    assert waiting.dropped() == UNWEIGHED
    assert small.pending()[1] <= 100_000
    assert small.pending()[0] + small.dropped() == UNWEIGHED * 3
    while small.drain(10**6)[1]:
        pass
    assert small.pending() == (0, 0)


def test_nothing_of_logging_is_changed_for_the_program(records: Records) -> None:
    assert logging.lastResort is not None
    assert not any(type(handler).__module__.startswith("tango") for handler in logging.getLogger().handlers)
    before = vars(logging.Logger)["callHandlers"]
    records.patches.undo()
    assert vars(logging.Logger)["callHandlers"] is not before
    assert logging.Logger.callHandlers.__module__ == "logging"


# --- as text


def test_the_filter_and_the_format_put_the_trace_into_text(logger: logging.Logger) -> None:
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Handler()
    handler.addFilter(TraceContextFilter())
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    logger.addHandler(handler)
    with TracerProvider().get_tracer("test").start_as_current_span("span") as span:
        logger.warning("inside")
    logger.warning("outside")
    context = span.get_span_context()
    assert f"[trace_id={context.trace_id:032x} span_id={context.span_id:016x}] inside" in lines[0]
    assert "[trace_id=0 span_id=0] outside" in lines[1]


# --- off is off, and a whole life


def _run(body: str, **environment: str) -> Any:
    import os

    inherited = {k: v for k, v in os.environ.items() if "TELEMETRY" not in k and not k.startswith("OTEL_")}
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(body)],
        env={**inherited, "PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS": "on", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


_OFF = """
import logging, sys
before = vars(logging.Logger)["callHandlers"]
import tango_telemetry_server, tango, json
names = ["__info_stream", "__error_stream"]
print(json.dumps([
    vars(logging.Logger)["callHandlers"] is before,
    [getattr(vars(tango.DeviceImpl)[name], "__module__", None) for name in names],
    sorted(name for name in sys.modules if name.startswith("tango_telemetry.logs")),
]))
"""


@pytest.mark.parametrize("enable", ["on", "off"])
def test_off_is_off(enable: str) -> None:
    same, modules, loaded = _run(_OFF, TANGO_TELEMETRY_ENABLE=enable, TANGO_TELEMETRY_TRACES_EXPORTER="none")
    assert same
    assert not any(str(module).startswith("tango_telemetry") for module in modules)
    assert loaded == []


def test_it_can_be_switched_while_the_program_runs() -> None:
    found = _run(
        """
        import json, logging, tango_telemetry, tango_telemetry_client
        from tango_telemetry.pipeline import LOGS, Endpoint, pipeline_stats
        original = logging.Logger.callHandlers
        log, made = logging.getLogger("program"), []
        log.propagate = False
        log.addHandler(logging.NullHandler())
        def say():
            log.warning("a record")
            made.append(pipeline_stats("logs").made)
        say()
        nowhere = Endpoint("http", "http://127.0.0.1:9", LOGS)
        tango_telemetry.configure(logs="logging", logs_endpoints=(nowhere,))
        say()
        tango_telemetry.configure(logs="off")
        say()
        tango_telemetry.configure(logs="logging")
        say()
        tango_telemetry_client.TangoClientInstrumentor().uninstrument()
        say()
        print(json.dumps([made, logging.Logger.callHandlers is original, pipeline_stats().made]))
        """,
        TANGO_TELEMETRY_ENABLE="on",
        TANGO_TELEMETRY_TRACES_EXPORTER="none",
        PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT="0",
    )
    assert found == [[0, 1, 1, 2, 2], True, 0]


def test_the_child_of_a_fork_sends_its_own_records_only() -> None:
    found = _run(
        """
        import json, logging, os, sys, tango_telemetry, tango_telemetry_client
        from tango_telemetry.pipeline import pipeline_stats
        log = logging.getLogger("program")
        log.warning("of the parent")
        child = os.fork()
        if not child:
            log.warning("of the child")
            log.warning("of the child")
            os._exit(pipeline_stats("logs").made)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), pipeline_stats("logs").made]))
        """,
        TANGO_TELEMETRY_ENABLE="on",
        TANGO_TELEMETRY_TRACES_EXPORTER="http",
        TANGO_TELEMETRY_TRACES_ENDPOINT="http://127.0.0.1:9/v1/traces",
        PYTANGO_TELEMETRY_LOGS="logging",
        PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT="0",
    )
    assert found == [2, 1]


@pytest.mark.parametrize("away", [False, True], ids=["there", "away"])
def test_what_is_logged_last_is_sent_at_the_exit_or_by_the_next_process(away: bool, tmp_path: Path) -> None:
    body = """
    import json, logging, tango_telemetry_client
    for number in range(300):
        logging.getLogger("program").warning("record %d", number)
    print(json.dumps(True))
    """
    with Receiver("http") as receiver:
        variables = {
            "TANGO_TELEMETRY_ENABLE": "on",
            "TANGO_TELEMETRY_TRACES_EXPORTER": "http",
            "TANGO_TELEMETRY_TRACES_ENDPOINT": receiver.endpoint,
            "PYTANGO_TELEMETRY_LOGS": "logging",
            "PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT": "10",
            "PYTANGO_TELEMETRY_SPOOL_DIR": str(tmp_path) if away else "",
        }
        if away:
            receiver.fault = REFUSE
            _run(body, **variables)
            receiver.fault = None
        _run(body, **variables)
        times = 2 if away else 1
        logs = receiver.wait_for_logs(300 * times)
        assert Counter(log.body for log in logs) == {f"record {number}": times for number in range(300)}


def test_endpoints_of_logs_are_not_those_of_traces() -> None:
    assert Endpoint("console", "cout", LOGS) != Endpoint("console", "cout")
