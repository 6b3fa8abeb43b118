"""Real device servers and clients while their collector is in trouble: start, calls, DevRestart and exit."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import receiver as receivers
from receiver import Receiver

from .conftest import within_seconds
from .tango_system import TangoServer, start_server

BOUND = 1.0
FAULTS = {
    "none": None,
    "refuses": receivers.REFUSE,
    "never answers": receivers.HANG,
    "answers 500": receivers.status(500),
}
ENDS = ("SIGTERM", "SIGINT", "Kill")


def variables(receiver: Receiver, spans: str) -> dict[str, str]:
    return {
        "TANGO_TELEMETRY_ENABLE": "on",
        "TANGO_TELEMETRY_KERNEL_ENABLE": "off",
        "TANGO_TELEMETRY_TRACES_EXPORTER": receiver.protocol,
        "TANGO_TELEMETRY_TRACES_ENDPOINT": receiver.endpoint,
        "PYTANGO_TELEMETRY_NATIVE_SPANS": spans,
    }


@pytest.fixture(params=["on", "off"], ids=["native", "sdk"])
def spans(request: pytest.FixtureRequest) -> str:
    """PYTANGO_TELEMETRY_NATIVE_SPANS."""
    if request.param == "on":
        pytest.importorskip("tango_telemetry_native.spans")
    return str(request.param)


def end_server(server: TangoServer, end: str) -> tuple[int, float]:
    """End a server; (exit status, seconds it took)."""
    server.call("Go")  # the caller is there and connected
    begin = time.monotonic()
    if end == "Kill":
        server.call("Kill")
    else:
        server.process.send_signal(getattr(signal, end))
    # Popen.wait() with a time-out looks every 50 ms only.
    descriptor = os.pidfd_open(server.process.pid)
    try:
        assert select.select([descriptor], [], [], 60)[0], "the server did not end"
        seconds = time.monotonic() - begin
    finally:
        os.close(descriptor)
    return server.process.wait(), seconds


@pytest.fixture(scope="module")
def usual_end(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The exit status of a server without telemetry, by the way it ends."""
    folder = tmp_path_factory.mktemp("plain")
    usual = {}
    for end in ENDS:
        with start_server(folder, 1, {"TANGO_TELEMETRY_ENABLE": "off"}) as server:
            usual[end] = end_server(server, end)[0]
    return usual


@pytest.mark.parametrize(("end", "devices"), [("SIGTERM", 1), ("SIGTERM", 50), ("SIGINT", 1), ("Kill", 1)])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_ends_in_time(
    receiver: Receiver,
    tmp_path: Path,
    spans: str,
    fault: str,
    devices: int,
    end: str,
    usual_end: dict[str, int],
) -> None:
    receiver.fault = FAULTS[fault]

    def run() -> tuple[int, float, str]:
        with start_server(tmp_path, devices, variables(receiver, spans)) as server:
            server.call("Go", 2 * devices)
            server.call("DevRestart")
            status, seconds = end_server(server, end)
            return status, seconds, server.errors()

    def without_telemetry() -> float:
        with start_server(tmp_path, devices, {"TANGO_TELEMETRY_ENABLE": "off"}) as server:
            server.call("Go", 2 * devices)
            return end_server(server, end)[1]

    status, seconds, errors = within_seconds(BOUND, run, without_telemetry)
    print(
        f"\nexit by {end}, {devices} devices, {receiver.protocol}, native spans {spans}, {fault}: "
        f"{seconds:.2f} s"
    )
    assert status == usual_end[end], errors
    if fault == "none":
        names = {span.name for span in receiver.spans}
        assert any(name.endswith(".Go") for name in names), names
        services = {span.resource.get("service.instance.id") for span in receiver.spans}
        assert len(services & {f"test/faults/{number}" for number in range(devices)}) == devices


@pytest.mark.parametrize("end", ["SIGTERM", "Kill"])
def test_fifty_devices_end_in_time_though_the_collector_hangs(
    receiver: Receiver, tmp_path: Path, spans: str, end: str
) -> None:
    """With a request of before the exit that has no answer, and spans that wait for it."""
    receiver.fault = receivers.HANG

    def run() -> tuple[int, float, str]:
        begun = receiver.requests
        with start_server(tmp_path, 50, variables(receiver, spans)) as server:
            server.call("Go", 50)
            receiver.wait_for_requests(begun + 1)
            server.call("Go", 50)
            status, seconds = end_server(server, end)
            return status, seconds, server.errors()

    def without_telemetry() -> float:
        with start_server(tmp_path, 50, {"TANGO_TELEMETRY_ENABLE": "off"}) as server:
            server.call("Go", 100)
            return end_server(server, end)[1]

    _, _, errors = within_seconds(BOUND, run, without_telemetry)
    assert "were not delivered before exit" in errors


