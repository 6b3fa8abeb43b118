"""Calls that begin and end in C++, by plans that ``tango_telemetry`` made (core's ``docs/decisions/0013``).

Of use to ``tango_telemetry`` only, whose ``instrumentation`` says what each part is for.
"""

from __future__ import annotations

import tango_telemetry_native.spans  # noqa: F401 - configures what is used here
from tango_telemetry_native._spans import (
    ClientBeginning,
    HandlerBeginning,
    Plans,
    configure_calls,
    make_current,
    set_carrier,
)

__all__ = [
    "ClientBeginning",
    "HandlerBeginning",
    "Plans",
    "configure_calls",
    "make_current",
    "set_carrier",
]
