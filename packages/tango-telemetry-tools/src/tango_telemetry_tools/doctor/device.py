"""What one device says of itself."""

from __future__ import annotations

import os
import shlex
import time
from typing import Any

from tango_telemetry.diagnosis import (
    import_pytango,
    leave_builtin_tracing_out,
    redact_url,
)
from tango_telemetry.diagnosis import (
    variables as env,
)

from .asker import Asker
from .model import DeviceReport, Diagnosis

TIMEOUT_MS = 3000
_ASKED = (
    "is_telemetry_enabled",
    "get_telemetry_tracing",
    "get_telemetry_topics",
    "get_telemetry_tracing_endpoints",
)


def look(diagnosis: Diagnosis, name: str) -> None:
    """Fill in `diagnosis.device`. Call it last: it takes telemetry's settings out of the environment."""
    tango = prepare()
    if tango is None:
        return  # `installed` has said so
    diagnosis.device = ask(tango, Asker(), name)
    if not diagnosis.device.answers:
        what = f"{name} does not answer: {diagnosis.device.unknown}"
        diagnosis.error(what, _suggest(name, diagnosis.device.unknown.partition(":")[0]))
        return
    _judge(diagnosis, diagnosis.device)


def prepare() -> Any:
    """Return `tango` with its own telemetry off in this process; None where it cannot be imported."""
    tango: Any = import_pytango()
    if tango is None:
        return None
    for variable in [name for name in os.environ if name.startswith("TANGO_TELEMETRY_")]:
        del os.environ[variable]  # a value that cppTango cannot parse would end this process here
    os.environ["TANGO_TELEMETRY_ENABLE"] = "off"
    # 10.0 and 10.1 read that when they were imported, and print spans where we answer
    leave_builtin_tracing_out()
    return tango


def ask(tango: Any, asker: Asker, name: str) -> DeviceReport:
    """Return what a device says of itself and of its server. Never raises."""
    try:
        return _ask(tango, asker, name)
    except tango.DevFailed as failure:
        first = failure.args[0]
        return DeviceReport(name, answers=False, unknown=f"{first.reason}: {' '.join(first.desc.split())}")


def _ask(tango: Any, asker: Asker, name: str) -> DeviceReport:
    proxy = tango.DeviceProxy(name)
    proxy.set_timeout_millis(TIMEOUT_MS)
    start = time.monotonic()
    proxy.ping()
    seconds = round(time.monotonic() - start, 6)
    info = proxy.info()
    report = asker.ask(proxy) if asker.can_ask else None
    return DeviceReport(
        name=proxy.dev_name(),
        answers=True,
        seconds=seconds,
        device_class=str(info.dev_class),
        server=str(info.server_id),
        host=str(info.server_host),
        idl_version=int(proxy.get_idl_version()),
        telemetry=_ask_telemetry(tango, proxy),
        report=report,
        unknown="" if asker.can_ask else "no context travels from here: pip install tango-telemetry-native",
    )


def _ask_telemetry(tango: Any, proxy: Any) -> dict[str, Any]:
    """The telemetry state that cppTango 10.3 gives; {} from older servers, which do not know the question."""
    answers: dict[str, Any] = {}
    for method in _ASKED:
        ask = getattr(type(proxy), method, None)
        if ask is None:
            return {}
        try:
            answer = ask(proxy)
        except tango.DevFailed:
            return answers
        key = method.removeprefix("is_telemetry_").removeprefix("get_telemetry_")
        answers[key] = answer if isinstance(answer, bool) else [_describe(item) for item in answer]
    return answers


def _describe(item: Any) -> str:
    """A topic, or an endpoint as `exporter target`, without credentials."""
    exporter = getattr(item, "exporter", None)
    return str(item) if exporter is None else f"{exporter.name.lower()} {redact_url(str(item.endpoint))}"


def _judge(diagnosis: Diagnosis, device: DeviceReport) -> None:
    bridge = diagnosis.context.bridge if diagnosis.context else "noop"
    if device.idl_version is not None and device.idl_version < 6 and "giop" not in bridge:
        diagnosis.warn(
            f"{device.name} speaks IDL v{device.idl_version}, which carries no trace context",
            "pip install tango-telemetry-native   # here and on the host of its server",
        )
    if device.report is not None:
        _judge_report(diagnosis, device.name, device.report)
        return
    if device.unknown:
        diagnosis.warn(
            f"{device.name} cannot be asked whether it is traced", device.unknown.partition(": ")[2]
        )
    if device.telemetry.get("enabled") is False and "giop" not in bridge:
        diagnosis.warn(
            f"{device.name} has telemetry switched off",
            f"python -c \"import tango; tango.DeviceProxy('{device.name}').start_telemetry()\"",
        )


def _judge_report(diagnosis: Diagnosis, name: str, report: dict[str, Any]) -> None:
    if not report.get("traced"):
        diagnosis.warn(
            f"{name} makes no spans: it, or all of its server, is switched off",
            f"export {env.TANGO_TELEMETRY_ENABLE}=on   # where {report.get('server') or 'its server'} is "
            "started",
        )
    elif not report.get("endpoints"):
        diagnosis.warn(
            f"{name} sends its spans nowhere",
            f"export {env.TANGO_TELEMETRY_TRACING_EXPORTERS}=grpc   # where "
            f"{report.get('server') or 'its server'} is started",
        )


def _suggest(name: str, reason: str) -> str:
    if reason == "API_TangoHostNotSet":  # tangorc may say it where the environment does not
        return "export TANGO_HOST=HOST:10000"
    if reason in ("API_CantConnectToDatabase", "API_DatabaseAccess"):
        return "tango_admin --ping-database 3   # is TANGO_HOST right, and the database server running?"
    if reason in ("DB_DeviceNotDefined", "API_WrongDeviceNameSyntax", "API_UnsupportedProtocol"):
        return f"tango_admin --check-device {shlex.quote(name)}"
    return f"tango_admin --ping-device {shlex.quote(name)}   # then start its server"
