"""What a client of one PyTango sees at a server of another. Usage: pair_client.py KIND URL...

KIND is echo (echo_server.py) or foreign (TangoTest, which knows nothing of us). Prints one JSON object: check
-> "ok" or what was wrong. Runs on every PyTango from 9.3.6 on.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager

import tango
import tango_telemetry_native
from tango_telemetry_native import giop

PARENT = f"00-{0xA1:032x}-{0xB2:016x}-01"
STATE = "tango=00000000000000b2-01,other=x"
SENT = f"{PARENT}|{STATE}"


@contextmanager
def outgoing():
    previous = giop.set_outgoing(PARENT, STATE)
    try:
        yield
    finally:
        giop.restore_outgoing(previous)


def expect(found, expected):
    assert found == expected, f"{found!r} instead of {expected!r}"


def check_echo(urls):
    proxy = tango.DeviceProxy(urls[0])

    def command():
        with outgoing():
            expect(proxy.command_inout("Incoming"), SENT)
        expect(proxy.command_inout("Incoming"), "-")

    def read():
        with outgoing():
            expect(proxy.read_attribute("incoming").value, SENT)

    def write():
        with outgoing():
            proxy.write_attribute("written", "w")
        expect(proxy.read_attribute("written").value, f"w {SENT} -")

    def write_read():
        with outgoing():
            expect(proxy.write_read_attribute("written", "v").value, f"v {SENT} {SENT}")

    def asynch():
        with outgoing():
            request = proxy.command_inout_asynch("Incoming")
        expect(proxy.command_inout_reply(request, 5000), SENT)
        expect(proxy.command_inout_reply(proxy.command_inout_asynch("Incoming"), 5000), "-")

    def group():
        group = tango.Group("g")
        group.add(list(urls))
        with outgoing():
            expect([reply.get_data() for reply in group.command_inout("Incoming")], [SENT] * len(urls))

    def alternating():
        for _ in range(100):
            with outgoing():
                expect(proxy.command_inout("Incoming"), SENT)
            expect(proxy.command_inout("Incoming"), "-")

    def idl6():
        """Only where both sides speak it."""
        with tango_telemetry_native.TraceContextScope("x", PARENT, STATE):
            seen = proxy.command_inout("Idl6")
        if not seen.startswith(PARENT[:36]):
            return "not carried"
        expect(seen.partition("|")[2], STATE)
        return "ok"

    def server_side():
        status = json.loads(proxy.command_inout("GiopStatus"))
        expect(status["reason"], "")
        expect(status["counters"]["failed_checks"], 0)

    return [command, read, write, write_read, asynch, group, alternating, idl6, server_side]


def check_foreign(urls):
    proxy = tango.DeviceProxy(urls[0])

    def both(function):
        """The same with a context and without."""
        without = function()
        with outgoing():
            expect(function(), without)

    def command():
        both(lambda: proxy.command_inout("DevString", "text"))
        both(lambda: list(proxy.command_inout("DevVarLongArray", list(range(2000)))))

    def read():
        both(lambda: str(proxy.read_attribute("long_scalar_w").value))

    def write():
        with outgoing():
            proxy.write_attribute("long_scalar_w", 42)
        expect(int(proxy.read_attribute("long_scalar_w").w_value), 42)

    def write_read():
        with outgoing():
            proxy.write_read_attribute("double_scalar_w", 2.5)

    def asynch():
        with outgoing():
            request = proxy.command_inout_asynch("DevString", "text")
        expect(proxy.command_inout_reply(request, 5000), "text")

    def group():
        group = tango.Group("g")
        group.add(list(urls))
        with outgoing():
            text = tango.DeviceData()
            text.insert(tango.DevString, "text")
            expect([r.get_data() for r in group.command_inout("DevString", text)], ["text"])

    return [command, read, write, write_read, asynch, group]


def client_side():
    status = giop.status()
    expect(status["reason"], "")
    expect(status["counters"]["failed_checks"], 0)


def main(kind, urls):
    giop.install()
    checks = check_echo(urls) if kind == "echo" else check_foreign(urls)
    results = {}
    for check in [*checks, client_side]:
        try:
            results[check.__name__] = check() or "ok"
        except Exception as error:
            results[check.__name__] = f"{type(error).__name__}: {error}"
    print(json.dumps(results), flush=True)
    os._exit(0)  # how long cppTango takes to give up a collector is not the subject


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
