"""The encoding core of the tracer provider, compiled alone with sanitizers and fuzzed;
tests/native/fuzz/fuzz_spans.cpp.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from native_support import has_sanitizers

FUZZ = Path(__file__).resolve().parent / "fuzz" / "fuzz_spans.cpp"
SPANS = FUZZ.parents[3] / "packages/tango-telemetry-native/src/spans"

# Ten million take some ten minutes of one core: TANGO_TELEMETRY_FUZZ_INPUTS=10000000.
INPUTS = os.environ.get("TANGO_TELEMETRY_FUZZ_INPUTS", "30000")


@pytest.mark.skipif(not has_sanitizers(), reason="needs g++ with its sanitizers")
def test_the_encoding_core_alone(tmp_path: Path) -> None:
    binary = str(tmp_path / "fuzz")
    build = ["g++", "-g", "-O1", "-std=c++17", "-DTANGO_SPANS_FAIL_ALLOCATIONS", "-DSTANDALONE"]
    build += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror"]
    sources = [str(FUZZ), *map(str, sorted((SPANS / "core").glob("*.cpp")))]
    subprocess.run([*build, "-I", str(SPANS), *sources, "-o", binary, "-pthread"], check=True)
    result = subprocess.run([binary, INPUTS, "7"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, f"{INPUTS} inputs\n"), result.stderr[-3000:]
