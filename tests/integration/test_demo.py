"""The real demo in a process of its own: its trace, span by span, and what it leaves behind, which is
nothing.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from integration.support import PYTANGO
from tango_telemetry_tools.viewer.model import Span
from tango_telemetry_tools.viewer.reader import Problems, find_files, read_spans
from tango_telemetry_tools.viewer.tree import build_forest

# The whole operation of demo/programs/client.py with two Followers: name, kind, service; two columns of
# indentation a level.
EXPECTED = """
check followers                    internal  my.app
  DeviceProxy                      client    pytango.client
  DeviceProxy                      client    pytango.client
  DeviceProxy                      client    pytango.client
  turn on                          internal  my.app
    command_list_query             client    pytango.client
    attribute_list_query_ex        client    pytango.client
    read_attribute followers       client    pytango.client
      Leader.read followers        server    Leader
    command_inout TurnFollowerOn   client    pytango.client
      Leader.TurnFollowerOn        server    Leader
        DeviceProxy                client    Leader
        command_list_query         client    Leader
        attribute_list_query_ex    client    Leader
        write_attribute isOn       client    Leader
          Follower.write isOn      server    Follower
    command_inout TurnFollowerOn   client    pytango.client
      Leader.TurnFollowerOn        server    Leader
        DeviceProxy                client    Leader
        command_list_query         client    Leader
        attribute_list_query_ex    client    Leader
        write_attribute isOn       client    Leader
          Follower.write isOn      server    Follower
  move                             internal  my.app
    command_list_query             client    pytango.client
    attribute_list_query_ex        client    pytango.client
    write_attribute position       client    pytango.client
      Follower.write position      server    Follower
    read_attributes                client    pytango.client
      Follower.read isOn           server    Follower
      Follower.read position       server    Follower
      Follower.read temperature    server    Follower
    command_list_query             client    pytango.client
    attribute_list_query_ex        client    pytango.client
    write_attribute position       client    pytango.client
      Follower.write position      server    Follower
    read_attributes                client    pytango.client
      Follower.read isOn           server    Follower
      Follower.read position       server    Follower
      Follower.read temperature    server    Follower
  look at all together             internal  my.app
    add                            client    pytango.client
    read_attribute isOn            client    pytango.client
      Follower.read isOn           server    Follower
      Follower.read isOn           server    Follower
    AttributeProxy                 client    pytango.client
    read_attribute temperature     client    pytango.client
      Follower.read temperature    server    Follower
    Database                       client    pytango.client
    put_device_property            client    pytango.client
    get_device_property            client    pytango.client
  turn off                         internal  my.app
    read_attribute followers       client    pytango.client
      Leader.read followers        server    Leader
    command_inout TurnFollowerOff  client    pytango.client
      Leader.TurnFollowerOff       server    Leader
        DeviceProxy                client    Leader
        command_list_query         client    Leader
        attribute_list_query_ex    client    Leader
        write_attribute isOn       client    Leader
          Follower.write isOn      server    Follower
    command_inout TurnFollowerOff  client    pytango.client
      Leader.TurnFollowerOff       server    Leader
        DeviceProxy                client    Leader
        command_list_query         client    Leader
        attribute_list_query_ex    client    Leader
        write_attribute isOn       client    Leader
          Follower.write isOn      server    Follower
  calibrate                        internal  my.app
    command_inout Calibrate        client    pytango.client
      Follower.Calibrate           server    Follower
