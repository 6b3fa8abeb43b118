"""Pipes, which PyTango has up to 10.0: a span on each side for each read, write and refusal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tango.server
from integration.server_operation import assert_operation, run
from integration.support import BRIDGES, Server, System, find_span

pytestmark = pytest.mark.skipif(not hasattr(tango.server, "pipe"), reason="this PyTango has no pipes")

HIGH = """
import tango, tango_telemetry_server
from tango.server import Device, command, pipe, run

class Scan(Device):
    _regions = ("regions", {"first": 1})
    _open = True

    @pipe(fisallowed="is_regions_allowed")
    def regions(self):
        return self._regions

    @regions.write
    def regions(self, value):
        self._regions = value

    def is_regions_allowed(self, request):
        return self._open

    @pipe
    def broken(self):
        tango.Except.throw_exception("NoRegions", "there are none", "Scan.broken")

    @command(dtype_in=str)
    def Forward(self, name):
        proxy = tango.DeviceProxy(name)
        proxy.write_pipe("regions", proxy.read_pipe("regions"))

    @command
    def Shut(self):
        self._open = False

run((Scan,))
"""
LOW = """
import sys
import tango, tango_telemetry_server

class Scan(tango.LatestDeviceImpl):
    def __init__(self, cls, name):
        super().__init__(cls, name)
        self.regions = dict(name="regions", data=[dict(name="first", value=1)])
    def read_regions(self, pipe):
        pipe.set_value(("regions", {"first": 1}))
    def write_regions(self, pipe):
        pipe.get_value()

class ScanClass(tango.DeviceClass):
    pipe_list = {"regions": [tango.PipeWriteType.PIPE_READ_WRITE]}

util = tango.Util(sys.argv)
util.add_class(ScanClass, Scan, "Scan")
util.server_init()
print("Ready to accept request", flush=True)
util.server_run()
"""


@pytest.fixture(scope="module", params=BRIDGES)
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    with System(request.param) as system:
        yield system


@pytest.fixture(scope="module")
def high(system: System) -> Server:
    return system.start_server(HIGH, "Scan/high", "test/scan/1", "test/scan/2")


def test_read_and_write(system: System, high: Server) -> None:
    run(
        system,
        high,
        "blob = device.read_pipe('regions'); assert blob[0] == 'regions'; device.write_pipe('regions', blob)",
        "test/scan/1",
    )
    spans = assert_operation(
        system,
        """
        read_pipe regions               CLIENT    pytango.client
          Scan.is_regions_allowed       INTERNAL  Scan
          Scan.read pipe regions        SERVER    Scan
        write_pipe regions              CLIENT    pytango.client
          Scan.is_regions_allowed       INTERNAL  Scan
          Scan.write pipe regions       SERVER    Scan
        """,
    )
    for name, operation in (("Scan.read pipe regions", "read_pipe"), ("write_pipe regions", "write_pipe")):
        span = find_span(spans, name)
        assert span.attributes["tango.pipe.name"] == "regions"
        assert span.attributes["tango.operation"] == operation
        assert span.attributes["tango.device.name"] == "test/scan/1"
        assert "tango.attribute.name" not in span.attributes


def test_pipes_used_as_attributes_of_the_proxy(system: System, high: Server) -> None:
    run(system, high, "device.regions = device.regions", "test/scan/1")
    spans = system.collect()
    served = [span.name for span in spans if span.kind == "SERVER" and "pipe" in span.name]
    assert served == ["Scan.read pipe regions", "Scan.write pipe regions"]
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        if span.kind == "SERVER" and "pipe" in span.name:
            assert by_id[span.parent_span_id].kind == "CLIENT"
    system.clear()


def test_inside_a_handler(system: System, high: Server) -> None:
    run(system, high, f"device.command_inout('Forward', {high.proxy_name('test/scan/2')!r})", "test/scan/1")
    assert_operation(
        system,
        """
        command_inout Forward             CLIENT    pytango.client
          Scan.Forward                    SERVER    Scan
            DeviceProxy                   CLIENT    Scan
            read_pipe regions             CLIENT    Scan
              Scan.is_regions_allowed     INTERNAL  Scan
              Scan.read pipe regions      SERVER    Scan
            write_pipe regions            CLIENT    Scan
              Scan.is_regions_allowed     INTERNAL  Scan
              Scan.write pipe regions     SERVER    Scan
        """,
    )


def test_failures(system: System, high: Server) -> None:
    output = run(
        system,
        high,
        "refused(device.read_pipe, 'broken'); device.command_inout('Shut'); refused(device.read_pipe, "
        "'regions')",
        "test/scan/2",
    )
    assert output.split() == ["NoRegions", "API_PipeNotAllowed"]
    assert_operation(
        system,
        """
        read_pipe broken                CLIENT    pytango.client  ! NoRegions
          Scan.read pipe broken         SERVER    Scan            ! NoRegions
        command_inout Shut              CLIENT    pytango.client
          Scan.Shut                     SERVER    Scan
        read_pipe regions               CLIENT    pytango.client  ! API_PipeNotAllowed
          Scan.is_regions_allowed       INTERNAL  Scan            ! API_PipeNotAllowed
        """,
    )


def test_the_low_level_api(system: System) -> None:
    low = system.start_server(LOW, "Scan/low", "test/scan/3")
    run(system, low, "device.write_pipe('regions', device.read_pipe('regions'))", "test/scan/3")
    assert_operation(
        system,
        """
        read_pipe regions               CLIENT    pytango.client
          Scan.read pipe regions        SERVER    Scan
        write_pipe regions              CLIENT    pytango.client
          Scan.write pipe regions       SERVER    Scan
        """,
    )
    system.stop_server(low)
