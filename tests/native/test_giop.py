"""GIOP service contexts between processes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import tango
from native_support import Server, create_traceparent, free_port, run_client, start_echo
from tango_telemetry_native import giop

PARENT = create_traceparent(0xA1)
STATE = "tango=00000000000000b2-01,other=x"
SENT = f"{PARENT}|{STATE}"


@contextmanager
def outgoing(traceparent: str = PARENT, tracestate: str = STATE) -> Iterator[None]:
    previous = giop.set_outgoing(traceparent, tracestate)
    try:
        yield
    finally:
        giop.restore_outgoing(previous)


@pytest.fixture
def proxy(echo: Server) -> tango.DeviceProxy:
    assert giop.install(), giop.status()
    return tango.DeviceProxy(echo.url())


def server_counters(proxy: tango.DeviceProxy) -> dict[str, int]:
    counters: dict[str, int] = json.loads(proxy.GiopStatus())["counters"]
    return counters


def test_command(proxy: tango.DeviceProxy) -> None:
    assert proxy.Incoming() == "-"
    with outgoing():
        assert proxy.Incoming() == SENT
    assert proxy.Incoming() == "-"


def test_attribute_read_write_and_write_read(proxy: tango.DeviceProxy) -> None:
    with outgoing():
        assert proxy.read_attribute("incoming").value == SENT
        proxy.write_attribute("written", "one")
        assert proxy.read_attribute("written").value == f"one {SENT} {SENT}"
        assert proxy.write_read_attribute("written", "two").value == f"two {SENT} {SENT}"
    assert proxy.read_attribute("incoming").value == "-"


def test_nested_set_and_restore(proxy: tango.DeviceProxy) -> None:
    inner = create_traceparent(0xB2)
    with outgoing():
        with outgoing(inner, ""):
            assert proxy.Incoming() == f"{inner}|"
        assert proxy.Incoming() == SENT
        with outgoing("", ""):
            assert proxy.Incoming() == "-"
        assert proxy.Incoming() == SENT


def test_what_set_outgoing_returns() -> None:
    assert giop.set_outgoing(PARENT, STATE) is None
    assert giop.set_outgoing("", "") == (PARENT, STATE)
    assert giop.set_outgoing(PARENT, "") == ("", "")
    giop.restore_outgoing(("", ""))
    assert giop.set_outgoing("", "") == ("", "")
    giop.restore_outgoing(None)
    assert giop.get_incoming() is None


@pytest.mark.parametrize(
    ("traceparent", "tracestate"),
    [
        ("nonsense", ""),
        (PARENT.upper().replace("A1", "AB"), ""),
        (PARENT + "-extra", ""),
        ("00-" + "0" * 32 + "-" + "1" * 16 + "-01", ""),
        (PARENT, "x" * 513),
        (PARENT, "line\nbreak"),
        (PARENT, "caf\u00e9"),
        ("\u00e9" * 55, ""),
    ],
)
def test_invalid_context_is_not_sent(proxy: tango.DeviceProxy, traceparent: str, tracestate: str) -> None:
    before = giop.status()["counters"]["outgoing_rejected"]
    with outgoing(traceparent, tracestate):
        assert proxy.Incoming() == "-"
    assert giop.status()["counters"]["outgoing_rejected"] == before + 1


def test_longest_tracestate(proxy: tango.DeviceProxy) -> None:
    with outgoing(PARENT, "x" * 512):
        assert proxy.Incoming() == f"{PARENT}|{'x' * 512}"


@pytest.mark.parametrize("arguments", [(), (PARENT,), (PARENT, STATE, 1), (1, STATE), (PARENT, None)])
def test_arguments_that_are_no_strings_raise(arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        giop.set_outgoing(*arguments)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        giop.restore_outgoing(arguments or "xy")  # type: ignore[arg-type]


def test_install_is_idempotent(proxy: tango.DeviceProxy) -> None:
    for _ in range(5):
        assert giop.install()
    before = giop.status()["counters"]["contexts_sent"]
    with outgoing():
        assert proxy.command_inout("Incoming") == SENT
    assert giop.status()["counters"]["contexts_sent"] - before <= 2


def test_status_of_both_sides(proxy: tango.DeviceProxy) -> None:
    for status in (giop.status(), json.loads(proxy.GiopStatus())):
        assert [status[key] for key in ("installed", "client", "server", "asynchronous")] == [True] * 4, (
            status
        )
        assert status["reason"] == ""
        assert status["version"].startswith(("4.2", "4.3"))
        assert status["counters"]["failed_checks"] == 0


# ---- asynchronous requests ---------------------------------------------------------------------------------


def test_asynchronous_command_and_attributes(proxy: tango.DeviceProxy) -> None:
    with outgoing():
        command = proxy.command_inout_asynch("Incoming")
        read = proxy.read_attribute_asynch("incoming")
        write = proxy.write_attribute_asynch("written", "asynch")
    assert proxy.command_inout_reply(command, 5000) == SENT
    assert proxy.read_attribute_reply(read, 5000).value == SENT
    proxy.write_attribute_reply(write, 5000)
    assert proxy.read_attribute("written").value == f"asynch {SENT} -"
    assert proxy.command_inout_reply(proxy.command_inout_asynch("Incoming"), 5000) == "-"


def test_asynchronous_command_that_is_forgotten(proxy: tango.DeviceProxy) -> None:
    before = server_counters(proxy)["contexts_received"]
    with outgoing():
        proxy.command_inout_asynch("Incoming", tango.DeviceData(), True)
    for _ in range(1000):
        if server_counters(proxy)["contexts_received"] > before:
            return
    pytest.fail("the request arrived without its context")


def test_concurrent_submitters(echo: Server) -> None:
    """Each call carries the context of the thread that submitted it, whatever thread sends it, also without
    one.
    """
    giop.install()

    def submit(worker: int) -> list[str]:
        proxy = tango.DeviceProxy(echo.url())
        wrong = []
        for round_ in range(40):
            waiting = []
            for call in range(8):
                number = worker << 16 | round_ << 4 | call | 1 << 32
                parent = create_traceparent(number)
                if (call + round_) % 3:
                    with outgoing(parent, f"n={number}"):
                        request = proxy.command_inout_asynch("IncomingOf", str(number))
                    waiting.append((request, f"{number} {parent}|n={number}"))
                else:
                    waiting.append((proxy.command_inout_asynch("IncomingOf", str(number)), f"{number} -"))
            for request, expected in reversed(waiting):
                answer = proxy.command_inout_reply(request, 10000)
                if answer != expected:
                    wrong.append(f"{answer} instead of {expected}")
        return wrong

    with ThreadPoolExecutor(8) as pool:
        wrong = [line for lines in pool.map(submit, range(8)) for line in lines]
    assert wrong == []
    assert giop.status()["counters"]["asynchronous_pending"] == 0


def test_failed_connections_leave_nothing_behind() -> None:
    """Requests that were never answered must not lend their context to later ones at the same address."""
    giop.install()
    with start_echo() as server:
        proxy = tango.DeviceProxy(server.url())
        proxy.ping()
        proxy.set_timeout_millis(500)
        server.process.kill()
        server.process.wait()
        for _ in range(50):
            with outgoing(), pytest.raises(tango.DevFailed):
                proxy.command_inout_reply(proxy.command_inout_asynch("Incoming"), 2000)
    with start_echo() as server:
        proxy = tango.DeviceProxy(server.url())
        answers = {
            proxy.command_inout_reply(proxy.command_inout_asynch("Incoming"), 5000) for _ in range(100)
        }
        assert answers == {"-"}
        with outgoing():
            assert proxy.command_inout_reply(proxy.command_inout_asynch("Incoming"), 5000) == SENT
        before = server_counters(proxy)["contexts_received"]
        for _ in range(100):  # a request that is not awaited is sent on this thread, from the same heap
            proxy.command_inout_asynch("Incoming", tango.DeviceData(), True)
        proxy.command_inout_reply(proxy.command_inout_asynch("Incoming"), 5000)
        assert server_counters(proxy)["contexts_received"] == before


def test_server_that_comes_back() -> None:
    """The first call on a dead connection is sent twice by omniORB or Tango: both times with its context."""
    giop.install()
    port = free_port()
    with start_echo(port=port) as server:
        proxy = tango.DeviceProxy(server.url())
        assert proxy.Incoming() == "-"
    with start_echo(port=port), outgoing():
        answers = []
        for _ in range(20):
            try:
                answers.append(proxy.Incoming())
                break
            except tango.DevFailed:
                threading.Event().wait(0.5)  # Tango refuses to reconnect more than once in a second
        assert answers == [SENT]
        assert proxy.command_inout_reply(proxy.command_inout_asynch("Incoming"), 5000) == SENT


def test_group(echo: Server) -> None:
    """One submission makes several requests, and both devices answer within the one call."""
    giop.install()
    group = tango.Group("g")
    group.add([echo.url("test/echo/1"), echo.url("test/echo/2")])
    with outgoing():
        replies = group.command_inout("Incoming")
        request = group.command_inout_asynch("Incoming")
        reads = group.read_attribute("incoming")
    assert [r.get_data() for r in replies] == [SENT, SENT]
    assert [r.get_data() for r in group.command_inout_reply(request)] == [SENT, SENT]
    assert [r.get_data().value for r in reads] == [SENT, SENT]
    assert [r.get_data() for r in group.command_inout("Incoming")] == ["-", "-"]


# ---- what a handler sees -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["CallOn", "CallOnWithNone"])
def test_incoming_survives_calls_to_other_processes(proxy: tango.DeviceProxy, how: str) -> None:
    expected = f"{create_traceparent(0xCA11, 2)}|on=1" if how == "CallOn" else "-"
    with start_echo() as other:
        with outgoing():
            assert list(proxy.command_inout(how, other.url())) == [SENT, expected, SENT]
        assert list(proxy.command_inout(how, other.url())) == ["-", expected, "-"]


@pytest.mark.parametrize("how", ["CallOn", "CallOnWithNone"])
def test_call_inside_the_server_process(echo: Server, proxy: tango.DeviceProxy, how: str) -> None:
    """It passes no interceptor: it must see its caller's context, not that of the request its caller
    serves.
    """
    expected = f"{create_traceparent(0xCA11, 2)}|on=1" if how == "CallOn" else "-"
    with outgoing():
        assert list(proxy.command_inout(how, echo.url("test/echo/2"))) == [SENT, expected, SENT]
    assert list(proxy.command_inout(how, echo.url("test/echo/2"))) == ["-", expected, "-"]


def test_asynchronous_call_inside_the_server_process(echo: Server, proxy: tango.DeviceProxy) -> None:
    """It sees nothing: above all, nothing stale. omniORB's workers serve upcalls and such calls in turn."""
    with outgoing():
        answers = {proxy.CallOnAsynch(echo.url("test/echo/2")) for _ in range(20)}
    assert answers == {"-"}


