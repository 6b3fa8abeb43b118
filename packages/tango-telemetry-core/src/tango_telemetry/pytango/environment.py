"""What cppTango is handed through the environment, which it reads when its first telemetry interface is
created.

A value that cppTango cannot parse ends the process (10.3.1: ``TANGO_TELEMETRY_LOGGING_EXPORTERS=none``, an
empty ``TANGO_TELEMETRY_TYPES``, an unknown exporter), so only validated values reach it. With the native
package cppTango is answered where it asks, and ``os.environ`` stays the user's. Without, the values are set
there, and what the user had set is noted in ``PYTANGO_TELEMETRY_HANDED_ON``: child processes, which inherit
the environment, read the user's settings from it, and the last ``uninstrument()`` puts them back.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, MutableMapping

from tango_telemetry._native import import_native
from tango_telemetry.settings import variables as env
from tango_telemetry.settings.config import TelemetryConfig
from tango_telemetry.settings.endpoints import LOGS, TRACES, choose_family, pair
from tango_telemetry.settings.sources import as_the_user_set_it, read_note

__all__ = [
    "apply_cpptango_environment",
    "cpptango_environment",
    "environment_afterwards",
    "environment_when_off",
    "exports_streams",
    "restore_environment",
    "told_cpptango",
]

_KNOWN = ("console", "grpc", "http")
# What cppTango takes as an endpoint, tried on 10.3.3: a port must be there, schemes are in lower case, gRPC
# has no TLS. Anything else ends the process.
_ENDPOINTS = {
    "console": re.compile(r"cout|cerr|"),
    "grpc": re.compile(r"grpc://[^\s/,]+:\d{1,5}"),
    "http": re.compile(r"https?://[^\s/,]+:\d{1,5}(/[^\s,]*)?"),
}

# Where cppTango 10.3 sends logs if an exporter has no endpoint; a list of endpoints must name each.
_LOCAL_LOGS = {
    "console": "cout",
    "grpc": "grpc://localhost:4317",
    "http": "http://localhost:4318/v1/logs",
}


def cpptango_environment(
    config: TelemetryConfig,
    user: Mapping[str, str],
    *,
    tango_version: tuple[int, ...],
    idl: bool,
    kernel: bool,
) -> dict[str, str | None]:
    """Return the variables to set (None: to remove) before cppTango reads them. Pure.

    :param user: the environment as the user set it, for the logging variables that are passed on
    :param tango_version: PyTango's version; the names changed with 10.3
    :param idl: whether cppTango's telemetry must be on, because it carries the context by IDL v6
    :param kernel: whether cppTango's own spans go into the trace
    """
    if tango_version < (10,):
        return {}
    wanted = (not config.types or "logging" in config.types) and not exports_streams(config)
    logging = _logging_endpoints(user) if wanted else []
    if not idl and not kernel and not logging:
        # cppTango parses the rest all the same, and fails for what it does not know (10.0, 10.1: the exporter
        # `file`).
        return {**environment_when_off(user), env.TANGO_TELEMETRY_ENABLE: "off"}
    endpoints = (
        [(e.exporter, e.target) for e in config.endpoints if _is_usable(e.exporter, e.target)]
        if kernel
        else []
    )
    # cppTango cannot write files and loses the context with exporter `none` (10.0.3): its console stands in.
    endpoints = endpoints or [("console", "cerr" if kernel else "cout")]
    given: dict[str, str | None] = {env.TANGO_TELEMETRY_ENABLE: "on"}
    if tango_version >= (10, 3):
        given[env.TANGO_TELEMETRY_TRACING_EXPORTERS] = ",".join(exporter for exporter, _ in endpoints)
        given[env.TANGO_TELEMETRY_TRACING_ENDPOINTS] = ",".join(target for _, target in endpoints)
        given[env.TANGO_TELEMETRY_TRACES_EXPORTER] = given[env.TANGO_TELEMETRY_TRACES_ENDPOINT] = None
        given[env.TANGO_TELEMETRY_TOPICS] = (",".join(config.topics) or "all") if kernel else "user"
        # Naming log exporters asks for logs, as it does without us (10.3.1), unless the types leave them out.
        given[env.TANGO_TELEMETRY_TYPES] = "tracing,logging" if logging else "tracing"
        given[env.TANGO_TELEMETRY_LOGGING_EXPORTERS] = ",".join(e for e, _ in logging) or None
        given[env.TANGO_TELEMETRY_LOGGING_ENDPOINTS] = ",".join(t for _, t in logging) or None
        given[env.TANGO_TELEMETRY_LOGS_EXPORTER] = given[env.TANGO_TELEMETRY_LOGS_ENDPOINT] = None
    else:
        given[env.TANGO_TELEMETRY_TRACES_EXPORTER], given[env.TANGO_TELEMETRY_TRACES_ENDPOINT] = endpoints[0]
        given[env.TANGO_TELEMETRY_KERNEL_ENABLE] = "on" if kernel else "off"
        exporter, target = (logging or [("none", "")])[0]
        given[env.TANGO_TELEMETRY_LOGS_EXPORTER] = exporter
        given[env.TANGO_TELEMETRY_LOGS_ENDPOINT] = target or None
    return given


def exports_streams(config: TelemetryConfig) -> bool:
    """Whether we export what devices log; cppTango then does not, or each record would come twice."""
    return config.logs in ("streams", "all") and bool(config.logs_endpoints)


_CHOICES = {
    env.TANGO_TELEMETRY_TYPES: ("tracing", "logging", "none"),
    env.TANGO_TELEMETRY_TOPICS: ("all", "user", "polling", "events", "database"),
    env.TANGO_TELEMETRY_TRACING_EXPORTERS: _KNOWN,
    env.TANGO_TELEMETRY_LOGGING_EXPORTERS: _KNOWN,
    env.TANGO_TELEMETRY_TRACES_EXPORTER: (*_KNOWN, "none"),
    env.TANGO_TELEMETRY_LOGS_EXPORTER: (*_KNOWN, "none"),
}
_ENDPOINT_OF = {family.exporters: family.endpoints for family in (*TRACES, *LOGS)}


def environment_when_off(user: Mapping[str, str]) -> dict[str, str | None]:
    """Return what to change before cppTango reads the settings of a process whose telemetry is off. Pure.

    cppTango parses them all the same, and a value that it does not know makes every ``DeviceProxy`` fail
    (10.3.1: an empty ``TANGO_TELEMETRY_ENABLE``); values that it does know stay, for those who switch it on
    at run time.
    """
    given: dict[str, str | None] = {}
    for exporters, endpoints in _ENDPOINT_OF.items():
        targets = user.get(endpoints, "").strip()
        # One that its exporter cannot use makes every proxy fail as well (10.3.1), and so does one too few or
        # too many.
        if targets and not _fit(user.get(exporters) or "console", targets):
            given[exporters] = given[endpoints] = None
    if user.get(env.TANGO_TELEMETRY_ENABLE, "off").strip().lower() not in (
        "on",
        "off",
        "true",
        "false",
        "1",
        "0",
    ):
        given[env.TANGO_TELEMETRY_ENABLE] = "off"
    for name, choices in _CHOICES.items():
        items = [item.strip().lower() for item in user.get(name, choices[0])[:4096].split(",")]
        if any(item not in choices for item in items):
            given[name] = None
            if name in _ENDPOINT_OF and _ENDPOINT_OF[name] in user:
                # Without its exporter it is taken for the console's, and every proxy fails (10.3.1, also when
                # off).
                given[_ENDPOINT_OF[name]] = None
    return given


def _logging_endpoints(user: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the user's log exporters that cppTango knows, with their endpoints."""
    family = choose_family(user, LOGS)
    pairs = pair(user.get(family.exporters, ""), user.get(family.endpoints, ""))
    complete = ((exporter, target or _LOCAL_LOGS.get(exporter, "")) for exporter, target in pairs)
    return [(exporter, target) for exporter, target in complete if _is_usable(exporter, target)]