"""


needs_database = pytest.mark.skipif(PYTANGO < (10,), reason="PyTango 9.5's database server waits for itself")


class Place(NamedTuple):
    """A folder for one run, with a home and a folder for temporary files of its own."""

    folder: Path
    home: Path
    temporary: Path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tango_telemetry_tools", "demo", *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        names = ("COLUMNS", "NO_COLOR", "TERM", "FORCE_COLOR")
        inherited = {name: value for name, value in os.environ.items() if name not in names}
        own = {"HOME": str(self.home), "TMPDIR": str(self.temporary), "PYTHONUTF8": "1"}
        return {**inherited, **own, **more}

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(**environment),
            cwd=self.folder,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=180,
        )


def create_place(folder: Path) -> Place:
    place = Place(folder, folder / "home", folder / "tmp")
    place.home.mkdir()
    place.temporary.mkdir()
    return place


def assert_nothing_left(place: Place, output: str) -> None:
    """No process, no port, nothing in the home, no temporary file."""
    assert list(place.home.iterdir()) == []
    assert list(place.temporary.iterdir()) == []
    found = re.search(r"127\.0\.0\.1:(\d+)", output)
    if found is None:
        return
    # Every program of one demo has its database's address in its environment.
    left = [process.info["cmdline"] for process in psutil.process_iter(["cmdline", "environ"])
            if (process.info["environ"] or {}).get("TANGO_HOST") == found[0]]  # fmt: skip
    assert left == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(found[1]))) != 0


def load(folder: Path, trace_id: str) -> list[Span]:
    problems = Problems()
    spans = [
        span for span in read_spans(find_files([folder], problems), problems) if span.trace_id == trace_id
    ]
    assert problems.found == []
    return spans


def find_trace_id(output: str) -> str:
    found = re.search(r"\btrace ([0-9a-f]{32})\b", output)
    assert found is not None
    return found[1]


class Finished(NamedTuple):
    place: Place
    result: subprocess.CompletedProcess[str]
    spans: list[Span]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    place = create_place(tmp_path_factory.mktemp("demo"))
    result = place.run("--endpoint", str(place.folder / "spans"))
    assert result.returncode == 0, result.stdout + result.stderr
    return Finished(place, result, load(place.folder / "spans", find_trace_id(result.stdout)))


@needs_database
def test_the_forest_span_by_span(demo: Finished) -> None:
    forest = build_forest(demo.spans)
    rows = [(row.depth, row.span.name, row.span.kind, row.span.service) for row in forest.rows if row.span]
    lines = [line for line in EXPECTED.splitlines() if line]
    parts = [(line, re.split(r"  +", line.strip())) for line in lines]
    expected = [((len(line) - len(line.lstrip())) // 2, *fields) for line, fields in parts]
    assert rows == expected
    assert len(forest.rows) == len(demo.spans)


@needs_database
def test_devices_and_the_one_failure(demo: Finished) -> None:
    servers = {span.resource.instance for span in demo.spans if span.service in ("Leader", "Follower")}
    assert servers == {"demo/leader/1", "demo/follower/1", "demo/follower/2"}
    failed = {(span.name, span.error_line) for span in demo.spans if span.is_error}
    names = {name for name, _ in failed}
    assert names == {"command_inout Calibrate", "Follower.Calibrate"}
    assert all("FollowerIsOff" in reason and "turn it on first" in reason for _, reason in failed)


@needs_database
def test_what_it_says_and_leaves(demo: Finished) -> None:
    output = demo.result.stdout
    assert demo.result.stderr == ""
    for step in ("database server", "Leader and Follower servers", "client script", "servers stopped"):
        assert f"✓ {step}" in output
    assert "had to be killed" not in output
    assert "✓ the trace is whole: one root, no span without its parent, 4 services" in output
    page = demo.place.folder / "tango-telemetry-demo.html"
    assert f"page:  {page}" in output
    carried = re.search(
        '<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL
    )
    assert carried is not None
    assert len(json.loads(carried[1])["rows"]) == len(demo.spans)
    picture = output[output.index("my.app: check followers") : output.index("page: ")]
    assert max(map(len, picture.splitlines())) <= 80
    assert_nothing_left(demo.place, output)


@needs_database
def test_twenty_followers(tmp_path: Path) -> None:
    place = create_place(tmp_path)
    result = place.run("--followers", "20", "--endpoint", "spans")
    assert (result.returncode, result.stderr) == (0, "")
    by_id = {span.span_id: span for span in load(tmp_path / "spans", find_trace_id(result.stdout))}
    writes = [span for span in by_id.values() if span.name == "Follower.write isOn"]
    assert len(writes) == 40
    for write in writes:
        call = by_id[write.parent_id]
        handler = by_id[call.parent_id]
        assert (call.kind, call.service, handler.kind, handler.service) == (
            "client",
            "Leader",
            "server",
            "Leader",
        )
    assert_nothing_left(place, result.stdout)


def _hear_signals() -> None:
    """Under nohup, or in the background of a shell, these are ignored, and the demo would go on ignoring
    them.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@needs_database