def test_alternating_traced_and_untraced_calls(echo: Server) -> None:
    """2,000 calls from two clients over as many connections: an untraced one never sees the context of
    another.
    """
    giop.install()
    traced, untraced = tango.DeviceProxy(echo.url()), tango.DeviceProxy(echo.url("test/echo/2"))
    stale = []
    for number in range(1, 1001):
        parent = create_traceparent(number)
        with outgoing(parent, ""):
            if traced.Incoming() != f"{parent}|":
                stale.append(number)
        if untraced.Incoming() != "-":
            stale.append(-number)
    assert stale == []


# ---- ORBs that are destroyed -------------------------------------------------------------------------------


def test_client_that_becomes_a_server(echo: Server) -> None:
    giop.install()
    with start_echo({"ECHO_FIRST_CALL": echo.url()}) as server, outgoing():
        proxy = tango.DeviceProxy(server.url())
        assert proxy.Incoming() == SENT
        assert proxy.CallOn(echo.url())[1] == f"{create_traceparent(0xCA11, 2)}|on=1"


def test_server_that_never_installs_again(echo: Server) -> None:
    """It heals itself with the first call whose context is asked for."""
    giop.install()
    with start_echo({"ECHO_FIRST_CALL": echo.url(), "ECHO_NO_INSTALL": "1"}) as server, outgoing():
        proxy = tango.DeviceProxy(server.url())
        assert [proxy.Incoming() for _ in range(3)] == ["-", SENT, SENT]
        assert server_counters(proxy)["registered_again"] == 1


