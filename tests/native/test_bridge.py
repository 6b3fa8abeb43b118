"""The IDL v6 bridge: one contract, three implementations; and what it must survive."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
import tango
import tango_telemetry_native
from native_support import IDL6_ON, Server, run_client, start_echo
from tango_telemetry.bridge import NATIVE_ABI_VERSION

HAS_TELEMETRY = bool(getattr(tango.constants, "TELEMETRY_SUPPORTED", False))
needs_telemetry = pytest.mark.skipif(
    not HAS_TELEMETRY, reason="this PyTango has no telemetry (10.0 and later do)"
)


@pytest.fixture(scope="module")
def idl6_echo() -> Iterator[Server]:
    with start_echo(IDL6_ON) as server:
        yield server


@needs_telemetry
@pytest.mark.parametrize("bridge", ["pytango", "native"])
def test_contract_with_telemetry_on(idl6_echo: Server, bridge: str) -> None:
    run_client("bridge_contract.py", bridge, idl6_echo.url(), "1", extra=IDL6_ON)


@pytest.mark.parametrize("bridge", ["pytango", "native", "noop"])
def test_contract_with_telemetry_off(echo: Server, bridge: str) -> None:
    if bridge == "pytango" and not HAS_TELEMETRY:
        pytest.skip("this PyTango has no binding of its own")
    run_client("bridge_contract.py", bridge, echo.url(), "0")


def test_noop_with_telemetry_on(idl6_echo: Server) -> None:
    run_client("bridge_contract.py", "noop", idl6_echo.url(), "0", extra=IDL6_ON)


ASK = """
import tango, tango_telemetry_native as native
for _ in range(2):
    carrier = native.get_trace_context()
    with native.TraceContextScope("x", "00-" + "1" * 32 + "-" + "2" * 16 + "-01", ""):
        inside = native.get_trace_context()
print([carrier, inside, native.status()["idl6"]])
"""


@needs_telemetry
@pytest.mark.parametrize(
    "bad",
    [
        {"TANGO_TELEMETRY_TRACES_EXPORTER": "foo", "TANGO_TELEMETRY_TRACING_EXPORTERS": "foo"},
        {"TANGO_TELEMETRY_TRACES_ENDPOINT": "foo", "TANGO_TELEMETRY_TRACING_ENDPOINTS": "foo"},
        {"TANGO_TELEMETRY_TYPES": "", "TANGO_TELEMETRY_TRACES_EXPORTER": "foo"},
        {"TANGO_TELEMETRY_TOPICS": "foo", "TANGO_TELEMETRY_TRACES_EXPORTER": "foo"},
    ],
)
def test_settings_that_cpptango_refuses(bad: dict[str, str]) -> None:
    """cppTango's own function ends the process here: it is noexcept."""
    output = run_client(ASK, extra={**IDL6_ON, **bad}).stdout.strip().splitlines()[-1]
    carrier, inside, status = ast.literal_eval(output)
    assert carrier == inside == {"traceparent": "", "tracestate": ""}
    assert status["bound"] is False
    assert status["reason"].startswith("cppTango refuses its telemetry settings: ")


CORRECT = """
import os
for name in [name for name in os.environ if name.startswith("TANGO_TELEMETRY_TRAC")]:
    os.environ[name] = "console" if "EXPORTER" in name else "cerr"
assert native.prepare_thread(), native.status()
with native.TraceContextScope("x", "00-" + "1" * 32 + "-" + "2" * 16 + "-01", ""):
    assert native.get_trace_context()["traceparent"].startswith("00-" + "1" * 32)
assert native.status()["idl6"] == {"bound": True, "reason": ""}
"""


@needs_telemetry
def test_settings_that_are_corrected() -> None:
    bad = {"TANGO_TELEMETRY_TRACES_EXPORTER": "foo", "TANGO_TELEMETRY_TRACING_EXPORTERS": "foo"}
    run_client(ASK + CORRECT, extra={**IDL6_ON, **bad})


def test_without_tango() -> None:
    output = run_client(ASK.replace("import tango, ", "import ")).stdout.strip().splitlines()[-1]
    carrier, inside, status = ast.literal_eval(output)
    assert carrier == inside == {"traceparent": "", "tracestate": ""}
    assert status == {"bound": False, "reason": "PyTango is not imported"}


@needs_telemetry
def test_tango_imported_later() -> None:
    script = "import tango_telemetry_native as n; n.get_trace_context(); n.giop.install()\n" + ASK
    script += "print(native.giop.install())"
    carrier_line, installed = run_client(script, extra=IDL6_ON).stdout.strip().splitlines()[-2:]
    _, inside, status = ast.literal_eval(carrier_line)
    assert inside["traceparent"].startswith("00-" + "1" * 32)
    assert status == {"bound": True, "reason": ""}
    assert installed == "True"


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ("", "this PyTango knows no telemetry"),
        ("module._telemetry = types.SimpleNamespace(TELEMETRY_ENABLED=False)", "compiled without telemetry"),
        ("module._telemetry = types.SimpleNamespace(); module.__file__ = None", "not found"),
        ("module._telemetry = types.SimpleNamespace(); module.__file__ = '/nowhere'", "not found"),
    ],
)
def test_odd_tango(odd: str, reason: str) -> None:
    """Whatever stands in PyTango's place: no exception, a reason, and GIOP refuses."""
    script = f"""
import sys, types
module = sys.modules["tango._tango"] = types.ModuleType("tango._tango")
{odd}
{ASK.replace("import tango, ", "import ")}
print(native.giop.install(), native.giop.status()["reason"])
"""
    carrier_line, giop_line = run_client(script).stdout.strip().splitlines()[-2:]
    carrier, inside, status = ast.literal_eval(carrier_line)
    assert carrier == inside == {"traceparent": "", "tracestate": ""}
    assert reason in status["reason"]
    assert giop_line.startswith("False ")
    assert len(giop_line) > len("False ")


def test_version_handshake() -> None:
    assert tango_telemetry_native.ABI_VERSION == NATIVE_ABI_VERSION
    assert tango_telemetry_native.__version__ == "0.1.0"


def test_public_names() -> None:
    for name in tango_telemetry_native.__all__:
        assert getattr(tango_telemetry_native, name).__doc__ or name in ("ABI_VERSION", "__version__")


def test_exit_takes_three_arguments_and_returns_false() -> None:
    scope = tango_telemetry_native.TraceContextScope("x", "", "")
    assert scope.__enter__() is None
    assert scope.__exit__(None, None, None) is False
    assert scope.__exit__(ValueError, ValueError(), None) is False


def test_names_that_have_no_utf8() -> None:
    with tango_telemetry_native.TraceContextScope("\ud800", "\ud800", "\ud800"):
        pass
    with pytest.raises(TypeError):
        tango_telemetry_native.TraceContextScope(1, "", "")  # type: ignore[arg-type]
