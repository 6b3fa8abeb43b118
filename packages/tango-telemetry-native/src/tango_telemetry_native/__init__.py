"""The C++ parts of tango-telemetry.

What is here are mechanisms. Which context a receiver believes, and when anything of this is used at all, is
decided by ``tango_telemetry`` (core).

- `get_trace_context`, `TraceContextScope`: cppTango's own trace context, IDL version 6 (cppTango 10.0 and
  later).
- `environment`: what cppTango reads there, answered in its place.
- `identification`: the same two strings, written and read in cppTango's place: no span of cppTango's between.
- `giop`: trace context in GIOP service contexts, for every PyTango from 9.3.6 on.
- `events`: the span context of events, from the push to the callback.
- `status`: what works here, and what does not and why.

Importing this module needs neither PyTango nor a telemetry-enabled cppTango. Where something is missing, the
functions are there and do nothing.
"""

from __future__ import annotations

import sys

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    # Asked before the extension modules are loaded: the interpreter would switch the GIL on for the whole
    # program then (Python 3.13 and 3.14, free-threaded build), and with PYTHON_GIL=0 their lists of spare
    # memory would race.
    raise ImportError("it needs the GIL, which is off in this process. PYTHON_GIL=1 switches that on")

from tango_telemetry_native._missing import what_is_missing

if _reason := what_is_missing():
    raise ImportError(_reason, name="tango_telemetry_native")  # by this name it counts as not installed

from tango_telemetry_native import _idl6, environment, events, giop, identification
from tango_telemetry_native._bridge import (
    ABI_VERSION,
    TraceContextScope,
    __version__,
    get_trace_context,
)
from tango_telemetry_native._bridge import (
    idl_functions as idl_functions,
)
from tango_telemetry_native._fork import register_at_fork
from tango_telemetry_native._idl6 import prepare_thread
from tango_telemetry_native._status import status

__all__ = [
    "ABI_VERSION",
    "TraceContextScope",
    "__version__",
    "environment",
    "events",
    "get_trace_context",
    "giop",
    "identification",
    "prepare_thread",
    "status",
]

_idl6.register()
register_at_fork()
