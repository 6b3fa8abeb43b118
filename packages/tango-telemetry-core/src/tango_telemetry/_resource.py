"""The resource of a tracer provider: what the OpenTelemetry SDK's detectors find, and the attributes of one service."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from tango_telemetry import _otel_sdk
from tango_telemetry import semantic_conventions as names

__all__ = ["create_plain_resource", "create_resource"]

_KNOWN_SDKS = ((1, 30), (1, 46))
_base_resource: Any = None


def create_resource(attributes: Mapping[str, Any]) -> Any:
    """Give the SDK's ``Resource`` with what its detectors find, and with ``attributes``."""
    global _base_resource
    Resource = _otel_sdk.load("opentelemetry.sdk.resources", "recording spans").Resource  # noqa: N806
    if _base_resource is None:
        _base_resource = _otel_sdk.detect_resource()  # reads OTEL_RESOURCE_ATTRIBUTES once
    # What merge() does for values that are not empty, at half its price: a server makes one for each device.
    return Resource({**_base_resource.attributes, **attributes}, _base_resource.schema_url)


def create_plain_resource(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the attributes of what :func:`create_resource` would give, without importing the SDK (15 ms with psutil).

    :returns: None where only the SDK knows: other detectors, attributes that it would change, a version that is not known
        here; and for a service without an instance id, which its ``service_instance`` detector has to give
    """
    if names.SERVICE_INSTANCE_ID not in attributes or _base_resource is not None:
        return None
    base = _plain_base()
    if base is None or not all(type(value) in (str, int) and key for key, value in attributes.items()):
        return None
    return {**base, **attributes}


@lru_cache(maxsize=1)
def _plain_base() -> dict[str, Any] | None:
    """What ``Resource.create({})`` finds by default (opentelemetry-sdk 1.45), with an empty instance id."""
    version = _otel_sdk.sdk_version()
    known = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if os.environ.get("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "").strip() or not (
        _KNOWN_SDKS[0] <= known < _KNOWN_SDKS[1]
    ):
        return None
    base: dict[str, Any] = {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": version,
        names.SERVICE_INSTANCE_ID: "",
    }
    text = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    for item in text.split(",") if text else ():
        key, separator, value = item.partition("=")
        if not separator or not key.strip():
            return None  # the SDK has a warning for it
        base[key.strip()] = unquote(value.strip())
    base[names.SERVICE_NAME] = os.environ.get("OTEL_SERVICE_NAME") or base.get(names.SERVICE_NAME, "")
    return base
