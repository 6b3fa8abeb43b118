"""Servers and scripts that nobody edited are traced by the settings alone, however they are started."""

from __future__ import annotations

import ast
import contextlib
import json
import math
import re
import shutil
import statistics
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pip
import pytest
from environments import ROOT, Environment, run_pip
from integration.support import Server, find_free_port
from receiver import Receiver

HERE = Path(__file__).parent
DEVICE = "test/motor/1"
WAYS = ("file", "module", "package", "console script", "isolated", "zip")


def command_of(environment: Environment, way: str) -> list[str]:
    python = str(environment.python)
    return {
        "file": [python, "Motor.py"],
        "module": [python, "-m", "lab_motor.Motor"],
        "package": [python, "-m", "lab_motor"],
        "console script": [str(environment.python.parent / "Motor")],
        "isolated": [python, "-u", "-I", "Motor.py"],
        "zip": [python, "Motor.pyz"],
    }[way]


@contextlib.contextmanager
def running(environment: Environment, folder: Path, way: str, variables: dict[str, str]) -> Iterator[Server]:
    """The plain server, started in one of the ways."""
    shutil.copy(HERE / "plain_server.py", folder / "Motor.py")
    with zipfile.ZipFile(folder / "Motor.pyz", "w") as archive:
        archive.write(HERE / "plain_server.py", "lab_zip.py")
        archive.writestr("__main__.py", "import lab_zip\nlab_zip.main()\n")
    port = find_free_port()
    options = ["test", "-nodb", "-dlist", DEVICE, "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"]
    server = Server([*command_of(environment, way), *options], variables, folder)
    server.port = port
    try:
        server.wait_for("Ready to accept request")
        yield server
    finally:
        server.kill(15)


def run(environment: Environment, folder: Path, script: str, *arguments: str, **variables: str) -> str:
    """Run a script to its end and return all that it printed."""
    done = subprocess.run(
        [str(environment.python), "-c", script, *arguments],
        cwd=folder,
        env=environment.variables(HOME=str(folder), **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def settings(endpoint: str) -> dict[str, str]:
    return {
        "TANGO_TELEMETRY_ENABLE": "on",
        "TANGO_TELEMETRY_TRACING_EXPORTERS": "http",
        "TANGO_TELEMETRY_TRACING_ENDPOINTS": endpoint,
        # How soon a process ends is not asked here; on a busy machine a second is not enough for all spans.
        "PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT": "20",
    }


CALL = "import sys, tango\nprint(tango.DeviceProxy(sys.argv[1]).position)"
PLAIN_CHILD = """
import tango
from tango.server import Device
from tango.test_context import DeviceTestContext
class Empty(Device):
    pass
with DeviceTestContext(Empty, process=False) as proxy:
    proxy.ping()
print("child done")
"""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", ["environment", "tangorc"])
def test_traced_as_if_each_had_our_import(
    environment: Environment, tmp_path: Path, way: str, place: str
) -> None:
    with Receiver("http") as receiver:
        given = settings(receiver.endpoint)
        if place == "tangorc":
            (tmp_path / ".tangorc").write_text("".join(f"{name}={value}\n" for name, value in given.items()))
            given = {}
        variables = environment.variables(HOME=str(tmp_path), **given)
        with running(environment, tmp_path, way, variables) as server:
            name = server.proxy_name(DEVICE)
            assert run(environment, tmp_path, CALL, name, **given).strip() == "1.5"
        (served,) = (span for span in receiver.spans if span.name == "Motor.read position")
        (called,) = (span for span in receiver.spans if span.name == "read_attribute position")
        assert served.parent_span_id == called.span_id
        assert (served.service, served.resource["service.instance.id"]) == ("Motor", DEVICE)
        assert called.service == "pytango.client"
        assert "Warning" not in server.output


FIRST = {
    "a submodule": "import tango.server",
    "from the package": "from tango import DeviceProxy",
    "our own package": "import tango_telemetry_server",
    "in a thread": "import threading\nt = threading.Thread(target=__import__, args=('tango',))\nt.start(); t.join()",  # noqa: E501
    "in many threads": (
        "import threading\nb = threading.Barrier(4)\n"
        "def load(name):\n    b.wait(); __import__(name)\n"
        "ts = [threading.Thread(target=load, args=(n,)) for n in 4 * ['tango']]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]"
    ),
    "by importlib": "import importlib\nimportlib.import_module('tango.asyncio')",
    "reloaded": "import importlib, tango\nassert importlib.reload(tango) is tango",
    "looked for before": (
        "import copy, importlib.resources, importlib.util, pickle\n"
        "spec = importlib.util.find_spec('tango')\n"
        "pickle.loads(pickle.dumps(spec.loader)); copy.copy(spec.loader)\n"
        "import tango\nassert importlib.resources.files('tango').joinpath('server.py').is_file()"
    ),
    "through a module of somebody's": "import runpy\nrunpy.run_module('tango.release')",
}
STATE = """
import json, sys, tango
ours = sys.modules.get("tango_telemetry_client")
print(json.dumps({
    "client": ours is not None and ours.TangoClientInstrumentor().is_instrumented_by_opentelemetry,
    "spec": type(tango.__spec__.loader).__name__, "loader": type(tango.__loader__).__name__,
    "waits": any(type(f).__name__ == "TangoFinder" for f in sys.meta_path),
    "ours": sorted(m for m in sys.modules if m.startswith("tango_telemetry") and not m.startswith("tango_telemetry_auto")),
    "classes": [c.__name__ for c in tango.DeviceImpl.__bases__]}))
"""  # noqa: E501


def state(environment: Environment, folder: Path, first: str, **variables: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(environment, folder, first + STATE, **variables).splitlines()[-1])
    return found


@pytest.mark.parametrize("first", FIRST)
def test_whatever_imports_tango_first(environment: Environment, tmp_path: Path, first: str) -> None:
    found = state(
        environment,
        tmp_path,
        FIRST[first],
        TANGO_TELEMETRY_ENABLE="on",
        TANGO_TELEMETRY_TRACES_EXPORTER="none",
    )
    assert found["client"]
    assert (found["spec"], found["loader"]) == ("SourceFileLoader", "SourceFileLoader")
    assert not found["waits"]


def test_tango_imported_by_another_start_file(environment: Environment, tmp_path: Path) -> None:
    (site,) = environment.python.parent.parent.glob("lib/python*/site-packages")
    early = site / "a_first.pth"
    early.write_text("import tango\n")
    try:
        assert state(
            environment, tmp_path, "", TANGO_TELEMETRY_ENABLE="on", TANGO_TELEMETRY_TRACES_EXPORTER="none"
        )["client"]
    finally:
        early.unlink()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"TANGO_TELEMETRY_ENABLE": "off"},
        {"TANGO_TELEMETRY_ENABLE": ""},
        {"TANGO_TELEMETRY_ENABLE": "on", "PYTANGO_TELEMETRY_AUTO": "off"},
    ],
)
def test_off_touches_and_loads_nothing(
    environment: Environment, tmp_path: Path, variables: dict[str, str]
) -> None:
    (tmp_path / ".tangorc").write_text("TANGO_HOST=localhost:10000\n")
    found = state(environment, tmp_path, "import tango.server", **variables)
    assert found == {
        "client": False,
        "spec": "SourceFileLoader",
        "loader": "SourceFileLoader",
        "waits": False,
        "ours": [],
        "classes": found["classes"],
    }
    assert "TelemetryDevice" not in found["classes"]


