"""Each setting, its value and where it comes from, as a process started from here would have it."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from typing import Final

from tango_telemetry import TelemetryConfig
from tango_telemetry.diagnosis import (
    NOT_FOR_USERS,
    TRACES,
    VARIABLES,
    Variable,
    as_the_user_set_it,
    choose_family,
    get_field,
    read_tangorc,
    redact_setting,
    tangorc_paths,
)
from tango_telemetry.diagnosis import (
    variables as env,
)

from .model import Diagnosis, Setting

_ON_OFF: Final = {None: "unset", True: "on", False: "off"}
_NOT_SENT = "No spans are sent there"

# Those of PyTango's own tracing besides (10.3.1).
_OTHERS = frozenset({"PYTANGO_TELEMETRY_EMIT_KERNEL_SPANS"})
_NAMESAKE = 0.85
"""How alike two names are, from 0 to 1, for the one to be taken for a slip of the other."""
_OTEL_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SAMPLER, _SAMPLER_ARG = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
_SWITCHED_OFF = {
    "OTEL_SDK_DISABLED": ("true",),
    _SAMPLER: ("always_off", "parentbased_always_off"),
}
_EXAMPLES = {
    "grpc": "grpc://localhost:4317",
    "http": "http://localhost:4318/v1/traces",
    "file": "$HOME/tango-traces",
    "console": "cout",
}


def read_sources(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return `{name: (value, source)}` of everything that is set: the environment first, then the tangorc
    files.
    """
    found: dict[str, tuple[str, str]] = {}
    for path in reversed(tangorc_paths()):
        found.update({name: (value, str(path)) for name, value in read_tangorc(path).items()})
    relevant = {
        name: value
        for name, value in as_the_user_set_it(environ).items()
        # Slips too: TANGO_TELEMTRY_ENABLE.
        if ("TANGO" in name and "TEL" in name)
        or "TELEMETRY" in name
        or name.startswith("OTEL_")
        or name == "TANGO_HOST"
    }
    found.update({name: (value, "environment") for name, value in relevant.items()})
    return found


def known_names() -> tuple[str, ...]:
    """Return every variable of ours, in the order in which they are documented."""
    return tuple(name for name in VARIABLES if name not in NOT_FOR_USERS)


def _in_force(config: TelemetryConfig, variable: Variable) -> str:
    """Return what is in force where a variable is not set."""
    if variable.field == "endpoints":
        endpoints = config.endpoints
        if variable.name in (family.exporters for family in TRACES):
            return ",".join(endpoint.exporter for endpoint in endpoints) or "none"
        return ",".join(endpoint.target for endpoint in endpoints) or "unset"
    value = get_field(config, variable.field) if variable.field else None
    if value is None or isinstance(value, bool):
        return _ON_OFF[value]
    return (",".join(value) if isinstance(value, tuple) else str(value)) or "unset"


def look(diagnosis: Diagnosis, environ: Mapping[str, str] | None = None) -> TelemetryConfig:
    """Fill in `diagnosis.settings`; give the configuration, with endpoints also where telemetry is off."""
    sources = read_sources(os.environ if environ is None else environ)
    values = {name: value for name, (value, _) in sources.items()}
    config = TelemetryConfig.from_env(values)
    for name in (*known_names(), *sorted(set(sources) - set(known_names()) - NOT_FOR_USERS)):
        if name in sources:
            value, source = sources[name]
            diagnosis.settings.append(Setting(name, redact_setting(name, value), source))
        else:
            diagnosis.settings.append(
                Setting(name, redact_setting(name, _in_force(config, VARIABLES[name])), "default")
            )
    wanted = TelemetryConfig.from_env({**values, env.TANGO_TELEMETRY_ENABLE: "on"})
    _judge(diagnosis, config, wanted, values)
    return wanted


def _judge(
    diagnosis: Diagnosis, config: TelemetryConfig, wanted: TelemetryConfig, values: Mapping[str, str]
) -> None:
    if not config.enabled:
        diagnosis.error(
            f"telemetry is off: {env.TANGO_TELEMETRY_ENABLE} is {_ON_OFF[config.enabled]}",
            f"export {env.TANGO_TELEMETRY_ENABLE}=on",
        )
    if config.patching_disabled:
        diagnosis.error(
            f"{env.PYTANGO_DISABLE_TELEMETRY_PATCHING} is on: nothing is patched",
            diagnosis.unset(env.PYTANGO_DISABLE_TELEMETRY_PATCHING),
        )
    for name, bad in _SWITCHED_OFF.items():
        if values.get(name, "").strip().lower() in bad:
            diagnosis.error(f"{name}={values[name]}: no span is recorded", diagnosis.unset(name))
    if _samples_nothing(values):
        diagnosis.error(
            f"{_SAMPLER_ARG}={values[_SAMPLER_ARG]}: no span is recorded", f"export {_SAMPLER_ARG}=1"
        )
    if wanted.traces_per_second == 0:
        name = env.PYTANGO_TELEMETRY_TRACES_PER_SECOND
        diagnosis.error(f"{name}={values[name]}: no trace begins, unless it fails", diagnosis.unset(name))
    _judge_names(diagnosis, values)
    _judge_opentelemetrys_endpoint(diagnosis, wanted, values)
    for problem in dict.fromkeys((*config.problems, *wanted.problems)):
        name = re.split(r"[= :]", problem, maxsplit=1)[0]
        if _names_no_exporter(name, values):
            diagnosis.error(
                f"{name}={redact_setting(name, values[name])} has no exporter: spans go to the console",
                f"export {_exporters_of(name)}={_exporter_for(values[name])}",
            )
        elif _NOT_SENT in problem:
            diagnosis.error(problem, _fix_exporter(name, values))
        elif name == env.TANGO_TELEMETRY_ENABLE:
            diagnosis.warn(problem, f"export {name}=on")
        else:
            diagnosis.warn(problem, diagnosis.unset(name))
    if not wanted.endpoints and not any(_NOT_SENT in problem for problem in wanted.problems):
        diagnosis.error(
            "no exporter: spans go nowhere", _fix_exporter(env.TANGO_TELEMETRY_TRACES_EXPORTER, values)
        )


