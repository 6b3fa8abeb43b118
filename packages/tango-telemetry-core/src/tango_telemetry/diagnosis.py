"""The door for ``tango-telemetry doctor``: what it looks at of the core, in whatever state that is.

Nothing is defined here, and no name stands here that the tools do not use.
"""

from __future__ import annotations

from tango_telemetry._native import (
    command_for_native,
    import_native,
    load_native_spans,
    why_no_native,
)
from tango_telemetry.activation import (
    activate,
    deactivate,
)
from tango_telemetry.base.guard import (
    guarded,
)
from tango_telemetry.context.bridges import (
    NoOpBridge,
    create_context_bridge,
)
from tango_telemetry.logs.records import (
    Encoder as LogEncoder,
)
from tango_telemetry.otel import (
    sdk,
)
from tango_telemetry.otel.sdk import (
    MissingPackageError,
)
from tango_telemetry.pipeline import (
    LOGS,
)
from tango_telemetry.pipeline.delivery import (
    Exporter,
    Outcome,
    Result,
)
from tango_telemetry.pipeline.exporters.choice import (
    create_exporter,
)
from tango_telemetry.pipeline.redact import (
    redact_url,
)
from tango_telemetry.pytango.builtin_tracing import (
    complete_pytango,
    import_pytango,
    leave_builtin_tracing_out,
)
from tango_telemetry.pytango.version import (
    tango_version,
)
from tango_telemetry.report import (
    BEGINNING,
    QUESTION,
)
from tango_telemetry.settings import (
    variables,
)
from tango_telemetry.settings.config import (
    get_field,
)
from tango_telemetry.settings.endpoints import (
    TRACES,
    choose_family,
)
from tango_telemetry.settings.sources import (
    as_the_user_set_it,
    read_tangorc,
    redact_setting,
    tangorc_paths,
)
from tango_telemetry.settings.variables import (
    NOT_FOR_USERS,
    VARIABLES,
    Variable,
)

__all__ = [
    "BEGINNING",
    "LOGS",
    "NOT_FOR_USERS",
    "QUESTION",
    "TRACES",
    "VARIABLES",
    "Exporter",
    "LogEncoder",
    "MissingPackageError",
    "NoOpBridge",
    "Outcome",
    "Result",
    "Variable",
    "activate",
    "as_the_user_set_it",
    "choose_family",
    "command_for_native",
    "complete_pytango",
    "create_context_bridge",
    "create_exporter",
    "deactivate",
    "get_field",
    "guarded",
    "import_native",
    "import_pytango",
    "leave_builtin_tracing_out",
    "load_native_spans",
    "read_tangorc",
    "redact_setting",
    "redact_url",
    "sdk",
    "tango_version",
    "tangorc_paths",
    "variables",
    "why_no_native",
]
