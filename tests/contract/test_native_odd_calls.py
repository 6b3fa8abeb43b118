"""The extension modules in the hands of somebody who reads no documentation, and at the end of an
interpreter: never a crash.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tango_telemetry_native._spans", reason="tango-telemetry-native is not built here")

HERE = Path(__file__).parent


def run(*command: str) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "ignore", *command], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stderr[-3000:]}"
    return result.stdout


@pytest.mark.parametrize("seed", range(4))
def test_any_function_and_type_in_any_order(seed: int) -> None:
    assert "reached the end" in run(str(HERE / "odd_calls.py"), str(seed), "5000")


ORDERS = {
    "carrier first": "_spans.set_carrier(object(), None, None); import tango_telemetry_native.calls; begin()",
    "calls first": "_spans.configure_calls(print, print, print, dict, epoch); begin()",
    "resource first": "refused(RuntimeError, _spans.Resource, MappingProxyType({'a': [1]}), None)",
    "a type by its __new__": "refused(TypeError, lambda: TraceContextScope.__new__(TraceContextScope).__enter__())",  # noqa: E501
    "a subclass without its initialiser": "class Own(TraceContextScope):\n def __init__(self): pass\n"
    "refused(TypeError, lambda: Own().__enter__())",
    "a tracer by its __new__": "refused(RuntimeError, _spans.TracerBase.__new__(_spans.TracerBase).start_span, 'a')",  # noqa: E501
    "a beginning by its __new__": "refused(RuntimeError, _spans.ClientBeginning.__new__(_spans.ClientBeginning).begin, (), {})",  # noqa: E501
    "an old pickle": "refused(TypeError, lambda: copyreg._reduce_ex(TraceContextScope('a', '', ''), 0)[0](*args()))",  # noqa: E501
    "the type's own base": "refused(TypeError, object.__new__, TraceContextScope)",
}
PRELUDE = """
import copyreg
from contextvars import ContextVar
from types import MappingProxyType
from tango_telemetry_native import TraceContextScope, _spans
def refused(error, call, *args):
    try:
        call(*args)
    except error:
        return
    raise SystemExit(f"{call} was not refused")
def args():
    return copyreg._reduce_ex(TraceContextScope('a', '', ''), 0)[1]
epoch = [object()]
class Proxy:
    pass
def begin():
    import tango_telemetry_native.spans as spans
    from opentelemetry.trace import SpanKind
    tracer = spans.create_native_tracer_provider({}).get_tracer("t")
    beginning = _spans.ClientBeginning(lambda *a: "slow", ContextVar("a", default=None), ContextVar("b", default=None),
                                       {"__main__": False}, "x", ContextVar("c", default=None), "value", 0)
    proxy = Proxy()
    plans = proxy._tango_telemetry_plans = _spans.Plans()
    code = begin.__code__
    for at in range(0, len(code.co_code), 2):
        plans.put((beginning, code, at, None), epoch[0], ("x", SpanKind.CLIENT, {}, tracer, None, None, None, False, False))
    assert beginning.begin((proxy,), {}) == "slow"
"""  # noqa: E501


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_not_ready_is_refused(order: str) -> None:
    run("-c", PRELUDE + ORDERS[order])


# A daemon thread that wants the GIL of an interpreter that has ended is ended by pthread_exit() up to Python
# 3.13: whatever C++ has on its stack then must not touch a Python object.
UNWOUND = """
import os, sys, threading, time
from collections.abc import Mapping, Sequence
from tango_telemetry_native.spans import create_native_tracer_provider

tracer = create_native_tracer_provider({}).get_tracer("t")
waiting, ending, threads = threading.Barrier(9), threading.Event(), 8

def stay(*_):
    waiting.wait()
    ending.wait()
    while True:
        time.sleep(0.001)

class Values(Sequence):
    def __len__(self): return 2
    __getitem__ = stay

class Items(Mapping):
    def __len__(self): return 2
    def __iter__(self): return iter("ab")
    __getitem__ = stay

class Text:
    __str__ = stay

def work(number):
    value = (Values(), Items(), Text(), [[Text()], 1.5])[number % 4]
    tracer.start_span("a", attributes={"k": {str(i): [1.5, value] for i in range(5)}})

class AtTheEnd:
    def __del__(self, sleep=time.sleep, tasks=os.listdir):
        while len(tasks("/proc/self/task")) > 1:
            sleep(0.001)

for number in range(threads):
    threading.Thread(target=work, args=(number,), daemon=True).start()
waiting.wait()
sys.modules["the end"] = AtTheEnd()
ending.set()
print("reached the end")
"""


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="such a thread is left hanging there")
def test_threads_that_end_with_the_interpreter() -> None:
    assert run("-c", UNWOUND) == "reached the end\n"
