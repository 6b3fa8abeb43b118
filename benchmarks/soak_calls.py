"""Eight threads through every kind of call, each in traces of its own: no upcall may find another's parent.

Usage: python benchmarks/soak_calls.py [SECONDS]     (600)

Every round of a thread is a trace of its own. The device is told the trace id that it must find, or answers
with what it found: trace id and parent. In a round each server span has another parent, none of them the
round's own span. Half of the traces are not sampled, and one command is excluded. Where the spans go nobody
listens.
"""

from __future__ import annotations

import asyncio
import collections
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _stacks import device_name, find_free_port

THREADS = 8
DEVICES = ("soak/calls/1", "soak/calls/2")

# ---- the server --------------------------------------------------------------------------------------------


def serve(arguments: list[str]) -> None:
    """Serve two devices; the first one calls the other."""
    import tango
    import tango_telemetry_server  # noqa: F401
    from opentelemetry import trace
    from tango import AttrWriteType
    from tango.server import Device, attribute, command, run

    wrong: collections.Counter[str] = collections.Counter()

    def found() -> str:
        span: Any = trace.get_current_span()
        parent = getattr(span, "parent", None)
        return f"{span.get_span_context().trace_id:032x} {parent.span_id if parent else 0:016x}"

    def check(kind: str, expected: str) -> None:
        if not found().startswith(expected):
            wrong[kind] += 1

    class Soak(Device):  # type: ignore[misc]
        @command(dtype_in=str)
        def Check(self, expected: str) -> None:  # noqa: N802
            check("command", expected)

        @command(dtype_in=str)
        def Excluded(self, expected: str) -> None:  # noqa: N802
            check("excluded command", expected)

        @command(dtype_out=str)
        def Found(self) -> str:  # noqa: N802
            return found()

        @command(dtype_in=str)
        def Forward(self, expected: str) -> None:  # noqa: N802
            if not hasattr(self, "_next"):
                self._next = tango.DeviceProxy(os.environ["SOAK_NEXT"])
            self._next.command_inout("Check", expected)
            if not self._next.read_attribute("found").value.startswith(expected):
                wrong["read from a handler"] += 1
            check("command after a call", expected)

        @command(dtype_out=str)
        def Wrong(self) -> str:  # noqa: N802
            return ", ".join(f"{kind}: {number}" for kind, number in sorted(wrong.items()))

        @attribute(dtype=str, access=AttrWriteType.READ_WRITE)
        def found(self) -> str:
            return found()

        @found.write
        def found(self, expected: str) -> None:
            check("write", expected)

        @attribute(dtype=str)
        def other(self) -> str:
            return found()

    run([Soak], args=["Soak", *arguments])


