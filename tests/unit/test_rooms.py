"""Which room reaches which library: imports by name, which the import checker (``make layers``)
cannot see.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tango_telemetry import instrumentation

ROOT = Path(__file__).resolve().parents[2] / "packages"
LIBRARIES = ("opentelemetry", "tango", "tango_telemetry_native")
BY_NAME = ("import_module", "find_spec", "__import__")

# Where a library may be named, and why there. A path that ends in a slash is a room.
ROOMS = {
    "opentelemetry": (
        "core/otel/",
        # asks for the status of a span, which is there only if the API is
        "core/pipeline/process/open_spans.py",
    ),
    "tango": (
        "core/pytango/",
        "core/context/bridges.py",  # cppTango's own way for the context is a submodule of PyTango's
        "core/pipeline/process/exit.py",  # asks whether it is loaded
        "client/",
        "server/",
    ),
    "tango_telemetry_native": (
        "core/_native.py",
        "core/pipeline/process/open_spans.py",  # asks whether spans in C++ are in use
        "core/pipeline/exporters/otlp.py",  # asks whether JSON can be written in C++
    ),
}


def find_names(source: str) -> Iterator[tuple[str, int]]:
    """Yield each library that is imported by name or looked up in ``sys.modules``, with the line."""
    for node in ast.walk(ast.parse(source)):
        found: list[ast.expr] = []
        if isinstance(node, ast.Call):
            function = node.func
            called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            of_modules = isinstance(function, ast.Attribute) and _is_modules(function.value)
            found = node.args[:1] if called in BY_NAME or of_modules else []
        elif isinstance(node, ast.Subscript) and _is_modules(node.value):
            found = [node.slice]
        elif isinstance(node, ast.Compare) and any(map(_is_modules, node.comparators)):
            found = [node.left]
        for each in found:
            text = each.values[0] if isinstance(each, ast.JoinedStr) else each
            if isinstance(text, ast.Constant) and str(text.value).partition(".")[0] in LIBRARIES:
                yield str(text.value).partition(".")[0], each.lineno


def _is_modules(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "modules"


@pytest.mark.parametrize(
    ("source", "library"),
    [
        ('importlib.import_module("tango.server")', "tango"),
        ('import_module("opentelemetry.trace")', "opentelemetry"),
        ('__import__("tango")', "tango"),
        ('importlib.util.find_spec("opentelemetry")', "opentelemetry"),
        ('sys.modules["tango"]', "tango"),
        ('sys.modules.get("tango_telemetry_native.spans")', "tango_telemetry_native"),
        ('"tango" in sys.modules', "tango"),
        ('import_module(f"tango_telemetry_native.{name}")', "tango_telemetry_native"),
    ],
)
def test_each_way_to_name_a_library_is_seen(source: str, library: str) -> None:
    assert [name for name, _ in find_names(f"import sys\n{source}")] == [library]


@pytest.mark.parametrize(
    "source", ['import_module("tango_telemetry.state")', 'found["tango"]', '"tango" in names']
)
def test_what_names_no_library_is_passed_over(source: str) -> None:
    assert list(find_names(source)) == []


def test_a_library_is_named_in_its_room_only() -> None:
    outside, used = [], set()
    for package in ("core", "client", "server"):
        module = "tango_telemetry" if package == "core" else f"tango_telemetry_{package}"
        folder = ROOT / f"tango-telemetry-{package}" / "src" / module
        for path in sorted(folder.rglob("*.py")):
            place = f"{package}/{path.relative_to(folder).as_posix()}"
            for library, line in find_names(path.read_text()):
                room = next((each for each in ROOMS[library] if place.startswith(each)), None)
                used.add((library, room))
                if room is None:
                    outside.append(f"{place}:{line} names {library}")
    assert outside == []
    assert {(library, room) for library, rooms in ROOMS.items() for room in rooms} == used


# What Windows does not have; each has a function of its own in the core's base/system.py.
UNIX_ONLY = {
    "os": (
        "register_at_fork",
        "fork",
        "getloadavg",
        "geteuid",
        "getuid",
        "O_CLOEXEC",
        "O_NOFOLLOW",
        "O_NONBLOCK",
    ),
    "signal": ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGALRM", "pthread_sigmask", "pthread_kill", "setitimer"),
    "select": ("poll", "epoll", "POLLOUT", "PIPE_BUF"),
    "fcntl": (),
    "resource": (),
}


def test_what_windows_does_not_have_is_asked_for_in_one_place() -> None:
    found = []
    for package in ("core", "client", "server", "tools", "auto"):
        for path in (ROOT / f"tango-telemetry-{package}" / "src").rglob("*.py"):
            if path.match("base/system.py"):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    if node.attr in UNIX_ONLY.get(node.value.id, ()):
                        found.append(f"{path.name}:{node.lineno} {node.value.id}.{node.attr}")
                elif isinstance(node, ast.Import):
                    found += [
                        f"{path.name}:{node.lineno} {one.name}"
                        for one in node.names
                        if UNIX_ONLY.get(one.name) == ()
                    ]
    # A fresh instance of the module is asked whether it has them.
    assert [one for one in found if not one.startswith("originals.py")] == []


def test_the_door_of_the_two_packages_is_what_they_use_and_what_is_written_down() -> None:
    sources = [
        source.read_text()
        for name in ("client", "server")
        for source in (ROOT / f"tango-telemetry-{name}").glob("src/*/*.py")
    ]
    used = {
        alias.name
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module == "tango_telemetry.instrumentation"
        for alias in node.names
    }
    record = (ROOT.parent / "docs/decisions/0001-seams.md").read_text()
    written = set(re.findall(r"`(\w+)`", record[record.index("| what for |") :]))
    assert used == set(instrumentation.__all__) == written
