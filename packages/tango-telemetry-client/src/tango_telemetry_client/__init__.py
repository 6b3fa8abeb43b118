"""OpenTelemetry tracing of Tango clients: ``import tango_telemetry_client`` in a script is all there is to
write.

With ``TANGO_TELEMETRY_ENABLE=on`` the import switches tracing on; otherwise it touches nothing.
"""

from __future__ import annotations

from tango_telemetry.instrumentation import auto_instrument

from tango_telemetry_client._instrumentor import TangoClientInstrumentor

__all__ = ["TangoClientInstrumentor"]

auto_instrument(TangoClientInstrumentor())
