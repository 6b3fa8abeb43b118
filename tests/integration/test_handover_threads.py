"""The user's own threads: what they do is in the trace where the user asks for it, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.support import BRIDGES, System, assert_trace
from receiver import ReceivedSpan

FOLLOWER = Path(__file__).parent / "follower.py"

SCRIPT = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import tango_telemetry_client, tango, tango_telemetry
start = tango_telemetry.get_tracer("my.app").start_as_current_span
proxy = tango.DeviceProxy(sys.argv[1])

def go():
    with tango.EnsureOmniThread():
        proxy.command_inout("Go")

def in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()

with start("not asked"):
    in_thread(go)

with start("helper"):
    in_thread(tango_telemetry.carry_context(go))
    carried = tango_telemetry.carry_context(lambda n: proxy.command_inout("Echo", str(n)))
with start("another"), ThreadPoolExecutor(2) as pool:  # used often, at once, and elsewhere
    assert list(pool.map(carried, range(4))) == ["0", "1", "2", "3"]


before = (dict(vars(threading.Thread)), dict(vars(ThreadPoolExecutor)), dict(vars(tango.EnsureOmniThread)))
tango_telemetry.instrument_threads()
tango_telemetry.instrument_threads()
with start("omni thread"):
    in_thread(go)
with start("pool"), ThreadPoolExecutor(2) as pool:
    for future in [pool.submit(go) for _ in range(4)]:
        future.result()
    list(pool.map(lambda _: proxy.command_inout("Go"), range(2)))
pool = ThreadPoolExecutor(1)
with start("first job"):
    pool.submit(go).result()
with start("second job"):
    pool.submit(go).result()
pool.submit(go).result()  # outside any span: a root, although a span was there when the pool's thread was started
with start("plain thread"):  # it may live long: nothing is carried
    in_thread(lambda: proxy.command_inout("Go"))

block = tango.EnsureOmniThread()
block.__enter__()
assert block.__exit__(None, None, None) is False
try:
    with tango.EnsureOmniThread():
        raise ValueError("in the block")
except ValueError:
    pass
tango_telemetry.uninstrument_threads()
tango_telemetry.uninstrument_threads()
assert before == (dict(vars(threading.Thread)), dict(vars(ThreadPoolExecutor)), dict(vars(tango.EnsureOmniThread)))
with start("undone"):
    in_thread(go)
"""  # noqa: E501

LEADER = """
import sys, threading
import tango, tango_telemetry, tango_telemetry_server
from tango.server import Device, command, run

NAME = sys.argv.pop()

class Leader(Device):
    def init_device(self):
        super().init_device()
        self.proxy = tango.DeviceProxy(NAME)

    @command
    def Ask(self):
        thread = threading.Thread(target=self.work)
        thread.start()
        thread.join()

    def work(self):
        with tango.EnsureOmniThread():
            self.proxy.command_inout("Go")

tango_telemetry.instrument_threads()
run((Leader,))
"""

CALL = "command_inout Go  CLIENT  pytango.client\n  Follower.Go  SERVER  Follower\n"


@pytest.fixture(scope="module", params=BRIDGES)
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    with System(request.param) as system:
        system.start_server(FOLLOWER, "Follower/test", "test/follower/1")
        yield system


@pytest.fixture(scope="module")
def spans(system: System) -> list[ReceivedSpan]:
    system.clear()
    system.run_client(SCRIPT, system.servers[0].proxy_name("test/follower/1"))
    spans = system.collect()
    system.clear()
    return spans


@pytest.mark.parametrize("case", ["not asked", "plain thread", "undone"])
def test_unasked_nothing_is_carried(spans: list[ReceivedSpan], case: str) -> None:
    assert_trace(spans, case, "")


def test_the_helper(spans: list[ReceivedSpan]) -> None:
    assert_trace(spans, "another", "")
    echo = "command_inout Echo  CLIENT  pytango.client\n  Follower.Echo  SERVER  Follower\n"
    assert_trace(spans, "helper", CALL + 4 * echo, ordered=False)


def test_omni_threads(spans: list[ReceivedSpan]) -> None:
    assert_trace(spans, "omni thread", CALL)


def test_pools(spans: list[ReceivedSpan]) -> None:
    assert_trace(spans, "pool", 6 * CALL, ordered=False)


def test_a_pool_that_lives_longer_than_a_span(spans: list[ReceivedSpan]) -> None:
    assert_trace(spans, "first job", CALL)
    assert_trace(spans, "second job", CALL)
    # not asked, plain thread, undone, and the job submitted outside any span
    assert len([span for span in spans if span.name == "command_inout Go" and not span.parent_span_id]) == 4


def test_a_thread_of_a_device(system: System, spans: list[ReceivedSpan]) -> None:
    (follower,) = system.servers
    leader = system.start_server(
        LEADER, "Leader/test", "test/leader/1", arguments=[follower.proxy_name("test/follower/1")]
    )
    system.clear()
    system.run_client(
        "import sys, tango_telemetry_client, tango; tango.DeviceProxy(sys.argv[1]).command_inout('Ask')",
        leader.proxy_name("test/leader/1"),
    )
    system.assert_forest(
        """
        DeviceProxy             CLIENT  pytango.client
        command_inout Ask       CLIENT  pytango.client
          Leader.Ask            SERVER  Leader
            command_inout Go    CLIENT  Leader
              Follower.Go       SERVER  Follower
        """
    )
