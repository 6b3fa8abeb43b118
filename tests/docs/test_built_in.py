"""docs/reference/built-in.md says what is measured: one program with PyTango's own tracing and with ours.

`TANGO_TELEMETRY_TEST_FULL=on` measures each row again, and not only those that are measured in each run.
"""

from __future__ import annotations

import os
import re
import sys

import pytest
from docs_examples import ROOT
from integration.support import PYTANGO

sys.path.append(str(ROOT / "tools"))
from built_in_tracing import OFTEN, PROBES, SAME, built_in_page, read_measured
from measure_built_in import measure

FULL = os.environ.get("TANGO_TELEMETRY_TEST_FULL") == "on"


@pytest.mark.skipif(PYTANGO < (10, 3), reason="the page is about PyTango 10.3")
def test_the_page_says_what_is_measured() -> None:
    chosen = {probe.title: probe for probe in PROBES if FULL or probe.title in OFTEN}
    assert len(chosen) >= len(OFTEN)
    try:
        found = measure(list(chosen.values()))
    except OSError as error:
        pytest.skip(f"no network of one's own on this machine: {error}")
    assert found == {title: read_measured()[title] for title in chosen}


def test_each_probe_is_a_row_and_the_cell_is_same_wherever_it_is() -> None:
    measured = read_measured()
    rows = re.findall(r"^\| (`.*) \| (.*) \| (.*) \|$", built_in_page(""), re.MULTILINE)
    assert [title for title, *_ in rows] == [probe.title for probe in PROBES]
    assert set(measured) == {probe.title for probe in PROBES}
    for title, theirs, ours in rows:
        assert theirs == measured[title][0]
        assert (ours == SAME) is (measured[title][0] == measured[title][1])
    assert 0 < sum(ours == SAME for *_, ours in rows) < len(rows)
