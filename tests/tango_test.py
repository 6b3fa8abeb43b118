"""A server in C++ with its telemetry on, called by a script of ours: whose child is each of its spans?

    python tests/tango_test.py ROOT [ROOT ...] [--python PYTHON ...]

ROOT is a Debian of its own with the package ``tango-test``, made by ``debootstrap --include=tango-test trixie
ROOT`` (13: cppTango 10.0.2; sid: 10.3); TangoTest runs in it by ``chroot``, for which this has to be root.
PYTHON has PyTango and our packages; by default the one that runs this. Prints a line for each pair and exits
with 1 if any span of the server's has another parent than the span of ours that made the call. Not part of
``make test``.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]
sys.path.append(str(ROOT / "tests" / "integration"))

from support import Server, System, find_free_port  # noqa: E402

DEVICE = "sys/tg_test/1"
CLIENT = """
import sys, threading
import tango, tango_telemetry_client
from tango_telemetry import get_tracer

name = sys.argv[1]
tracer = get_tracer("my.app")

def call():
    p = tango.DeviceProxy(name)
    p.command_inout("DevDouble", 1.0)
    p.DevLong(3)
    p.read_attribute("double_scalar")
    p.ampli
    p.write_attribute("double_scalar", 2.0)
    p.read_attributes(["double_scalar", "long_scalar"])
    p.write_attributes([("double_scalar", 1.0), ("ampli", 2.0)])
    p.write_read_attribute("double_scalar", 4.0)
    try:
        p.read_attribute("throw_exception")
    except tango.DevFailed:
        pass
    p.command_inout_reply(p.command_inout_asynch("DevDouble", 1.0), 5000)
    p.read_attribute_reply(p.read_attribute_asynch("double_scalar"), 5000)
    p.write_attribute_reply(p.write_attribute_asynch("double_scalar", 1.0), 5000)
    group = tango.Group("g")
    group.add(name)
    group.command_inout("DevDouble", 1.0)
    group.read_attribute("double_scalar")
    group.write_attribute("ampli", 3.0)
    if hasattr(p, "read_pipe"):
        p.read_pipe("string_long_short_ro")
    p.state(), p.ping()

with tracer.start_as_current_span("operation"):
    call()
    thread = threading.Thread(target=tracer.start_as_current_span("thread")(call))
    thread.start()
    thread.join()
"""
REQUESTS = 2 * 15
"""Spans that the server makes at least."""


def try_pair(root: str, python: str) -> tuple[str, bool]:
    """Call a TangoTest from a script of ours; give what became of the server's spans, and whether all is
    right.
    """
    with System() as system:
        port = find_free_port()
        settings = {
            "TANGO_HOST": "127.0.0.1:1",
            "TANGO_TELEMETRY_TRACING_EXPORTERS": "http",
            "TANGO_TELEMETRY_TRACING_ENDPOINTS": system.receiver.endpoint,
            "TANGO_TELEMETRY_TOPICS": "all",
            "TANGO_TELEMETRY_KERNEL_ENABLE": "on",
            "TANGO_TELEMETRY_LOGS_EXPORTER": "none",
        }
        endpoint = f"giop:tcp:127.0.0.1:{port}"
        command = [
            "chroot",
            root,
            "/usr/lib/tango/TangoTest",
            "test",
            "-nodb",
            "-dlist",
            DEVICE,
            "-ORBendPoint",
            endpoint,
        ]
        server = Server(command, system.environment(**settings), system.folder)
        try:
            server.wait_for("Ready to accept request")
            system.receiver.clear()
            system.run_client(CLIENT, f"tango://127.0.0.1:{port}/{DEVICE}#dbase=no", python=python)

            def served() -> int:
                return sum(
                    span.scope == "tango.cpp" and span.kind == "SERVER" for span in system.receiver.spans
                )

            system.wait_for(lambda spans: served() >= REQUESTS, 15)  # cppTango sends every five seconds
            spans = system.receiver.spans
        finally:
            server.kill()
    known = {span.span_id: span for span in spans}
    found: Counter[str] = Counter()
    for span in spans:
        if span.scope != "tango.cpp" or span.kind != "SERVER":
            continue
        parent = known.get(span.parent_span_id)
        if parent is None:
            found["orphans" if span.parent_span_id else "traces of their own"] += 1
        elif parent.trace_id == span.trace_id and (parent.kind == "CLIENT" or parent.scope == "tango.cpp"):
            found["right"] += 1
        else:
            found["wrong"] += 1
    text = ", ".join(f"{number} {kind}" for kind, number in sorted(found.items()))
    return text, found["right"] == found.total() >= REQUESTS


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("roots", nargs="+", metavar="ROOT")
    parser.add_argument("--python", action="append")
    options = parser.parse_args()
    good = True
    for root in options.roots:
        for python in options.python or [sys.executable]:
            text, right = try_pair(root, python)
            print(f"{'ok    ' if right else 'FAILED'} {root} called by {python}: {text}", flush=True)
            good = good and right
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
