"""What works in this process, for people and for ``tango-telemetry doctor``."""

from __future__ import annotations

from tango_telemetry_native import _bridge, _idl6, giop


def status() -> dict[str, object]:
    """Return what works in this process.

    Returns:
        ``version`` and ``abi_version`` of this package; ``idl6`` with ``bound`` and ``reason`` ("" while all is
        well, or nothing was tried yet); ``giop`` as `giop.status` gives it.
    """
    return {
        "version": _bridge.__version__,
        "abi_version": _bridge.ABI_VERSION,
        "idl6": _idl6.get_status(),
        "giop": giop.status(),
    }