CLEANUP = """
import sys, tango
from tango_telemetry_native import giop
giop.install()
for _ in range(3):
    giop.restore_outgoing(giop.set_outgoing("", ""))
    proxy = tango.DeviceProxy(sys.argv[1])
    previous = giop.set_outgoing(sys.argv[2], "")
    assert proxy.command_inout("Incoming") == sys.argv[2] + "|"
    request = proxy.command_inout_asynch("Incoming")
    giop.restore_outgoing(previous)
    assert proxy.command_inout_reply(request, 5000) == sys.argv[2] + "|"
    del proxy
    tango.ApiUtil.cleanup()
assert giop.status()["counters"]["registered_again"] >= 2, giop.status()
"""


def test_cleanup(echo: Server) -> None:
    """ApiUtil.cleanup() destroys the ORB, and with it every interceptor."""
    run_client(CLEANUP, echo.url(), PARENT)


SPAN_PARENT, SPAN_STATE = f"00-{0xA1:032x}-{0xB2:016x}-01", f"tango={0xB2:016x}-01"


def test_a_span_is_sent_as_the_two_strings_that_name_it(proxy: tango.DeviceProxy) -> None:
    previous = giop.set_outgoing_span(0xA1, 0xB2, 1)
    try:
        assert previous is None
        assert proxy.Incoming() == f"{SPAN_PARENT}|{SPAN_STATE}"
    finally:
        giop.restore_outgoing(previous)
    assert proxy.Incoming() == "-"


