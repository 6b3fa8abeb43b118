"""What has to be put right in the child of a fork."""

from __future__ import annotations

import os

from tango_telemetry_native import _bridge, _idl6


def register_at_fork() -> None:
    """Have the C++ side repaired in every forked child.

    cppTango's exporter threads do not exist there, and whoever releases its telemetry interfaces waits for
    them for ever; a lock may be held by a thread that is gone. See ``idl6_binding.inc`` for how each is met.
    """
    os.register_at_fork(before=_idl6.bind_for_fork, after_in_child=_bridge.after_fork_in_child)
