"""Where the native package cannot be used it is not, and that is said once: the rest works as without it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tango_telemetry_native")

BRIDGE = Path(__file__).resolve().parents[2] / "packages/tango-telemetry-native/src/bridge"

WITHOUT = """
import sys, warnings
{preparation}
warnings.simplefilter("always")
with warnings.catch_warnings(record=True) as said:
    from tango_telemetry._native import import_native, load_native_calls, load_native_spans, why_no_native
    from tango_telemetry.context.bridges import create_context_bridge
    from tango_telemetry import TelemetryConfig
    assert import_native() is None and import_native() is None
    assert load_native_spans(TelemetryConfig()) is None and load_native_calls(TelemetryConfig()) is None
    assert create_context_bridge("auto", kernel=None, tango_version=(9, 5)).name == "noop"
loaded = [name for name in sys.modules if name.startswith("tango_telemetry_native._")]
print(len(loaded), [str(one.message) for one in said], why_no_native())
"""


def without(preparation: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(preparation=preparation)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_without_the_gil() -> None:
    """As a free-threaded Python says it.

    No extension module may be loaded: that would switch the GIL on for the program.
    """
    reason = (
        "tango-telemetry-native is not used: it needs the GIL, which is off in this process. PYTHON_GIL=1 "
        "switches "
        "that on"
    )
    assert without("sys._is_gil_enabled = lambda: False") == f"0 {[reason]!r} {reason}"


def test_with_an_extension_module_that_cannot_be_loaded() -> None:
    said = without("sys.modules['tango_telemetry_native._bridge'] = None")
    assert said.count("tango-telemetry-native is not used: ") == 2
    assert "_bridge" in said


def test_where_it_is_not_installed_nothing_is_said() -> None:
    said = without("sys.modules['tango_telemetry_native'] = None")
    assert said == "0 [] tango-telemetry-native is not installed"


PLATFORMS = {
    "glibc on x86-64": ("-D__x86_64__ -D__GLIBC__=2 -D__LP64__ -D__linux__", True),
    "glibc on aarch64": ("-D__aarch64__ -D__GLIBC__=2 -D__LP64__ -D__linux__", True),
    "musl on x86-64": ("-D__x86_64__ -D__LP64__ -D__linux__", False),
    "musl on aarch64": ("-D__aarch64__ -D__LP64__ -D__linux__", False),
    "glibc on another processor": ("-D__riscv -D__GLIBC__=2 -D__LP64__ -D__linux__", False),
    "glibc on x32": ("-D__x86_64__ -D__GLIBC__=2 -D__linux__", False),
    "another system": ("-D__x86_64__ -D__LP64__", False),
}


@pytest.mark.skipif(shutil.which("g++") is None or not BRIDGE.is_dir(), reason="needs g++ and the sources")
@pytest.mark.parametrize("platform", PLATFORMS)
def test_only_known_platforms_have_private_layouts(platform: str, tmp_path: Path) -> None:
    """GIOP is refused elsewhere, with a reason, before anything of omniORB or of the loader is read."""
    defined, known = PLATFORMS[platform]
    names = ("__x86_64__", "__aarch64__", "__riscv", "__GLIBC__", "__LP64__", "__linux__")
    source = tmp_path / "platform.cpp"
    source.write_text(
        "#include <elf.h>\n#include <cstdint>\n"
        + "".join(f"#undef {name}\n" for name in names)
        + "".join(f"#define {one[2:].replace('=', ' ')}\n" for one in defined.split())
        + f'#include "{BRIDGE / "platform.h"}"\n'
        + f"static_assert(tango_telemetry::is_known_platform == {str(known).lower()});\n"
    )
    subprocess.run(["g++", "-std=c++17", "-fsyntax-only", str(source)], check=True)
