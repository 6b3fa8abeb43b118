"""A program of ours that makes spans and log records to order, configured by the environment as any other.

Usage: python load.py [HOST:PORT], with one order a line on its standard input, in JSON, answered by a line in
JSON:

``{"do": "make", "calls": 100, "rate": 0, "fail_every": 0, "size": 0}``
    Calls of a device, which are two spans each, as Tango calls leave them (names, attributes and resources
    are those of the demo's Leader). rate: spans a second, 0 for as fast as it goes. fail_every: each
    so-manieth call fails. size: bytes of one more attribute of each span.
``{"do": "odd"}``
    One trace with what calls do not have: events, links, attributes of every type. Answers with its trace id.
``{"do": "log", "count": 100}``
    Log records in spans of their own.
``{"do": "settle", "seconds": 10}``
    Wait until nothing waits any more, or for so many seconds.

HOST:PORT: where the spans of the device go, by gRPC, if not where the environment says.

Every answer has the account of each signal. At the end of its input the program ends as any other, and the
last line is the account after that.
"""

from __future__ import annotations

import atexit
import json
import logging
import sys
import time
from typing import Any

SIGNALS = ("traces", "logs")
_FILE = "/opt/tango/servers/leader.py"
_MANY = 64


def account() -> dict[str, Any]:
    """Return where everything is that was made: of each signal, and why what was lost is lost."""
    import tango_telemetry

    result = {}
    for signal in SIGNALS:
        stats = tango_telemetry.pipeline_stats(signal)
        result[signal] = {
            "made": stats.made,
            "queued": stats.queued,
            "delivered": stats.delivered,
            "spooled": stats.spooled,
            "dropped": stats.dropped,
            "adopted": stats.adopted,
            "failed_attempts": stats.failed_attempts,
            "reasons": dict(stats.dropped_by_reason),
        }
    return result


def _say(**more: Any) -> None:
    print(json.dumps({"account": account(), **more}), flush=True)


class Maker:
    """Carries out orders."""

    def __init__(self, server_endpoint: str) -> None:
        import tango_telemetry_client  # noqa: F401  it switches telemetry on as the environment says
        from opentelemetry.trace import SpanKind
        from tango_telemetry import Endpoint, create_tracer_provider

        self._kinds = SpanKind
        self._client = create_tracer_provider("pytango.client").get_tracer("tango_telemetry.client", "0.1.0")
        endpoints = (Endpoint("grpc", f"grpc://{server_endpoint}"),) if server_endpoint else None
        resource = {"tango.host": "127.0.0.1:10000", "tango.server.name": "Leader/demo"}
        self._server = create_tracer_provider("Leader", "demo/leader/1", resource, endpoints).get_tracer(
            "tango_telemetry.server", "0.1.0"
        )

    def make(self, calls: int, rate: float = 0, fail_every: int = 0, size: int = 0) -> float:
        """Make calls; return the seconds that it took."""
        more = {"padding": "x" * size} if size else {}
        begin = time.perf_counter()
        for number in range(calls):
            self._call(number, bool(fail_every) and number % fail_every == 0, more)
            if rate and number % _MANY == 0:
                time.sleep(max(0.0, begin + 2 * number / rate - time.perf_counter()))
        return time.perf_counter() - begin

    def _call(self, number: int, fails: bool, more: dict[str, str]) -> None:
        from opentelemetry.trace import Status, StatusCode

        sent = {
            "rpc.system.name": "tango", "rpc.method": "TurnFollowerOn", "tango.operation": "command_inout",
            "tango.command.name": "TurnFollowerOn", "tango.device.name": "demo/leader/1",
            "code.function.name": "check_followers", "code.file.path": _FILE, "code.line.number": 22,
            "thread.id": 140040682191744, "thread.name": "MainThread", **more,
        }  # fmt: skip
        taken = {
            "rpc.system.name": "tango", "rpc.method": "TurnFollowerOn", "tango.operation": "command",
            "tango.device.name": "demo/leader/1", "tango.device.class": "Leader",
            "tango.command.name": "TurnFollowerOn", "code.function.name": "Leader.TurnFollowerOn",
            "code.file.path": _FILE, "code.line.number": 24, "thread.id": 140246092072640,
            "thread.name": "Dummy-3", "tango.client_ident.location": "giop:unix:/tmp/omni-user/000018487",
            "tango.client_ident.lang": "CPP_6", "tango.client_ident.pid": 18622, **more,
        }  # fmt: skip
        with self._client.start_as_current_span(
            "command_inout TurnFollowerOn", kind=self._kinds.CLIENT, attributes=sent
        ):
            with self._server.start_as_current_span(
                "Leader.TurnFollowerOn", kind=self._kinds.SERVER, attributes=taken
            ) as server:
                if fails:
                    # One span of the trace only: as where a caller has handled the failure.
                    server.set_status(Status(StatusCode.ERROR, f"FollowerIsOff: call {number}"))

    def odd(self) -> str:
        """Make one trace with events, links and attributes of every type; return its trace id."""
        from opentelemetry.trace import Link, Status, StatusCode

        with self._client.start_as_current_span("linked to") as other:
            context = other.get_span_context()
        attributes: dict[str, Any] = {
            "text": "Grüße, 日本", "yes": True, "whole": -(2**53), "real": 0.25,
            "texts": ["a", "b"], "wholes": [1, 2], "reals": [0.5, 1.5], "yeses": [True, False],
        }  # fmt: skip
        with self._client.start_as_current_span("odd", attributes=attributes) as parent:
            links = [Link(context, {"link.number": 1})]
            with self._server.start_as_current_span(
                "odd child", kind=self._kinds.PRODUCER, links=links
            ) as span:
                span.add_event("something happened", {"event.number": 2})
                span.record_exception(ValueError("no such point"))
                span.set_status(Status(StatusCode.ERROR, "no such point"))
            return f"{parent.get_span_context().trace_id:032x}"

    def log(self, count: int) -> None:
        """Write log records, each in a span of its own."""
        logger = logging.getLogger("load")
        for number in range(count):
            with self._client.start_as_current_span("logged"):
                logger.warning("record %d", number)


def main() -> int:
    """Carry out what stands on the standard input."""
    atexit.register(_say)  # before ours is registered, so it runs after it
    maker = Maker(*(sys.argv[1:] or [""]))
    for line in sys.stdin:
        order = json.loads(line)
        what = order.pop("do")
        if what == "make":
            _say(seconds=maker.make(**order))
        elif what == "odd":
            _say(trace=maker.odd())
        elif what == "log":
            maker.log(**order)
            _say()
        elif what == "settle":
            deadline = time.monotonic() + order["seconds"]
            while time.monotonic() < deadline and any(
                one["queued"] or one["spooled"] for one in account().values()
            ):
                time.sleep(0.02)
            _say()
    return 0


if __name__ == "__main__":
    sys.exit(main())