@contextmanager
def start_server(environment: dict[str, str]) -> Iterator[list[str]]:
    """Start the device server; give the names of its devices."""
    port = find_free_port()
    names = [device_name(port, device) for device in DEVICES]
    command = [
        *(sys.executable, __file__, "--serve", "test", "-nodb", "-dlist", ",".join(DEVICES)),
        *("-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"),
    ]
    process = subprocess.Popen(
        command, env={**environment, "SOAK_NEXT": names[1]}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "Ready to accept request" in line:
                break
        yield names
    finally:
        process.kill()
        process.wait(10)


# ---- the client --------------------------------------------------------------------------------------------


Kinds = dict[str, Callable[[str], list[str]]]
"""Called with the trace id; each gives what the device found, where that is told."""


def create_green_kinds(name: str) -> Kinds:
    """Return the calls that PyTango hands over to threads: only on the one thread that its executors know."""
    import tango.asyncio
    import tango.futures

    futures = tango.futures.DeviceProxy(name)
    loop = asyncio.new_event_loop()

    async def connect() -> Any:
        return await tango.asyncio.DeviceProxy(name)

    green = loop.run_until_complete(connect())

    async def several(expected: str) -> list[str]:
        reads = await asyncio.gather(*(green.read_attribute("found") for _ in range(3)))
        await green.command_inout("Check", expected)
        return [read.value for read in reads]

    return {
        "futures": lambda expected: [futures.read_attribute("found", wait=False).result(10).value],
        "asyncio": lambda expected: loop.run_until_complete(several(expected)),
    }


def create_kinds(name: str) -> Kinds:
    """Return the calls that every thread can make."""
    import tango

    proxy = tango.DeviceProxy(name)
    group = tango.Group("soak")
    group.add(name)

    def with_callback(expected: str) -> list[str]:
        done = threading.Event()
        proxy.command_inout_asynch("Check", expected, lambda event: done.set())
        done.wait(10)
        return []

    def asynchronous(expected: str) -> list[str]:
        return [proxy.read_attribute_reply(proxy.read_attribute_asynch("found"), 5000).value]

    def nothing(call: Callable[..., object], *arguments: Any) -> list[str]:
        call(*arguments)
        return []

    return {
        "command": lambda expected: nothing(proxy.command_inout, "Check", expected),
        "command without argument": lambda expected: [proxy.command_inout("Found")],
        "command as a method": lambda expected: [proxy.Found()],
        "excluded": lambda expected: nothing(proxy.command_inout, "Excluded", expected),
        "forwarded": lambda expected: nothing(proxy.command_inout, "Forward", expected),
        "read": lambda expected: [proxy.read_attribute("found").value],
        "read by keyword": lambda expected: [proxy.read_attribute(attr_name="other").value],
        "read as a member": lambda expected: [proxy.other],
        "list": lambda expected: [each.value for each in proxy.read_attributes(["found", "other"])][:1],
        "write": lambda expected: nothing(proxy.write_attribute, "found", expected),
        "list of writes": lambda expected: nothing(proxy.write_attributes, [("found", expected)]),
        "write and read": lambda expected: [proxy.write_read_attribute("found", expected).value],
        "asynchronous": asynchronous,
        "callback": with_callback,
        "group": lambda expected: [group.command_inout("Found")[0].get_data()],
    }


def work(kinds: Kinds, until: float, made: collections.Counter[str], wrong: collections.Counter[str]) -> None:
    """Make rounds until the time is over."""
    import tango_telemetry

    tracer = tango_telemetry.get_tracer("soak")
    while time.monotonic() < until:
        with tracer.start_as_current_span("round") as span:
            context = span.get_span_context()
            expected, own = f"{context.trace_id:032x}", f"{context.span_id:016x}"
            parents = {own}
            for kind, call in kinds.items():
                found = call(expected)
                made[kind] += 1
                for answer in found:
                    trace_id, _, parent = answer.partition(" ")
                    unsampled = parent == "0" * 16
                    if trace_id != expected or (parent in parents and not unsampled):
                        wrong[kind] += 1
                    parents.add(parent)


def soak(seconds: float) -> int:
    """Run the server and the threads; give the status of this program."""
    import tango
    import tango_telemetry_client  # noqa: F401

    names, until = os.environ["SOAK_NAMES"].split(","), time.monotonic() + seconds
    made: list[collections.Counter[str]] = [collections.Counter() for _ in range(THREADS)]
    wrong: list[collections.Counter[str]] = [collections.Counter() for _ in range(THREADS)]
    failed: list[str] = []

    def run(index: int) -> None:
        try:
            green = {} if index else create_green_kinds(names[0])
            work({**create_kinds(names[0]), **green}, until, made[index], wrong[index])
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread did not do its part
            failed.append(f"thread {index}: {type(error).__name__}: {error}")

    tango.ApiUtil.instance().set_asynch_cb_sub_model(tango.cb_sub_model.PUSH_CALLBACK)
    threads = [threading.Thread(target=run, args=(index,)) for index in range(1, THREADS)]
    for thread in threads:
        thread.start()
    run(0)
    for thread in threads:
        thread.join(seconds + 120)
    total = sum(made, collections.Counter())
    bad = sum(wrong, collections.Counter())
    print(", ".join(f"{kind}: {number}" for kind, number in total.items()))
    told = [tango.DeviceProxy(name).command_inout("Wrong") for name in names]
    lost = [thread.name for thread in threads if thread.is_alive()]
    print(f"{sum(total.values())} calls; wrong at the client: {dict(bad)}; at the device: {told}")
    print(f"failed: {failed}; threads that did not end: {lost}")
    good = len(total) >= 17 and not (bad or any(told) or failed or lost)
    return 0 if good else 1


def main() -> int:
    """Start server and client, both with all defaults but a ratio and an exclusion."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TANGO_", "PYTANGO_", "OTEL_"))}
    with tempfile.TemporaryDirectory(prefix="tango-telemetry-soak-") as folder:
        environment = {
            **kept,
            "HOME": folder,
            "TANGO_TELEMETRY_ENABLE": "on",
            "TANGO_TELEMETRY_TRACES_EXPORTER": "http",
            "TANGO_TELEMETRY_TRACES_ENDPOINT": f"http://127.0.0.1:{find_free_port()}/v1/traces",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.5",
            "PYTANGO_TELEMETRY_EXCLUDE": "command:Excluded",
        }
        with start_server(environment) as names:
            client = [sys.executable, __file__, "--client", str(seconds)]
            environment["SOAK_NAMES"] = ",".join(names)
            return subprocess.run(client, env=environment, timeout=seconds + 300, check=False).returncode


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve(sys.argv[2:])
    elif "--client" in sys.argv:
        sys.exit(soak(float(sys.argv[2])))
    else:
        sys.exit(main())
