"""How our packages get into programs that do not name them: a ``.pth`` file of the environment imports this
at every start.

``TANGO_TELEMETRY_SOFTWARE_LOAD=no`` leaves it to the program, ``TANGO_TELEMETRY_SOFTWARE_STARTS`` names a
file that gets one character for each process that loaded them.
"""

import os

if os.environ.get("TANGO_TELEMETRY_SOFTWARE_LOAD") != "no":
    import tango_telemetry_client  # noqa: F401
    import tango_telemetry_server  # noqa: F401

    if "TANGO_TELEMETRY_SOFTWARE_STARTS" in os.environ:
        with open(os.environ["TANGO_TELEMETRY_SOFTWARE_STARTS"], "a") as starts:
            starts.write(".")
