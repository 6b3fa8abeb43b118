"""A real Prometheus, with the documentation's rules, scrapes a real collector, with the documentation's
configuration, that real device servers and clients send to. ``make test-prometheus``.

Prometheus is Debian's (2.40 or later); the collector is what ``make test-collector`` builds,
``otelcol-contrib``, or what ``TANGO_TELEMETRY_TEST_COLLECTOR`` names, 0.140 or later.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs_examples import ROOT
from integration.support import PYTANGO, System, find_free_port
from receiver import Receiver

DOCS = ROOT / "docs" / "how-to"

SERVER = """
import time
import tango, tango_telemetry_server
from tango.server import Device, attribute, command, run

class Motor(Device):
    def init_device(self):
        super().init_device()
        self.set_change_event("position", True, False)

    @attribute(dtype=int)
    def position(self):
        return 1

    @attribute(dtype=int, polling_period=100)
    def polled(self):
        return 1

    @command(dtype_in=int)
    def Move(self, number):
        if number < 0:
            tango.Except.throw_exception("Limit", "beyond the limit", "Move")
        time.sleep(0.02 if number % 10 == 0 else 0.001)

    @command
    def Push(self):
        self.push_change_event("position", 1)

    @command(dtype_in=float)
    def Hold(self, seconds):
        time.sleep(seconds)

run((Motor,))
"""
CLIENT = """
import sys, tango, tango_telemetry_client
proxy = tango.DeviceProxy(sys.argv[1])
proxy.subscribe_event("position", tango.EventType.CHANGE_EVENT, lambda event: None)
print("ready", flush=True)
for line in sys.stdin:
    good, bad = map(int, line.split())
    for number in range(good):
        proxy.Move(number)
    for _ in range(bad):
        try:
            proxy.Move(-1)
        except tango.DevFailed:
            pass
    proxy.Push()
    proxy.Hold(0.4)
    from tango_telemetry.pipeline import flush
    flush(10)
    print("called", line.strip(), flush=True)
"""


def find_collector() -> str | None:
    """The collector that other tests have built, or one of the machine's."""
    given = os.environ.get("TANGO_TELEMETRY_TEST_COLLECTOR")
    built = sorted((ROOT / "build" / "collector").glob("engine-*"))
    return given or (str(built[-1]) if built else shutil.which("otelcol-contrib"))


class Prometheus:
    """A Prometheus of our own, on loopback, that scrapes each second."""

    def __init__(self, folder: Path, target: str) -> None:
        self.port = find_free_port()
        configuration = yaml.safe_load((DOCS / "prometheus.yaml").read_text())
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        (scrape,) = configuration["scrape_configs"]
        scrape["static_configs"] = [{"targets": [target]}]
        shutil.copy(DOCS / "prometheus-rules.yaml", folder)
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
        program = shutil.which("prometheus")
        assert program is not None
        with (folder / "prometheus.log").open("w") as log:
            self.process = subprocess.Popen(
                [
                    program,
                    "--enable-feature=native-histograms,exemplar-storage",
                    f"--config.file={folder / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
            )

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of the API; ValueError with what it says of a wrong query."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{path} {parameters}: {error.read().decode()}") from error

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Return the value of each series, by its labels."""
        result = self.ask("query", query=expression)["result"]
        return {
            tuple(sorted(each["metric"].items())): float(each["value"][1])
            for each in result
            if "value" in each
        }

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)


def wait_until(what: str, holds: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Return the first true value of ``holds``; TimeoutError if there is none for so long."""
    deadline, last = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            if last := holds():
                return last
        except OSError as error:  # it does not listen yet
            last = error
        time.sleep(0.2)
    raise TimeoutError(f"not within {seconds} s: {what}: {last}")


@pytest.fixture
def prometheus_and_collector(tmp_path: Path) -> Iterator[tuple[Prometheus, str]]:
    collector = find_collector()
    if shutil.which("prometheus") is None:
        pytest.skip("no prometheus on this machine: apt-get install prometheus")
    if collector is None:
        pytest.skip("no collector on this machine: make test-collector builds one")
    configuration = yaml.safe_load((DOCS / "collector-signals.yaml").read_text())
    protocols = configuration["receivers"]["otlp"]["protocols"]
    ports = [find_free_port() for _ in range(4)]
    protocols["grpc"]["endpoint"], protocols["http"]["endpoint"] = (f"127.0.0.1:{port}" for port in ports[:2])
    configuration["exporters"]["prometheus"]["endpoint"] = scraped = f"127.0.0.1:{ports[2]}"
    configuration["extensions"]["health_check"]["endpoint"] = f"127.0.0.1:{ports[3]}"
    configuration["processors"]["batch"]["timeout"] = "100ms"
    configuration["connectors"]["span_metrics"]["metrics_flush_interval"] = "1s"
    path = tmp_path / "collector.yaml"
    path.write_text(yaml.safe_dump(configuration))
    with Receiver("grpc") as traces, Receiver("http") as logs, (tmp_path / "collector.log").open("w") as log:
        backends = {
            "TRACES_BACKEND": traces.endpoint.partition("//")[2],
            "LOGS_BACKEND": logs.endpoint.removesuffix("/v1/traces"),
        }
        process = subprocess.Popen(
            [collector, "--config", str(path)], env={**os.environ, **backends}, stdout=log, stderr=log
        )
        prometheus = Prometheus(tmp_path, scraped)
        try:
            yield prometheus, f"http://127.0.0.1:{ports[1]}"
        finally:
            prometheus.close()
            process.terminate()
            process.wait(20)
            print((tmp_path / "collector.log").read_text()[-3000:])
            print((tmp_path / "prometheus.log").read_text()[-2000:])


