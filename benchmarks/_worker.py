"""The processes that are measured: ``client``, ``follower`` and ``leader``. They take one JSON object per
line on standard input and answer with one on standard output.

What a process imports of telemetry is all that tells one stack from another; the rest its environment says.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

if os.environ.get("BENCH_IMPORT") == "ours":
    import tango_telemetry_client  # noqa: F401
    import tango_telemetry_server  # noqa: F401

import tango
from tango import AttrWriteType
from tango.server import Device, attribute, command, run

_clock = time.perf_counter_ns


def _pipeline_state(_: dict[str, Any]) -> dict[str, Any]:
    """Send what waits and say where every span is; the built-in tracing knows nothing of that."""
    if "tango_telemetry.pipeline" in sys.modules:
        from tango_telemetry.pipeline import flush, pipeline_stats

        flush(10.0)
        stats = pipeline_stats()
        return {"made": stats.made, "delivered": stats.delivered, "dropped": stats.dropped}
    if "opentelemetry.sdk.trace" in sys.modules:
        # Its providers cannot be asked for; whatever processors there are get sent off.
        import gc

        from opentelemetry.sdk.trace import TracerProvider

        for provider in [item for item in gc.get_objects() if isinstance(item, TracerProvider)]:
            provider.force_flush(10_000)
    return {}


def _answer(handlers: dict[str, Callable[[dict[str, Any]], Any]]) -> None:
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps({"answer": handlers[request["do"]](request)}), flush=True)


# ---- servers -----------------------------------------------------------------------------------------------


class Follower(Device):  # type: ignore[misc]
    """The device that is called."""

    def init_device(self) -> None:
        super().init_device()
        self._on = True

    @command
    def TurnOn(self) -> None: ...  # noqa: N802

    @attribute(access=AttrWriteType.READ_WRITE)
    def isOn(self) -> bool:  # noqa: N802
        return self._on

    @isOn.write
    def isOn(self, value: bool) -> None:  # noqa: N802
        self._on = value


class Leader(Device):  # type: ignore[misc]
    """The device that calls another one."""

    def init_device(self) -> None:
        super().init_device()
        self._follower = tango.DeviceProxy(os.environ["BENCH_FOLLOWER"])

    @command
    def TurnFollowerOn(self) -> None:  # noqa: N802
        self._follower.command_inout("TurnOn")


def serve(device: type, arguments: list[str]) -> None:
    """Run one device server."""
    threading.Thread(target=_answer, args=({"state": _pipeline_state},), daemon=True).start()
    run([device], args=[device.__name__, *arguments])


# ---- the database ------------------------------------------------------------------------------------------


def be_database(port: str) -> None:
    """Serve PyTango's database, with SQLite."""
    from tango.databaseds import database

    sys.argv = ["database", "--host=127.0.0.1", f"--port={port}", "2"]
    database.main()


def register(number: int) -> None:
    """Tell the database of the server ``Follower/bench`` and its devices."""
    database = tango.Database()
    database.set_timeout_millis(60_000)  # a thousand of them take some seconds
    infos = []
    for index in range(number):
        info = tango.DbDevInfo()
        info.name, info._class, info.server = f"bench/follower/{index:04}", "Follower", "Follower/bench"
        infos.append(info)
    database.add_server("Follower/bench", infos, with_dserver=True)
    print("Ready to accept request", flush=True)


# ---- the client --------------------------------------------------------------------------------------------


def _create_calls(follower: Any, leader: Any) -> dict[str, Callable[[], object]]:
    return {
        "command_inout": lambda: follower.command_inout("TurnOn"),
        "read_attribute": lambda: follower.read_attribute("isOn"),
        "write_attribute": lambda: follower.write_attribute("isOn", True),
        "ping": lambda: follower.ping(),
        "chain": lambda: leader.command_inout("TurnFollowerOn"),
    }


def be_client(follower_name: str, leader_name: str) -> None:
    """Make calls as the requests on standard input say."""
    follower, leader = tango.DeviceProxy(follower_name), tango.DeviceProxy(leader_name)
    calls = _create_calls(follower, leader)

    def block(request: dict[str, Any]) -> list[float]:
        """Latencies of calls made one after the other, in microseconds; the first few warm the caches
        again.
        """
        call = calls[request["call"]]
        for _ in range(request["warm"]):
            call()
        taken = []
        for _ in range(request["count"]):
            start = _clock()
            call()
            taken.append((_clock() - start) / 1000)
        return taken

    def paced(request: dict[str, Any]) -> list[float]:
        """Latencies of calls at a fixed rate; time lost to a late call is not made up for."""
        call = calls[request["call"]]
        interval = 1e9 / request["rate"]
        due = float(_clock())
        taken = []
        for _ in range(request["count"]):
            wait = (due - _clock()) / 1e9
            if wait > 0:
                time.sleep(wait)
            start = _clock()
            call()
            end = _clock()
            taken.append((end - start) / 1000)
            due = max(due + interval, end)
        return taken

    def threads(request: dict[str, Any]) -> float:
        """Calls per second of many threads, each with a proxy of its own."""
        proxies = [tango.DeviceProxy(follower_name) for _ in range(request["threads"])]
        for proxy in proxies:
            proxy.ping()
        stop = threading.Event()
        made = [0] * len(proxies)

        def work(index: int) -> None:
            proxy = proxies[index]
            with tango.EnsureOmniThread():
                while not stop.is_set():
                    proxy.command_inout("TurnOn")
                    made[index] += 1

        workers = [threading.Thread(target=work, args=(index,)) for index in range(len(proxies))]
        for worker in workers:
            worker.start()
        time.sleep(0.2)
        before, start = sum(made), _clock()
        time.sleep(request["seconds"])
        rate = (sum(made) - before) / ((_clock() - start) / 1e9)
        stop.set()
        for worker in workers:
            worker.join()
        return rate

    print("Ready to accept request", flush=True)
    _answer({"block": block, "paced": paced, "threads": threads, "state": _pipeline_state})


if __name__ == "__main__":
    if sys.argv[1] == "client":
        be_client(*sys.argv[2:])
    elif sys.argv[1] == "database":
        be_database(sys.argv[2])
    elif sys.argv[1] == "register":
        register(int(sys.argv[2]))
    else:
        serve({"follower": Follower, "leader": Leader}[sys.argv[1]], sys.argv[2:])