@pytest.mark.parametrize(
    ("trace_id", "span_id", "flags"),
    [(2**128 - 1, 2**64 - 1, 3), (1, 1, 0), (1 << 64, 1 << 63, 2), (0xABCDEF << 100, 0xFEDCBA, 255)],
)
def test_every_number_is_formatted_as_python_does(trace_id: int, span_id: int, flags: int) -> None:
    previous = giop.set_outgoing_span(trace_id, span_id, flags)
    try:
        texts = f"00-{trace_id:032x}-{span_id:016x}-{flags & 3:02x}", f"tango={span_id:016x}-{flags & 3:02x}"
        assert giop.get_incoming() == texts  # what a call into the same process would see
        assert giop.get_incoming_span() == texts
    finally:
        giop.restore_outgoing(previous)


@pytest.mark.parametrize(
    "arguments", [(), (1, 2), ("1", 2, 3), (1, "2", 3), (2**128, 2, 3), (-1, 2, 3), (1, 2**64, 3), (1, -2, 3)]
)
def test_numbers_that_no_span_has(arguments: tuple[object, ...]) -> None:
    with pytest.raises((TypeError, OverflowError)):
        giop.set_outgoing_span(*arguments)  # type: ignore[arg-type]
    assert giop.get_incoming() is None


def test_the_context_of_a_call_is_taken_back_by_the_bridge(proxy: tango.DeviceProxy) -> None:
    """`set_outgoing` returns None where nothing was set, which is a token like any other."""
    from opentelemetry.trace import SpanContext, TraceFlags
    from tango_telemetry.context.bridges import GiopBridge

    bridge = GiopBridge(giop)
    token = bridge.enter_span("command_inout", SpanContext(0xA1, 0xB2, False, TraceFlags(1)))
    assert proxy.Incoming() == f"{SPAN_PARENT}|{SPAN_STATE}"
    bridge.exit(token)
    assert proxy.Incoming() == "-"
