"""The stubs against OpenTelemetry's own classes: every public name, every signature, what comes back, and
when.
"""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import textwrap
from typing import Any

import opentelemetry.sdk.trace
import opentelemetry.trace
import pytest
from opentelemetry.util._decorator import _AgnosticContextManager
from tango_telemetry.otel import noop

REAL: dict[str, Any] = {
    "NoOpSpan": opentelemetry.trace.NonRecordingSpan,
    "NoOpTracer": opentelemetry.trace.NoOpTracer,
    "NoOpTracerProvider": opentelemetry.trace.NoOpTracerProvider,
    **{
        name: getattr(opentelemetry.trace, name)
        for name in ("Link", "SpanContext", "SpanKind", "Status", "StatusCode", "TraceFlags", "TraceState")
    },
}
SDK_METHODS = ("add_span_processor", "force_flush", "shutdown")
CASES = [
    (stub, name)
    for stub, real in REAL.items()
    for name in dir(real)
    if (not name.startswith("_") and not hasattr(int, name)) or name in ("__enter__", "__exit__")
]


def _parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [
        (p.name, p.kind, getattr(p.default, "name", p.default))
        for p in inspect.signature(function).parameters.values()
    ]


@pytest.mark.parametrize(("stub", "name"), CASES)
def test_every_public_name_is_there_with_the_same_parameters(stub: str, name: str) -> None:
    ours = inspect.getattr_static(getattr(noop, stub), name)
    real = inspect.getattr_static(REAL[stub], name)
    assert isinstance(ours, property) == isinstance(real, property)
    assert isinstance(ours, classmethod) == isinstance(real, classmethod)
    real, ours = getattr(REAL[stub], name), getattr(getattr(noop, stub), name)
    assert callable(ours) == callable(real)
    if callable(real) and "Enum" not in type(real).__name__ and inspect.isroutine(real):
        assert _parameters(ours) == _parameters(real)
    elif isinstance(real, int):
        assert ours == real
    elif hasattr(real, "value"):
        assert ours.value == real.value


@pytest.mark.parametrize("stub", ["Link", "Status", "TraceState"])
def test_constructors_take_the_same(stub: str) -> None:
    ours, real = _parameters(getattr(noop, stub)), _parameters(REAL[stub])
    assert ours == real


def test_a_span_context_is_made_of_the_same() -> None:
    ours, real = _parameters(noop.SpanContext.__new__), _parameters(REAL["SpanContext"].__new__)
    assert [p[:2] for p in ours] == [p[:2] for p in real]
    for ids in ((0, 0), (1, 0), (0, 1), (1, 1), (1 << 128, 1), (1, 1 << 64)):
        a, b = noop.SpanContext(*ids, True), REAL["SpanContext"](*ids, True)
        assert (a.is_valid, repr(a), tuple(a)[:3]) == (b.is_valid, repr(b), tuple(b)[:3])


@pytest.mark.parametrize("method", SDK_METHODS)
def test_the_provider_has_what_the_sdks_has_at_its_end(method: str) -> None:
    real = getattr(opentelemetry.sdk.trace.TracerProvider, method)
    assert _parameters(getattr(noop.NoOpTracerProvider, method)) == _parameters(real)


def _use(span: Any, module: Any) -> list[Any]:
    """Call every method of a span; give what came back."""
    return [
        span.is_recording(),
        span.set_attribute("a", 1),
        span.set_attributes({"a": 1}),
        span.add_event("e", {"a": 1}, 1),
        span.add_link(span.get_span_context(), {"a": 1}),
        span.update_name("n"),
        span.set_status(module.Status(module.StatusCode.ERROR, "bad")),
        span.set_status(module.StatusCode.OK, None),
        span.record_exception(ValueError("x"), attributes={"a": 1}, escaped=True),
        tuple(span.get_span_context())[:4],
        span.end(),
        span.end(1),
    ]


def test_methods_give_what_the_real_ones_give() -> None:
    ours = noop.NoOpTracerProvider().get_tracer("m", "1", None, {"a": 1})
    real = opentelemetry.trace.NoOpTracerProvider().get_tracer("m", "1", None, {"a": 1})
    assert _use(ours.start_span("s"), noop) == _use(real.start_span("s"), opentelemetry.trace)
    with ours.start_as_current_span("s", kind=noop.SpanKind.CLIENT, links=[]) as span:
        assert _use(span, noop) == _use(real.start_span("s"), opentelemetry.trace)
    with ours.start_span("s") as span:
        assert isinstance(span, noop.NoOpSpan)
    with pytest.raises(ValueError, match="user"), ours.start_as_current_span("s"):
        raise ValueError("user")


