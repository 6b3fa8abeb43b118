"""The files beside the page on metrics: whole, and with the names that metrics have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from docs_examples import ROOT
from tango_telemetry import semantic_conventions

DOCS = ROOT / "docs" / "how-to"
RULES, DASHBOARD = DOCS / "prometheus-rules.yaml", DOCS / "grafana-dashboard.json"


def expressions() -> list[str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    board = json.loads(DASHBOARD.read_text())
    return [rule["expr"] for group in groups for rule in group["rules"]] + [
        target["expr"] for panel in board["panels"] for target in panel["targets"]
    ]


def to_prometheus(name: str) -> str:
    return name.replace(".", "_")


def test_what_is_asked_for_exists() -> None:
    """Metrics and labels are ours, by the names that Prometheus gives them."""
    known = {
        to_prometheus(value)
        for name, value in vars(semantic_conventions).items()
        if name.isupper() and isinstance(value, str)
    }
    suffixes = "_(seconds|total|bytes)$"
    asked = set()
    for text in expressions():
        plain = re.sub(r'"[^"]*"', "", text)
        asked |= set(re.findall(r"\b(?:rpc|tango|messaging|process|error|otel)_[a-z_]+", plain))
    assert len(asked) > 10
    assert {name for name in asked if re.sub(suffixes, "", name) not in known} == set()


def test_each_alarm_says_what_is_the_matter() -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    alerts = [rule for rule in rules if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) >= 7
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] for rule in alerts)
    page = (DOCS / "metrics.md").read_text()
    assert [rule["alert"] for rule in alerts if rule["alert"] not in page] == []


def test_the_dashboard_is_one() -> None:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) > 10
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["targets"]
        assert panel["datasource"]["uid"] == "${datasource}"
    variables = {each["name"] for each in board["templating"]["list"]}
    used = {name for text in expressions() for name in re.findall(r"\$([a-z_]+)", text)} - {"__rate_interval"}
    assert used <= variables


def test_the_collector_has_all_that_it_uses() -> None:
    configuration: dict[str, Any] = yaml.safe_load((DOCS / "collector-signals.yaml").read_text())
    pipelines = configuration["service"]["pipelines"].values()
    connectors = set(configuration["connectors"])
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in pipelines for name in pipeline[kind]}
        assert used - connectors == set(configuration[kind])
    assert all(
        any(name in pipeline["exporters"] for pipeline in pipelines)
        and any(name in pipeline["receivers"] for pipeline in pipelines)
        for name in connectors
    )
    assert {name.partition("/")[0] for name in configuration["service"]["pipelines"]} == {
        "traces",
        "logs",
        "metrics",
    }


def test_prometheus_takes_its_files() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on this machine: apt-get install prometheus")
    for command in (["check", "rules", RULES.name], ["check", "config", "prometheus.yaml"]):
        done = subprocess.run([promtool, *command], cwd=DOCS, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
