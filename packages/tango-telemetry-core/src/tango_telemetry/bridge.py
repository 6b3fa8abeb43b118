"""How the trace context gets into cppTango and out of it: the door to ``context.bridges``, and to the native
package.

It is for whoever builds a ``ContextBridge``, or asks which one is in use.
"""

from __future__ import annotations

from tango_telemetry._native import NATIVE_ABI_VERSION, import_native, release_native, why_no_native
from tango_telemetry.context.bridges import (
    CarrierParts,
    ContextBridge,
    GiopBridge,
    IdlBridge,
    NativeBridge,
    NoOpBridge,
    StackedBridge,
    create_context_bridge,
    create_scope,
)

__all__ = [
    "NATIVE_ABI_VERSION",
    "CarrierParts",
    "ContextBridge",
    "GiopBridge",
    "IdlBridge",
    "NativeBridge",
    "NoOpBridge",
    "StackedBridge",
    "create_context_bridge",
    "create_scope",
    "import_native",
    "release_native",
    "why_no_native",
]
