"""The arguments of a call in its span, where the user asks for them
(``PYTANGO_TELEMETRY_CAPTURE_ARGUMENTS``).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry.base.texts import cut, describe
from tango_telemetry.otel.api import Span

__all__ = ["record_arguments"]

LIMIT = 256
"""Characters that are kept of one argument."""
MOST = 16
"""Arguments that are kept of one call."""
_CONVERTED = 4096
"""Values of a write that PyTango is asked for: each request for them makes a copy of them all."""


def _describe(value: Any) -> str:
    # A write handler is given cppTango's WAttribute, which holds the value.
    read = getattr(type(value), "get_write_value", None)
    if read is not None:
        length = value.get_write_value_length()
        if length > _CONVERTED:
            return f"<{length} values>"
        value = read(value)
    return describe(value, LIMIT)


def record_arguments(span: Span, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Set ``tango.arguments`` on a recorded span: one text for each argument, bounded in length and
    number.
    """
    if not span.is_recording() or not (args or kwargs):
        return
    texts = [_describe(value) for value in args[:MOST]]
    for name, value in itertools.islice(kwargs.items(), MOST - len(texts)):
        texts.append(cut(f"{name}={_describe(value)}", LIMIT))
    span.set_attribute(names.TANGO_ARGUMENTS, texts)
