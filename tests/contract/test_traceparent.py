"""What is a ``traceparent``: one rule, in Python and in C++, by one table.

Source: W3C Trace Context level 2.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tango_telemetry.context import w3c
from tango_telemetry.context.bridges import CarrierParts, StackedBridge

bridge = pytest.importorskip("tango_telemetry_native._bridge")
pytest.importorskip("tango_telemetry_native.calls")
sys.path.insert(0, str(Path(__file__).parent))

from test_incoming_context import Upcall, upcall  # noqa: E402, F401 - a fixture

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
IDS = f"{TRACE}-{SPAN}"

# The flags that are taken, of bits 0 and 1; None: no traceparent.
TABLE: dict[str, int | None] = {
    f"00-{IDS}-00": 0,
    f"00-{IDS}-01": 1,
    f"00-{IDS}-02": 2,
    f"00-{IDS}-03": 3,
    f"00-{IDS}-05": 1,
    f"00-{IDS}-fe": 2,
    f"00-{IDS}-ff": 3,
    f"00-{'0' * 31}1-{'0' * 15}1-01": 1,
    f"00-{'f' * 32}-{'f' * 16}-01": 1,
    # A later version: its first four fields.
    f"01-{IDS}-01": 1,
    f"cc-{IDS}-03": 3,
    f"fe-{IDS}-00": 0,
    f"01-{IDS}-01-": 1,
    f"01-{IDS}-01-extra": 1,
    f"cc-{IDS}-01-what-the-future-will-be-like": 1,
    f"01-{IDS}-00-1": 0,
    f"01-{IDS}-01-{'x' * 200}": 1,
    f"01-{IDS}-01-UPPER \u00e9": 1,
    f"01-{IDS}-01.extra": None,
    f"01-{IDS}-010": None,
    f"01-{IDS}-01-{'x' * 201}": None,
    # Version 00 has nothing behind its flags, and ff is no version.
    f"00-{IDS}-01-": None,
    f"00-{IDS}-01-extra": None,
    f"ff-{IDS}-01": None,
    f"ff-{IDS}-01-extra": None,
    f"0-{IDS}-01": None,
    f"0g-{IDS}-01": None,
    f"FE-{IDS}-01": None,
    f" 0-{IDS}-01": None,
    f"+1-{IDS}-01": None,
    # Capitals, and what int() takes beside digits.
    f"00-{TRACE.upper()}-{SPAN}-01": None,
    f"00-{TRACE}-{SPAN.upper()}-01": None,
    f"00-{IDS}-0A": None,
    f"00-{TRACE[:-1]}_-{SPAN}-01": None,
    f"00-{TRACE}-+{SPAN[1:]}-01": None,
    f"00-{TRACE} -{SPAN[:-1]}-01": None,
    f"00-\u0661{TRACE[1:]}-{SPAN}-01": None,
    f"00-{IDS}-\u0661\u0661": None,
    # Zero ids, wrong lengths, wrong separators.
    f"00-{'0' * 32}-{SPAN}-01": None,
    f"00-{TRACE}-{'0' * 16}-01": None,
    f"01-{TRACE}-{'0' * 16}-01-extra": None,
    "": None,
    "00": None,
    f"00-{IDS}": None,
    f"00-{IDS}-": None,
    f"00-{IDS}-1": None,
    f"00-{IDS}-01 ": None,
    f" 00-{IDS}-01": None,
    f"00_{IDS}-01": None,
    f"00-{TRACE}_{SPAN}-01": None,
    f"00-{IDS}_01": None,
    f"00-{TRACE[1:]}-{SPAN}-01-": None,
    f"00-{IDS}-01" * 100: None,
}  # fmt: skip
CASES = pytest.mark.parametrize(("text", "flags"), list(TABLE.items()))
ENTRY = f"tango={'a' * 16}-01"


def payload(text: str) -> bytes:
    """A GIOP context with this traceparent and an empty tracestate."""
    parent = text.encode() + b"\0"
    head = b"\1\0\0\0" + struct.pack("<I", len(parent)) + parent
    return head + bytes(-len(head) % 4) + struct.pack("<I", 1) + b"\0"


@CASES
def test_in_python(text: str, flags: int | None) -> None:
    found = w3c.read_traceparent(text)
    assert found == (None if flags is None else (int(text[3:35], 16), int(text[36:52], 16), flags))


@CASES
def test_in_a_giop_context(text: str, flags: int | None) -> None:
    parsed = bridge.giop_parse(payload(text))
    assert parsed == (None if flags is None else (text[:55], ""))
    if parsed is not None:  # and what is left of it reads the same again
        assert w3c.read_traceparent(parsed[0]) == w3c.read_traceparent(text)


@CASES
def test_in_cpptangos_context(upcall: Upcall, text: str, flags: int | None) -> None:  # noqa: F811
    assert upcall.read(text, ENTRY) == w3c.extract(text, ENTRY)
    assert (upcall.read(text, ENTRY) is None) == (flags is None)


class Way:
    """A bridge that has brought two strings."""

    name, parts = "way", CarrierParts()

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def get_trace_context(self) -> tuple[str, ...]:
        return self.texts


@CASES
def test_of_two_ways_the_one_with_sampled_spans_is_believed(text: str, flags: int | None) -> None:
    other = (f"00-{IDS}-00", ENTRY)
    chosen = StackedBridge(Way(text, "vendor=1"), Way(*other)).get_trace_context()  # type: ignore[arg-type]
    if flags is not None:
        assert (chosen != other) == bool(flags & 1)


alphabet = st.sampled_from("0123456789abcdefABCDEFg -_+\0")


@given(st.sampled_from(sorted(TABLE)), st.integers(0, 60), st.text(alphabet, max_size=2), st.integers(0, 2))
def test_anything_near_reads_the_same_in_both(text: str, at: int, new: str, left_out: int) -> None:
    near = text[:at] + new + text[at + left_out :]
    parsed = bridge.giop_parse(payload(near))
    assert (parsed is not None) == (w3c.read_traceparent(near) is not None)
