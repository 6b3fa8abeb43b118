"""What PyTango's executors are given to run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from threading import Barrier
from typing import Any

from tango_telemetry.pytango.executors import _wrap_submit

_variable: ContextVar[str] = ContextVar("_variable", default="nothing")


def test_it_may_be_run_twice_at_once() -> None:
    """A context can be entered once at a time: the second run would get a RuntimeError (seen once, gevent,
    Python 3.10).
    """
    both = Barrier(2)

    def submit(self: Any, function: Any, /, *args: Any, **kwargs: Any) -> list[Any]:
        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(function, *args, **kwargs) for _ in range(2)]
            return [future.result() for future in futures]

    def work(number: int, **names: int) -> tuple[int, dict[str, int], str]:
        both.wait(10)
        return number, names, _variable.get()

    token = _variable.set("carried")
    try:
        results = _wrap_submit(submit)(None, work, 1, function=2, context=3)
    finally:
        _variable.reset(token)
    assert results == [(1, {"function": 2, "context": 3}, "carried")] * 2
