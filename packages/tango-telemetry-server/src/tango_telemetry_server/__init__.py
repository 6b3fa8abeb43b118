"""OpenTelemetry tracing of Tango device servers: ``import tango_telemetry_server`` is all there is to write.

With ``TANGO_TELEMETRY_ENABLE=on`` the import switches tracing on; otherwise it changes no class dictionary of
PyTango's. Either way every device has the telemetry methods of :class:`TelemetryDevice`.
"""

from __future__ import annotations

from tango_telemetry.instrumentation import auto_instrument

from tango_telemetry_server._device import TelemetryDevice
from tango_telemetry_server._instrumentor import TangoServerInstrumentor, add_device_methods

__all__ = ["TangoServerInstrumentor", "TelemetryDevice"]

add_device_methods()
auto_instrument(TangoServerInstrumentor(), "tango_telemetry_client")
