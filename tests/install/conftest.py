"""Wheels of every package, and environments into which a user's pip command has put them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import Environment, build_wheels


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of every package."""
    return build_wheels(tmp_path_factory.mktemp("wheelhouse"))


@pytest.fixture(scope="session", params=["10.3.1", "9.5.1"])
def pytango_environment(
    request: pytest.FixtureRequest, wheelhouse: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Environment]:
    """One environment per PyTango: with telemetry in its cppTango, and without."""
    folder = tmp_path_factory.mktemp(f"pytango-{request.param}")
    yield Environment(folder, request.param, wheelhouse)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", params=["none", "api-only", "full"])
def environment(request: pytest.FixtureRequest, pytango_environment: Environment) -> Environment:
    """The same environment in each of the three configurations, in the order in which they add to
    each other.
    """
    if request.param == "none":
        assert pytango_environment.extra in ("", "none")
    pytango_environment.install(request.param)
    return pytango_environment
