"""What every test shares."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from hypothesis import settings

# Tests wait for what programs write; a pipe would keep it back in an environment that does not say otherwise.
os.environ.setdefault("PYTHONUNBUFFERED", "1")

# In the background of a shell SIGINT is ignored, under nohup SIGHUP, and children would go on ignoring them.
if threading.current_thread() is threading.main_thread():
    for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(_number) is signal.SIG_IGN:
            signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

# A shared machine may be slow for a moment; what takes too long is what pytest's own time-outs are for.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the fault tests keep, for each test, only as many combinations as show every value of every
    parameter once.

    ``make test-faults`` (``TANGO_TELEMETRY_TEST_FULL=on``) runs all combinations: every fault with every way
    to end.
    """
    if os.environ.get("TANGO_TELEMETRY_TEST_FULL", "").lower() == "on":
        return
    seen: set[tuple[str, str, str]] = set()
    kept, left_out = [], []
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is None or "tests/faults/" not in item.nodeid:
            kept.append(item)
            continue
        name = item.nodeid.partition("[")[0]
        values = {(name, parameter, repr(value)) for parameter, value in callspec.params.items()}
        (left_out if values <= seen else kept).append(item)
        seen |= values
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
