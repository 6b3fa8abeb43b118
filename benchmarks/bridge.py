"""What carrying a trace context costs: native GIOP, native IDL v6, PyTango's own binding, and nothing, in one
run.

Usage: python benchmarks/bridge.py [--rounds N] [--calls N]

Servers and clients run at once, with cppTango's telemetry off and on (topic ``user`` where it is known, so
that cppTango exports nothing itself), and take turns every few milliseconds: what else the machine does then
falls on all alike. Trust the ratios, not the microseconds. No span is made; this is the price of the carrier
alone.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

PARENT = f"00-{0xA1:032x}-{1:016x}-01"
STATE = "tango=00000000000000b2-01"
ON = {
    "TANGO_TELEMETRY_ENABLE": "on",
    "TANGO_TELEMETRY_TRACES_EXPORTER": "console",
    "TANGO_TELEMETRY_TRACES_ENDPOINT": "cerr",
    "TANGO_TELEMETRY_TRACING_EXPORTERS": "console",
    "TANGO_TELEMETRY_TRACING_ENDPOINTS": "cerr",
    "TANGO_TELEMETRY_TOPICS": "user",
}

Call = Callable[[], object]


@dataclass(frozen=True)
class Mode:
    """One way to carry a context: how the client sends it, and the command whose handler takes it."""

    label: str
    telemetry: bool
    client: str
    command: str


MODES = (
    Mode("none", False, "none", "Nothing"),
    Mode("native GIOP", False, "giop", "Giop"),
    Mode("none, cppTango's telemetry on", True, "none", "Nothing"),
    Mode("native GIOP, telemetry on", True, "giop", "Giop"),
    Mode("native IDL v6", True, "native", "Native"),
    Mode("PyTango's binding", True, "pytango", "Pytango"),
)


# ---- the server --------------------------------------------------------------------------------------------


def serve(arguments: list[str]) -> None:
    """Run a device whose commands take the incoming context in one way each."""
    import tango
    import tango_telemetry_native as native
    from tango.server import Device, command, run
    from tango_telemetry_native import giop

    get_pytango = getattr(getattr(tango._tango, "_telemetry", None), "get_trace_context", dict)

    class Bench(Device):  # type: ignore[misc]
        @command  # type: ignore[untyped-decorator]
        def Nothing(self) -> None: ...  # noqa: N802

        @command  # type: ignore[untyped-decorator]
        def Giop(self) -> None:  # noqa: N802
            giop.get_incoming()

        @command  # type: ignore[untyped-decorator]
        def Native(self) -> None:  # noqa: N802
            native.get_trace_context()

        @command  # type: ignore[untyped-decorator]
        def Pytango(self) -> None:  # noqa: N802
            get_pytango()

    giop.install()
    run([Bench], args=["bench", "test", *arguments], post_init_callback=giop.install)


# ---- the client --------------------------------------------------------------------------------------------


def create_calls(proxy: object) -> dict[str, Callable[[str], Call]]:
    """Return for each client way a factory: from the command's name to what is timed."""
    import tango
    import tango_telemetry_native as native
    from tango_telemetry_native import giop

    argument = tango.DeviceData()
    command_inout = tango.DeviceProxy.command_inout_raw

    def none(name: str) -> Call:
        return lambda: command_inout(proxy, name, argument)

    def with_giop(name: str) -> Call:
        def call() -> None:
            previous = giop.set_outgoing(PARENT, STATE)
            command_inout(proxy, name, argument)
            giop.restore_outgoing(previous)

        return call

    def with_native(name: str) -> Call:
        def call() -> None:
            with native.TraceContextScope("x", PARENT, STATE):
                command_inout(proxy, name, argument)

        return call

    def with_pytango(name: str) -> Call:
        scope_class = tango._tango._telemetry.TraceContextScope
        try:
            scope_class("x", PARENT, STATE)
            parameters: tuple[str, ...] = ("x", PARENT, STATE)
        except TypeError:  # 10.3 takes a topic too
            parameters = ("x", PARENT, STATE, "user")

        def call() -> None:
            scope = scope_class(*parameters)
            scope._acquire()
            try:
                command_inout(proxy, name, argument)
            finally:
                scope._release()

        return call

    return {"none": none, "giop": with_giop, "native": with_native, "pytango": with_pytango}


def be_client(url: str) -> None:
    """Answer lines of "client command calls" with the median of that many calls, in microseconds."""
    import tango
    from tango_telemetry_native import giop

    giop.install()
    proxy = tango.DeviceProxy(url)
    factories = create_calls(proxy)
    calls: dict[tuple[str, str], Call] = {}
    for line in sys.stdin:
        client, name, count = line.split()
        call = calls.setdefault((client, name), factories[client](name))
        times = []
        for _ in range(int(count)):
            start = time.perf_counter_ns()
            call()
            times.append(time.perf_counter_ns() - start)
        print(statistics.median(times) / 1000, flush=True)


