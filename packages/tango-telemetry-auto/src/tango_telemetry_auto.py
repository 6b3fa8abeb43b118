"""Waits for the import of ``tango`` in every Python of the environment; see ``tango_telemetry_auto_switch``
for what then happens.

Run at the start of the interpreter by ``tango_telemetry_auto.pth``, and from Python 3.15 on by
``tango_telemetry_auto.start`` (PEP 829). It must cost nothing and cannot fail: it imports ``sys`` alone, has
no annotations, and catches everything.
"""

import sys

__all__ = ["install", "is_installed", "uninstall"]


class TangoFinder:
    """Stands first in ``sys.meta_path`` and answers for ``tango`` alone."""

    def find_spec(self, name, path=None, target=None):
        """Return the specification of ``tango`` with a loader that switches telemetry on; None for other
        modules.
        """
        if name != "tango":
            return None
        from tango_telemetry_auto_switch import find_tango

        return find_tango(self, path, target)


_finder = TangoFinder()


def install():
    """Wait for the import of ``tango``. Never raises; does nothing the second time."""
    try:
        if "tango" in sys.modules:  # another start file has imported it
            from tango_telemetry_auto_switch import switch_on

            switch_on()
        elif _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
    except Exception as error:
        sys.stderr and sys.stderr.write("tango-telemetry-auto: nothing is traced: %r\n" % (error,))


def uninstall():
    """Do not wait any longer."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


def is_installed():
    """Return whether this process waits for the import of ``tango``."""
    return _finder in sys.meta_path
