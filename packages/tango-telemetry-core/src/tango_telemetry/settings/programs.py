"""How a program is named before Tango names it, and which are traced: ``PYTANGO_TELEMETRY_SERVERS``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

__all__ = ["is_chosen", "name_of_coming_server", "name_of_program"]

_INSTANCE = re.compile(r"\w[\w.-]*")


def name_of_program(arguments: Sequence[str], original: Sequence[str] = ()) -> str:
    """Return ``Server/instance`` for the command line of a device server, as Tango makes it; any other
    program's likewise.

    The server is the file without ``.py``, or the module of ``python -m``. The instance is the first
    argument, if that is no option. A server that gives ``server_run`` another name is known here by its file:
    this is asked before it runs.

    :param arguments: ``sys.argv``; its first is ``-m`` while Python looks for the module
    :param original: ``sys.orig_argv``
    """
    words = list(arguments) or [""]
    if words[0] == "-m" and "-m" in original:
        words[:1] = list(original[list(original).index("-m") + 1 :])[:1]
        words[0] = words[0].removesuffix(".__main__").rpartition(".")[2]
    server = os.path.basename(words[0])
    if server == "__main__.py":  # a package that `python -m` runs
        server = os.path.basename(os.path.dirname(words[0]))
    server = server.removesuffix(".py")
    instance = words[1] if len(words) > 1 and not words[1].startswith("-") else ""
    return f"{server}/{instance}" if instance else server


def name_of_coming_server(device_base: type) -> str:
    """Return ``Server/instance`` where this program is about to be a device server; ``""`` elsewhere.

    What can be known before Tango is told: the first argument could be an instance, and a device class has
    the name of the program, as with a console script, or stands in the main module. ``Motor.run_server()``
    names the server after the class, ``run((Motor, Shutter))`` after the file.

    :param device_base: ``tango.DeviceImpl``
    """
    server, _, instance = name_of_program(getattr(sys, "argv", []), sys.orig_argv).partition("/")
    if server == "-c" or not _INSTANCE.fullmatch(instance):
        return ""
    classes = [found for found in _classes_below(device_base) if not found.__module__.startswith("tango.")]
    alike = {found.__name__ for found in classes if found.__name__.lower() == server.lower()}
    coming = alike or {found.__name__ for found in classes if found.__module__ == "__main__"}
    return f"{coming.pop() if len(coming) == 1 else server}/{instance}" if coming else ""


def _classes_below(base: type) -> Iterator[type]:
    derived: type
    for derived in base.__subclasses__():
        yield derived
        yield from _classes_below(derived)


def is_chosen(patterns: Sequence[str], name: str = "") -> bool:
    """Return whether a program is traced: one of the patterns fits, or there are only excluding ones, and
    none excludes it.

    :param patterns: of ``Server/instance``, or of the server alone; ``!`` before one that excludes. Letter
        case does not matter.
    :param name: as :func:`name_of_program` gives it; ``""``: this program's
    """
    if not patterns:
        return True
    name = (name or name_of_program(getattr(sys, "argv", []), sys.orig_argv)).lower()
    server = name.partition("/")[0]

    def fits(pattern: str) -> bool:
        return fnmatchcase(name if "/" in pattern else server, pattern)

    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    unwanted = [pattern[1:].strip() for pattern in patterns if pattern.startswith("!")]
    return (not wanted or any(map(fits, wanted))) and not any(map(fits, unwanted))
