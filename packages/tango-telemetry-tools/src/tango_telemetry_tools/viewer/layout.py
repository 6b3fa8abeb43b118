"""What the picture in the terminal and the one in the browser share: colours, numbers, times and harmless
text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timezone

from .model import Span
from .tree import Forest

# Told apart on a dark and on a light ground, also by most people who see fewer colours. No red: red is for
# errors.
PALETTE = (
    "#f2994a",
    "#4a9df0",
    "#1fb59b",
    "#a77bf3",
    "#d8b12a",
    "#e46aa7",
    "#7fb03c",
    "#8f9bb3",
    "#c98457",
    "#3fb6d3",
)
ERROR_COLOUR = "#e5484d"

# Names come from other people's programs: no escape sequences, no line breaks, nothing that turns the writing
# direction.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")

_UNITS = (
    (1, "ns"),
    (1_000, "µs"),
    (1_000_000, "ms"),
    (1_000_000_000, "s"),
    (60 * 10**9, "min"),
    (3600 * 10**9, "h"),
)


def clean(text: str) -> str:
    """Make text from a span fit for one line of a terminal: what is not printable becomes a replacement
    character.
    """
    return text if text.isascii() and text.isprintable() else _HARMFUL.sub("\ufffd", text)


def format_duration(nanoseconds: int) -> str:
    """Three digits and a unit: "850 ns", "12.3 µs", "1.23 s", "2.50 min"."""
    size, unit = next(((size, unit) for size, unit in reversed(_UNITS) if nanoseconds >= size), _UNITS[0])
    number = nanoseconds / size
    digits = 0 if size == 1 or number >= 100 else 1 if number >= 10 else 2
    return f"{number:.{digits}f} {unit}"


def format_time(nanoseconds: int) -> str:
    """Local date and time to the second; OTLP times are nanoseconds since 1970."""
    return (
        datetime.fromtimestamp(nanoseconds // 10**9, timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    )


def count(number: int, noun: str) -> str:
    """ "1 span", "2 spans"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def choose_colours(services: Iterable[str]) -> dict[str, str]:
    """One colour for each service, in the order given."""
    return {service: PALETTE[index % len(PALETTE)] for index, service in enumerate(services)}


def error_origins(forest: Forest) -> set[str]:
    """Ids of failed spans whose reason is worth a line: where a child gives the same reason, the child tells
    it.
    """
    failed = [span for span in forest.spans if span.is_error]
    told = {(span.parent_id, span.error_line) for span in failed}
    return {span.span_id for span in failed if (span.span_id, span.error_line) not in told}


def device_of(span: Span) -> str:
    """The Tango device that a span is about, else the device that emitted it, else nothing."""
    for key, value in span.attributes:
        if key == "tango.device.name":
            return str(value)
    # Of other programs than device servers the instance is a random number.
    return span.resource.instance if span.resource.instance.count("/") == 2 else ""
