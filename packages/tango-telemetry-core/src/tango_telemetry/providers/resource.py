"""The resource of a tracer provider: what the OpenTelemetry SDK's detectors find, and the attributes of one
service.
"""

from __future__ import annotations

import os
import re
import uuid
import weakref
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from tango_telemetry import semantic_conventions as names
from tango_telemetry.base import system
from tango_telemetry.otel import sdk as otel_sdk

__all__ = ["create_plain_resource", "create_resource", "renew_after_fork"]

_KNOWN_SDKS = ((1, 30), (1, 46))
_base_resource: Any = None


def create_resource(attributes: Mapping[str, Any]) -> Any:
    """Return the SDK's ``Resource`` with what its detectors find, and with ``attributes``."""
    global _base_resource
    Resource = otel_sdk.load("opentelemetry.sdk.resources", "recording spans").Resource  # noqa: N806
    if _base_resource is None:
        _base_resource = otel_sdk.detect_resource()  # reads OTEL_RESOURCE_ATTRIBUTES once
    # What merge() does for values that are not empty, at half its price: a server makes one for each device.
    return Resource({**_base_resource.attributes, **attributes}, _base_resource.schema_url)


def create_plain_resource(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the attributes of what :func:`create_resource` would give, without importing the SDK (15 ms with
    psutil).

    :returns: None where only the SDK knows: other detectors, attributes that it would change, a version that
        is not known here; and for a service without an instance id, which its ``service_instance`` detector
        has to give
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
    version = otel_sdk.sdk_version()
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


# A UUID of version 4: what the SDK's detector makes up for a process (1.45), and no name of a device.
_MADE_UP = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_renewed: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
_registered = False


def renew_after_fork(owner: Any, attribute: str) -> None:
    """Give the child's resource to `owner` in each forked child: to a tracer or a provider, under the name it
    has there.
    """
    global _registered
    if not _registered:
        _registered = True
        system.register_at_fork(after_in_child=_after_fork)
    _renewed[owner] = attribute


def _after_fork() -> None:
    global _base_resource
    found: dict[int, tuple[Any, Any]] = {}

    def of_this_process(resource: Any) -> Any:
        renewed = found.get(id(resource))
        if renewed is None:
            # The old one is kept with it, so that no other can have its id meanwhile.
            renewed = found[id(resource)] = (_of_this_process(resource), resource)
        return renewed[0]

    if _base_resource is not None:
        _base_resource = of_this_process(_base_resource)
    for owner, attribute in list(_renewed.items()):
        setattr(owner, attribute, of_this_process(getattr(owner, attribute)))


def _of_this_process(resource: Any) -> Any:
    """Return the resource with the identity of this process in place of its parent's."""
    attributes = dict(resource.attributes)
    if names.PROCESS_PID in attributes:
        attributes[names.PROCESS_PID] = os.getpid()
    if names.PROCESS_PARENT_PID in attributes:
        attributes[names.PROCESS_PARENT_PID] = os.getppid()
    instance = attributes.get(names.SERVICE_INSTANCE_ID)
    if isinstance(instance, str) and _MADE_UP.fullmatch(instance):
        # Worked out, not drawn: services that were one instance are one again, also where the native package
        # makes spans.
        derived = uuid.uuid5(uuid.UUID(instance), str(os.getpid()))
        attributes[names.SERVICE_INSTANCE_ID] = str(uuid.UUID(bytes=derived.bytes, version=4))
    return type(resource)(attributes, resource.schema_url)
