"""What works in this process, for people and for ``tango-telemetry doctor``."""

from __future__ import annotations

from typing import TypedDict

from tango_telemetry_native import _bridge, _idl6, giop, identification


class Status(TypedDict):
    """What works in this process."""

    version: str
    abi_version: int
    idl6: _idl6.Idl6Status
    identification: identification.IdentificationStatus
    giop: giop.GiopStatus


def status() -> Status:
    """Return what works in this process, and where something does not, the reason."""
    return {
        "version": _bridge.__version__,
        "abi_version": _bridge.ABI_VERSION,
        "idl6": _idl6.get_status(),
        "identification": identification.status(),
        "giop": giop.status(),
    }
