"""What the doctor found.

`Diagnosis.as_json` is a stable schema: fields are added, never renamed or removed.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SCHEMA_VERSION = 1

Severity = Literal["error", "warning"]
Configuration = Literal["none", "api-only", "full"]


@dataclass(frozen=True)
class Problem:
    """Something wrong, and the one line to type.

    An `error` keeps traces from arriving, a `warning` costs something.
    """

    severity: Severity
    what: str
    fix: str


@dataclass(frozen=True)
class Installed:
    """What is installed: versions, None for what is not there or cannot be imported.

    `configuration` is the extra that this amounts to. `cpptango_telemetry` is None where PyTango is missing.
    """

    configuration: Configuration
    python: str
    pytango: str | None
    cpptango: str | None
    cpptango_telemetry: bool | None
    packages: dict[str, str | None]


@dataclass(frozen=True)
class Setting:
    """One setting: `value` as it is in force, without secrets; `source` is "environment", "default" or a
    file.
    """

    name: str
    value: str
    source: str


@dataclass(frozen=True)
class Context:
    """How the trace context travels and who makes spans, each with the reason."""

    bridge: str
    bridge_reason: str
    tracer_provider: str
    tracer_provider_reason: str


@dataclass(frozen=True)
class EndpointResult:
    """One endpoint tried: `result` is "delivered", "failed" or "skipped"."""

    exporter: str
    target: str
    result: Literal["delivered", "failed", "skipped"]
    reason: str
    seconds: float | None = None


@dataclass(frozen=True)
class DeviceReport:
    """What a device says of itself. `telemetry` is cppTango's own (10.3), {} where it does not say."""

    name: str
    answers: bool
    seconds: float | None = None
    device_class: str | None = None
    server: str | None = None
    host: str | None = None
    idl_version: int | None = None
    telemetry: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] | None = None
    """What `tango-telemetry-server` says there; None where it does not run or cannot be asked."""
    unknown: str = ""
    """Why it could not be asked, or why the device does not answer."""


@dataclass
class Diagnosis:
    """All of it. Whoever looks at something adds to `problems`."""

    installed: Installed | None = None
    settings: list[Setting] = field(default_factory=list)
    context: Context | None = None
    endpoints: list[EndpointResult] = field(default_factory=list)
    device: DeviceReport | None = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def traces_arrive(self) -> bool:
        """Whether nothing found keeps traces from arriving."""
        return not any(problem.severity == "error" for problem in self.problems)

    def unset(self, name: str) -> str:
        """Return the line that takes a setting away, in the shell or in the file where it stands."""
        file = self._file_of(name)
        return f"sed -i '/^ *{name} *=/Id' {shlex.quote(file)}" if file else f"unset {name}"

    def rename(self, name: str, meant: str) -> str:
        """Return the line that gives the value of one variable to another, in the shell or in the file where
        it stands.
        """
        file = self._file_of(name)
        if file:
            return f"sed -i 's/^ *{name} *=/{meant}=/I' {shlex.quote(file)}"
        return f'export {meant}="${name}"; unset {name}'

    def _file_of(self, name: str) -> str:
        """Return the file where a setting stands, "" for the environment and for what is not set."""
        source = next((setting.source for setting in self.settings if setting.name == name), "environment")
        return "" if source in ("environment", "default") else source

    def error(self, what: str, fix: str) -> None:
        """Note something that keeps traces from arriving."""
        self._add(Problem("error", what, fix))

    def warn(self, what: str, fix: str) -> None:
        """Note something that costs something."""
        self._add(Problem("warning", what, fix))

    def _add(self, problem: Problem) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def as_json(self) -> dict[str, Any]:
        """Return the diagnosis as what `--json` prints."""
        return {"schema_version": SCHEMA_VERSION, "traces_arrive": self.traces_arrive, **asdict(self)}
