"""The benchmark of the C++ spans alone (``spans.py``), run in a process of its own and read for the table."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

_PAIRS = {
    "start, 8 attributes at creation, end": ("8: C++ span, time, of the SDK's", 0.10),
    "CPU with encoding, 8 attributes": ("8: C++ span with export, CPU, of the SDK's", 0.10),
}


def measure_spans(*, rounds: int, sustained: float) -> dict[str, Any]:
    """Run it and give what it printed and the rows of the table: ``(case, measured, at most)``."""
    script = str(Path(__file__).with_name("spans.py"))
    command = [sys.executable, script, "--rounds", str(rounds), "--sustained", str(sustained)]
    output = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=300 + sustained
    ).stdout
    rows: list[tuple[str, float, float]] = []
    for title, (case, limit) in _PAIRS.items():
        if found := re.search(rf"^{re.escape(title)} +[\d.]+ +[\d.]+ +([\d.]+)", output, re.MULTILINE):
            rows.append((case, float(found[1]), limit))
    if found := re.search(r"^burst of (\d+): (\d+) lost", output, re.MULTILINE):
        rows.append((f"8: spans lost of a burst of {found[1]}", float(found[2]), 0))
    if found := re.search(r"^(\d+) spans/s for ([\d.]+) s: ([\d.]+)% .*, (\d+) lost", output, re.MULTILINE):
        rows.append((f"8: {found[1]} spans/s for {found[2]} s: share of a core", float(found[3]) / 100, 0.20))
        rows.append((f"8: {found[1]} spans/s for {found[2]} s: spans lost", float(found[4]), 0))
    return {"output": output, "rows": rows}