@pytest.mark.parametrize("fault", FAULTS)
def test_a_client_ends_in_time(receiver: Receiver, tmp_path: Path, spans: str, fault: str) -> None:
    receiver.fault = FAULTS[fault]
    script = tmp_path / "client.py"
    script.write_text(
        "import sys, time\nimport tango_telemetry_client, tango\n"
        "proxy = tango.DeviceProxy(sys.argv[1])\n"
        "for _ in range(20):\n    proxy.Go()\n"
        "print(time.monotonic(), flush=True)\nsys.exit(4)\n"
    )
    with start_server(tmp_path, 1, {"TANGO_TELEMETRY_ENABLE": "off"}) as server:

        def run() -> tuple[int, float, str]:
            environment = {**os.environ, **variables(receiver, spans)}
            command = [sys.executable, str(script), server.name(0)]
            ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
            assert ended.stdout, ended.stderr
            return ended.returncode, time.monotonic() - float(ended.stdout), ended.stderr

        status, seconds, errors = within_seconds(BOUND, run)
    print(f"\nexit of a client, {receiver.protocol}, native spans {spans}, {fault}: {seconds:.2f} s")
    assert status == 4, errors
    if fault == "none":
        assert sum(span.name == "command_inout Go" for span in receiver.spans) >= 20


def test_start_does_not_notice(tmp_path: Path, spans: str) -> None:
    seconds: dict[str, float] = {}
    for fault in [*FAULTS, *FAULTS]:
        with (
            Receiver("http", fault=FAULTS[fault]) as receiver,
            start_server(tmp_path, 50, variables(receiver, spans)) as server,
        ):
            seconds[fault] = min(seconds.get(fault, 60.0), server.start_seconds)
    print("\nstart of 50 devices, s:", {fault: round(value, 2) for fault, value in seconds.items()})
    assert max(seconds.values()) < seconds["none"] + 1.0


def test_calls_and_restarts_do_not_notice(receiver: Receiver, tmp_path: Path, spans: str) -> None:
    """One server, the faults in turn, so that a busy machine is as busy for all of them.

    What else runs here only ever makes a round slower: a fault is judged by its fastest, and where those are
    not yet good there are more rounds.
    """
    calls: dict[str, list[int]] = {fault: [] for fault in FAULTS}
    medians: dict[str, list[int]] = {fault: [] for fault in FAULTS}
    restarts: dict[str, list[int]] = {fault: [] for fault in FAULTS}

    def unnoticed() -> bool:
        usual, restart = min(medians["none"]), min(restarts["none"])
        return all(
            min(medians[fault]) < usual * 1.5 and min(restarts[fault]) < restart * 2 + 20_000_000
            for fault in FAULTS
        )

    with start_server(tmp_path, 50, variables(receiver, spans)) as server:
        server.call("Go", 200)
        for done in range(24):
            if done >= 6 and unnoticed():
                break
            for fault, trouble in FAULTS.items():
                receiver.fault = trouble
                times = server.call("Go", 300)
                calls[fault] += times
                medians[fault].append(sorted(times)[150])
                restarts[fault] += server.call("DevRestart", 3)
        threads = server.threads()
    figures = {
        fault: (
            f"p50 {sorted(calls[fault])[len(calls[fault]) // 2] / 1000:.0f} us",
            f"p99 {sorted(calls[fault])[-len(calls[fault]) // 100] / 1000:.0f} us",
            f"fastest {min(medians[fault]) / 1000:.0f} us, {min(restarts[fault]) / 1e6:.1f} ms",
            f"DevRestart {sorted(restarts[fault])[len(restarts[fault]) // 2] / 1e6:.1f} ms",
        )
        for fault in FAULTS
    }
    print(f"\n{receiver.protocol}, native spans {spans}, {threads} threads: {figures}")
    assert unnoticed(), figures
