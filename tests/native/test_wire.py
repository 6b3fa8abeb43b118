"""The wire format of GIOP service contexts: through the binding, and fuzzed with the parser compiled
alone.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from native_support import has_sanitizers
from tango_telemetry_native import _bridge, giop

FUZZ = Path(__file__).resolve().parent / "fuzz"
BRIDGE = FUZZ.parents[2] / "packages/tango-telemetry-native/src/bridge"
sys.path.insert(0, str(FUZZ))

from make_corpus import CORPUS, PARENT, STATE, payload  # noqa: E402

HEX = "0123456789abcdef"
parents = st.builds(
    "00-{}-{}-{}".format,
    st.text(HEX, min_size=32, max_size=32).filter(lambda x: x.strip("0")),
    st.text(HEX, min_size=16, max_size=16).filter(lambda x: x.strip("0")),
    st.text(HEX, min_size=2, max_size=2),
)
printable = st.characters(min_codepoint=0x20, max_codepoint=0x7E)


def test_the_identifier() -> None:
    assert struct.pack(">I", giop.CONTEXT_ID) == b"TTRC"


@given(parents, st.text(printable, max_size=512))
def test_round_trip(parent: str, state: str) -> None:
    encoded = _bridge.giop_encode(parent, state)
    assert encoded is not None
    assert len(encoded) <= 581
    assert encoded == payload(parent.encode(), state.encode())
    assert _bridge.giop_parse(encoded) == (parent, state)
    assert _bridge.giop_parse(payload(parent.encode(), state.encode(), little=False)) == (parent, state)


@given(st.binary(max_size=1200))
@example(b"")
def test_any_bytes(data: bytes) -> None:
    check(_bridge.giop_parse(data))


@given(
    st.sampled_from(sorted(CORPUS.values())), st.integers(0, 1200), st.binary(max_size=8), st.integers(0, 8)
)
def test_damaged_payloads(data: bytes, at: int, put_in: bytes, leave_out: int) -> None:
    check(_bridge.giop_parse(data[:at] + put_in + data[at + leave_out :]))


@given(st.text(max_size=70), st.text(max_size=600))
def test_whatever_is_encoded_can_be_parsed(parent: str, state: str) -> None:
    encoded = _bridge.giop_encode(parent, state)
    if encoded is not None:
        assert _bridge.giop_parse(encoded) == (parent, state)


def check(context: tuple[str, str] | None) -> None:
    """What the parser lets through is within the limits, and valid to the encoder."""
    if context is not None:
        assert len(context[0]) == 55
        assert len(context[1]) <= 512
        assert context[1].isascii()
        assert _bridge.giop_encode(*context) is not None


GOOD = (PARENT.decode(), STATE.decode())
KEPT = (PARENT.decode(), "")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("little_endian", GOOD),
        ("big_endian", GOOD),
        ("tail", GOOD),
        ("empty_state", KEPT),
        ("no_state", KEPT),
        ("zero_length_state", KEPT),
        ("longest_state", (KEPT[0], "x" * 512)),
        ("state_too_long", KEPT),
        ("state_not_printable", KEPT),
        ("no_nul", KEPT),
        ("huge_state_length", KEPT),
        ("later_version", ("01" + KEPT[0][2:], GOOD[1])),
        ("version_00_too_long", None),
        ("version_ff", None),
        ("upper_case", None),
        ("zero_trace", None),
        ("zero_span", None),
        ("huge_length", None),
        ("too_large", None),
        ("bad_byte_order", None),
        ("truncated", None),
        ("one_byte", None),
    ],
)
def test_corpus(name: str, expected: tuple[str, str] | None) -> None:
    assert _bridge.giop_parse(CORPUS[name]) == expected


def test_corpus_is_committed() -> None:
    """As files too, for fuzzers that start from them."""
    files = {path.name: path.read_bytes() for path in (FUZZ / "corpus").iterdir()}
    assert CORPUS.items() <= files.items()


def test_every_length_of_every_payload() -> None:
    for data in CORPUS.values():
        for size in range(len(data)):
            check(_bridge.giop_parse(data[:size]))


def test_fuzz_with_sanitizers(tmp_path: Path) -> None:
    """Mutations under AddressSanitizer and UndefinedBehaviorSanitizer; `make fuzz` runs ten million."""
    if not has_sanitizers() or not BRIDGE.is_dir():
        pytest.skip("no g++ with its sanitizers, or the sources are not here")
    flags = ["-g", "-O1", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-DSTANDALONE"]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    fuzzer = tmp_path / "fuzz_wire"
    command = [
        "g++",
        *flags,
        *sanitizers,
        "-I",
        str(BRIDGE),
        str(FUZZ / "fuzz_wire.cpp"),
        "-o",
        str(fuzzer),
    ]
    subprocess.run(command, check=True)
    corpus = sorted(str(path) for path in (FUZZ / "corpus").iterdir())
    inputs = os.environ.get("TANGO_TELEMETRY_FUZZ_INPUTS", "300000")
    result = subprocess.run([str(fuzzer), inputs, "1", *corpus], text=True, capture_output=True, check=False)
    assert (result.returncode, result.stdout) == (0, f"{inputs} inputs\n"), result.stderr[-3000:]
