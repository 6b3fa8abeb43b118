"""Which traces somebody wants to see."""

from __future__ import annotations

import fnmatch
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .spans import Operation

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 10**9,
    "m": 60 * 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-zµμ]+)\Z")

SORTS = ("start", "duration", "spans", "errors")


@dataclass(frozen=True)
class Criteria:
    """What a trace must have. Times are nanoseconds since 1970, `minimum` is in nanoseconds, 0 and "" ask for
    nothing.

    Everything that is said of a span (`errors`, `device`, `device_class`, `operation`, `service`, `text`, and
    `minimum` where one of these is there) must hold for one and the same span. `everything`: also connects,
    inits and polled reads.
    """

    errors: bool = False
    minimum: int = 0
    device: str = ""
    device_class: str = ""
    operation: str = ""
    service: str = ""
    text: str = ""
    since: int = 0
    until: int = 0
    everything: bool = False

    @property
    def of_operations(self) -> bool:
        """Whether some operations are out of the question."""
        return bool(self.device or self.device_class or self.operation or self.service)

    @property
    def of_spans(self) -> bool:
        """Whether something is said of single spans."""
        return self.of_operations or bool(self.text)

    def choose(self, operations: Sequence[Operation]) -> list[int]:
        """Return the numbers of the operations that fit."""
        tests = [
            (matcher(pattern), fields)
            for pattern, fields in (
                (self.device, ("device", "instance")),
                (self.device_class, ("device_class",)),
                (self.operation, ("name",)),
                (self.service, ("service",)),
            )
            if pattern
        ]
        return [
            number
            for number, operation in enumerate(operations)
            if all(any(test(getattr(operation, field)) for field in fields) for test, fields in tests)
        ]


class _Matcher:
    def __init__(self, pattern: str) -> None:
        lowered = pattern.lower()
        self._part = "" if any(sign in lowered for sign in "*?[") else lowered
        self._whole = re.compile(fnmatch.translate(lowered))

    def __call__(self, text: str) -> bool:
        lowered = text.lower()
        return self._part in lowered if self._part else self._whole.match(lowered) is not None


def matcher(pattern: str) -> _Matcher:
    """Return a test for names: with `*`, `?` or `[...]` the whole name must fit, else the pattern is a part
    of it.
    """
    return _Matcher(pattern)


def text_test(text: str) -> tuple[str, list[str]]:
    """Return a condition on the column `detail`, in which other letters than ASCII's are escaped, and its
    values.
    """
    exact, lowered = (json.dumps(form)[1:-1].lower() for form in (text, text.lower()))
    return "(contains(lower(detail), ?) or contains(lower(detail), ?))", [exact, lowered]


def parse_duration(text: str) -> int:
    """Return the nanoseconds of "50ms", "1.5 s", "10m", "2h", "3d". Raises ValueError."""
    match = _DURATION.match(text.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is no duration: a number and ns, us, ms, s, m, h or d, such as 50ms")
    return int(float(match[1]) * _UNITS[match[2]])


def parse_time(text: str, now: float | None = None) -> int:
    """Return the nanoseconds since 1970 of "10m" (that long ago) or of a local time such as "2026-11-30
    14:05".

    Raises ValueError.
    """
    try:
        return int((time.time() if now is None else now) * 1e9) - parse_duration(text)
    except ValueError:
        pass
    today = datetime.fromtimestamp(time.time() if now is None else now)
    for form in ("%H:%M", "%H:%M:%S"):
        try:
            clock = datetime.strptime(text, form)
        except ValueError:
            continue
        return int(
            today.replace(
                hour=clock.hour, minute=clock.minute, second=clock.second, microsecond=0
            ).timestamp()
            * 1e9
        )
    try:
        return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1e9)
    except ValueError:
        raise ValueError(f"{text!r} is no time: 10m (ago), 14:05, 2026-11-30 or 2026-11-30T14:05") from None