@pytest.mark.parametrize(
    ("signum", "marker", "times"),
    [
        (signal.SIGINT, "database server", 1),
        (signal.SIGTERM, "database server", 1),
        (signal.SIGHUP, "Leader and Follower servers", 1),
        (signal.SIGINT, "Leader and Follower servers", 3),
    ],
)
def test_stopped_from_outside(tmp_path: Path, signum: signal.Signals, marker: str, times: int) -> None:
    place = create_place(tmp_path)
    process = subprocess.Popen(
        place.command(),
        env=place.environment(),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        preexec_fn=_hear_signals,
    )
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        if marker in line:
            break
    for _ in range(times):
        process.send_signal(signum)
    rest, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signum
    assert errors == f"tango-telemetry demo: {signum.name}, everything is stopped\n"
    assert "127.0.0.1:" in output
    assert_nothing_left(place, output + rest)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "tmp"]


@needs_database
@pytest.mark.parametrize(
    ("program", "module", "step", "complaint"),
    [
        ("client.py", "client", "client script", "the client script ended with status 1; it said:"),
        (
            "follower.py",
            "server",
            "Leader and Follower servers",
            "the Follower server ended at once; it said:",
        ),
    ],
)
def test_a_program_that_fails(tmp_path: Path, program: str, module: str, step: str, complaint: str) -> None:
    place = create_place(tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    text = (
        f"import os, sys\nif sys.argv[0].endswith({program!r}):\n    raise ImportError('broken on purpose')\n"
    )
    # The others run without us then, and cppTango 10.0 and 10.1 fail for an exporter that they do not know.
    text += "os.environ['TANGO_TELEMETRY_TRACES_EXPORTER'] = 'none'\n"
    (broken / f"tango_telemetry_{module}.py").write_text(text)
    result = place.run(PYTHONPATH=str(broken))
    assert result.returncode == 1
    assert f"✗ {step}" in result.stdout
    assert result.stderr.startswith(f"tango-telemetry demo: {complaint}\n")
    assert "broken on purpose" in result.stderr
    assert "_demo.py" not in result.stderr
    assert_nothing_left(place, result.stdout)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--followers", "0"], 2, "'0' is not a number from 1 to 1000"),
        (["--exporter", "console"], 2, "invalid choice: 'console'"),
        (
            ["--exporter", "http", "--endpoint", "http://127.0.0.1:1"],
            1,
            "no collector at http://127.0.0.1:1: ",
        ),
        (["--html", "no/page.html"], 1, "is not a folder that can be written to"),
        (["--html", "home"], 1, "--html home: this is a folder, a file name is needed"),
        (["--endpoint", "/dev/null/spans"], 1, "the folder for spans cannot be made: "),
    ],
)
def test_wrong_arguments_are_found_before_anything_starts(
    tmp_path: Path, arguments: list[str], status: int, message: str
) -> None:
    place = create_place(tmp_path)
    result = place.run(*arguments)
    assert (result.returncode, result.stdout) == (status, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert_nothing_left(place, "")


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OTLP collector as far as the demo sees it: it takes everything."""
    bodies: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", bodies
        server.shutdown()
        thread.join()


@needs_database
def test_to_a_collector(tmp_path: Path, collector: tuple[str, list[bytes]]) -> None:
    endpoint, bodies = collector
    place = create_place(tmp_path)
    result = place.run("--exporter", "http", "--endpoint", endpoint)
    assert (result.returncode, result.stderr) == (0, "")
    trace_id = find_trace_id(result.stdout)
    assert result.stdout.splitlines()[-1] == f"trace {trace_id} was sent to {endpoint}"
    of_trace = [body for body in bodies if bytes.fromhex(trace_id) in body]
    for service in (b"my.app", b"pytango.client", b"Leader", b"Follower"):
        assert any(service in body for body in of_trace)
    assert_nothing_left(place, result.stdout)


@pytest.mark.skipif(PYTANGO >= (10,), reason="the database server of PyTango 10 works")
def test_without_a_database_server_that_works(tmp_path: Path) -> None:
    place = create_place(tmp_path)
    result = place.run()
    assert result.returncode == 1
    assert "tango-telemetry demo: the demo needs PyTango 10" in result.stderr
    assert_nothing_left(place, result.stdout)
