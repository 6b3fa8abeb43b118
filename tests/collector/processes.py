"""The programs of a run, each a process of its own on loopback: collectors, Jaeger, programs of ours."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
_HIDDEN = ("TANGO_", "PYTANGO_", "OTEL_")
_PR_SET_PDEATHSIG = 1


def find_free_port() -> int:
    """Return a port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """Return whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(what: str, holds: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return the first true value of ``holds``.

    :raises TimeoutError: there was none for so many seconds
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := holds():
            return value
        time.sleep(0.05)
    raise TimeoutError(f"not within {seconds} s: {what}")


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def clean_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with these variables, and none of Tango's and OpenTelemetry's beside them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_HIDDEN)}
    return {**kept, **variables}


class Running:
    """A process whose output is in a file."""

    def __init__(self, command: list[str], log: Path, variables: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                env=clean_environment(variables or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if self._answers else output,
                stderr=output,
                text=True,
                preexec_fn=_end_with_parent,
            )

    _answers = False

    def end(self, number: int = signal.SIGTERM, seconds: float = 30.0) -> None:
        """Send it a signal and wait for its end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self, most: bool = False) -> float:
        """Return the resident memory in MiB, or the most that it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{'VmHWM' if most else 'VmRSS'}:\s+(\d+) kB", status, re.MULTILINE)
        return int(found[1]) / 1024 if found else 0.0

    def forget_peak(self) -> None:
        """Let the most that it ever had begin again."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


class Collector(Running):
    """A collector that runs. Settings are files, or what such a file would hold; later ones win."""

    def __init__(
        self,
        program: Path,
        settings: list[Path | dict[str, Any]],
        folder: Path,
        variables: Mapping[str, str] | None = None,
        name: str = "collector",
    ) -> None:
        self.own_port = find_free_port()
        """Where it serves the metrics of itself."""
        reader = {"pull": {"exporter": {"prometheus": {"host": "127.0.0.1", "port": self.own_port}}}}
        own: dict[str, Any] = {"service": {"telemetry": {"metrics": {"readers": [reader]}}}}
        command = [str(program)]
        for number, one in enumerate([*settings, own]):
            path = one if isinstance(one, Path) else folder / f"{name}-{number}.yaml"
            if isinstance(one, dict):
                path.write_text(yaml.safe_dump(one, sort_keys=False))
            command += ["--config", str(path)]
        super().__init__(command, folder / f"{name}.log", variables)
        begin = self.log.stat().st_size
        try:
            wait_until("the collector is ready", lambda: self._is_ready(begin))
        except TimeoutError:
            self.end(signal.SIGKILL)
            raise SystemExit(f"no collector:\n{self.log.read_text()[-3000:]}") from None

    def _is_ready(self, begin: int) -> bool:
        if self.process.poll() is not None:
            raise SystemExit(f"the collector ended:\n{self.log.read_text()[-3000:]}")
        return "Everything is ready" in self.log.read_text()[begin:]

    def count(self, metric: str, **labels: str) -> float:
        """Return the sum of a metric of itself, 0 where it has none yet."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.own_port}/metrics", timeout=10) as answer:
            return sum_metric(answer.read().decode(), metric, **labels)


def sum_metric(text: str, metric: str, **labels: str) -> float:
    """Return the sum over the series of a metric in Prometheus' text, with or without ``_total``."""
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if re.match(rf"{metric}(_total)?[{{ ]", line) and all(one in line for one in wanted)
    )


class Load(Running):
    """A program of ours that makes spans to order, see ``load.py``."""

    _answers = True

    def __init__(
        self, folder: Path, variables: Mapping[str, str], name: str = "load", server_endpoint: str = ""
    ) -> None:
        environment = {
            "TANGO_TELEMETRY_ENABLE": "on",
            "HOME": str(folder),
            "PYTANGO_TELEMETRY_RETRY_MAX": "1",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            **variables,
        }
        command = [sys.executable, str(HERE / "load.py"), *([server_endpoint] if server_endpoint else [])]
        super().__init__(command, folder / f"{name}.log", environment)

    def order(self, what: str, **more: Any) -> dict[str, Any]:
        """Let it carry out an order, and return its answer."""
        assert self.process.stdin is not None
        print(json.dumps({"do": what, **more}), file=self.process.stdin, flush=True)
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the program of ours ended:\n{self.log.read_text()[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def leave(self) -> dict[str, Any]:
        """Let it end as any program does, and return its last account."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        account: dict[str, Any] = self._read()["account"]
        self.process.wait(30)
        return account


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the OTLP requests of files of JSON lines: of one, or of all of a folder."""
    paths = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path] if path.exists() else []
    return [json.loads(line) for one in paths for line in one.read_text().splitlines()]


def read_spans(path: Path) -> list[dict[str, Any]]:
    """Return the spans in files of JSON lines, each with its resource's attributes and its scope's name."""
    return [
        {
            **span,
            "resource": resource["resource"].get("attributes", []),
            "scope": scope["scope"].get("name", ""),
        }
        for request in read_lines(path)
        for resource in request.get("resourceSpans", [])
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def count_records(path: Path, signal_name: str) -> int:
    """Return how many records of a signal are in files of JSON lines: spans, log records or metrics."""
    resources, scopes, records = {
        "traces": ("resourceSpans", "scopeSpans", "spans"),
        "logs": ("resourceLogs", "scopeLogs", "logRecords"),
        "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
    }[signal_name]
    return sum(
        len(scope[records])
        for request in read_lines(path)
        for resource in request.get(resources, [])
        for scope in resource[scopes]
    )
