"""What is run: other people's test suites from their source distributions, and ordinary programs written for
this.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(__file__).resolve().parent / "programs"
_QT = ("sardana", "taurus", "PyQt5", "pytest", "pytest-timeout")


@dataclass(frozen=True)
class Suite:
    """Tests, and the environment that they need."""

    name: str
    distribution: str
    """The software whose version the table shows."""
    requirements: tuple[str, ...]
    arguments: tuple[str, ...]
    """For pytest; paths are of the source distribution, or of the checks in ``programs``."""
    has_source: bool = False
    """The tests are those of the distribution's source."""
    timeout: int = 600
    """Seconds for one run."""


def _check(name: str) -> tuple[str, ...]:
    return (str(PROGRAMS / f"check_{name}.py"), "--timeout=300")


SUITES = (
    Suite(
        "ophyd-async",
        "ophyd-async",
        ("ophyd-async[tango,sim]", "pytest", "pytest-asyncio", "pytest-timeout"),
        ("tests/system_tests/tango", "tests/unit_tests/tango"),
        has_source=True,
    ),
    Suite(
        "tango-gateway",
        "tango-gateway",
        ("tango-gateway", "pytango-db", "pytest", "pytest-asyncio", "pytest-timeout"),
        ("tests", "--timeout=60"),
        has_source=True,
    ),
    Suite(
        "itango",
        "itango",
        ("itango", "pytest", "pytest-cov", "pytest-timeout"),
        ("tests", "--timeout=60"),
        has_source=True,
    ),
    Suite(
        "gevent sequencer", "gevent", ("gevent", "pytango", "pytest", "pytest-timeout"), _check("sequencer")
    ),
    Suite(
        "FastAPI gateway",
        "fastapi",
        (
            *("fastapi", "uvicorn", "httpx", "opentelemetry-sdk", "opentelemetry-instrumentation-fastapi"),
            *("pytango", "pytest", "pytest-timeout"),
        ),
        _check("gateway"),
    ),
    Suite("Sardana macros", "sardana", _QT, _check("sardana")),
    Suite("Taurus panel", "taurus", _QT, _check("panel")),
)
