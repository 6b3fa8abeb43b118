"""docs/reference/built-in.md by experiment: the same program with PyTango's own tracing, and with ours.

Where both do the same our cell begins with "same", and where they do not it does not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from integration.support import PYTANGO
from receiver import Receiver

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))
from built_in_tracing import BUILT_IN

pytestmark = pytest.mark.skipif(PYTANGO < (10, 3), reason="the page is about PyTango 10.3")

# Nobody listens there: an object for a device that is away is a span too.
PROGRAM = """
import sys
if sys.argv[1] == "ours":
    import tango_telemetry_client
import tango
try:
    tango.DeviceProxy("tango://127.0.0.1:1/test/motor/1#dbase=no")
except tango.DevFailed as error:
    print("reason:", error.args[0].reason)
"""


class Seen(NamedTuple):
    """Where spans came, as what service, what was said, and what the call itself raised."""

    places: frozenset[str]
    services: frozenset[str]
    said: frozenset[str]
    reason: str


class Place:
    """Receivers for both protocols, and a home and a folder of its own for each program."""

    def __init__(self, http: Receiver, grpc: Receiver, folder: Path) -> None:
        self.http, self.grpc, self.folder = http, grpc, folder

    def run(self, who: str, tangorc: str = "", **given: str) -> Seen:
        home = self.folder / who
        home.mkdir()
        (home / ".tangorc").write_text(tangorc)
        values = {
            name: value.format(http=self.http.endpoint, grpc=self.grpc.endpoint, folder=home / "spans")
            for name, value in given.items()
        }
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TANGO", "PYTANGO", "OTEL", "PYTHON"))
        }
        before = len(self.http.spans), len(self.grpc.spans)
        done = subprocess.run(
            [sys.executable, "-W", "default", "-c", PROGRAM, who],
            env={**inherited, "HOME": str(home), **values},
            cwd=home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback (most recent call last)" not in done.stderr, done.stderr
        came = {"http": self.http.spans[before[0] :], "grpc": self.grpc.spans[before[1] :]}
        places = {name for name, spans in came.items() if spans}
        if '"kind": "SpanKind.CLIENT"' in done.stdout:
            places.add("console")
        if list(home.glob("spans/*")):
            places.add("file")
        said = {
            kind
            for kind in ("UserWarning", "TelemetryWarning", "DeprecationWarning")
            if re.search(rf"{kind}: .*TELEMETRY", done.stderr)
        }
        reason = next((line for line in done.stdout.splitlines() if line.startswith("reason:")), "")
        services = {span.service for spans in came.values() for span in spans}
        return Seen(frozenset(places), frozenset(services), frozenset(said), reason.removeprefix("reason: "))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Receiver("http") as http, Receiver("grpc") as grpc:
        yield Place(http, grpc, tmp_path)


ON = {"TANGO_TELEMETRY_ENABLE": "on"}
HTTP = {"TANGO_TELEMETRY_TRACING_EXPORTERS": "http", "TANGO_TELEMETRY_TRACING_ENDPOINTS": "{http}"}


@pytest.mark.parametrize(
    ("variable", "given", "theirs", "ours"),
    [
        ("TANGO_TELEMETRY_ENABLE", {**HTTP}, set(), set()),
        ("TANGO_TELEMETRY_ENABLE", {**ON, **HTTP}, {"http"}, {"http"}),
        ("TANGO_TELEMETRY_TRACING_EXPORTERS", {**ON}, {"console"}, {"console"}),
        (
            "TANGO_TELEMETRY_TRACING_ENDPOINTS",
            {
                **ON,
                "TANGO_TELEMETRY_TRACING_EXPORTERS": "grpc,http",
                "TANGO_TELEMETRY_TRACING_ENDPOINTS": "{grpc},{http}",
            },
            {"grpc", "http"},
            {"grpc", "http"},
        ),
        (
            "PYTANGO_DISABLE_TELEMETRY_PATCHING",
            {**ON, **HTTP, "PYTANGO_DISABLE_TELEMETRY_PATCHING": "on"},
            {"http"},  # cppTango's own spans, which nobody patches
            {"http"},
        ),
    ],
)
def test_cells_that_say_the_same(
    place: Place, variable: str, given: dict[str, str], theirs: set[str], ours: set[str]
) -> None:
    seen = {who: place.run(who, **given) for who in ("built-in", "ours")}
    assert (seen["built-in"].places, seen["ours"].places) == (theirs, ours), seen
    assert seen["built-in"].reason == seen["ours"].reason == ""
    assert BUILT_IN[variable][1].startswith("same")


@pytest.mark.parametrize(
    ("variable", "given", "theirs", "ours"),
    [
        (
            "TANGO_TELEMETRY_TRACES_EXPORTER",
            {**ON, "TANGO_TELEMETRY_TRACES_EXPORTER": "http", "TANGO_TELEMETRY_TRACES_ENDPOINT": "{http}"},
            {"console"},
            {"http"},
        ),
        (
            "TANGO_TELEMETRY_TRACES_ENDPOINT",
            {**ON, "TANGO_TELEMETRY_TRACES_EXPORTER": "grpc", "TANGO_TELEMETRY_TRACES_ENDPOINT": "{grpc}"},
            {"console"},
            {"grpc"},
        ),
    ],
)
def test_names_of_tango_10_0_are_followed_by_us_only(
    place: Place, variable: str, given: dict[str, str], theirs: set[str], ours: set[str]
) -> None:
    seen = {who: place.run(who, **given) for who in ("built-in", "ours")}
    assert (seen["built-in"].places, seen["ours"].places) == (theirs, ours), seen
    assert (seen["built-in"].said, seen["ours"].said) == ({"DeprecationWarning"}, set())
    assert "DeprecationWarning, not followed" in BUILT_IN[variable][0]
    assert BUILT_IN[variable][1].startswith("followed")


def test_an_exporter_that_only_one_knows(place: Place) -> None:
    cell = BUILT_IN["TANGO_TELEMETRY_TRACING_EXPORTERS"][1]
    assert "`file`" in cell
    assert "another one sends nothing, with a warning" in cell
    given = {
        **ON,
        "TANGO_TELEMETRY_TRACING_EXPORTERS": "file",
        "TANGO_TELEMETRY_TRACING_ENDPOINTS": "{folder}",
    }
    theirs, ours = (place.run(who, **given) for who in ("built-in", "ours"))
    assert (theirs.reason, ours.reason) == ("API_InvalidArgs", "")
    assert (ours.places, ours.said) == ({"file"}, set())


def test_an_exporter_that_nobody_knows(place: Place) -> None:
    given = {**ON, "TANGO_TELEMETRY_TRACING_EXPORTERS": "pigeon"}
    theirs, ours = (place.run(who, **given) for who in ("built-in", "ours"))
    assert (theirs.places, ours.places) == ({"console"}, set())
    assert (theirs.said, ours.said) == ({"UserWarning"}, {"TelemetryWarning"})
    assert (theirs.reason, ours.reason) == ("API_InvalidArgs", "")


def test_no_exporter(place: Place) -> None:
    """cppTango 10.3.1 does not know the `none` that PyTango knows, and each object for a device fails."""
    theirs, ours = (
        place.run(who, **ON, TANGO_TELEMETRY_TRACING_EXPORTERS="none") for who in ("built-in", "ours")
    )
    assert (theirs.places, ours.places) == (set(), set())
    assert (theirs.reason, ours.reason) == ("API_InvalidArgs", "")


def test_tangorc_is_read_by_us(place: Place) -> None:
    tangorc = "TANGO_TELEMETRY_ENABLE=on\n" + "".join(
        f"{name}={value.format(http=place.http.endpoint)}\n" for name, value in HTTP.items()
    )
    theirs, ours = (place.run(who, tangorc) for who in ("built-in", "ours"))
    assert "http" not in theirs.places
    assert ours.places == {"http"}
    assert BUILT_IN["TANGO_TELEMETRY_ENABLE"][1] == "same, and from `tangorc`"


@pytest.mark.parametrize("name", ["", "operators.panel"])
def test_the_service_of_a_script_is_the_same(place: Place, name: str) -> None:
    given = {**ON, **HTTP, **({"PYTANGO_TELEMETRY_CLIENT_SERVICE_NAME": name} if name else {})}
    theirs, ours = (place.run(who, **given) for who in ("built-in", "ours"))
    assert theirs.services == ours.services == {name or "pytango.client"}
