"""Run a script as `python SCRIPT ARGUMENTS` does, then write down what only its process knows.

Usage: python -m tango_telemetry_tools.demo.launch REPORT SCRIPT ARGUMENTS

REPORT becomes a JSON file with the name of the context bridge that carried the trace context. The script
knows nothing of it: it stays an ordinary one.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path


def main() -> None:
    """Run the script; the report is written also when it fails."""
    report, script, *arguments = sys.argv[1:]
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(script)
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        from tango_telemetry import get_context_bridge

        Path(report).write_text(json.dumps({"bridge": get_context_bridge().name}))


if __name__ == "__main__":
    main()
