"""The engine behind us, for real: a table of protocols and faults with an OpenTelemetry Collector and Jaeger.

Usage: python tests/collector/run.py [--only WORD ...] [--sizing] [--keep]

Run by ``make test-collector``. Both programs are built from their Go modules into ``build/collector/``, which
takes minutes the first time; where no Go is, a smaller run takes ``rotel``, whose wheel carries the program.
Everything runs on loopback, where the kernel allows it in a network and a /var/lib of its own. Exits with 1
if a row does not hold.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Run as a script, this folder is the only one on the path.
from building import build, find_go
from rows import ROWS, Place, Row

_PRIVATE = "TANGO_TELEMETRY_TEST_PRIVATE"


HEAD = f"{'':56}{'made':>9}{'out':>9}{'counted':>9}"


def format_row(row: Row) -> str:
    """Return a line of the table."""
    verdict = "ok" if row.holds else "FAILED"
    return f"{row.name:56}{row.made:>9,}{row.out:>9,}{row.counted:>9,}  {verdict:8}{row.note}"


def enter_private_network() -> None:
    """Go on in a network of our own, with a /var/lib of our own, where that is allowed."""
    if os.environ.get(_PRIVATE):
        return
    unshare = shutil.which("unshare") or "unshare"
    command = [unshare, *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net", "--mount"]
    set_up = "ip link set lo up && mount -t tmpfs none /var/lib"
    try:
        subprocess.run([*command, "sh", "-c", set_up], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        print("no network of its own is allowed here: the rows that need fixed ports are left out")
        return
    sys.stdout.flush()
    os.environ[_PRIVATE] = "on"
    os.execv(unshare, [*command, "sh", "-c", f'{set_up} && exec "$@"', "sh", sys.executable, *sys.argv])


def main() -> int:
    """Build what is missing, run the rows that were asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="rows of these functions only")
    parser.add_argument("--sizing", action="store_true", help="the sizing table, and nothing else")
    parser.add_argument("--keep", action="store_true", help="keep configurations, logs and spans")
    arguments = parser.parse_args()
    if find_go() is None:
        from rotel import run_smaller

        return run_smaller()
    engine, jaeger = build("engine"), build("jaeger")
    enter_private_network()
    if arguments.sizing:
        from sizing import measure

        return measure(engine)
    folder = Path(tempfile.mkdtemp(prefix="tango-telemetry-collector-"))
    place = Place(engine, jaeger, folder, bool(os.environ.get(_PRIVATE)))
    print(HEAD, flush=True)
    failed = passed = 0
    begin = time.monotonic()
    for maker in ROWS:
        if arguments.only and maker.__name__ not in arguments.only:
            continue
        for one in maker(place):
            print(format_row(one), flush=True)
            passed, failed = passed + one.holds, failed + (not one.holds)
    print(f"{passed} passed, {failed} failed")
    print(
        f"{time.monotonic() - begin:.0f} s; counted: lost, and in the account of the program that made them"
    )
    if arguments.keep or failed:
        print(f"configurations, logs and spans: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
