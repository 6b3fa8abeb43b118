"""Calls of a loaded library are redirected however it was linked: as auditwheel's, Debian's or conda's is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

BRIDGE = Path(__file__).resolve().parents[2] / "packages/tango-telemetry-native/src/bridge"
pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None or not BRIDGE.is_dir(), reason="needs g++ and the sources"
)

OMNI = 'extern "C" int answer() { return 1; }'
TANGO = 'extern "C" int answer(); extern "C" int ask() { return answer() * 10; }'
MAIN = """
#include "loaded_library.h"
#include <cstdio>
#include <dlfcn.h>
static int other() { return 7; }
int main(int, char **arguments) {
    void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if(library == nullptr) { std::puts(dlerror()); return 2; }
    auto ask = reinterpret_cast<int (*)()>(dlsym(library, "ask"));
    const int before = ask();
    const std::string folder = arguments[2];
    auto patch = [&](const char *prefix, const char *symbol) {
        return tango_telemetry::patch_import(folder, prefix, symbol, reinterpret_cast<void *>(&other));
    };
    using tango_telemetry::ImportPatch;
    const bool unknown = patch("libtango", "no_such_symbol") == ImportPatch::not_found &&
                         patch("libother", "answer") == ImportPatch::not_found && ask() == before;
    const bool patched = patch("libtango", "answer") == ImportPatch::patched;
    const bool again = patch("libtango", "answer") == ImportPatch::already_patched;
    std::printf("%d %d %d %d %d\\n", before, unknown, patched, again, ask());
}
"""
LINKED = {
    # name of the file, how it is compiled, how it is linked
    "as auditwheel's: a hash in the name": ("libtango-1a2b3c4d.so.10.3.3", [], []),
    "as Debian's: no hash, bound at the start": ("libtango.so.103", [], ["-Wl,-z,relro,-z,now"]),
    "as conda's: no hash, no procedure linkage table": (
        "libtango.so.103",
        ["-O2", "-fno-plt"],
        ["-Wl,-O2,--sort-common,--as-needed,-z,relro,-z,now,--disable-new-dtags"],
    ),
    "no table, bound late, the old hash section": (
        "libtango.so.103",
        ["-O2", "-fno-plt"],
        ["-Wl,-z,lazy,--hash-style=sysv"],
    ),
    "without a read-only part": ("libtango.so.99", ["-O0"], ["-Wl,-z,norelro,-z,lazy"]),
}


# How to compile for a processor, and how to run what comes out: qemu-user stands in for another machine.
PROCESSORS = {
    "this one": (["g++"], []),
    "aarch64": (["aarch64-linux-gnu-g++"], ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"]),
}


class Processor:
    """Compiles for one kind of processor, and runs that."""

    def __init__(self, name: str) -> None:
        self._compiler, self._emulator = PROCESSORS[name]
        for tool in (*self._compiler, *self._emulator[:1]):
            if shutil.which(tool) is None:
                pytest.skip(f"{tool} is not here")

    def compile(self, *arguments: str | Path) -> None:
        subprocess.run([*self._compiler, "-std=c++17", *map(str, arguments)], check=True)

    def run(self, *command: str) -> str:
        said = subprocess.run([*self._emulator, *command], capture_output=True, text=True, check=False)
        return said.stdout + said.stderr


@pytest.fixture(scope="module", params=PROCESSORS)
def processor(request: pytest.FixtureRequest) -> Processor:
    return Processor(request.param)


@pytest.fixture(scope="module")
def program(processor: Processor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that loads a library, redirects its call and says what came of it."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "main.cpp").write_text(MAIN)
    sources = (folder / "main.cpp", BRIDGE / "loaded_library.cpp")
    processor.compile("-I", BRIDGE, *sources, "-ldl", "-o", folder / "program")
    return folder / "program"


@pytest.mark.parametrize("linked", LINKED)
def test_a_call_of_a_library_is_redirected(
    processor: Processor, program: Path, linked: str, tmp_path: Path
) -> None:
    name, compiled, options = LINKED[linked]
    (tmp_path / "omni.cpp").write_text(OMNI)
    (tmp_path / "tango.cpp").write_text(TANGO)
    shared = ("-shared", "-fPIC")
    processor.compile(*shared, tmp_path / "omni.cpp", "-o", tmp_path / "libomniORB4.so.2")
    needs = (f"-Wl,-rpath,{tmp_path}", tmp_path / "libomniORB4.so.2", "-o", tmp_path / name)
    processor.compile(*shared, *compiled, tmp_path / "tango.cpp", *options, *needs)
    assert processor.run(str(program), str(tmp_path / name), f"{tmp_path}/") == "10 1 1 1 70\n"
