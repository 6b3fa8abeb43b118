"""Reading one mapping of variables: each value checked, one warning for each that cannot be used, nothing
raised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tango_telemetry.pipeline.redact import redact_url
from tango_telemetry.settings.exclusion import check_pattern

__all__ = ["Read", "Reader", "choice", "items", "show_value", "whole_number"]

_T = TypeVar("_T")
Read = Callable[["Reader", str, Any], Any]
"""Reads the value of one variable: called with the reader, the variable's name and the default of its field.
"""

_TRUE = frozenset({"on", "1", "true", "yes", "y"})
_FALSE = frozenset({"off", "0", "false", "no", "n", ""})
# Numbers that C takes too: the queue's in 64 bits, poll()'s milliseconds in 32.
_MOST = 10**15
_MOST_SECONDS = 10**6
# The longest text of one variable that is looked at: a list of exporters, and a list of patterns.
_LONGEST_LIST = 4096
_LONGEST_PATTERNS = 65536


def show_value(value: str) -> str:
    """Return a value as it may stand in a message: bounded, without credentials."""
    shown = redact_url(value)  # before it is cut: credentials are known by the @ behind them
    return repr(shown if len(shown) <= 80 else f"{shown[:77]}...")


class Reader:
    """Reads the variables of one mapping and collects one warning for each value that cannot be used."""

    def __init__(self, mapping: Mapping[str, str]) -> None:
        self.mapping = mapping
        self.warnings: list[str] = []

    def text(self, name: str) -> str | None:
        """Return the value without white space around it, None where it is not set."""
        value = self.mapping.get(name)
        return None if value is None else value.strip()

    def listed(self, name: str) -> list[str]:
        """Return the items of a comma-separated list in lower case, empty ones left out; bounded."""
        value = (self.text(name) or "")[:_LONGEST_LIST]
        return [item.strip().lower() for item in value.split(",") if item.strip()]

    def number(
        self, name: str, default: Any, convert: Callable[[str], Any] = float, most: float = _MOST
    ) -> Any:
        """Return a number from 0 to ``most``."""
        value = self.text(name)
        if not value:
            return default
        try:
            number = convert(value)
            if not 0 <= number <= most:
                raise ValueError(value)
        except (ValueError, OverflowError):
            self.warnings.append(
                f"{name}={show_value(value)} is not a number from 0 to {most}; {default} is used instead."
            )
            return default
        return number

    # The ways to read a variable, each a `Read`.

    def switch(self, name: str, default: _T) -> bool | _T:
        """Return whether the value is on."""
        value = self.text(name)
        if value is None:
            return default
        if value.lower() in _TRUE:
            return True
        if value.lower() not in _FALSE:
            self.warnings.append(
                f"{name}={show_value(value)} is neither 'on' nor 'off'; it counts as 'off'. Set it to 'on' "
                "or 'off'."
            )
        return False

    def short_text(self, name: str, default: str) -> str:
        """Return at most 256 characters."""
        return (self.text(name) or default)[:256]

    def folder(self, name: str, default: str) -> str:
        """Return a path as it stands."""
        return self.text(name) or default

    def rate(self, name: str, default: float | None) -> Any:
        """Return a number of events per second."""
        return self.number(name, default)

    def seconds(self, name: str, default: float) -> float:
        """Return a time that may be 0."""
        return float(self.number(name, default, most=_MOST_SECONDS))

    def some_seconds(self, name: str, default: float) -> float:
        """Return a time above 0."""
        return max(1e-3, self.seconds(name, default))

    def milliseconds(self, name: str, default: float) -> float:
        """Return in seconds, above 0, what the variable says in milliseconds."""
        return max(1e-3, float(self.number(name, default * 1000, most=_MOST_SECONDS * 1000)) / 1000)

    def patterns(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return the patterns of what is not traced; one that says nothing is left out with a warning."""
        found = []
        for item in (part.strip().lower() for part in (self.text(name) or "")[:_LONGEST_PATTERNS].split(",")):
            problem = check_pattern(item) if item else None
            if problem is not None:
                self.warnings.append(f"{name}: {problem}; it is left out.")
            elif item:
                found.append(item)
        return tuple(found) or default

    def names(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return patterns of names in lower case, whatever they say; bounded."""
        listed = (self.text(name) or "")[:_LONGEST_PATTERNS].lower().split(",")
        return tuple(item.strip() for item in listed if item.strip()) or default

    def propagators(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return what travels with a call.

        The names and the default are OpenTelemetry's; ``none`` is alone.
        """
        listed = tuple(dict.fromkeys(self.listed(name)))
        if not listed:
            return default
        return () if "none" in listed else listed


def whole_number(reader: Reader, name: str, default: int) -> int:
    """Return a whole number that is at least 1."""
    return max(1, int(reader.number(name, default, int)))


def choice(*choices: str) -> Read:
    """Make what reads a value that must be one of ``choices``."""

    def read(reader: Reader, name: str, default: Any) -> Any:
        value = reader.text(name)
        if not value or value.lower() in choices:
            return value.lower() if value else default
        reader.warnings.append(
            f"{name}={show_value(value)} is not one of {', '.join(choices)}; "
            f"the default ({default or 'unset'}) is used instead."
        )
        return default

    return read


def items(*choices: str) -> Read:
    """Make what reads a comma-separated list of ``choices``; others are left out with a warning."""

    def read(reader: Reader, name: str, default: Any) -> Any:
        listed = reader.listed(name)
        if unknown := [item for item in listed if item not in choices]:
            reader.warnings.append(
                f"{name}: {show_value(', '.join(unknown))} is not one of {', '.join(choices)}; it is left "
                "out."
            )
        return tuple(dict.fromkeys(item for item in listed if item in choices)) or default

    return read
