"""The diagnosis in the terminal: sections of rows that fit 80 columns, problems and what to type at
the end.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..viewer.glyphs import Glyphs
from .model import DeviceReport, Diagnosis

_COMPACT = ("default",)


class Picture:
    """Draws on `console` with `glyphs`; `verbose` shows each package and all settings."""

    def __init__(self, console: Console, glyphs: Glyphs, verbose: bool = False) -> None:
        self._verbose = verbose
        self._console = console
        self._glyphs = glyphs

    def draw(self, diagnosis: Diagnosis) -> None:
        """Draw all sections, then the verdict."""
        self._draw_installed(diagnosis)
        self._draw_context(diagnosis)
        self._draw_settings(diagnosis)
        self._draw_endpoints(diagnosis)
        self._draw_device(diagnosis)
        self._draw_verdict(diagnosis)

    def _section(self, title: str, rows: list[tuple[str, str]]) -> None:
        self._console.print(Text(title, style="bold"))
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, style="cyan")
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(Text(self._glyphs.text(name)), Text(self._glyphs.text(value)))
        self._console.print(Padding(table, (0, 0, 1, 2), expand=False))

    def _draw_installed(self, diagnosis: Diagnosis) -> None:
        found = diagnosis.installed
        if found is None:
            return
        telemetry = {None: "", True: ", with telemetry", False: ", without telemetry"}[
            found.cpptango_telemetry
        ]
        rows = [
            ("Python", found.python),
            ("PyTango", found.pytango or "not installed"),
            ("cppTango", f"{found.cpptango or 'unknown'}{telemetry}" if found.pytango else "not installed"),
            ("configuration", f"[{found.configuration}]"),
        ]
        if self._verbose:
            rows += [(name, version or "not installed") for name, version in found.packages.items()]
        else:
            rows += [
                (group, _in_short(found.packages, group)) for group in ("tango-telemetry", "opentelemetry")
            ]
        rows.append(("programs not edited", f"tango-telemetry-auto is {found.auto}"))
        self._section("installed", rows)

    def _draw_context(self, diagnosis: Diagnosis) -> None:
        context = diagnosis.context
        if context is not None:
            rows = [
                ("context bridge", f"{context.bridge}: {context.bridge_reason}"),
                ("tracer provider", f"{context.tracer_provider}: {context.tracer_provider_reason}"),
            ]
            self._section("traces", rows)

    def _draw_settings(self, diagnosis: Diagnosis) -> None:
        given = [(s.name, f"{s.value}  ({s.source})") for s in diagnosis.settings if s.source not in _COMPACT]
        defaults = [(s.name, s.value) for s in diagnosis.settings if s.source in _COMPACT]
        self._section("settings that are set", given or [("none", "all defaults")])
        if self._verbose:
            self._section("settings left at their default", defaults)

    def _draw_endpoints(self, diagnosis: Diagnosis) -> None:
        rows = []
        for tried in diagnosis.endpoints:
            took = f" in {tried.seconds * 1000:.0f} ms" if tried.seconds is not None else ""
            result = {"delivered": f"ok{took}", "failed": "failed", "skipped": "not tried"}[tried.result]
            # Said once: the problem below has the reason, and what to type.
            told = any(tried.reason in problem.what for problem in diagnosis.problems)
            reason = f": {tried.reason}" if tried.reason and not told else ""
            rows.append((tried.exporter, f"{tried.target}: {result}{reason}"))
        self._section(
            "endpoints, one span or log record sent to each", rows or [("none", "spans go nowhere")]
        )

    def _draw_device(self, diagnosis: Diagnosis) -> None:
        device = diagnosis.device
        if device is None:
            return
        rows = [("answers", "yes" if device.answers else "no")]
        if device.answers:
            rows += [
                ("class", device.device_class or ""),
                ("server", f"{device.server} on {device.host}"),
                ("IDL", f"v{device.idl_version}"),
            ]
            rows += _report_rows(device)
            # Where ours is in force cppTango's exporter only stands in, and sends nothing.
            told = {} if device.report is not None else device.telemetry
            for name, value in told.items():
                shown = ("on" if value else "off") if isinstance(value, bool) else ", ".join(value) or "none"
                rows.append((f"cppTango's {name}", shown))
            if not device.telemetry and device.report is None:
                rows.append(("cppTango's telemetry", "it does not say (only cppTango 10.3 and later do)"))
        self._section(f"device {device.name}", rows)

    def _draw_verdict(self, diagnosis: Diagnosis) -> None:
        for problem in diagnosis.problems:
            mark, style = (self._glyphs.cross, "red") if problem.severity == "error" else ("!", "yellow")
            self._console.print(Text.assemble((f"{mark} ", style), self._glyphs.text(problem.what)))
            if problem.fix:
                self._console.print(
                    Text(f"    {self._glyphs.text(problem.fix)}", style="bold"), soft_wrap=True
                )
        if diagnosis.traces_arrive:
            self._console.print(Text(f"{self._glyphs.tick} traces would arrive", style="green"))
        else:
            self._console.print(Text(f"{self._glyphs.cross} traces would not arrive", style="red"))


def _in_short(packages: Mapping[str, str | None], group: str) -> str:
    """Return the packages of one project by version: ``0.1.0: core, client; not there: auto``."""
    versions: dict[str, list[str]] = {}
    for name, version in packages.items():
        if name.startswith(f"{group}-"):
            short = name.removeprefix(f"{group}-").removeprefix("exporter-otlp-")
            versions.setdefault(version or "not there", []).append(short)
    return "; ".join(f"{version}: {', '.join(names)}" for version, names in versions.items())


def _report_rows(device: DeviceReport) -> list[tuple[str, str]]:
    report = device.report
    if report is None:
        return [
            ("tango-telemetry", device.unknown or "not there, or switched off: its server does not know it")
        ]
    spans = (
        ", ".join(f"{count} {name}" for name, count in report.get("spans", {}).items() if count) or "none yet"
    )
    rows = [
        (
            "tango-telemetry",
            f"{report['tango_telemetry']}, {'traced' if report.get('traced') else 'not traced'}",
        ),
        ("goes to", ", ".join(report.get("endpoints", ())) or "nowhere"),
        ("context bridge", str(report.get("context_bridge"))),
        ("spans made by", str(report.get("spans_by") or "nobody yet")),
        ("spans so far", spans),
        (
            "its process",
            f"{report.get('pid')}, Python {report.get('python')}, PyTango {report.get('pytango')}",
        ),
    ]
    return rows + [(f"its {name}", str(value)) for name, value in report.get("settings", {}).items()]
