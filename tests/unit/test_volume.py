"""Exclusion, the bound on new traces, baggage as text, propagators: the parts without Tango."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, TraceFlags, TraceState
from tango_telemetry import TelemetryConfig, TelemetryWarning
from tango_telemetry import semantic_conventions as names
from tango_telemetry.context import baggage as w3c_baggage
from tango_telemetry.context import w3c
from tango_telemetry.providers.sampling import TokenBucket
from tango_telemetry.settings.exclusion import create_exclusion
from tango_telemetry.state import State


def _call(device: str = "", class_name: str = "", **more: str) -> dict[str, Any]:
    attributes = {names.TANGO_DEVICE_NAME: device, names.TANGO_DEVICE_CLASS: class_name}
    attributes |= {f"tango.{kind}.name": name for kind, name in more.items() if kind != "operation"}
    return {**attributes, names.TANGO_OPERATION: more.get("operation", "")}


MOVE = _call("sys/motor/1", "Motor", command="Move", operation="command")
READ = _call("sys/motor/1", "Motor", attribute="Temperature", operation="read_attribute")


@pytest.mark.parametrize(
    ("pattern", "move", "read"),
    [
        ("device:sys/motor/1", True, True),
        ("device:SYS/*", True, True),
        ("device:sys/motor/2", False, False),
        ("device:motor", False, False),
        ("class:motor", True, True),
        ("class:moto?", True, True),
        ("class:mot", False, False),
        ("command:move", True, False),
        ("command:sys/motor/*/move", True, False),
        ("command:sys/motor/2/move", False, False),
        ("attribute:temp*", False, True),
        ("attribute:*/*/*/temperature", False, True),
        ("operation:read_*", False, True),
        ("command:state", False, False),
    ],
)
def test_patterns(pattern: str, move: bool, read: bool) -> None:
    exclusion = create_exclusion((pattern, "command:NothingElse"))
    assert exclusion is not None
    for _ in range(2):  # the second time from memory
        assert exclusion.matches(MOVE) is move
        assert exclusion.matches(READ) is read


def test_nothing_excluded_is_nothing_to_ask() -> None:
    assert create_exclusion(()) is None
    assert create_exclusion(("nonsense", "device:")) is None


@pytest.mark.parametrize(
    "attributes",
    [
        _call("a/b/c", command="State", operation="command"),  # in a server, and command_inout in a client
        _call("a/b/c", attribute="Status", operation="read_attribute"),  # read_attribute
        _call("a/b/c", operation="state"),  # DeviceProxy.state()
    ],
)
def test_state_and_status_are_one_setting_for_clients_and_servers(attributes: dict[str, Any]) -> None:
    process = State()
    process.apply(TelemetryConfig(state_status=False, exclude=("device:x/*",)))
    assert process.exclusion is not None
    assert process.exclusion.matches(attributes)
    assert not process.exclusion.matches(_call("a/b/c", command="Stop"))
    process.apply(TelemetryConfig())
    assert process.exclusion is None


def test_what_is_remembered_is_bounded() -> None:
    exclusion = create_exclusion(("device:sys/*",))
    assert exclusion is not None
    for number in range(10_000):
        exclusion.matches(_call(f"lab/motor/{number}"))
    assert len(exclusion._known) <= 4096


def test_a_pattern_that_says_nothing_is_left_out_with_a_warning() -> None:
    config = TelemetryConfig.from_env(
        {"PYTANGO_TELEMETRY_EXCLUDE": " Command:State, sys/*,device:a/b/c ,bad:x"}
    )
    assert config.exclude == ("command:state", "device:a/b/c")
    assert len(config.problems) == 2
    assert "PYTANGO_TELEMETRY_EXCLUDE" in config.problems[0]
    assert "device:PATTERN" in config.problems[0]


def test_so_is_one_that_a_program_gives() -> None:
    process = State()
    with pytest.warns(
        TelemetryWarning, match=r"exclude: 'temperature' is not one of device:PATTERN, .* left out"
    ):
        process.apply(TelemetryConfig(exclude=("temperature", "command:Stop")))
    assert process.exclusion is not None
    assert process.exclusion.matches(_call("a/b/c", command="Stop"))


@given(st.text(max_size=200), st.text(max_size=50))
def test_no_pattern_can_break_a_program(text: str, device: str) -> None:
    config = TelemetryConfig.from_env({"PYTANGO_TELEMETRY_EXCLUDE": text})
    exclusion = create_exclusion(config.exclude)
    assert exclusion is None or exclusion.matches(_call(device)) in (True, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ("tracecontext", "baggage")),
        ("", ("tracecontext", "baggage")),
        ("none", ()),
        ("tracecontext , TRACECONTEXT", ("tracecontext",)),
        ("baggage,none", ()),
    ],
)
def test_propagators(text: str | None, expected: tuple[str, ...]) -> None:
    mapping = {} if text is None else {"OTEL_PROPAGATORS": text}
    assert TelemetryConfig.from_env(mapping).propagators == expected


def test_the_bucket_lets_through_what_it_says() -> None:
    now = [0.0]
    bucket = TokenBucket(2.0, lambda: now[0])
    assert [bucket.take() for _ in range(4)] == [True, True, False, False]
    now[0] = 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]
    now[0] = 1000.0
    assert sum(bucket.take() for _ in range(10)) == 2
    assert bucket.refused == 11
    slow = TokenBucket(0.1, lambda: now[0])
    assert [slow.take() for _ in range(2)] == [True, False]
    assert not TokenBucket(0.0).take()


SPAN = SpanContext(1, 2, False, TraceFlags(1), TraceState([("other", "x" * 200)]))
KEYS = st.text(alphabet="abcxyz-_.*0189", min_size=1, max_size=20)


@given(st.dictionaries(KEYS, st.text(max_size=30), max_size=6))
def test_baggage_comes_back_as_it_was_put_in_or_not_at_all(entries: dict[str, str]) -> None:
    context = Context()
    for key, value in entries.items():
        context = baggage.set_baggage(key, value, context)
    traceparent, tracestate = w3c.inject_with_baggage(SPAN, context)
    assert len(tracestate) <= 512
    assert all(len(member.partition("=")[2]) <= 256 for member in tracestate.split(","))
    remote = w3c.extract(traceparent, tracestate)
    assert remote is not None
    assert remote.span_id == 2
    assert dict(remote.trace_state) == dict(SPAN.trace_state)
    found = dict(baggage.get_all(w3c.extract_baggage(tracestate, Context())))
    assert all(found[key] == entries[key].strip() for key in found)


def test_what_does_not_fit_is_counted() -> None:
    before = w3c_baggage.dropped()
    context = baggage.set_baggage("small", "1", baggage.set_baggage("large", "x" * 400, Context()))
    assert w3c.inject_with_baggage(SPAN, context)[1].endswith("tangobag=small:1")
    assert w3c_baggage.dropped() == before + 1


@given(st.text(max_size=600))
def test_no_peer_can_break_a_server_by_baggage(text: str) -> None:
    state = f"tango=0000000000000002-01,tangobag={text}"
    context = w3c.extract_baggage(state, Context())
    assert len(baggage.get_all(context)) <= 256
    w3c.extract("00-" + "1" * 32 + "-" + "2" * 16 + "-01", state)


def test_baggage_is_not_handed_on_as_foreign_state() -> None:
    state = "tango=0000000000000002-01,tangobag=a:b,other=1"
    remote = w3c.extract("00-" + "1" * 32 + "-" + "2" * 16 + "-01", state)
    assert remote is not None
    assert dict(remote.trace_state) == {"other": "1"}


OUTSIDE = """
import importlib.metadata, warnings
real = importlib.metadata.version
importlib.metadata.version = lambda name: "{version}" if name == "pytango" else real(name)
import tango
tango.__version__ = "{version}"
before = [dict(vars(cls)) for cls in (tango.DeviceProxy, tango.Util, tango.DeviceImpl)]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import tango_telemetry_client, tango_telemetry_server
assert [dict(vars(cls)) for cls in (tango.DeviceProxy, tango.Util, tango.DeviceImpl)] == before
assert not tango_telemetry_client.TangoClientInstrumentor().is_instrumented_by_opentelemetry
(only,) = caught
print(only.category.__name__, only.message)
"""


@pytest.mark.parametrize("version", ["9.3.5", "8.1.0", "11.0.0"])
def test_a_pytango_outside_the_range_is_not_patched_and_one_message_says_so(version: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", OUTSIDE.format(version=version)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "TANGO_TELEMETRY_ENABLE": "on"},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"TelemetryWarning PyTango {version} is outside the range")
    assert "9.3.6 to 10.x" in result.stdout
    assert "pip install" in result.stdout
