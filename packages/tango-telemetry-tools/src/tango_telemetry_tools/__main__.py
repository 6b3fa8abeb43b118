"""The command `tango-telemetry`, also as `python -m tango_telemetry_tools`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from .demo import command as demo
from .doctor import command as doctor
from .serve import command as serve
from .viewer import compare, map, show, top

# Each subcommand is a module with add_parser(subparsers), which sets `run`.
SUBCOMMANDS = (demo, show, top, map, compare, serve, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the subcommand that `argv` (default: the command line) names; give the exit status."""
    parser = argparse.ArgumentParser(
        prog="tango-telemetry", description="Traces of Tango Controls, seen and shown."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('tango-telemetry-tools')}")
    subparsers = parser.add_subparsers(title="subcommands", required=True, metavar="SUBCOMMAND")
    for subcommand in SUBCOMMANDS:
        subcommand.add_parser(subparsers)
    arguments = parser.parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # `tango-telemetry show DIR | head`: the reader has seen enough. Python would complain once more at
        # exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except RuntimeError as error:
        # Ctrl-C amid a statement of DuckDB 1.1 to 2.0, which raises no class of its own for it.
        if str(error) != "Query interrupted":
            raise
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
