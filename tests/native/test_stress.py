"""Many threads: no mix-up, no growth."""

from __future__ import annotations

import os
from typing import Any

from native_support import Server, run_json

CALLS = 5000
# KiB for 40,000 calls: less than 160 bytes a call, of which most is the allocator's noise.
MAX_GROWTH = 6 * 1024


def test_eight_threads(echo: Server) -> None:
    result: Any = run_json("stress_client.py", echo.url(), str(echo.process.pid), str(CALLS), timeout=300)
    assert result["mismatches"] == 0
    if "libasan" not in os.environ.get("LD_PRELOAD", ""):  # which keeps freed memory back
        assert result["client_growth"] < MAX_GROWTH
        assert result["server_growth"] < MAX_GROWTH
    assert result["status"]["counters"]["failed_checks"] == 0
