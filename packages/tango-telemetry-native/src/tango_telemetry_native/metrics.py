"""How long calls take, counted in C++.

Of use to ``tango_telemetry`` only.
"""

from __future__ import annotations

import tango_telemetry_native.spans  # noqa: F401 - configures what is used here
from tango_telemetry_native._spans import Durations

__all__ = ["Durations"]
