"""Where each microsecond of a traced call goes: the pieces of the client's and the server's wrapper, one by
one.

Usage: python benchmarks/hot_path.py [--rounds N]

The wrappers are the real ones, around a method that does nothing, in one process without a network; each
piece is timed in a loop of its own, pieces taking turns, and the minimum over the rounds is shown. Between
real calls, with cold caches, expect three times these figures.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LOOPS = 200
_SPANS = {"SDK": "off", "C++": "on"}
_BRIDGES = {"GIOP": "giop", "IDL v6": "pytango", "both": "auto"}


def _time(function: Callable[[], object]) -> float:
    loop = range(_LOOPS)
    start = time.perf_counter_ns()
    for _ in loop:
        function()
    return (time.perf_counter_ns() - start) / _LOOPS / 1000


def _pieces() -> dict[str, Callable[[], object]]:
    """The functions to time in a process whose environment chose the spans and the bridge."""
    import tango
    import tango_telemetry_server  # noqa: F401
    from tango_telemetry import instrumentation as core
    from tango_telemetry.context.w3c import extract, inject
    from tango_telemetry.otel import api
    from tango_telemetry.state import state
    from tango_telemetry_client._calls import wrap_call
    from tango_telemetry_client._targets import Operation
    from tango_telemetry_server import _handlers

    class Proxy:
        def dev_name(self) -> str:
            return "bench/follower/1"

        def is_dbase_used(self) -> bool:
            return True

        def plain(self, name: str) -> None: ...

        call = wrap_call(plain, Operation("command_inout", "command"), "DeviceProxy")

    class Device:
        """As much of a device as a handler's wrapper asks for."""

        def get_name(self) -> str:
            return "bench/follower/1"

        def get_device_class(self) -> Any:
            return self

        create_telemetry_tracer_provider = tango.DeviceImpl.create_telemetry_tracer_provider
        create_telemetry_tracer = tango.DeviceImpl.create_telemetry_tracer

        def plain(self) -> None: ...

        handle = _handlers.wrap_handler(
            plain, _handlers.Handler("TurnOn", "command", "TurnOn", "tango.command.name")
        )

    proxy, device = Proxy(), Device()
    tracer = core.get_client_tracer()
    context = api.get_current()
    attributes = {f"key{index}": "some text" for index in range(10)}
    kind = api.SpanKind.CLIENT
    span = tracer.start_span("x", context, kind, attributes)
    span_context = span.get_span_context()
    bridge = state.bridge
    texts = inject(span_context) if span_context.is_valid else ("", "")

    def carry() -> None:
        bridge.exit(bridge.enter_span("x", span_context))

    def current() -> None:
        state.make_current(span, context, core.active_client_span, span).leave()

    return {
        "client wrapper": lambda: proxy.call("TurnOn"),
        "server wrapper, no context came": lambda: device.handle(),
        "no wrapper": lambda: proxy.plain("TurnOn"),
        "start and end of a span, 10 attributes": lambda: tracer.start_span(
            "x", context, kind, attributes
        ).end(),
        "get_span_context": lambda: span.get_span_context(),
        "inject": lambda: inject(span_context),
        "extract": lambda: extract(*texts),
        "carry: enter_span and exit": carry,
        "carry: get_parent": lambda: bridge.get_parent(),
        "make_current and leave": current,
        "get_current": lambda: api.get_current(),
        "get_current_span": lambda: api.get_current_span(context),
        "caller_of_tango": lambda: core.caller_of_tango(1),
    }


def _measure(rounds: int) -> None:
    gc.disable()  # the spans that wait here would be looked through again and again
    pieces = _pieces()
    best = dict.fromkeys(pieces, float("inf"))
    for _ in range(rounds):
        for name, function in pieces.items():
            best[name] = min(best[name], _time(function))
    for name, taken in best.items():
        print(f"{taken:.3f}\t{name}", flush=True)


def _run(spans: str, bridge: str, sampler: str, rounds: int) -> dict[str, float]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TANGO_", "PYTANGO_", "OTEL_"))}
    environment = {
        **kept,
        "TANGO_TELEMETRY_ENABLE": "on",
        "TANGO_TELEMETRY_TRACES_EXPORTER": "http",
        "TANGO_TELEMETRY_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces",
        "PYTANGO_TELEMETRY_NATIVE_SPANS": _SPANS[spans],
        "PYTANGO_TELEMETRY_CONTEXT_BRIDGE": _BRIDGES[bridge],
        "OTEL_TRACES_SAMPLER": sampler,
        # No export while the clock runs.
        "OTEL_BSP_MAX_QUEUE_SIZE": "1000000",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1000000",
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
    }
    command = [sys.executable, str(Path(__file__)), "--piece", "--rounds", str(rounds)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    pairs = (line.split("\t") for line in done.stdout.splitlines() if "\t" in line)
    return {name: float(value) for value, name in pairs}


def main() -> int:
    """Time the pieces of every kind of span and bridge, and print them side by side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--piece", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.piece:
        _measure(arguments.rounds)
        return 0
    columns = {}
    for spans in _SPANS:
        for bridge in _BRIDGES:
            for sampler in ("parentbased_always_on", "always_off"):
                title = f"{spans} {bridge}{' off' if sampler == 'always_off' else ''}"
                columns[title] = _run(spans, bridge, sampler, arguments.rounds)
    print(f"{'microseconds':40}" + "".join(f"{title:>14}" for title in columns))
    for name in next(iter(columns.values())):
        print(f"{name:40}" + "".join(f"{column[name]:14.2f}" for column in columns.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