def _exporters_of(endpoints: str) -> str:
    return next((family.exporters for family in TRACES if family.endpoints == endpoints), "")


def _names_no_exporter(name: str, values: Mapping[str, str]) -> bool:
    """Whether this is a list of endpoints whose exporters nobody has named: they are the console's then."""
    exporters = _exporters_of(name)
    return bool(exporters) and not values.get(exporters, "").strip() and "://" in values.get(name, "")


def _exporter_for(endpoints: str) -> str:
    return ",".join(
        "http" if item.strip().startswith("http") and ":4317" not in item else "grpc"
        for item in endpoints.split(",")
    )


def _judge_names(diagnosis: Diagnosis, values: Mapping[str, str]) -> None:
    """A slip in a name is read by nobody, and nobody says so."""
    known = set(known_names()) | NOT_FOR_USERS | _OTHERS
    for name in sorted(set(values) - known):
        if "TANGO" not in name or "TEL" not in name:
            continue
        # Nearest to TANGO_TELEMETRY_EXPORTER is TANGO_TELEMETRY_LOGS_EXPORTER, which is cppTango's own
        # affair.
        candidates = [other for other in known - NOT_FOR_USERS if ("LOG" in other) == ("LOG" in name)]
        for meant in difflib.get_close_matches(name, candidates, n=1, cutoff=_NAMESAKE):
            fix = diagnosis.unset(name) if meant in values else diagnosis.rename(name, meant)
            diagnosis.warn(f"{name} is not a variable that anything reads; {meant} is", fix)


def _judge_opentelemetrys_endpoint(
    diagnosis: Diagnosis, wanted: TelemetryConfig, values: Mapping[str, str]
) -> None:
    """OpenTelemetry's endpoint serves only where no variable of Tango's says where spans go."""
    for name in _OTEL_ENDPOINTS:
        given = values.get(name, "").strip()
        target = given.partition("://")[2].rstrip("/")
        if target and wanted.endpoints and not any(target in each.target for each in wanted.endpoints):
            said = choose_family(values)
            own = next((own for own in (said.endpoints, said.exporters) if own in values), said.exporters)
            diagnosis.warn(
                f"{name}={redact_setting(name, given)} has no effect: {own} says where spans go",
                diagnosis.unset(name),
            )


def name_variable(diagnosis: Diagnosis, text: str) -> tuple[str, str]:
    """Return what OpenTelemetry says of a setting with the variable in front, and the line to type.

    It names some of them, without ``OTEL_``, and of others only the value.
    """
    own = {setting.name: setting.value for setting in diagnosis.settings if setting.name.startswith("OTEL_")}
    by_name = (
        name
        for name in sorted({*own, _SAMPLER_ARG}, key=len, reverse=True)
        if name.removeprefix("OTEL_") in text
    )
    by_value = (
        name
        for name, value in own.items()
        if any(part.strip() and part.strip().lower() in text.lower() for part in value.split(","))
    )
    for name in (*by_name, *by_value):
        fix = f"export {name}=1" if name == _SAMPLER_ARG else diagnosis.unset(name)
        return f"{name}={own[name]}: {text}" if name in own else text, fix
    return text, "printenv | grep ^OTEL_"


def _samples_nothing(values: Mapping[str, str]) -> bool:
    try:
        return (
            values.get(_SAMPLER, "").strip().lower() in ("traceidratio", "parentbased_traceidratio")
            and float(values.get(_SAMPLER_ARG, "")) == 0
        )
    except ValueError:  # then the SDK records everything
        return False


def _fix_exporter(name: str, values: Mapping[str, str]) -> str:
    """Return the same exporters with a target for each: who asked for files has no collector."""
    exporter, endpoint = next((family for family in TRACES if name in family), TRACES[1])
    listed = [item.strip().lower() for item in values.get(exporter, "").split(",")]
    known = [item for item in listed if item in _EXAMPLES] or ["grpc"]
    return f"export {exporter}={','.join(known)} {endpoint}={','.join(_EXAMPLES[item] for item in known)}"


def endpoint_variable(values: Mapping[str, str]) -> str:
    """Return the name under which the user has set, or would set, where spans go."""
    return choose_family(values).endpoints
