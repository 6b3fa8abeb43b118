"""The door for ``tango-telemetry-client`` and ``tango-telemetry-server``: what traced calls are made with.

Nothing is defined here, and no name stands here that neither of them uses.
"""

from __future__ import annotations

from tango_telemetry.activation import (
    prepare_server,
)
from tango_telemetry.base.bounded import (
    BoundedDict,
)
from tango_telemetry.base.guard import (
    guarded,
)
from tango_telemetry.calls.arguments import (
    record_arguments,
)
from tango_telemetry.calls.caller import (
    caller_of_tango,
    judged_modules,
)
from tango_telemetry.calls.decisions import (
    excludes_anything,
    is_excluded,
    is_over,
    is_suppressed,
    no_op_tracer_provider,
    not_traced,
    pass_through_tracer,
    with_incoming_context,
)
from tango_telemetry.calls.failures import (
    record_error,
    record_failure,
)
from tango_telemetry.calls.hooks import (
    Hooks,
)
from tango_telemetry.calls.place import (
    code_attributes,
    thread_attributes,
)
from tango_telemetry.calls.plans import (
    Beginning,
    Plan,
)
from tango_telemetry.calls.traced_call import (
    Begin,
    DelegatedCall,
    TracedCall,
    trace_coroutine_function,
    trace_function,
    trace_handler,
)
from tango_telemetry.context.current import (
    active_client_span,
    call_site,
    current_handler,
    current_tracer,
    get_owner,
    with_owner,
)
from tango_telemetry.instrumentor import (
    Instrumentor,
    auto_instrument,
)
from tango_telemetry.providers.tracers import (
    call_tracer_provider_factory,
    get_calling_tracer,
    get_client_tracer,
    get_device_tracer,
)
from tango_telemetry.pytango.builtin_tracing import (
    force_tracing_needed,
    import_pytango,
)
from tango_telemetry.pytango.environment import told_cpptango
from tango_telemetry.report import (
    create_report,
    is_asked,
)
from tango_telemetry.state import (
    add_owner,
    forget_plans,
    get_config,
    get_epoch,
    get_events,
    get_metrics,
    name_server,
    switch_tracer,
)

__all__ = [
    "Begin",
    "Beginning",
    "BoundedDict",
    "DelegatedCall",
    "Hooks",
    "Instrumentor",
    "Plan",
    "TracedCall",
    "active_client_span",
    "add_owner",
    "auto_instrument",
    "call_site",
    "call_tracer_provider_factory",
    "caller_of_tango",
    "code_attributes",
    "create_report",
    "current_handler",
    "current_tracer",
    "excludes_anything",
    "force_tracing_needed",
    "forget_plans",
    "get_calling_tracer",
    "get_client_tracer",
    "get_config",
    "get_device_tracer",
    "get_epoch",
    "get_events",
    "get_metrics",
    "get_owner",
    "guarded",
    "import_pytango",
    "is_asked",
    "is_excluded",
    "is_over",
    "is_suppressed",
    "judged_modules",
    "name_server",
    "no_op_tracer_provider",
    "not_traced",
    "pass_through_tracer",
    "prepare_server",
    "record_arguments",
    "record_error",
    "record_failure",
    "switch_tracer",
    "thread_attributes",
    "told_cpptango",
    "trace_coroutine_function",
    "trace_function",
    "trace_handler",
    "with_incoming_context",
    "with_owner",
]