def doctor(environment: Environment, folder: Path, *options: str, **variables: str) -> dict[str, Any]:
    """What ``tango-telemetry doctor`` says is installed."""
    done = subprocess.run(
        [str(environment.python), *options, "-m", "tango_telemetry_tools", "doctor", "--json"],
        cwd=folder,
        env=environment.variables(HOME=str(folder), TANGO_TELEMETRY_ENABLE="on", **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("way", ["as installed", "switched off", "start file away"])
def test_doctor_says_whether_it_is_in_force(environment: Environment, tmp_path: Path, way: str) -> None:
    pth = site_packages(environment.python) / "tango_telemetry_auto.pth"
    variables = {"PYTANGO_TELEMETRY_AUTO": "off"} if way == "switched off" else {}
    if way == "start file away":
        pth.rename(tmp_path / "away")
    try:
        found = doctor(environment, tmp_path, **variables)
    finally:
        if way == "start file away":
            (tmp_path / "away").rename(pth)
    expected = {"as installed": "in force", "switched off": "switched off", "start file away": "not run"}
    assert found["installed"]["auto"] == expected[way]
    warned = [problem["fix"] for problem in found["problems"] if "tango-telemetry-auto" in problem["what"]]
    assert (
        warned
        == {
            "as installed": [],
            "switched off": ["unset PYTANGO_TELEMETRY_AUTO"],
            "start file away": ["pip install --force-reinstall --no-deps tango-telemetry-auto"],
        }[way]
    )


def test_a_python_without_tango_loads_one_small_module(environment: Environment, tmp_path: Path) -> None:
    script = "import sys; print(sorted(m for m in sys.modules if 'telemetry' in m))"
    for variables in ({}, {"TANGO_TELEMETRY_ENABLE": "on"}):
        assert run(environment, tmp_path, script, **variables) == "['tango_telemetry_auto']\n"


@pytest.mark.parametrize("broken", ["tango_telemetry_server", "tango_telemetry", "tango_telemetry_client"])
def test_a_broken_installation_is_said_once_and_stops_nothing(
    environment: Environment, tmp_path: Path, broken: str
) -> None:
    (tmp_path / f"{broken}.py").write_text("raise RuntimeError('half of a package')\n")
    output = run(
        environment, tmp_path, "import tango, tango.server\nprint('goes on')", TANGO_TELEMETRY_ENABLE="on"
    )
    assert output.count("half of a package") == 1
    assert output.endswith("goes on\n")
    assert "pip check" in output


@pytest.mark.parametrize(
    ("patterns", "traced"),
    [
        ("Motor/*", True),
        ("motor", True),
        ("!Motor", False),
        ("Other/*", False),
        ("*/test,!Motor/test", False),
        ("!*/1", True),
    ],
)
def test_servers_chosen_by_name(
    environment: Environment, tmp_path: Path, patterns: str, traced: bool
) -> None:
    with Receiver("http") as receiver:
        given = {**settings(receiver.endpoint), "PYTANGO_TELEMETRY_SERVERS": patterns}
        variables = environment.variables(HOME=str(tmp_path), **given)
        with running(environment, tmp_path, "file", variables) as server:
            run(environment, tmp_path, CALL, server.proxy_name(DEVICE), TANGO_TELEMETRY_ENABLE="off")
        # One that is left out is not traced by PyTango's own tracing either.
        assert ("Motor" in {span.service for span in receiver.spans}) is traced
        assert ("position" in " ".join(span.name for span in receiver.spans)) is traced


def test_children_see_what_the_user_has_set(environment: Environment, tmp_path: Path) -> None:
    """Also one without our packages, which prints and sends what it would when nothing traces its parent."""
    bare = "import sys\nsys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != 'TangoFinder']\n"
    with Receiver("http") as receiver:
        given = settings(receiver.endpoint)
        alone = run(environment, tmp_path, bare + PLAIN_CHILD, **given)
        sent_alone = sorted((span.service, span.name) for span in receiver.spans)
        assert sent_alone
        count = len(receiver.spans)
        variables = environment.variables(HOME=str(tmp_path), **given)
        with running(environment, tmp_path, "file", variables) as server:
            name = server.proxy_name(DEVICE)
            ask = "import sys, tango\np = tango.DeviceProxy(sys.argv[1])\np.set_timeout_millis(60000)\nprint(p.Environment()); print(p.RunChild(sys.argv[2]))"  # noqa: E501
            seen, _, printed = run(
                environment, tmp_path, ask, name, bare + PLAIN_CHILD, TANGO_TELEMETRY_ENABLE="off"
            ).partition("\n")
        assert dict(ast.literal_eval(seen)) == {**given, "PYTANGO_TELEMETRY_RAISE_INTERNAL_ERRORS": "on"}
        assert printed.strip() == alone.strip()
        ours = {span.span_id for span in receiver.spans if span.resource.get("service.instance.id") == DEVICE}
        sent = sorted(
            (span.service, span.name) for span in receiver.spans[count:] if span.span_id not in ours
        )
        assert sent == sent_alone


def site_packages(python: Path) -> Path:
    (site,) = python.parent.parent.glob("lib/python*/site-packages")
    return site


def is_switched_on(python: Path, folder: Path, environment: Environment) -> bool:
    """Whether a program of an interpreter that only imports ``tango`` is traced."""
    done = subprocess.run(
        [str(python), "-c", STATE],
        cwd=folder,
        env=environment.variables(
            HOME=str(folder), TANGO_TELEMETRY_ENABLE="on", TANGO_TELEMETRY_TRACING_EXPORTERS="none"
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return bool(json.loads(done.stdout.splitlines()[-1])["client"])


def test_installed_in_place(environment: Environment, tmp_path: Path) -> None:
    """``pip install -e`` of the package, in an environment that has the others on its path only."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(tmp_path / "own")
    python = tmp_path / "own" / "bin" / "python"
    # The start files of a folder that a .pth names are not run.
    (site_packages(python) / "others.pth").write_text(f"{site_packages(environment.python)}\n")
    assert not is_switched_on(python, tmp_path, environment)
    package = str(ROOT / "packages/tango-telemetry-auto")
    run_pip("install", "--no-deps", "-e", package, python=python)
    assert is_switched_on(python, tmp_path, environment)


def test_installed_in_the_system_of_an_environment(environment: Environment, tmp_path: Path) -> None:
    """An environment with ``--system-site-packages`` of a Python in whose own site-packages it is."""
    base = Path(sys.base_prefix)
    version = site_packages(environment.python).parent.name
    system = tmp_path / "system"
    (system / "lib" / version).mkdir(parents=True)
    for path in (*(base / "lib").glob("libpython*"), *(base / "lib" / version).iterdir()):
        if path.name != "site-packages":
            (system / path.relative_to(base)).symlink_to(path)
    (system / "lib" / version / "site-packages").symlink_to(site_packages(environment.python))
    (system / "bin").mkdir()
    shutil.copy(Path(sys.executable).resolve(), system / "bin" / version)
    made = [str(system / "bin" / version), "-m", "venv", "--without-pip"]
    for options, expected in ((["--system-site-packages"], True), ([], False)):
        own = tmp_path / f"own{len(options)}"
        subprocess.run([*made, *options, str(own)], check=True, timeout=60, env=environment.variables())
        if expected:
            assert is_switched_on(own / "bin" / "python", tmp_path, environment)
        else:  # nothing of the system's is there, PyTango neither
            script = "import importlib.util as u; print(u.find_spec('tango'))"
            command = [str(own / "bin" / "python"), "-c", script]
            assert subprocess.check_output(command, text=True, timeout=60, cwd=tmp_path) == "None\n"


PIP = """
import runpy, sys
sys.path.append(sys.argv.pop())
sys.argv[:] = ["pip", "--version"]
runpy.run_module("pip", run_name="__main__")
"""
PROGRAMS = {
    "python -c pass": ("-c", "pass"),
    "pip --version": ("-c", PIP, str(Path(pip.__file__).parents[1])),
}
# A small program of its own: its children are begun from little memory.
MEASURE = """
import os, sys
python, pth, away, rounds, *command = sys.argv[1:]
environment = {name: os.environ[name] for name in ("PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
def cost():
    pid = os.posix_spawn(python, [python, *command], environment, file_actions=silent)
    _, status, used = os.wait4(pid, 0)
    assert status == 0, status
    return (used.ru_utime + used.ru_stime) * 1000
def cost_without():
    os.rename(pth, away)
    try:
        return cost()
    finally:
        os.rename(away, pth)
cost(), cost_without()
for number in range(int(rounds)):
    if number % 2:
        given, without = cost(), cost_without()
    else:
        without, given = cost_without(), cost()
    print(given, without)
"""


@dataclass(frozen=True)
class Cost:
    """What a start costs in milliseconds of processor time."""

    program: float
    difference: float
    most: float
    """The upper end of the interval that holds the median of the differences with 97.5 %."""


def measure(environment: Environment, away: Path, rounds: int, command: Sequence[str]) -> Cost:
    """Run pairs with the start file and with it taken away, in turn."""
    pth = str(site_packages(environment.python) / "tango_telemetry_auto.pth")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(environment.python), pth, str(away), str(rounds), *command],
        env=environment.variables(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pairs = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
    differences = sorted(given - without for given, without in pairs)
    # An interval for a median without a word on the distribution: order statistics.
    last = math.ceil(rounds / 2 + 1.96 * math.sqrt(rounds) / 2)
    return Cost(
        statistics.median(without for _, without in pairs),
        statistics.median(differences),
        differences[min(last, rounds - 1)],
    )


def instructions(environment: Environment, command: Sequence[str]) -> int:
    """Return how many instructions a program takes, which no other program of the machine changes."""
    done = subprocess.run(
        [
            *("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"),
            *(str(environment.python), *command),
        ],
        env=environment.variables(PYTHONHASHSEED="0"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (count,) = re.findall(r"I\s+refs:\s+([\d,]+)", done.stderr)
    return int(count.replace(",", ""))


def test_start_costs_a_python_next_to_nothing(environment: Environment, tmp_path: Path) -> None:
    """Less than 1 ms, in processor time, which other programs of the machine do not lengthen much."""
    site = site_packages(environment.python)
    start_files = [path for path in site.iterdir() if path.suffix in (".pth", ".start")]
    assert {path.name for path in start_files} >= {"tango_telemetry_auto.pth", "tango_telemetry_auto.start"}
    cost = measure(environment, tmp_path / "away", 200, PROGRAMS["python -c pass"])
    print(cost)
    assert cost.most < 1.0, cost


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind counts the instructions")
@pytest.mark.parametrize("program", PROGRAMS)
def test_start_takes_few_instructions_more(environment: Environment, tmp_path: Path, program: str) -> None:
    """Less than what the same program does in 1 ms: a count has no noise, which for pip is some ms."""
    command = PROGRAMS[program]
    pth = site_packages(environment.python) / "tango_telemetry_auto.pth"
    given = instructions(environment, command)
    pth.rename(tmp_path / "away")
    try:
        without = instructions(environment, command)
    finally:
        (tmp_path / "away").rename(pth)
    cost = measure(environment, tmp_path / "away", 20, command)
    took = (given - without) * cost.program / without
    print(f"{program}: {given - without} of {without} instructions more, {took:.2f} ms")
    assert given != without
    assert took < 1.0