def _fit(exporters: str, targets: str) -> bool:
    """Whether each exporter of a list has an endpoint that cppTango can send to."""
    return exporters.count(",") == targets.count(",") and all(
        exporter == "none" or (target and _is_usable(exporter, target))
        for exporter, target in pair(exporters, targets)
    )


def _is_usable(exporter: str, target: str) -> bool:
    """Whether cppTango can send there."""
    return exporter in _ENDPOINTS and _ENDPOINTS[exporter].fullmatch(target) is not None


def environment_afterwards(user: Mapping[str, str]) -> dict[str, str | None]:
    """Return what to change in the user's environment when tracing has been taken back. Pure.

    PyTango's own tracing then follows the user's settings. Where they name an exporter that only we have,
    nothing can follow them: cppTango would fail, or print its spans (10.3.1), so it is off.
    """
    given = environment_when_off(user)
    if any(family.exporters in given for family in TRACES):
        given[env.TANGO_TELEMETRY_ENABLE] = "off"
    return given


def apply_cpptango_environment(
    given: Mapping[str, str | None], environment: MutableMapping[str, str] | None = None
) -> None:
    """Tell cppTango ``given``: through the native package, or through the environment with a note of what the
    user had.

    :param environment: None: of this process, natively where that works; a mapping, for tests, is changed as
        ``os.environ`` would be without the native package
    """
    if not given or (environment is None and _answer(given)):
        return
    target = os.environ if environment is None else environment
    user = as_the_user_set_it(target)
    note: dict[str, tuple[str, str | None]] = {}
    for name, value in given.items():
        if target.get(name) == value:
            continue
        note[name] = (value or "", user.get(name))
        if value is None:
            target.pop(name, None)
        else:
            target[name] = value
    if note:
        target[env.PYTANGO_TELEMETRY_HANDED_ON] = json.dumps({**read_note(target), **note})


_answers: dict[str, str | None] = {}
"""What cppTango is told in this process in place of the environment's word."""


def told_cpptango(name: str) -> str:
    """Return what cppTango is told of one variable, ``""`` where it is not set."""
    return (_answers[name] if name in _answers else os.environ.get(name)) or ""


def _answer(given: Mapping[str, str | None]) -> bool:
    """Have the native package tell cppTango ``given``, and return whether it does."""
    native = import_native()
    if native is None or not native.environment.answer({**_answers, **given}):
        return False
    _answers.update(given)
    _restore(os.environ)  # of a parent that had no native package
    return True


def restore_environment(environment: MutableMapping[str, str] | None = None) -> None:
    """Put back what the user had, here or in the parent process; a variable set since then keeps its value.

    :param environment: ``os.environ`` unless a test gives another mapping
    """
    if environment is None and _answers:
        import_native().environment.answer({})
        _answers.clear()
    _restore(os.environ if environment is None else environment)


def _restore(target: MutableMapping[str, str]) -> None:
    user = as_the_user_set_it(target)
    for name in read_note(target):
        if name in user:
            target[name] = user[name]
        else:
            target.pop(name, None)
    target.pop(env.PYTANGO_TELEMETRY_HANDED_ON, None)
