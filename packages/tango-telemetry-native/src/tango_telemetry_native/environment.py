"""Answers for cppTango where it reads its telemetry's environment variables; the environment itself stays as
it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from tango_telemetry_native import _bridge
from tango_telemetry_native._tango import get_extension_path

__all__ = ["answer"]


def answer(given: Mapping[str, str | None]) -> bool:
    """Answer cppTango's questions for ``TANGO_TELEMETRY_…`` from now on with ``given``, in place of earlier
    answers.

    Args:
        given: the variables and what cppTango is told; None: that the variable is not set. For every other
        variable it is told what the environment says.

    Returns:
        Whether that is in force. Not where PyTango is not imported, nor where libtango's import of ``getenv``
        is not found (seen on 10.0.3, 10.1.5 and 10.3.1: found); cppTango then reads the environment.
    """
    return bool(get_extension_path()) and _bridge.environment_answer(dict(given))