def test_status_and_state_answer_as_the_real_ones() -> None:
    for code in ("UNSET", "OK", "ERROR"):
        ours = noop.Status(noop.StatusCode[code], "why" if code == "ERROR" else None)
        real = opentelemetry.trace.Status(
            opentelemetry.trace.StatusCode[code], "why" if code == "ERROR" else None
        )
        assert (ours.is_ok, ours.is_unset, ours.description) == (real.is_ok, real.is_unset, real.description)
    for state in (noop.TraceState, opentelemetry.trace.TraceState):
        made = state.from_header(["a=1, b=2"]).add("c", "3").update("b", "4").delete("a")
        assert made.to_header() == "b=4,c=3"
        assert dict(made) == {"b": "4", "c": "3"}
        assert state([("a", "1"), ("a", "2")]).to_header() == "a=1"
        assert "b" in made
        assert len(made) == 2


@pytest.mark.parametrize(
    "tracer", [noop.NoOpTracer(), opentelemetry.trace.NoOpTracer()], ids=["ours", "OpenTelemetry's"]
)
def test_start_as_current_span_decorates_plain_and_async_functions(tracer: Any) -> None:
    @tracer.start_as_current_span("plain")
    def plain(value: int) -> int:
        return value + 1

    @tracer.start_as_current_span("waits")
    async def waits(value: int) -> int:
        return value + 1

    assert (plain(1), plain(2), plain.__name__) == (2, 3, "plain")
    assert inspect.iscoroutinefunction(waits)
    assert (asyncio.run(waits(1)), asyncio.run(waits(2))) == (2, 3)


def test_scope_is_used_like_opentelemetrys() -> None:
    assert {n for n in dir(_AgnosticContextManager) if n in ("__enter__", "__exit__", "__call__")} <= set(
        dir(noop.NoOpSpanScope)
    )


BLOCKED = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
"""


def _run_without_opentelemetry(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKED + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS": "on", **environment},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_names_core_takes_from_opentelemetry_all_have_a_stub() -> None:
    _run_without_opentelemetry(
        """
        from tango_telemetry.otel import api as otel
        assert not otel.API_AVAILABLE
        missing = [name for name in otel.__all__ if not hasattr(otel, name)]
        assert not missing, missing
        context = otel.SpanContext(1, 2, True, otel.TraceFlags(1), otel.TraceState())
        assert context.is_valid
        assert otel.NonRecordingSpan(context).get_span_context() is context
        assert not otel.get_current_span().is_recording()
        token = otel.attach(otel.set_span_in_context(otel.INVALID_SPAN))
        otel.detach(token)
        from tango_telemetry.context.w3c import inject, extract
        assert extract(*inject(context)).trace_id == 1
        """
    )


def test_user_code_runs_where_opentelemetry_cannot_be_imported() -> None:
    out = _run_without_opentelemetry(
        """
        import tango_telemetry

        tracer = tango_telemetry.get_tracer("user")
        with tracer.start_as_current_span("scan") as span:
            span.set_attribute("points", 3)

        @tracer.start_as_current_span("step")
        def step(): return "stepped"

        tango_telemetry.get_client_tracer().start_span("x").end()
        provider = tango_telemetry.create_tracer_provider("user")
        provider.force_flush(); provider.shutdown()
        print(step(), tango_telemetry.Tracer.__name__, tango_telemetry.configure(enabled=False).enabled)
        """
    )
    assert out.split() == ["stepped", "NoOpTracer", "False"]


def test_telemetry_that_is_wanted_and_cannot_be_had_is_said_once_with_the_command() -> None:
    out = _run_without_opentelemetry(
        """
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import tango_telemetry
            assert not caught
            import tango_telemetry_client, tango_telemetry_server
        print(len(caught), caught[0].category.__name__, caught[0].message)
        """,
        TANGO_TELEMETRY_ENABLE="on",
    )
    assert out.startswith("1 TelemetryWarning")
    assert 'pip install "tango-telemetry[full]"' in out
