"""The arguments of a call in its span, where the user asks for them (``PYTANGO_TELEMETRY_CAPTURE_ARGUMENTS``)."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry._otel import Span

__all__ = ["record_arguments"]

LIMIT = 256
"""Characters that are kept of one argument."""
MOST = 16
"""Arguments that are kept of one call."""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = LIMIT
_repr.maxlist = _repr.maxtuple = _repr.maxarray = _repr.maxdict = _repr.maxset = 32


def _describe(value: Any) -> str:
    # A write handler is given cppTango's WAttribute, which holds the value.
    read = getattr(value, "get_write_value", None)
    return _repr.repr(read() if callable(read) else value)[:LIMIT]


def record_arguments(span: Span, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Set ``tango.arguments`` on a recorded span: one text for each argument, bounded in length and number."""
    if not span.is_recording() or not (args or kwargs):
        return
    texts = [_describe(value) for value in args[:MOST]]
    texts += [
        f"{name}={_describe(value)}"[:LIMIT] for name, value in list(kwargs.items())[: MOST - len(texts)]
    ]
    span.set_attribute(names.TANGO_ARGUMENTS, texts)
