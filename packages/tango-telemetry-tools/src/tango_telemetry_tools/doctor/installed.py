"""What is installed.

A package counts if it can be imported: metadata alone may be left over from a broken install.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
import warnings
from types import ModuleType
from typing import Final

from tango_telemetry.diagnosis import (
    command_for_native,
    complete_pytango,
    import_native,
    why_no_native,
)

from .model import Configuration, Diagnosis, Installed

FULL = 'pip install "tango-telemetry[full]"'

# Distribution, and the module that shows that it works.
PACKAGES: Final = {
    "tango-telemetry-core": "tango_telemetry",
    "tango-telemetry-client": "tango_telemetry_client",
    "tango-telemetry-server": "tango_telemetry_server",
    "tango-telemetry-native": "tango_telemetry_native",
    "tango-telemetry-tools": "tango_telemetry_tools",
    "tango-telemetry-auto": "tango_telemetry_auto",
    "opentelemetry-api": "opentelemetry.trace",
    "opentelemetry-sdk": "opentelemetry.sdk.trace",
    "opentelemetry-exporter-otlp-proto-grpc": "opentelemetry.exporter.otlp.proto.grpc",
    "opentelemetry-exporter-otlp-proto-http": "opentelemetry.exporter.otlp.proto.http",
    "opentelemetry-exporter-otlp-json-file": "opentelemetry.exporter.otlp.json.file",
}


def look(diagnosis: Diagnosis) -> None:
    """Fill in `diagnosis.installed`."""
    packages = {name: _version(name, module) for name, module in PACKAGES.items()}
    tango = _load_tango(diagnosis)
    constants = getattr(tango, "constants", None)
    diagnosis.installed = Installed(
        configuration=_configuration(packages),
        python=platform.python_version(),
        pytango=getattr(tango, "__version__", None),
        cpptango=getattr(constants, "TgLibVers", None),
        cpptango_telemetry=None if tango is None else bool(getattr(constants, "TELEMETRY_SUPPORTED", False)),
        packages=packages,
    )
    _judge(diagnosis, diagnosis.installed)


def _version(name: str, module: str) -> str | None:
    try:
        if module == "tango_telemetry_native":
            if import_native() is None:
                return None
        elif module.startswith("tango_telemetry"):
            # Not imported: client and server would switch tracing on.
            if importlib.util.find_spec(module) is None:
                return None
        else:
            importlib.import_module(module)
    except ImportError:
        return None
    except ValueError:
        # it is there, and does not take the value of a variable (the SDK 1.45): `context` finds that too
        pass
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _load_tango(diagnosis: Diagnosis) -> ModuleType | None:
    try:
        with warnings.catch_warnings():
            # PyTango's own tracing does not know the exporter `file` (10.3.1).
            warnings.simplefilter("ignore")
            tango = importlib.import_module("tango")
        complete_pytango()  # else PyTango 10.0 may end this process by SIGSEGV
        return tango
    except ImportError as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        diagnosis.error(f"PyTango cannot be imported: {first}", "pip install pytango")
        return None


def _configuration(packages: dict[str, str | None]) -> Configuration:
    if packages["opentelemetry-api"] is None:
        return "none"
    return "api-only" if packages["opentelemetry-sdk"] is None else "full"


def _judge(diagnosis: Diagnosis, found: Installed) -> None:
    for name in ("client", "server"):
        if found.packages[f"tango-telemetry-{name}"] is None:
            diagnosis.warn(
                f"tango-telemetry-{name} is not installed: no {name} is traced",
                f"pip install tango-telemetry-{name}",
            )
    if found.configuration == "none":
        diagnosis.error("OpenTelemetry is not installed: nothing is traced, no context travels", FULL)
    elif found.configuration == "api-only":
        diagnosis.error("OpenTelemetry's SDK is not installed: the context travels, no span is emitted", FULL)
    elif found.packages["tango-telemetry-native"] is None:
        diagnosis.warn(
            f"no context to and from Tango 9, slower spans: {why_no_native()}",
            command_for_native(),
        )
