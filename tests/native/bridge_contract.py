"""What any bridge to cppTango's trace context must do. Usage: bridge_contract.py BRIDGE URL CARRIES

BRIDGE is pytango (PyTango's own binding), native or noop; URL an echo server's device; CARRIES "1" if context
is expected to travel, "0" if every answer must be empty. Exits with 0 if the contract holds.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import tango
import tango_telemetry_native

OUTER = f"00-{0xA1:032x}-{1:016x}-01"
INNER = f"00-{0xB2:032x}-{2:016x}-01"
STATE = "tango=00000000000000b2-01,other=x"
EMPTY = {"traceparent": "", "tracestate": ""}

Scope = Callable[[str, str, str], AbstractContextManager[Any]]


@contextmanager
def pytango_scope(name: str, traceparent: str, tracestate: str) -> Iterator[None]:
    telemetry = tango._tango._telemetry
    arguments = (name, traceparent, tracestate)
    try:
        scope = telemetry.TraceContextScope(*arguments)
    except TypeError:  # 10.3 takes a topic too
        scope = telemetry.TraceContextScope(*arguments, "user")
    scope._acquire()
    try:
        yield
    finally:
        scope._release()


class NoScope:
    def __init__(self, *arguments: str) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *exception: object) -> bool:
        return False


def choose(bridge: str) -> tuple[Callable[[], dict[str, str]], Scope]:
    if bridge == "native":
        return tango_telemetry_native.get_trace_context, tango_telemetry_native.TraceContextScope
    if bridge == "pytango":
        return tango._tango._telemetry.get_trace_context, pytango_scope
    return lambda: dict(EMPTY), NoScope


class Contract:
    def __init__(self, bridge: str, url: str, carries: bool) -> None:
        self.get, self.scope = choose(bridge)
        self.url = url
        self.carries = carries

    def expect(self, traceparent: str, tracestate: str) -> None:
        """The trace and the state are these; the span is one of cppTango's."""
        carrier = self.get()
        assert set(carrier) == {"traceparent", "tracestate"}, carrier
        if self.carries and traceparent:
            assert carrier["traceparent"][:36] == traceparent[:36], carrier
            assert carrier["tracestate"] == tracestate, carrier
        else:
            assert carrier == EMPTY, carrier

    def check_empty_outside(self) -> None:
        self.expect("", "")

    def check_nesting(self) -> None:
        with self.scope("outer", OUTER, STATE):
            self.expect(OUTER, STATE)
            with self.scope("inner", INNER, ""):
                self.expect(INNER, "")
            self.expect(OUTER, STATE)
        self.expect("", "")

    def check_exception(self) -> None:
        raised = ValueError("of the user")
        caught = None
        try:
            with self.scope("outer", OUTER, STATE):
                raise raised
        except ValueError as error:
            caught = error
        assert caught is raised
        self.expect("", "")

    def check_used_twice(self) -> None:
        for _ in range(2):
            with self.scope("outer", OUTER, STATE):
                self.expect(OUTER, STATE)
        self.expect("", "")

    def check_threads(self) -> None:
        failures: list[BaseException] = []

        def other() -> None:
            try:
                self.expect("", "")
                with self.scope("other", INNER, "t=2"):
                    self.expect(INNER, "t=2")
                    inside.set()
                    release.wait(30)
                self.expect("", "")
            except BaseException as error:
                failures.append(error)
                inside.set()

        inside, release = threading.Event(), threading.Event()
        with self.scope("outer", OUTER, STATE):
            thread = threading.Thread(target=other)
            thread.start()
            inside.wait(30)
            self.expect(OUTER, STATE)
            release.set()
            thread.join()
            self.expect(OUTER, STATE)
        assert not failures, failures

    def check_malformed(self) -> None:
        for traceparent in ("nonsense", "", OUTER.replace("1", "x"), "\x00" * 55, "é" * 55):
            with self.scope("bad", traceparent, "x" * 2000):
                self.get()
        self.expect("", "")

    def check_between_processes(self) -> None:
        proxy = tango.DeviceProxy(self.url)
        with self.scope("outer", OUTER, STATE):
            seen = proxy.command_inout("Idl6")
        if self.carries:
            traceparent, _, tracestate = seen.partition("|")
            assert traceparent[:36] == OUTER[:36], seen
            assert tracestate == STATE, seen
        else:
            assert OUTER[3:35] not in seen, seen
        assert OUTER[3:35] not in proxy.command_inout("Idl6")

    def run(self) -> None:
        for name in sorted(vars(Contract)):
            if name.startswith("check_"):
                getattr(self, name)()
                print(name, "ok")


if __name__ == "__main__":
    Contract(sys.argv[1], sys.argv[2], sys.argv[3] == "1").run()
