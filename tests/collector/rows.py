"""The rows of the table: each a protocol, a signal or a fault, with a real collector and a program of ours.

A row holds when every span that was made is at the other end, or counted as lost in the account of the
program that made it.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from processes import (
    Collector,
    Load,
    clean_environment,
    count_records,
    find_free_port,
    read_lines,
    read_spans,
    sum_metric,
    wait_until,
)

ROOT = Path(__file__).resolve().parents[2]
HOW_TO = ROOT / "docs" / "how-to"
SETTLE = 30.0
"""Seconds that a program may take to deliver what it has."""
CALLS = 2_000
WAIT = 14.0
"""Seconds that a sampler needs: what it waits for the rest of a trace, and a batch."""
SERVER, CLIENT = 2, 3
TOKEN = "c2VjcmV0IQ=="


@dataclass(frozen=True)
class Row:
    """One line of the table. out: spans at the other end. counted: lost, in the account of who made them."""

    name: str
    made: int
    out: int
    counted: int
    holds: bool
    note: str = ""


@dataclass(frozen=True)
class Place:
    """Where a row runs. private: the network and /var/lib are of this run alone."""

    engine: Path
    jaeger: Path | None
    folder: Path
    private: bool


Maker = Callable[[Place], Iterator[Row]]
ROWS: list[Maker] = []


def row(maker: Maker) -> Maker:
    """Put a maker of rows into the table, in the order of this file."""
    ROWS.append(maker)
    return maker


# --- collectors and programs


class Ports:
    """Ports of one collector's receivers, and what a program of ours is told."""

    def __init__(self, secure: bool = False) -> None:
        self.grpc, self.http = find_free_port(), find_free_port()
        self._secure = "s" if secure else ""

    def receivers(
        self, grpc: Mapping[str, Any] | None = None, http: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the collector's receiver, with further settings of each protocol."""
        protocols = {
            "grpc": {"endpoint": f"127.0.0.1:{self.grpc}", **(grpc or {})},
            "http": {"endpoint": f"127.0.0.1:{self.http}", **(http or {})},
        }
        return {"otlp": {"protocols": protocols}}

    def variables(self, protocol: str, **more: str) -> dict[str, str]:
        """Return the environment of a program that sends there."""
        if protocol == "grpc":
            traces = logs = f"grpc{self._secure}://127.0.0.1:{self.grpc}"
        else:
            base = f"http{self._secure}://127.0.0.1:{self.http}/v1/"
            traces, logs = base + "traces", base + "logs"
        return {
            "TANGO_TELEMETRY_TRACING_EXPORTERS": protocol,
            "TANGO_TELEMETRY_TRACING_ENDPOINTS": traces,
            "TANGO_TELEMETRY_LOGGING_EXPORTERS": protocol,
            "TANGO_TELEMETRY_LOGGING_ENDPOINTS": logs,
            **more,
        }


def to_file(
    receivers: Mapping[str, Any], out: Path, processors: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Return a collector's configuration that writes what it takes to a file."""
    pipeline = {"receivers": list(receivers), "processors": list(processors or {}), "exporters": ["file"]}
    service: dict[str, Any] = {
        "pipelines": dict.fromkeys(("traces", "logs", "metrics"), pipeline),
        "extensions": list(more.get("extensions", {})),
    }
    if processors and "tail_sampling" in processors:
        service["pipelines"] = {"traces": pipeline}
    file = {"path": str(out), "append": True, "flush_interval": "100ms"}
    return {
        "receivers": dict(receivers),
        "processors": dict(processors or {}),
        "exporters": {"file": file},
        "service": service,
        **more,
    }


@contextlib.contextmanager
def ended(*running: Any) -> Iterator[None]:
    """End what still runs at the end."""
    try:
        yield
    finally:
        for one in running:
            one.end(signal.SIGKILL)


def ids(spans: list[dict[str, Any]]) -> Counter[str]:
    """Return how often each span is there."""
    return Counter(span["spanId"] for span in spans)


def settle_up(name: str, account: Mapping[str, Any], spans: list[dict[str, Any]], note: str = "") -> Row:
    """Return the row of spans that were made, and that came out."""
    traces = account["traces"]
    found = ids(spans)
    twice = sum(found.values()) - len(found)
    whole = traces["made"] == sum(traces[key] for key in ("delivered", "queued", "spooled", "dropped"))
    holds = whole and not traces["queued"] and len(found) + traces["dropped"] == traces["made"]
    notes = [note] if note else []
    if traces["reasons"]:
        notes.append(", ".join(f"{reason} {count:,}" for reason, count in traces["reasons"].items()))
    if twice:
        notes.append(f"{twice:,} twice")
    return Row(name, traces["made"], len(found), traces["dropped"], holds, "; ".join(notes))


def new_folder(place: Place, name: str) -> Path:
    """Return an empty folder for a row."""
    folder = place.folder / "".join(letter if letter.isalnum() else "-" for letter in name)
    folder.mkdir(parents=True)
    return folder


# --- protocols


def send(
    place: Place,
    name: str,
    protocol: str,
    variables: Mapping[str, str] | None = None,
    *,
    secure: bool = False,
    refused: bool = False,
    settle: float = SETTLE,
    calls: int = CALLS,
    size: int = 0,
    note: Callable[[Collector], str] = lambda collector: "",
    processors: Mapping[str, Any] | None = None,
    extensions: Mapping[str, Any] | None = None,
    **server: Any,
) -> Row:
    """Send calls through a collector into a file.

    refused: nothing is to come out. server: settings of both protocols of its receiver.
    """
    folder, ports = new_folder(place, name), Ports(secure)
    out = folder / "out.jsonl"
    settings = to_file(ports.receivers(server, server), out, processors, extensions=dict(extensions or {}))
    collector = Collector(place.engine, [settings], folder)
    with ended(collector):
        load = Load(folder, ports.variables(protocol, **(variables or {})))
        with ended(load):
            load.order("make", calls=calls, size=size)
            load.order("settle", seconds=2 if refused else settle)
            account = load.leave()
            said = note(collector)
            collector.end()
            found = settle_up(name, account, read_spans(out), said)
            lost = found.out == 0 if refused else found.counted == 0
            return replace(found, holds=found.holds and lost)


@row
def protocols(place: Place) -> Iterator[Row]:
    """Return rows of each protocol as it is, compressed, with a token, with TLS and with certificates."""
    gzip = {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
    token = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{urllib.parse.quote(TOKEN)}"}
    wrong = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20somebody"}
    asks = {"bearertokenauth": {"token": TOKEN}}
    files = make_certificates(place.folder / "certificates")
    tls = {"cert_file": files["server.pem"], "key_file": files["server.key"]}
    mtls = {**tls, "client_ca_file": files["ca.pem"]}
    trust = {"OTEL_EXPORTER_OTLP_CERTIFICATE": files["ca.pem"]}
    shown = {
        **trust,
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": files["client.pem"],
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": files["client.key"],
    }
    for protocol in ("http", "grpc"):
        yield send(place, protocol, protocol)
        yield send(place, f"{protocol}, gzip", protocol, gzip)
        auth: dict[str, Any] = {"auth": {"authenticator": "bearertokenauth"}}
        yield send(place, f"{protocol}, token in a header", protocol, token, extensions=asks, **auth)
        yield send(place, f"{protocol}, wrong token", protocol, wrong, extensions=asks, refused=True, **auth)
        yield send(place, f"{protocol}, TLS", protocol, trust, secure=True, tls=tls)
        yield send(place, f"{protocol}, TLS of nobody we trust", protocol, secure=True, refused=True, tls=tls)
        yield send(place, f"{protocol}, mTLS", protocol, shown, secure=True, tls=mtls)
        yield send(
            place, f"{protocol}, mTLS without ours", protocol, trust, secure=True, refused=True, tls=mtls
        )


def make_certificates(folder: Path) -> dict[str, str]:
    """Make an authority, and certificates of a collector and of a program; return the files by name."""
    folder.mkdir()

    def run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    run("req", "-x509", *new, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    (folder / "extensions").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        run("req", *new[:-2], "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
        run("x509", "-req", "-in", f"{name}.csr", *signed, "-extfile", "extensions", "-out", f"{name}.pem")
    return {path.name: str(path) for path in folder.iterdir()}


@row
def signals(place: Place) -> Iterator[Row]:
    """Return rows of the other signals: records made and records out."""
    for protocol in ("http", "grpc"):
        name = f"{protocol}, logs"
        folder, ports = new_folder(place, name), Ports()
        out = folder / "out.jsonl"
        collector = Collector(place.engine, [to_file(ports.receivers(), out)], folder)
        load = Load(folder, ports.variables(protocol, PYTANGO_TELEMETRY_LOGS="logging"))
        with ended(load, collector):
            load.order("log", count=CALLS)
            load.order("settle", seconds=SETTLE)
            account = load.leave()
            collector.end()
            logs, found = account["logs"], count_records(out, "logs")
            spans = settle_up("", account, read_spans(out))
            holds = logs["made"] == CALLS == found + logs["dropped"] and spans.holds
            yield Row(name, logs["made"], found, logs["dropped"], holds, "log records, each with its span")


@row
def metrics(place: Place) -> Iterator[Row]:
    """Return rows of metrics: the calls that the demo's programs count, as many as they have spans."""
    from jaeger_answers import run_demo

    for protocol in ("http", "grpc"):
        name = f"{protocol}, metrics"
        folder, ports = new_folder(place, name), Ports()
        out = folder / "out.jsonl"
        collector = Collector(place.engine, [to_file(ports.receivers(), out)], folder)
        with ended(collector):
            on = {"TANGO_TELEMETRY_ENABLE": "on", "PYTANGO_TELEMETRY_METRICS": "on"}
            run_demo(folder, ports.variables(protocol, **on))
            collector.end()
        calls = sum(span["kind"] in (CLIENT, SERVER) for span in read_spans(out))
        counted = count_calls(read_lines(out))
        note = "calls by their spans, and by the histograms of rpc.*.call.duration"
        yield Row(name, calls, counted, 0, 0 < calls == counted, note)


def count_calls(requests: list[dict[str, Any]]) -> int:
    """Return how many calls the histograms of durations have: the last export of each series says all."""
    series: dict[str, int] = {}
    for request in requests:
        for resource in request.get("resourceMetrics", []):
            for scope in resource["scopeMetrics"]:
                for metric in scope["metrics"]:
                    if not re.fullmatch(r"rpc\.(client|server)\.call\.duration", metric["name"]):
                        continue
                    for point in metric["exponentialHistogram"]["dataPoints"]:
                        told = [resource["resource"]["attributes"], metric["name"], point["attributes"]]
                        series[json.dumps(told)] = int(point["count"])
    return sum(series.values())


@row
def doctor(place: Place) -> Iterator[Row]:
    """Return rows of `tango-telemetry doctor`, which sends a span and a log record and says how it went."""
    for protocol in ("http", "grpc"):
        name = f"{protocol}, tango-telemetry doctor"
        folder, ports = new_folder(place, name), Ports()
        out = folder / "out.jsonl"
        collector = Collector(place.engine, [to_file(ports.receivers(), out)], folder)
        with ended(collector):
            on = {"TANGO_TELEMETRY_ENABLE": "on", "PYTANGO_TELEMETRY_LOGS": "all", "HOME": str(folder)}
            asked = subprocess.run(
                [sys.executable, "-m", "tango_telemetry_tools", "doctor"],
                env=clean_environment(ports.variables(protocol, **on)),
                capture_output=True,
                text=True,
                timeout=60,
            )
            (folder / "doctor").write_text(asked.stdout + asked.stderr)
            collector.end()
        spans, logs = len(read_spans(out)), count_records(out, "logs")
        holds = asked.returncode == 0 and spans == logs == 1 and "traces would arrive" in asked.stdout
        yield Row(name, 1, spans, 0, holds, f"and {logs} log record; it says: traces would arrive")


@row
def files(place: Place) -> Iterator[Row]:
    """Return the row of programs without a network: a collector reads the files of the exporter ``file``."""
    name = "files, read by otlp_json_file"
    folder = new_folder(place, name)
    out, traces = folder / "out.jsonl", folder / "traces"
    receivers = {"otlp_json_file": {"include": [str(traces / "*.jsonl")], "start_at": "beginning"}}
    collector = Collector(place.engine, [to_file(receivers, out)], folder)
    variables = {
        "TANGO_TELEMETRY_TRACING_EXPORTERS": "file",
        "TANGO_TELEMETRY_TRACING_ENDPOINTS": str(traces),
    }
    load = Load(folder, {**variables, "PYTANGO_TELEMETRY_LOGS": "logging"})
    with ended(load, collector):
        load.order("make", calls=CALLS)
        load.order("log", count=10)
        load.order("settle", seconds=SETTLE)
        account = load.leave()
        made = account["traces"]["made"]
        with contextlib.suppress(TimeoutError):
            wait_until("all is read", lambda: len(ids(read_spans(out))) >= made)
        collector.end()
        logs = count_records(out, "logs")
        found = settle_up(name, account, read_spans(out), f"and {logs} of 10 log records")
        yield replace(found, holds=found.holds and logs == 10)


# --- refusals


@row
def large(place: Place) -> Iterator[Row]:
    """Return rows of requests too large for the collector: each span that fits is delivered nevertheless."""
    bounds: list[tuple[str, dict[str, Any], bool]] = [
        ("http", {"max_request_body_size": 65_536}, False),
        ("http", {"max_request_body_size": 65_536}, True),
        ("grpc", {"max_recv_msg_size_mib": 1}, False),
    ]
    for protocol, bound, spool in bounds:
        ((setting, value),) = bound.items()
        name = f"{protocol}, {setting} {value:,}{', with the spool' * spool}"
        folder, ports = new_folder(place, name), Ports()
        out = folder / "out.jsonl"
        collector = Collector(place.engine, [to_file(ports.receivers(**{protocol: bound}), out)], folder)
        more = {"PYTANGO_TELEMETRY_SPOOL_DIR": str(folder / "spool")} if spool else {}
        load = Load(folder, ports.variables(protocol, **more))
        with ended(load, collector):
            load.order("make", calls=200)
            load.order("make", calls=5, size=100_000 if protocol == "http" else 1_200_000)
            load.order("make", calls=200)
            load.order("settle", seconds=SETTLE)
            account = load.leave()
            collector.end()
            found = settle_up(name, account, read_spans(out), "10 spans are larger than that")
            yield replace(found, holds=found.holds and found.counted == 10)


@row
def memory_limiter(place: Place) -> Iterator[Row]:
    """Return rows of a collector that refuses until it has memory again: nothing is lost."""
    sampling = {
        "decision_wait": "4s",
        "num_traces": 50_000,
        "policies": [{"name": "all", "type": "always_sample"}],
    }
    limiter = {"check_interval": "100ms", "limit_mib": 70, "spike_limit_mib": 20}
    for protocol in ("http", "grpc"):
        refused = 0

        def note(collector: Collector) -> str:
            nonlocal refused
            refused = int(collector.count("otelcol_receiver_refused_spans"))
            return f"{refused:,} spans refused on the way"

        found = send(
            place,
            f"{protocol}, memory_limiter refuses",
            protocol,
            {"PYTANGO_TELEMETRY_QUEUE_MAX_BYTES": str(512 * 2**20)},
            calls=4_000,
            size=10_000,
            settle=90,
            note=note,
            processors={"memory_limiter": limiter, "tail_sampling": sampling},
        )
        yield replace(found, holds=found.holds and refused > 0)


# --- a collector that ends


def kill_in_the_middle(place: Place, name: str, number: int, spool: bool) -> Row:
    """Kill a collector while spans come and start it again; the program of ours goes on."""
    folder, ports = new_folder(place, name), Ports()
    out = folder / "out.jsonl"
    settings = to_file(ports.receivers(), out)
    more = {"PYTANGO_TELEMETRY_SPOOL_DIR": str(folder / "spool")} if spool else {}
    load = Load(folder, ports.variables("grpc", **more))
    with ended(load), contextlib.ExitStack() as stack:
        for part in range(3):
            collector = Collector(place.engine, [settings], folder, name=f"collector-{part}")
            stack.enter_context(ended(collector))
            load.order("make", calls=CALLS, rate=10_000)
            load.order("settle", seconds=SETTLE)
            if number == signal.SIGKILL:
                # What the file exporter has acknowledged and not yet written would die with it.
                time.sleep(0.5)
            if part < 2:
                collector.end(number)
                load.order("make", calls=CALLS, rate=10_000)
        account = load.leave()
        collector.end()
    return settle_up(
        name, account, read_spans(out), f"{account['traces']['failed_attempts']} attempts failed"
    )


@row
def restarts(place: Place) -> Iterator[Row]:
    """Return rows of a collector that ends while spans come, and starts again."""
    for spool in (False, True):
        word = "with the spool" if spool else "without a spool"
        for number, how in ((signal.SIGTERM, "restarted"), (signal.SIGKILL, "killed and started")):
            yield kill_in_the_middle(place, f"collector {how} twice, {word}", number, spool)


@row
def outlived(place: Place) -> Iterator[Row]:
    """Return rows of a program that ends while the collector is away."""
    for spool in (False, True):
        name = f"the program ends first, {'with the spool' if spool else 'without a spool'}"
        folder, ports = new_folder(place, name), Ports()
        out = folder / "out.jsonl"
        more = {"PYTANGO_TELEMETRY_SPOOL_DIR": str(folder / "spool")} if spool else {}
        load = Load(folder, ports.variables("http", **more))
        with ended(load):
            load.order("make", calls=CALLS)
            load.order("settle", seconds=1)
            first = load.leave()
        collector = Collector(place.engine, [to_file(ports.receivers(), out)], folder)
        heir = Load(folder, ports.variables("http", **more), name="heir")
        with ended(heir, collector):
            heir.order("make", calls=1)
            heir.order("settle", seconds=SETTLE)
            if spool:
                spooled = folder / "spool"
                wait_until("the spool is sent", lambda kept=spooled: not list(kept.rglob("*.otlp")))
            second = heir.leave()
            collector.end()
        made = first["traces"]["made"] + second["traces"]["made"]
        dropped = first["traces"]["dropped"] + second["traces"]["dropped"]
        found = len(ids(read_spans(out)))
        adopted = second["traces"]["adopted"]
        note = f"the next program delivered {adopted:,}" if spool else f"{first['traces']['reasons']}"
        yield Row(name, made, found, dropped, found + dropped == made and bool(spool) == bool(adopted), note)


# --- what the documentation says


def read_kept(spans: list[dict[str, Any]]) -> tuple[dict[str, list[dict[str, Any]]], int, int]:
    """Return the spans of each trace, how many traces failed and how many of all are whole (two spans)."""
    traces: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for span in {span["spanId"]: span for span in spans}.values():
        traces[span["traceId"]].append(span)
    failed = sum(any(s.get("status", {}).get("code") == 2 for s in spans) for spans in traces.values())
    return traces, failed, sum(len(spans) == 2 for spans in traces.values())


SAMPLED = "failed {failed} of {made}, {others:.1%} of the others; whole {whole} of {kept}"


def judge_sampling(
    name: str, account: Mapping[str, Any], spans: list[dict[str, Any]], fail_every: int
) -> Row:
    """Return the row of a tail sampler: failed traces whole, and a tenth of the others."""
    traces, failed, whole = read_kept(spans)
    made = account["traces"]["made"]
    calls = made // 2
    fails = -(-calls // fail_every)
    share = (len(traces) - failed) / (calls - fails)
    holds = (
        failed == fails and whole == len(traces) and 0.06 < share < 0.14
        and account["traces"]["delivered"] == made
    )  # fmt: skip
    note = SAMPLED.format(failed=failed, made=fails, others=share, whole=whole, kept=len(traces))
    return Row(name, made, len(ids(spans)), account["traces"]["dropped"], holds, note)


def backend(place: Place, folder: Path, port: int) -> tuple[Collector, Path]:
    """Start the back end: a collector that writes down what it gets."""
    out = folder / "backend.jsonl"
    receivers = {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{port}"}}}}
    return Collector(place.engine, [to_file(receivers, out)], folder, name="backend"), out


@row
def as_documented(place: Place) -> Iterator[Row]:
    """Return the row of docs/how-to/collector.yaml as it stands, with the ports and folders that it names."""
    name = "docs: collector.yaml as it stands"
    if not place.private:
        return
    folder, port = new_folder(place, name), find_free_port()
    traces = Path("/var/lib/tango-traces")
    traces.mkdir()
    behind, out = backend(place, folder, port)
    variables = {"TRACES_BACKEND": f"127.0.0.1:{port}"}
    with ended(behind):
        collector = Collector(place.engine, [HOW_TO / "collector.yaml"], folder, variables)
        with ended(collector):
            # Without an endpoint ours send to the ports that the page names.
            senders = [
                Load(folder, {"TANGO_TELEMETRY_TRACING_EXPORTERS": "grpc"}, "grpc"),
                Load(folder, {"TANGO_TELEMETRY_TRACING_EXPORTERS": "http"}, "http"),
                Load(
                    folder,
                    {
                        "TANGO_TELEMETRY_TRACING_EXPORTERS": "file",
                        "TANGO_TELEMETRY_TRACING_ENDPOINTS": str(traces),
                    },
                    "file",
                ),
            ]
            total: Counter[str] = Counter()
            with ended(*senders):
                for sender in senders:
                    sender.order("make", calls=2_000, fail_every=20)
                for sender in senders:
                    sender.order("settle", seconds=SETTLE)
                    account = sender.leave()["traces"]
                    total.update({key: account[key] for key in ("made", "delivered", "dropped")})
            time.sleep(WAIT)
            warned = [line for line in collector.log.read_text().splitlines() if "deprecat" in line.lower()]
            collector.end()
        time.sleep(0.5)
        behind.end()
    shutil.rmtree(traces)
    found = judge_sampling(name, {"traces": total}, read_spans(out), 20)
    yield replace(found, holds=found.holds and not warned, note="; ".join([found.note, *warned]))


@row
def all_signals(place: Place) -> Iterator[Row]:
    """Return rows of collector.yaml with logs, and with metrics for Prometheus."""
    from jaeger_answers import run_demo

    if not place.private:
        return
    name = "docs: with collector-logs-and-metrics.yaml"
    folder, ports = new_folder(place, name), Ports()
    out, files = folder / "backend.jsonl", folder / "files"
    behind = Collector(place.engine, [to_file(ports.receivers(), out)], folder, name="backend")
    settings: list[Path | dict[str, Any]] = [
        HOW_TO / "collector.yaml",
        HOW_TO / "collector-logs-and-metrics.yaml",
    ]
    hosts = {"TRACES_BACKEND": f"127.0.0.1:{ports.grpc}", "LOGS_BACKEND": f"http://127.0.0.1:{ports.http}"}
    collector = Collector(place.engine, settings, folder, hosts)
    load = Load(folder, {"TANGO_TELEMETRY_TRACING_EXPORTERS": "grpc", "PYTANGO_TELEMETRY_LOGS": "logging"})
    with ended(behind, collector, load):
        load.order("log", count=100)
        load.order("settle", seconds=SETTLE)
        account = load.leave()["logs"]
        telemetry = {
            "TANGO_TELEMETRY_ENABLE": "on",
            "PYTANGO_TELEMETRY_METRICS": "on",
            "TANGO_TELEMETRY_TRACING_EXPORTERS": "grpc,file",
            "TANGO_TELEMETRY_TRACING_ENDPOINTS": f"grpc://localhost:4317,{files}",
        }
        run_demo(folder, telemetry)
        time.sleep(2)  # a batch
        with urllib.request.urlopen("http://127.0.0.1:9464/metrics", timeout=10) as answer:
            text = answer.read().decode()
        (folder / "metrics").write_text(text)
        names = [f"rpc_{kind}_call_duration_seconds_count" for kind in ("client", "server")]
        counted = sum(int(sum_metric(text, metric)) for metric in names)
        collector.end()
        time.sleep(1)
        behind.end()
    logs = count_records(out, "logs")
    yield Row(f"{name}: logs", account["made"], logs, account["dropped"], 0 < logs == account["made"])
    calls = sum(span["kind"] in (CLIENT, SERVER) for span in read_spans(files))
    note = "calls by their spans, and as Prometheus sees them"
    yield Row(f"{name}: metrics", calls, counted, 0, 0 < calls == counted, note)


def documented(place: Place, folder: Path, ports: Ports, name: str, **hosts: str) -> Collector:
    """Start a collector of docs/how-to; hosts: its variables.

    Of the files nothing is changed but ports and folders, for there are several on this machine. The queue
    belongs to the port, so that the next collector there goes on with it.
    """
    other = {
        "receivers": ports.receivers(),
        "extensions": {
            "health_check": {"endpoint": f"127.0.0.1:{find_free_port()}"},
            "file_storage": {"directory": str(folder / f"queue-of-{ports.grpc}"), "create_directory": True},
        },
    }
    file = "collector-two-tiers.yaml" if "TRACES_COLLECTORS" in hosts else "collector.yaml"
    return Collector(place.engine, [HOW_TO / file, other], folder, hosts, name)


@row
def sampler_ends(place: Place) -> Iterator[Row]:
    """Return rows of a sampler that ends while it waits: asked to, it decides first; killed, it forgets."""
    for number, how in ((signal.SIGTERM, "ended by SIGTERM"), (signal.SIGKILL, "killed")):
        name = f"docs: collector.yaml {how} at once"
        folder, port, ports = new_folder(place, name), find_free_port(), Ports()
        behind, out = backend(place, folder, port)
        sampler = documented(place, folder, ports, "sampler", TRACES_BACKEND=f"127.0.0.1:{port}")
        load = Load(folder, ports.variables("grpc"))
        with ended(behind, sampler, load):
            load.order("make", calls=CALLS, fail_every=20)
            load.order("settle", seconds=SETTLE)
            account = load.leave()
            sampler.end(number)
            # What it had decided on and not yet sent is on its disk.
            again = documented(place, folder, ports, "again", TRACES_BACKEND=f"127.0.0.1:{port}")
            with ended(again):
                time.sleep(2)
                again.end()
            behind.end()
        found = judge_sampling(name, account, read_spans(out), 20)
        if number == signal.SIGKILL:
            note = "what it held for ten seconds is lost, as the page says"
            found = replace(found, holds=found.out == 0, note=note)
        yield found


@row
def two_tiers(place: Place) -> Iterator[Row]:
    """Return rows of two samplers: without the first tier, and with it, killed in the middle."""
    for tier in ("without", "with"):
        name = f"docs: two samplers, {tier} load balancing in front"
        folder, port = new_folder(place, name), find_free_port()
        behind, out = backend(place, folder, port)
        second = [Ports(), Ports()]
        addresses = [f"127.0.0.1:{ports.grpc}" for ports in second]
        with contextlib.ExitStack() as stack:
            stack.enter_context(ended(behind))
            running = []
            for number, ports in enumerate(second):
                backends = {"TRACES_BACKEND": f"127.0.0.1:{port}"}
                running.append(documented(place, folder, ports, f"sampler-{number}", **backends))
                stack.enter_context(ended(running[-1]))
            if tier == "without":
                # Client and server of one call send to different collectors, as those of two hosts would.
                load = Load(folder, second[0].variables("grpc"), server_endpoint=addresses[1])
                stack.enter_context(ended(load))
                load.order("make", calls=4_000, rate=8_000, fail_every=20)
            else:
                ports, hosts = Ports(), {"TRACES_COLLECTORS": f"[{', '.join(addresses)}]"}
                first = documented(place, folder, ports, "first", **hosts)
                load = Load(folder, ports.variables("grpc"))
                stack.enter_context(ended(first, load))
                load.order("make", calls=2_000, rate=4_000, fail_every=20)
                first.end(signal.SIGKILL)
                load.order("make", calls=2_000, rate=4_000, fail_every=20)
                running.insert(0, documented(place, folder, ports, "first-again", **hosts))
                stack.enter_context(ended(running[0]))
            load.order("settle", seconds=SETTLE)
            account = load.leave()
            time.sleep(WAIT)
            for one in (*running, behind):
                one.end()
                time.sleep(0.5)
        found = judge_sampling(name, account, read_spans(out), 20)
        if tier == "without":
            yield replace(found, holds=not found.holds, note=found.note + ": torn, as the page says")
        else:
            yield replace(found, note=found.note + "; the first tier was killed and started in between")


@row
def span_metrics(place: Place) -> Iterator[Row]:
    """Return the row of metrics made of spans: calls counted for Prometheus, all of them."""
    name = "span metrics, asked for as Prometheus does"
    folder, ports, port = new_folder(place, name), Ports(), find_free_port()
    out = folder / "out.jsonl"
    settings = to_file(ports.receivers(), out)
    settings["connectors"] = {"span_metrics": {"metrics_flush_interval": "500ms"}}
    settings["exporters"]["prometheus"] = {"endpoint": f"127.0.0.1:{port}"}
    pipelines = settings["service"]["pipelines"]
    pipelines["traces"] = {**pipelines["traces"], "exporters": ["file", "span_metrics"]}
    pipelines["metrics"] = {"receivers": ["span_metrics"], "exporters": ["prometheus"]}
    collector = Collector(place.engine, [settings], folder)
    load = Load(folder, ports.variables("grpc"))

    def counted(**labels: str) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return int(sum_metric(answer.read().decode(), "traces_span_metrics_calls", **labels))

    with ended(load, collector):
        load.order("make", calls=CALLS, fail_every=10)
        load.order("settle", seconds=SETTLE)
        account = load.leave()
        made = account["traces"]["made"]
        with contextlib.suppress(TimeoutError):
            wait_until("all is counted", lambda: counted() >= made)
        calls, failed = counted(), counted(status_code="STATUS_CODE_ERROR")
        collector.end()
    found = settle_up(name, account, read_spans(out), f"{calls:,} counted, {failed} of them failed")
    yield replace(found, holds=found.holds and calls == made and failed == CALLS // 10)


@row
def jaeger(place: Place) -> Iterator[Row]:
    """Return rows of traces asked back from Jaeger, compared with the files of the same programs."""
    from jaeger_answers import compare

    if place.jaeger is not None:
        yield from compare(place.jaeger, place.folder / "jaeger")
