"""What is not traced: the patterns of ``PYTANGO_TELEMETRY_EXCLUDE``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import translate
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry.base.bounded import BoundedDict

__all__ = ["STATE_AND_STATUS", "Exclusion", "check_pattern", "create_exclusion"]

KINDS = ("device", "class", "command", "attribute", "operation")
STATE_AND_STATUS = tuple(
    f"{kind}:{name}" for kind in ("command", "attribute", "operation") for name in ("state", "status")
)
"""What ``PYTANGO_TELEMETRY_STATE_STATUS=off`` stands for: they are commands, attributes and methods of a
proxy.
"""
_MAX_REMEMBERED = 4096


def check_pattern(pattern: str) -> str | None:
    """Return what is wrong with one pattern, None if nothing is."""
    kind, separator, rest = pattern.partition(":")
    if not separator or kind not in KINDS or not rest:
        return f"{pattern[:80]!r} is not one of {', '.join(f'{kind}:PATTERN' for kind in KINDS)}"
    return None


class Exclusion:
    """Whether a call or request is not traced, decided once for each device, operation and name.

    ``*``, ``?`` and ``[...]`` are those of :mod:`fnmatch`; letter case does not matter, as in Tango. A
    command's or attribute's pattern with a ``/`` is compared with ``device/name``, one without with the name
    alone.
    """

    __slots__ = ("_known", "_patterns")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        by_kind: dict[tuple[str, bool], list[str]] = {}
        for pattern in patterns:
            kind, _, text = pattern.lower().partition(":")
            with_device = kind in ("command", "attribute") and "/" in text
            by_kind.setdefault((kind, with_device), []).append(translate(text))
        self._patterns = {key: re.compile("|".join(found)) for key, found in by_kind.items()}
        self._known: BoundedDict[tuple[Any, ...], bool] = BoundedDict(_MAX_REMEMBERED)

    def matches(self, attributes: Mapping[str, Any], class_name: str = "") -> bool:
        """Whether one call is not traced.

        :param attributes: those its span would have
        :param class_name: the device class where the attributes do not say it
        """
        key = (
            attributes.get(names.TANGO_DEVICE_NAME, ""),
            attributes.get(names.TANGO_DEVICE_CLASS, class_name),
            attributes.get(names.TANGO_COMMAND_NAME),
            attributes.get(names.TANGO_ATTRIBUTE_NAME),
            attributes.get(names.TANGO_OPERATION, ""),
        )
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._decide(*key)
        return known

    def _decide(
        self, device: str, class_name: str, command: str | None, attribute: str | None, operation: str
    ) -> bool:
        return (
            self._fits("device", device)
            or self._fits("class", class_name)
            or self._fits("operation", operation)
            or self._fits_member("command", device, command)
            or self._fits_member("attribute", device, attribute)
        )

    def _fits(self, kind: str, text: str, with_device: bool = False) -> bool:
        pattern = self._patterns.get((kind, with_device))
        return pattern is not None and bool(text) and pattern.fullmatch(text.lower()) is not None

    def _fits_member(self, kind: str, device: str, name: str | None) -> bool:
        if name is None:
            return False
        return self._fits(kind, name) or self._fits(kind, f"{device}/{name}", True)


def create_exclusion(patterns: tuple[str, ...]) -> Exclusion | None:
    """Return the exclusion of valid patterns; None for none, so that the hot path has nothing to ask."""
    usable = tuple(pattern for pattern in patterns if check_pattern(pattern.lower()) is None)
    return Exclusion(usable) if usable else None
