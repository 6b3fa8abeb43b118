"""The resource that is made without the SDK is the one that the SDK makes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

_CODE = """
import json, sys
from tango_telemetry.providers.resource import create_plain_resource, create_resource
attributes = {"service.namespace": "tango", "process.pid": 7, "service.name": "Leader", **json.loads(sys.argv[1])}
plain = create_plain_resource(attributes)
assert "opentelemetry.sdk.resources" not in sys.modules
made = create_resource(attributes)
official = list(made.attributes.items())
assert made.schema_url == ""
if "service.instance.id" not in attributes:
    official = []
print(json.dumps([plain if plain is None else list(plain.items()), official]))
"""  # noqa: E501
DEVICE = {"service.instance.id": "sys/leader/1"}


def resources(environment: dict[str, str], attributes: dict[str, Any]) -> tuple[Any, Any]:
    done = subprocess.run(
        [sys.executable, "-c", _CODE, json.dumps(attributes)],
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    plain, official = json.loads(done.stdout)
    return plain, official


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_RESOURCE_ATTRIBUTES": ""},
        {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test, a = b%20c ,d="},
        {"OTEL_RESOURCE_ATTRIBUTES": "service.name=x,service.instance.id=y,telemetry.sdk.name=z"},
        {"OTEL_RESOURCE_ATTRIBUTES": "equals=a=b"},
        {"OTEL_SERVICE_NAME": "named"},
        {"OTEL_SERVICE_NAME": "named", "OTEL_RESOURCE_ATTRIBUTES": "service.name=x,other=y"},
        {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": " "},
    ],
)
@pytest.mark.parametrize("attributes", [DEVICE, {**DEVICE, "tango.server.name": "ü"}])
def test_it_is_the_sdks(environment: dict[str, str], attributes: dict[str, Any]) -> None:
    plain, official = resources(environment, attributes)
    assert plain == official


@pytest.mark.parametrize(
    ("environment", "attributes"),
    [
        ({}, {}),
        ({}, {**DEVICE, "": "x"}),
        ({}, {**DEVICE, "list": ["a"]}),
        ({"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process"}, DEVICE),
        ({"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "*"}, DEVICE),
        ({"OTEL_RESOURCE_ATTRIBUTES": "no value"}, DEVICE),
        ({"OTEL_RESOURCE_ATTRIBUTES": "a=b,"}, DEVICE),
        ({"OTEL_RESOURCE_ATTRIBUTES": "=b"}, DEVICE),
    ],
)
def test_what_only_the_sdk_knows_is_left_to_it(
    environment: dict[str, str], attributes: dict[str, Any]
) -> None:
    assert resources(environment, attributes)[0] is None
