"""What spans, logs and metrics of OTLP JSON have in common: attributes, resources, ids, times."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from .model import UNKNOWN_SERVICE, Attributes, AttributeValue, Resource

_HEX = re.compile(r"[0-9a-f]+\Z")
_MAX_TIME = 1 << 64


class MalformedError(ValueError):
    """A line, or a span in it, is not what OTLP says. The message is for the person who owns the file."""


def parse_resource(resource: Mapping[str, Any]) -> Resource:
    """Return who emitted what stands in a block. Raises MalformedError."""
    attributes = parse_attributes(resource)
    found = dict(attributes)
    return Resource(
        service=str(found.get("service.name") or UNKNOWN_SERVICE),
        instance=str(found.get("service.instance.id") or ""),
        attributes=attributes,
    )


def parse_attributes(holder: Mapping[str, Any]) -> Attributes:
    """Return the pairs of `holder["attributes"]`. Raises MalformedError."""
    entries = a_list(holder, "attributes")
    if not entries:
        return ()
    pairs: list[tuple[str, AttributeValue]] = []
    for entry in entries:
        pair = an_object(entry, "attribute")
        key, value = pair.get("key"), pair.get("value")
        # Most values are texts, and attributes are most of what is read.
        text = value.get("stringValue") if isinstance(value, dict) and len(value) == 1 else None
        if isinstance(text, str) and isinstance(key, str):
            pairs.append((key, text))
        else:
            pairs.append((str(key or ""), parse_value(value)))
    return tuple(pairs)


def parse_value(value: Any) -> AttributeValue:
    """Return the value of an OTLP `AnyValue`; None for what is none. Raises MalformedError."""
    if not value or not isinstance(value, dict):
        return None
    kind, content = next(iter(value.items()))
    if kind in ("stringValue", "boolValue", "bytesValue") and isinstance(content, str | bool):
        return content
    if kind == "intValue":
        return parse_integer(content, kind)
    if kind == "doubleValue":
        # "NaN" and "Infinity" come as strings.
        return content if isinstance(content, int | float | str) else None
    if kind == "arrayValue":
        return tuple(map(parse_value, a_list(an_object(content, kind), "values") or ()))
    if kind == "kvlistValue":
        return dict(parse_attributes({"attributes": an_object(content, kind).get("values")}))
    return None


def parse_id(text: Any, size: int, what: str, required: bool = True) -> str:
    """Return an id of `size` bytes in lower-case hexadecimal, "" where it may be absent.

    Raises MalformedError.
    """
    if isinstance(text, str):
        lowered = text.lower()
        if len(lowered) == 2 * size and _HEX.match(lowered):
            # A writer may spell "no parent" as zeros.
            return lowered if lowered.strip("0") or required else ""
        if not text and not required:
            return ""
        try:
            decoded = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            decoded = b""
        if len(decoded) == size:
            return decoded.hex()
    elif text is None and not required:
        return ""
    raise MalformedError(f"no valid {what}: {describe(text)}")


def parse_time(holder: Mapping[str, Any], key: str) -> int:
    """Return nanoseconds since 1970, 0 where there are none. Raises MalformedError."""
    time = parse_integer(holder.get(key) or 0, key)
    if not 0 <= time < _MAX_TIME:
        raise MalformedError(f"{key} is out of range: {describe(time)}")
    return time


def parse_integer(number: Any, what: str) -> int:
    """Return an integer that may be written as a string. Raises MalformedError."""
    if isinstance(number, int | str) and not isinstance(number, bool):
        try:
            return int(number)
        except ValueError:
            pass
    raise MalformedError(f"{what} is not an integer: {describe(number)}")


def an_object(value: Any, what: str) -> Mapping[str, Any]:
    """Return `value` if it is a JSON object. Raises MalformedError."""
    if isinstance(value, dict):
        return value
    raise MalformedError(f'"{what}" is not an object but {describe(value)}')


def a_list(holder: Mapping[str, Any], *names: str) -> list[Any] | None:
    """Return the list under the first of `names` that is there. Raises MalformedError where it is no list."""
    for name in names:
        if (value := holder.get(name)) is not None:
            if isinstance(value, list):
                return value
            raise MalformedError(f'"{name}" is not a list but {describe(value)}')
    return None


def describe(value: Any) -> str:
    """Return the beginning of a value, for messages."""
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
