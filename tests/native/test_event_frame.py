"""The span context in the second frame of an event: its bytes, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("tango_telemetry_native")
from tango_telemetry_native import _bridge

WORDS = st.integers(0, 2**64 - 1)
GOOD = b"\x01TTRC\x01" + bytes(range(1, 17)) + bytes(range(21, 29)) + b"\x03"


def test_the_bytes_are_those_of_the_reference_page():
    high, low = int.from_bytes(GOOD[6:14], "big"), int.from_bytes(GOOD[14:22], "big")
    assert _bridge.event_encode(1, high, low, int.from_bytes(GOOD[22:30], "big"), 3) == GOOD
    assert len(GOOD) == _bridge.EVENT_FRAME_SIZE == 31


@given(st.integers(0, 1), WORDS, WORDS, WORDS, st.integers(0, 3))
def test_what_is_written_is_read(byte_order: int, high: int, low: int, span_id: int, flags: int):
    frame = _bridge.event_encode(byte_order, high, low, span_id, flags)
    found = _bridge.event_decode(frame)
    assert found == ((high << 64 | low, span_id, flags) if (high or low) and span_id else None)
    assert frame[0] == byte_order


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x01",
        GOOD[:-1],
        GOOD + b"\x00",
        GOOD[:1] + b"TTRD" + GOOD[5:],
        GOOD[:5] + b"\x02" + GOOD[6:],
        GOOD[:6] + bytes(16) + GOOD[22:],
        GOOD[:22] + bytes(8) + GOOD[30:],
        b"\x01" * 4096,
    ],
)
def test_anything_else_is_ignored(frame: bytes):
    assert _bridge.event_decode(frame) is None


@given(st.binary(max_size=64) | st.binary(min_size=25, max_size=25).map(lambda rest: b"\x00TTRC\x01" + rest))
def test_no_bytes_are_read_beyond_the_end(frame: bytes):
    found = _bridge.event_decode(frame)
    assert found is None or (len(frame) == 31 and 0 < found[0] < 2**128 and 0 < found[1] < 2**64)
