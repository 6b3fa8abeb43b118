"""A device server that knows nothing of tracing."""

import os
import subprocess
import sys

from tango.server import Device, attribute, command


class Motor(Device):
    @attribute(dtype=float)
    def position(self):
        return 1.5

    @command(dtype_in=str, dtype_out=str)
    def RunChild(self, script):
        """What a launcher or a macro server does: start another program and read what it prints."""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    @command(dtype_out=str)
    def Environment(self):
        return repr(sorted((name, value) for name, value in os.environ.items() if "TELEMETRY" in name))


def main():
    return Motor.run_server()


if __name__ == "__main__":
    main()
