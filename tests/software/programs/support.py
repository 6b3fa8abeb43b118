"""What the checks here share: free ports, a Tango database, device servers, programs run beside a test."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import tango

HERE = Path(__file__).resolve().parent
MOTOR = "test/motor/1"
SPANS = "TANGO_TELEMETRY_SOFTWARE_SPANS"
"""The variable that names the folder of the spans; it is set in the mode `on` only."""


def find_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def wait_until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Ask ``condition`` until it is true; what Tango or the operating system raises meanwhile counts as "not
    yet".
    """
    end = time.monotonic() + seconds
    reason: object = "it is not so"
    while time.monotonic() < end:
        try:
            if condition():
                return
        except (tango.DevFailed, OSError) as error:
            reason = error
        time.sleep(0.05)
    raise TimeoutError(f"{what}: not within {seconds:g} s, {reason}")


@contextmanager
def run_program(
    log: Path, *command: str, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program beside the test; SIGTERM ends it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


@contextmanager
def run_motor(log: Path) -> Iterator[str]:
    """Run motor.py without a database; gives the name for a proxy."""
    port = find_port()
    name = f"tango://127.0.0.1:{port}/{MOTOR}#dbase=no"
    command = (sys.executable, str(HERE / "motor.py"), "test", "-nodb", "-dlist", MOTOR)
    with run_program(log, *command, "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"):
        wait_until(lambda: tango.DeviceProxy(name).ping() > 0, "motor.py")
        yield name


@contextmanager
def run_database(log: Path) -> Iterator[tango.Database]:
    """Run PyTango's database server, in memory; TANGO_HOST names it meanwhile."""
    port = find_port()
    os.environ |= {"TANGO_HOST": f"127.0.0.1:{port}", "PYTANGO_DATABASE_NAME": ":memory:"}
    command = (sys.executable, "-m", "tango.databaseds.database", "--host=127.0.0.1", f"--port={port}", "2")
    try:
        with run_program(log, *command):
            wait_until(lambda: tango.Database().get_info(), "the database")
            yield tango.Database()
    finally:
        del os.environ["TANGO_HOST"], os.environ["PYTANGO_DATABASE_NAME"]


def add_device(database: tango.Database, server: str, device_class: str, name: str) -> None:
    information = tango.DbDevInfo()
    information.server, information._class, information.name = server, device_class, name
    database.add_device(information)
