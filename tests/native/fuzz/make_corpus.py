"""Write the seed corpus: payloads that reach every branch of the parser. Usage: make_corpus.py DIRECTORY"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STATE = b"tango=00f067aa0ba902b7-01,congo=t61rcWkgMzE"


def string(text: bytes, at: int, order: str) -> bytes:
    """Return a CDR string that begins at offset `at`, aligned."""
    return b"\0" * (-at % 4) + struct.pack(order + "I", len(text) + 1) + text + b"\0"


def payload(
    parent: bytes = PARENT, state: bytes | None = STATE, little: bool = True, tail: bytes = b""
) -> bytes:
    """Return one service context's data."""
    order = "<" if little else ">"
    data = bytes([little])
    data += string(parent, len(data), order)
    if state is not None:
        data += string(state, len(data), order)
    return data + tail


CORPUS = {
    "little_endian": payload(),
    "big_endian": payload(little=False),
    "empty_state": payload(state=b""),
    "no_state": payload(state=None),
    "zero_length_state": payload(state=None) + b"\0" * 4,
    "longest_state": payload(state=b"x" * 512),
    "state_too_long": payload(state=b"x" * 513),
    "state_not_printable": payload(state=b"a=\x01"),
    "later_version": payload(parent=b"01" + PARENT[2:] + b"-more"),
    "version_00_too_long": payload(parent=PARENT + b"-more"),
    "version_ff": payload(parent=b"ff" + PARENT[2:]),
    "upper_case": payload(parent=PARENT.upper()),
    "zero_trace": payload(parent=b"00-" + b"0" * 32 + PARENT[35:]),
    "zero_span": payload(parent=PARENT[:36] + b"0" * 16 + PARENT[52:]),
    "tail": payload(tail=b"of a later version"),
    "huge_length": payload()[:4] + b"\xff\xff\xff\xff" + payload()[8:],
    "huge_state_length": payload()[:64] + b"\xff\xff\xff\xff" + payload()[68:],
    "no_nul": payload()[:-1] + b"x",
    "too_large": payload(tail=b"x" * 1024),
    "bad_byte_order": b"\2" + payload()[1:],
    "truncated": payload()[:40],
    "one_byte": b"\1",
    "event_frame": b"\1TTRC\1" + bytes(range(1, 26)),
    "event_frame_of_zeros": b"\0TTRC\1" + bytes(25),
    "event_frame_of_a_later_version": b"\1TTRC\2" + bytes(range(1, 40)),
}


def main(directory: str) -> None:
    for name, data in CORPUS.items():
        (Path(directory) / name).write_bytes(data)


if __name__ == "__main__":
    main(sys.argv[1])
