"""Builds the OpenTelemetry Collector and Jaeger from their Go modules into ``build/collector/``.

A program is built again when its folder beside this file or the version of Go has changed: the digest of both
is part of its file's name.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = HERE.parents[1] / "build" / "collector"
PACKAGES = {"engine": ".", "jaeger": "github.com/jaegertracing/jaeger/cmd/jaeger"}
"""Of each program: the Go package. Its module, with the versions of all that it is made of, is in the folder
of this name.
"""
_TIMEOUT = 3600.0


def find_go() -> str | None:
    """Return the path of the ``go`` command, or None."""
    return shutil.which("go")


def build(name: str) -> Path:
    """Return the program, built if need be, which takes minutes the first time.

    :raises subprocess.CalledProcessError: Go says why on stderr
    """
    go = find_go()
    assert go is not None
    digest = hashlib.sha256(subprocess.run([go, "version"], capture_output=True, check=True).stdout)
    for path in sorted((HERE / name).iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    program = HOME / f"{name}-{digest.hexdigest()[:12]}"
    if not program.exists():
        print(f"building {name} from its Go modules (some minutes, 1 to 2 GB of memory)", flush=True)
        HOME.mkdir(parents=True, exist_ok=True)
        unfinished = program.with_suffix(".part")
        flags = ("-buildvcs=false", "-trimpath", "-mod=readonly", "-ldflags=-s -w")
        subprocess.run(
            [go, "build", *flags, "-o", str(unfinished), PACKAGES[name]],
            cwd=HERE / name,
            # A workspace of the user's own is not meant.
            env={**os.environ, "GOWORK": "off"},
            check=True,
            timeout=_TIMEOUT,
        )
        for old in HOME.glob(f"{name}-*"):
            if old != unfinished:
                old.unlink()
        unfinished.rename(program)
    return program
