"""The collector's configuration in the documentation: whole, in the right order, and good for a collector
where there is one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from docs_examples import ROOT

FILE = ROOT / "docs" / "how-to" / "collector.yaml"


@pytest.fixture(scope="module")
def configuration() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


@pytest.mark.parametrize("kind", ["receivers", "processors", "exporters"])
def test_each_component_is_defined_and_used(configuration: dict[str, Any], kind: str) -> None:
    used = {name for pipeline in configuration["service"]["pipelines"].values() for name in pipeline[kind]}
    assert used == set(configuration[kind])


def test_each_extension_is_defined_and_used(configuration: dict[str, Any]) -> None:
    assert set(configuration["service"]["extensions"]) == set(configuration["extensions"])


def test_nothing_stands_where_a_collector_does_not_look(configuration: dict[str, Any]) -> None:
    assert set(configuration) == {"receivers", "processors", "exporters", "extensions", "service"}


def test_spans_come_in_where_the_documentation_says(configuration: dict[str, Any]) -> None:
    protocols = configuration["receivers"]["otlp"]["protocols"]
    assert protocols["grpc"]["endpoint"].endswith(":4317")
    assert protocols["http"]["endpoint"].endswith(":4318")
    page = (FILE.parent / "collector.md").read_text()
    assert "${env:TRACES_BACKEND}" in FILE.read_text()
    assert "TRACES_BACKEND=" in page


def test_memory_is_limited_first_and_batches_are_made_last(configuration: dict[str, Any]) -> None:
    processors = configuration["service"]["pipelines"]["traces"]["processors"]
    assert processors[0] == "memory_limiter"
    assert processors[-1] == "batch"


def test_what_failed_is_kept(configuration: dict[str, Any]) -> None:
    policies = {p["name"]: p for p in configuration["processors"]["tail_sampling"]["policies"]}
    assert policies["failed"]["status_code"]["status_codes"] == ["ERROR"]
    assert 0 < policies["a-tenth-of-the-rest"]["probabilistic"]["sampling_percentage"] < 100


@pytest.mark.parametrize(
    "names",
    [["collector.yaml"], ["collector.yaml", "collector-logs-and-metrics.yaml"], ["collector-two-tiers.yaml"]],
    ids=" with ".join,
)
def test_a_collector_takes_it(names: list[str]) -> None:
    built = [str(path) for path in (ROOT / "build" / "collector").glob("engine-*") if not path.suffix]
    collector = shutil.which("otelcol-contrib") or next(iter(built), None)
    if collector is None:
        pytest.skip("no otelcol-contrib on this machine, and make test-collector has not built one")
    variables = {"TRACES_BACKEND": "localhost:4317", "TRACES_COLLECTORS": "[localhost:4317]"}
    environment = {**os.environ, **variables, "LOGS_BACKEND": "http://localhost:4318"}
    files = [argument for name in names for argument in ("--config", str(FILE.parent / name))]
    command = [collector, "validate", *files]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