def test_prometheus_gives_the_p95_of_one_command(prometheus_and_collector: tuple[Prometheus, str]) -> None:
    prometheus, collector = prometheus_and_collector
    wait_until("prometheus scrapes", lambda: prometheus.query("up == 1"))
    settings = {
        "PYTANGO_TELEMETRY_METRICS": "on",
        "TANGO_TELEMETRY_TRACES_ENDPOINT": f"{collector}/v1/traces",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.2",
    }
    with System(**settings) as system:
        server = system.start_server(SERVER, "Motor/metrics", "test/motor/1")
        client = system.start_client(CLIENT, server.proxy_name("test/motor/1"))
        client.wait_for("ready")
        count = 'histogram_count(rpc_server_call_duration_seconds{rpc_method="Move", error_type="ERROR"})'
        good, bad = 0, 0
        # A rate is what has come on top of the first sample.
        for calls in ((10, 1), (200, 40)):
            client.send("{} {}".format(*calls))
            client.wait_for("called {} {}".format(*calls))
            server.flush()
            good, bad = good + calls[0], bad + calls[1]
            for error, expected in (("", good), ("Limit", bad)):
                wait_until(
                    f"{expected} calls with {error!r}",
                    lambda error=error, expected=expected: (
                        list(prometheus.query(count.replace("ERROR", error)).values()) == [expected]
                    ),
                )
        by_method = "sum by (job, rpc_method, tango_device_class)"
        expression = (
            f"histogram_quantile(0.95, {by_method} "
            '(rate(rpc_server_call_duration_seconds{rpc_method="Move", error_type=""}[1m])))'
        )
        found = wait_until("the p95", lambda: prometheus.query(expression))
        ((labels, p95),) = found.items()
        print(f"p95 of Move: {1000 * p95:.1f} ms; a tenth of the calls takes 20 ms")
        assert dict(labels) == {
            "job": "tango/Motor_metrics/metrics",
            "rpc_method": "Move",
            "tango_device_class": "Motor",
        }
        assert 0.02 <= p95 < 0.1

        groups = wait_until(
            "every rule has been evaluated",
            lambda: (
                (rules := prometheus.ask("rules")["groups"])
                and all(rule["health"] != "unknown" for group in rules for rule in group["rules"])
                and rules
            ),
        )
        assert [rule for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []

        # The rules see what has happened.
        def is_seen(alert: str) -> bool:
            alerts = prometheus.ask("alerts")["alerts"]
            return any(each["labels"]["alertname"] == alert for each in alerts)

        wait_until("the failures", lambda: is_seen("TangoCallsFail"))
        assert prometheus.query('tango:server_calls:p95_5m{rpc_method="Hold"}')
        assert prometheus.query("sum(messaging_client_sent_messages_total) == 2")
        assert prometheus.query("sum(messaging_client_consumed_messages_total) >= 2")
        if PYTANGO >= (10, 1):
            assert prometheus.query("sum(tango_polling_overruns_total) >= 1")
            wait_until("polling that was left out", lambda: is_seen("TangoPollingIsLeftOut"))
        # What has spans only is counted by its spans.
        wait_until("metrics of spans", lambda: prometheus.query("tango_spans_calls_total"))
        known = set(prometheus.ask("label/__name__/values"))
        for name in (
            "process_memory_usage_bytes",
            "process_thread_count",
            "tango_server_active_requests",
            "tango_polling_delay_seconds",
            "otel_sdk_exporter_span_exported_total",
            "otel_sdk_processor_span_processed_total",
            "tango_spans_duration_milliseconds",
        ):
            assert name in known
        for expression in dashboard_expressions():
            prometheus.query(expression)  # raises for one that it does not understand


def dashboard_expressions() -> list[str]:
    """What the panels of the dashboard ask, with every server, client and class chosen."""
    board = json.loads((DOCS / "grafana-dashboard.json").read_text())
    return [
        target["expr"].replace("$__rate_interval", "1m").replace("$job", ".*").replace("$device_class", ".*")
        for panel in board["panels"]
        for target in panel["targets"]
    ]
