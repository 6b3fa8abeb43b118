"""An omniORB that misbehaves: each failed check disables what it is about, is counted, and shows in the
status.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from native_support import run_client

SOURCE = Path(__file__).resolve().parent / "fake_omniorb.cpp"

PRELUDE = """
import ctypes, sys
from tango_telemetry_native import _bridge, giop
PARENT = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
GOOD = _bridge.giop_encode(PARENT, "a=1")
fake = ctypes.CDLL(sys.argv[1])
def status():
    return _bridge.giop_status()
def counter(name):
    return status()["counters"][name]
def serve(name=b"command_inout_5", where=344, bounded=False, length=1, list_max=4, id=giop.CONTEXT_ID, data=GOOD,
          size=None, data_max=None):
    size = len(data) if size is None else size
    fake.fake_serve(name, where, bounded, length, list_max, id, data, size, size if data_max is None else data_max)
    return giop.get_incoming()
def install():
    return _bridge.giop_install(sys.argv[1])
"""  # noqa: E501


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    library = tmp_path_factory.mktemp("fake") / "libfake.so"
    subprocess.run([compiler, "-std=c++17", "-shared", "-fPIC", str(SOURCE), "-o", str(library)], check=True)
    return str(library)


@pytest.mark.parametrize("version", ["0x04010000", "0x04040000", "0x05000000", "0"])
def test_other_versions_are_refused(fake: str, version: str) -> None:
    script = f"""
fake.fake_set_version({version})
assert not install()
assert "not supported" in status()["reason"] and not status()["installed"]
assert counter("failed_checks") == 1
"""
    run_client(PRELUDE + script, fake)


def test_a_library_without_the_symbols_is_refused(fake: str) -> None:
    script = """
assert not _bridge.giop_install(_bridge.__file__)
assert "omniORB has no symbol" in status()["reason"]
"""
    run_client(PRELUDE + script, fake)


def test_no_dynamic_invocation_library(fake: str) -> None:
    """Asynchronous requests carry nothing then; the rest works."""
    script = """
assert install()
assert status()["client"] and status()["server"] and not status()["asynchronous"]
assert "_invoke_async" in status()["reason"]
assert serve() == (PARENT, "a=1")
giop.set_outgoing(PARENT, "")
assert fake.fake_send(False, 0, 5) == 1
"""
    run_client(PRELUDE + script, fake)


def test_another_server_layout_disables_the_server(fake: str) -> None:
    script = """
assert install()
before = counter("failed_checks")
assert serve(where=0) is None
assert not status()["server"] and status()["client"]
assert "another layout" in status()["reason"]
assert counter("failed_checks") == before + 1
assert serve() is None  # for good
"""
    run_client(PRELUDE + script, fake)


def test_a_long_operation_name_disables_nothing(fake: str) -> None:
    """It stands elsewhere in any layout, and the peer chooses it."""
    script = """
assert install()
assert serve() == (PARENT, "a=1")
assert serve(name=b"x" * 40, where=0) is None
assert status()["server"] and counter("dropped_unverified") == 1
assert serve() == (PARENT, "a=1")
"""
    run_client(PRELUDE + script, fake)


@pytest.mark.parametrize("wrong", ["bounded=True", "length=5", "length=2**32 - 1", "list_max=0"])
def test_another_list_layout_disables_the_server(fake: str, wrong: str) -> None:
    script = f"""
assert install()
assert serve({wrong}) is None
assert not status()["server"]
"""
    run_client(PRELUDE + script, fake)


@pytest.mark.parametrize(
    ("what", "dropped"),
    [
        ("size=100, data_max=50", "dropped_malformed"),
        ("data=None, size=10", "dropped_malformed"),
        ("size=0", "dropped_malformed"),
        ("size=40", "dropped_malformed"),
        ("data=GOOD + b'x' * 2000", "dropped_too_large"),
        ("data=b'\\xff' * 100", "dropped_malformed"),
        ("id=1", None),
        ("length=0", None),
    ],
)
def test_what_a_peer_may_send(fake: str, what: str, dropped: str | None) -> None:
    script = f"""
assert install()
assert serve() == (PARENT, "a=1")
assert serve({what}) is None
assert {dropped!r} is None or counter({dropped!r}) == 1
assert status()["server"]
assert serve(length=90, list_max=100) == (PARENT, "a=1")
assert serve(id=2) is None
"""
    run_client(PRELUDE + script, fake)


@pytest.mark.parametrize("wrong", ["True, 0, 5", "False, 6, 5", "False, 3, 5"])
def test_another_client_layout_disables_the_client(fake: str, wrong: str) -> None:
    script = f"""
assert install()
assert fake.fake_send({wrong}) == {wrong.split(",")[1]}  # not traced: not looked at
assert status()["client"]
giop.set_outgoing(PARENT, "")
assert fake.fake_send({wrong}) == {wrong.split(",")[1]}
assert not status()["client"] and status()["server"]
assert fake.fake_send(False, 0, 5) == 0
"""
    run_client(PRELUDE + script, fake)


def test_a_second_omniorb_is_refused(fake: str, tmp_path: Path) -> None:
    other = tmp_path / "libother.so"
    shutil.copy(fake, other)
    script = """
assert install()
ctypes.CDLL(sys.argv[2])
assert not _bridge.giop_install(sys.argv[2])
assert "another omniORB" in status()["reason"] and status()["installed"]
assert install()
"""
    run_client(PRELUDE + script, fake, str(other))