def measure_functions() -> None:
    """Print what each function costs alone, in a tight loop."""
    import timeit

    import tango
    import tango_telemetry_native as native
    from tango_telemetry_native import giop

    giop.install()

    def best(statement: Call, number: int = 20000) -> float:
        return min(timeit.repeat(statement, number=number, repeat=7)) / number * 1e6

    def scope() -> None:
        with native.TraceContextScope("x", PARENT, STATE):
            pass

    empty = best(lambda: None)
    previous = giop.set_outgoing(PARENT, STATE)
    rows = {
        "giop.set_outgoing, over a context": best(lambda: giop.set_outgoing(PARENT, STATE)),
        "giop.get_incoming, with a context": best(giop.get_incoming) + empty,
        "giop.restore_outgoing, to a context": best(lambda: giop.restore_outgoing((PARENT, STATE))),
    }
    giop.restore_outgoing(previous)

    def set_and_restore() -> None:
        giop.restore_outgoing(giop.set_outgoing(PARENT, STATE))

    rows["giop.set_outgoing and restore_outgoing, from unset"] = best(set_and_restore)
    rows["native get_trace_context"] = best(native.get_trace_context) + empty
    rows["native TraceContextScope"] = best(scope)
    telemetry = getattr(tango._tango, "_telemetry", None)
    if telemetry is not None:
        rows["PyTango's get_trace_context"] = best(telemetry.get_trace_context) + empty

        def pytango_scope() -> None:
            held = telemetry.TraceContextScope(*parameters)
            held._acquire()
            held._release()

        parameters: tuple[str, ...] = ("x", PARENT, STATE)
        try:
            telemetry.TraceContextScope(*parameters)
        except TypeError:
            parameters = (*parameters, "user")
        rows["PyTango's TraceContextScope"] = best(pytango_scope)
    for label, value in rows.items():
        print(f"{label:<52} {value - empty:8.2f} us", flush=True)
    os._exit(0)


# ---- the run -----------------------------------------------------------------------------------------------


def create_environment(telemetry: bool) -> dict[str, str]:
    """Return an environment with cppTango's telemetry on or off and PyTango's own tracing out of the way."""
    kept = {k: v for k, v in os.environ.items() if "TELEMETRY" not in k and not k.startswith("OTEL_")}
    kept |= {"PYTANGO_DISABLE_TELEMETRY_PATCHING": "on", "TANGO_HOST": "127.0.0.1:1"}
    return {**kept, **(ON if telemetry else {})}


def free_port() -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(telemetry: bool, *arguments: str) -> subprocess.Popen[str]:
    """Start this script in another role."""
    return subprocess.Popen(
        [sys.executable, __file__, *arguments],
        env=create_environment(telemetry),
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def start_server(telemetry: bool) -> tuple[subprocess.Popen[str], str]:
    """Start a server and return it with the name of its device."""
    port = free_port()
    endpoint = f"giop:tcp:127.0.0.1:{port}"
    server = start(telemetry, "--serve", "-nodb", "-dlist", "b/b/1", "-ORBendPoint", endpoint)
    assert server.stdout is not None
    for line in server.stdout:
        if "Ready" in line:
            return server, f"tango://127.0.0.1:{port}/b/b/1#dbase=no"
    raise RuntimeError("the server ended at start; run this script with --serve to see why")


def ask(client: subprocess.Popen[str], mode: Mode, calls: int) -> float:
    """Return the median of some calls, in microseconds."""
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(f"{mode.client} {mode.command} {calls}\n")
    client.stdin.flush()
    return float(client.stdout.readline())


def compare(rounds: int, calls: int) -> None:
    """Print the table; without the lines that this PyTango has no telemetry for."""
    import tango

    has_telemetry = hasattr(tango._tango, "_telemetry")
    modes = [mode for mode in MODES if has_telemetry or not mode.telemetry]
    servers = {telemetry: start_server(telemetry) for telemetry in (False, True)}
    # A client for each: what one way leaves behind in cppTango (a telemetry interface) must not slow the
    # next.
    clients = {mode: start(mode.telemetry, "--client", servers[mode.telemetry][1]) for mode in modes}
    try:
        for mode in modes:
            ask(clients[mode], mode, 200)
        results: dict[Mode, list[float]] = {mode: [] for mode in modes}
        for _ in range(rounds):
            for mode in modes:
                results[mode].append(ask(clients[mode], mode, calls))
    finally:
        for process in [*clients.values(), *(server for server, _ in servers.values())]:
            process.kill()
            process.wait()
    base = statistics.median(results[modes[0]])
    print(f"{'one command, both sides':<34} {'us':>8} {'added':>8} {'ratio':>7}")
    for mode in modes:
        value = statistics.median(results[mode])
        print(f"{mode.label:<34} {value:8.1f} {value - base:8.1f} {value / base:7.3f}")


def main() -> None:
    """Parse the arguments and play the role they name."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2:])
    elif sys.argv[1:2] == ["--client"]:
        be_client(sys.argv[2])
    elif sys.argv[1:2] == ["--functions"]:
        measure_functions()
    else:
        parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
        parser.add_argument("--rounds", type=int, default=60)
        parser.add_argument("--calls", type=int, default=50)
        options = parser.parse_args()
        compare(options.rounds, options.calls)
        print("\none function, in a tight loop, cppTango's telemetry on")
        print(start(True, "--functions").communicate()[0], end="")


if __name__ == "__main__":
    main()
