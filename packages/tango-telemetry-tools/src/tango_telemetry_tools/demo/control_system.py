"""A Tango control system for the demo: a database server and two device servers on free ports, in a folder
that goes away.
"""

from __future__ import annotations

import functools
import re
import site
import socket
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from tango_telemetry.settings import variables as env

from .processes import Program, ProgramError, Programs

PROGRAMS = Path(__file__).parent / "programs"
LEADER = "demo/leader/1"

_READY = "Ready to accept request"
_START_TIMEOUT = 60.0
_CLIENT_TIMEOUT = 120.0
# Seconds. Programs give spans up that a busy machine could not write within a second of the exit; the demo's
# are shown.
_SHUTDOWN_TIMEOUT = "5"
_PORT_ATTEMPTS = 5

# Settings of the user's own that would turn the demo into another one. Everything else of OTEL_* and
# PYTANGO_* stays: headers and certificates for a collector, a bridge to try.
_NOT_INHERITED = (
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "PYTANGO_DISABLE_TELEMETRY_PATCHING",
    "PYTANGO_TELEMETRY_CLIENT_SERVICE_NAME",
)


def create_environment(
    inherited: Mapping[str, str], home: Path, telemetry: Mapping[str, str]
) -> dict[str, str]:
    """Return what all programs of the demo share; `telemetry` is added as it stands."""
    environment = {
        name: value
        for name, value in inherited.items()
        if not name.startswith("TANGO_") and name not in _NOT_INHERITED
    }
    environment.setdefault(env.PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT, _SHUTDOWN_TIMEOUT)
    environment.update(telemetry)
    # Nothing is read from the user's ~/.tangorc, nor written to the home. Packages installed with `pip
    # install --user` are found through the home too, so their place is named.
    environment["PYTHONUSERBASE"] = site.getuserbase()
    environment["HOME"] = str(home)
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


class ControlSystem:
    """Starts the programs one after the other; `programs` stops them."""

    def __init__(
        self, programs: Programs, folder: Path, telemetry: Mapping[str, str], inherited: Mapping[str, str]
    ) -> None:
        self.host = ""
        self._programs = programs
        self._folder = folder
        self._environment = create_environment(inherited, folder, telemetry)

    def start_database(self) -> None:
        """Start PyTango's database server with SQLite. Raises ProgramError."""
        pytango = version("pytango")
        numbers = tuple(int(number) for number in re.findall(r"\d+", pytango)[:3])
        if numbers < (10,):
            raise ProgramError(
                f"the demo needs PyTango 10: the database server of {pytango} waits for itself for ever "
                "while it makes "
                "its tables. Programs of your own are traced with it too: docs/how-to/tango9.md"
            )
        for attempt in range(_PORT_ATTEMPTS):
            port = _find_free_port()
            self.host = self._environment["TANGO_HOST"] = f"127.0.0.1:{port}"
            environment = {
                **self._create_untraced(),
                "PYTANGO_DATABASE_NAME": str(self._folder / "tango_database.db"),
            }
            command = [
                sys.executable,
                "-m",
                "tango.databaseds.database",
                # Before 10.0.3 there is no such option, and the server listens on every address.
                *(("--host=127.0.0.1",) if numbers >= (10, 0, 3) else ()),
                f"--port={port}",
                "2",
            ]
            database = self._programs.start("database server", command, environment, self._folder)
            try:
                database.wait_until(functools.partial(_is_listening, port), _START_TIMEOUT)
                return
            except ProgramError:
                # Somebody else may have taken the port since it was found free.
                self._programs.stop(database)
                if attempt == _PORT_ATTEMPTS - 1 or _is_free(port):
                    raise

    def register_devices(self, followers: int) -> None:
        """Tell the database which devices there are. Raises ProgramError."""
        command = [sys.executable, str(PROGRAMS / "register.py"), str(followers)]
        title = "registration of the devices"
        self._programs.start(title, command, self._create_untraced(), self._folder).wait(_START_TIMEOUT)

    def _create_untraced(self) -> dict[str, str]:
        """Return the environment of a program without us: cppTango 10.0 and 10.1 fail for the exporter
        ``file``, even when off.
        """
        untraced = {
            name: value
            for name, value in self._environment.items()
            if not name.startswith("TANGO_TELEMETRY_")
        }
        return {**untraced, "TANGO_TELEMETRY_ENABLE": "off"}

    def start_servers(self) -> tuple[Program, ...]:
        """Start both device servers side by side. Raises ProgramError."""
        servers = tuple(
            self._programs.start(
                f"{name.capitalize()} server",
                [sys.executable, str(PROGRAMS / f"{name}.py"), "demo", "-ORBendPoint", "giop:tcp:127.0.0.1:"],
                self._environment,
                self._folder,
            )
            for name in ("leader", "follower")
        )
        for server in servers:
            server.wait_for(_READY, _START_TIMEOUT)
        return servers

    def run_client(
        self, followers: int, report: Path, started: Callable[[Program], None] = lambda program: None
    ) -> Program:
        """Run the client script to its end. Raises ProgramError."""
        script = [
            str(PROGRAMS / "client.py"),
            LEADER,
            *(f"demo/follower/{number}" for number in range(1, followers + 1)),
        ]
        command = [sys.executable, "-m", f"{__package__}.launch", str(report), *script]
        client = self._programs.start("client script", command, self._environment, self._folder)
        started(client)
        client.wait(_CLIENT_TIMEOUT)
        return client


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
