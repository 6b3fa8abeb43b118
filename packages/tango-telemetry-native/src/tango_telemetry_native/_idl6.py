"""When and to what the IDL v6 functions bind. The functions themselves are C++."""

from __future__ import annotations

from typing import TypedDict

from tango_telemetry_native import _bridge
from tango_telemetry_native._tango import get_extension, get_extension_path

_NOT_IMPORTED = "PyTango is not imported"

# Why the functions do nothing; "" once cppTango's telemetry is bound.
_reason = _NOT_IMPORTED


def register() -> None:
    """Let the C++ functions call `prepare_thread` on each thread that has no telemetry interface yet."""
    _bridge.idl6_set_prepare(prepare_thread)


class Idl6Status(TypedDict):
    """Whether cppTango's telemetry is bound, and the reason if it is not."""

    bound: bool
    reason: str


def get_status() -> Idl6Status:
    """Return whether cppTango's telemetry is bound, and the reason if it is not."""
    return {"bound": not _reason, "reason": _reason}


def bind_for_fork() -> None:
    """Bind before a fork, so that the child can keep what it inherits; see ``idl6_binding.inc``.

    cppTango's telemetry may be on though nothing here was ever used.
    """
    if path := get_extension_path():
        _bridge.idl6_bind(path)


def prepare_thread() -> bool:
    """Bind to cppTango's telemetry if that was not done, and give the calling thread its telemetry interface.

    cppTango keeps one interface for each thread and makes a missing one in a function that is ``noexcept``: a
    bad value in the environment then ends the process. PyTango's own ``get_trace_context()`` makes it before,
    and raises instead (seen on 10.0.3, 10.1.5 and 10.3.1, for every variable that either set of names knows).
    It also names the thread's cppTango spans ``pytango.client``, which are else those of
    ``tango.telemetry.default``.

    Runs by itself where a thread first needs it, until something proves to be missing. Call it to try again,
    once refused settings were corrected.

    Returns:
        Whether the functions of this thread do anything now.
    """
    extension = get_extension()
    if extension is None:
        return False
    telemetry = getattr(extension, "_telemetry", None)
    if telemetry is None:
        return _give_up("this PyTango knows no telemetry; 10.0 and later do")
    if not getattr(telemetry, "TELEMETRY_ENABLED", True):
        return _give_up("cppTango was compiled without telemetry")
    if not _bridge.idl6_bind(get_extension_path()):
        return _give_up("cppTango's telemetry functions were not found in the libraries PyTango has loaded")
    return _create_interface(telemetry)


def _create_interface(telemetry: object) -> bool:
    global _reason
    try:
        telemetry.get_trace_context()  # type: ignore[attr-defined]
    except Exception as error:  # noqa: BLE001 - DevFailed, whose class lives in the module that may be missing
        return _give_up(f"cppTango refuses its telemetry settings: {_first_line(error)}")
    _reason = ""
    register()  # it may have been given up before
    return _bridge.idl6_has_interface()


def _give_up(reason: str) -> bool:
    global _reason
    _reason = reason
    _bridge.idl6_set_prepare(None)
    return False


def _first_line(error: Exception) -> str:
    """Return the first line of what the first DevError says, or of any other exception."""
    description = getattr(error.args[0], "desc", "") if error.args else ""
    lines = str(description or error).strip().splitlines()
    return lines[0] if lines else repr(error)
