"""Activation: settings into force, cppTango's environment, the bridge.

Called by the instrumentors and by the user.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import importlib
import sys
from typing import Any

from tango_telemetry._native import (
    load_native_calls,
    load_native_events,
    release_native,
    what_brings_native,
)
from tango_telemetry.base.guard import guarded
from tango_telemetry.base.warnings import warn
from tango_telemetry.calls.decisions import pass_through_tracer
from tango_telemetry.calls.failures import record_failure
from tango_telemetry.calls.place import thread_attributes
from tango_telemetry.context.bridges import (
    CarrierParts,
    NativeBridge,
    NoOpBridge,
    create_context_bridge,
)
from tango_telemetry.context.current import make_current
from tango_telemetry.otel import api as otel
from tango_telemetry.pipeline.process.exit import is_interpreter_ending
from tango_telemetry.pytango.builtin_tracing import leave_builtin_tracing_out, silence_builtin_tracing
from tango_telemetry.pytango.environment import (
    apply_cpptango_environment,
    cpptango_environment,
    environment_afterwards,
    environment_when_off,
    exports_streams,
    restore_environment,
)
from tango_telemetry.pytango.executors import patch_executors
from tango_telemetry.pytango.patching import Patches
from tango_telemetry.pytango.version import find_device_base, import_tango, tango_version
from tango_telemetry.settings import variables as env
from tango_telemetry.settings.config import TelemetryConfig
from tango_telemetry.settings.programs import is_chosen, name_of_coming_server
from tango_telemetry.settings.sources import read_environment
from tango_telemetry.state import get_config, set_config, state, warn_once

__all__ = ["activate", "configure", "deactivate", "stay_off"]

_LOGS = "tango_telemetry.logs.switch"
_METRICS = "tango_telemetry.metrics.switch"
SUPPORTED = ((9, 3, 6), (11,))
_patches = Patches()


def configure(config: TelemetryConfig | None = None, **changes: Any) -> TelemetryConfig:
    """Change the settings of this process at run time; spans made from now on follow the new ones.

    :param config: the new settings; None: those in force
    :param changes: single fields of :class:`TelemetryConfig` to change; ``enabled=False`` stops the spans of
        a process that is traced, and its calls hand the context on
    :returns: the settings now in force
    :raises TypeError: for a field that :class:`TelemetryConfig` does not have
    """
    base = config if config is not None else get_config()
    state.apply(dataclasses.replace(base, **changes) if changes else base)
    state.reset_tracers()
    if state.active:
        guarded(_switch_logs, state.config)
        guarded(_switch_metrics, state.config)
    return state.config


def _name_coming_server() -> str:
    base = find_device_base()
    return name_of_coming_server(base) if base is not None else ""


def activate(config: TelemetryConfig | None, tracer_provider: Any, meter_provider: Any = None) -> bool:
    """Make ready for one more instrumentor.

    :returns: False if the settings, the installation or the version of PyTango forbid it; says why where the
        user asked for telemetry
    """
    if config is not None:
        set_config(config)
    settings = get_config()
    if settings.enabled is False or settings.patching_disabled:
        return False
    if not otel.API_AVAILABLE:
        guarded(_hand_back)  # `file` would make every proxy of cppTango's fail
        warn_once(
            "Telemetry was asked for, but OpenTelemetry is not installed: nothing is traced and no context "
            "travels. "
            'Type: pip install "tango-telemetry[full]"',
            stacklevel=3,
        )
        return False
    version = tango_version()
    if version and not SUPPORTED[0] <= version < SUPPORTED[1]:
        warn_once(
            f"PyTango {'.'.join(map(str, version))} is outside the range that tango-telemetry knows "
            "(9.3.6 to 10.x); nothing is patched and nothing is traced. Type: pip install "
            '"pytango>=9.3.6,<11"',
            stacklevel=3,
        )
        return False
    if tracer_provider is not None:
        state.tracer_provider = tracer_provider
    if meter_provider is not None:
        state.meter_provider = meter_provider
    if tracer_provider is not None or not state.active:
        state.reset_tracers(retire=False)  # those asked for while nothing was traced may be no-ops
    if not state.active:
        state.name_coming_server = _name_coming_server
        _prepare_context(settings, version)
        atexit.register(_switch_off_at_the_end)
        if version:
            guarded(patch_executors, _patches)
            guarded(silence_builtin_tracing, _patches)
        guarded(_switch_logs, settings)
    if not state.active or meter_provider is not None:
        guarded(_switch_metrics, settings)
    state.active += 1
    return True


def _switch_off_at_the_end() -> None:
    """Have later calls made as if telemetry were off: those of finalisers, and of events that still come.

    What traces them is being cleared away, and what sends has sent its last: it was registered after this.
    """
    if is_interpreter_ending():
        guarded(functools.partial(configure, enabled=False))


def _prepare_context(settings: TelemetryConfig, version: tuple[int, ...]) -> None:
    # Tango has W3C's fields only, whichever format is named.
    carries = bool(set(settings.propagators) - {"baggage"})
    bridge = create_context_bridge(
        settings.context_bridge if carries else "noop",
        kernel=settings.kernel,
        tango_version=version,
        logging="logging" in settings.types and not exports_streams(settings),
    )
    idl = any(part in ("pytango", "native") for part in bridge.name.split("+"))
    kernel = bool(settings.kernel)
    if isinstance(bridge, NativeBridge) and version < (10, 3):
        idl = False  # it does without cppTango's telemetry, which would add spans to the trace there
    elif idl and version < (10, 3) and settings.kernel is None:
        # On 10.0 and 10.1 the context travels by IDL v6 only together with cppTango's own spans, which must
        # go somewhere.
        kernel = any(endpoint.exporter != "file" for endpoint in settings.endpoints)
        if not kernel:
            idl, bridge = False, NoOpBridge()
            warn(
                f"PyTango {'.'.join(map(str, version))} carries the trace context only together with "
                "cppTango's own "
                "spans, which cannot be written to files: each process makes traces of its own. "
                f"{what_brings_native()}",
                4,
            )
    elif carries and settings.context_bridge != "noop" and isinstance(bridge, NoOpBridge):
        found = (
            f"PyTango {'.'.join(map(str, version))}" if version else "PyTango, whose version cannot be found,"
        )
        warn_once(
            f"{found} cannot carry the trace context without the native package: each process makes traces "
            f"of its own. {what_brings_native()}"
        )
    state.bridge = bridge
    native = load_native_calls(settings)
    state.make_current = make_current if native is None else native.make_current
    _set_native(native)
    if carries and version:
        guarded(_switch_events_on, settings)
    user = read_environment()
    tell = functools.partial(cpptango_environment, settings, user, tango_version=version, kernel=kernel)
    _of_server.clear()
    if isinstance(bridge, NativeBridge):
        # Clients have no use for cppTango's telemetry, which takes 17 us of a call also where it makes no
        # span (10.3.1).
        _of_server.update(tell(idl=idl))
        idl = False
    apply_cpptango_environment(tell(idl=idl))


_of_server: dict[str, str | None] = {}
"""What cppTango is told for its devices, where that is not what it is told for clients: users ask devices for
their telemetry, and switch it (10.3).
"""


def prepare_server() -> None:
    """Make ready again after ``Util`` has been initialised, and before it makes devices: a process that was a
    client becomes a server.
    """
    state.bridge.prepare_server()
    apply_cpptango_environment(_of_server)
    if state.metrics is not None:
        state.metrics.start()


def _switch_events_on(settings: TelemetryConfig) -> None:
    """Have events carry the span that sent them, where that can be done; the native package's status says
    where not.
    """
    events = load_native_events(settings)
    if events is not None:
        import_tango()  # what is patched must be loaded
        state.events = events if events.install() else None


def _switch_logs(settings: TelemetryConfig | None) -> None:
    """Take the logs that the settings ask for; where they ask for none, nothing is imported."""
    asked = settings is not None and (settings.logs != "off" or settings.logs_trace_id)
    switch = sys.modules.get(_LOGS)
    if switch is None and asked:
        switch = importlib.import_module(_LOGS)
    if switch is not None:
        switch.switch_logs(settings)


def _switch_metrics(settings: TelemetryConfig | None) -> None:
    """Count the calls that the settings, or a meter provider, ask for; likewise."""
    asked = settings is not None and (settings.metrics or state.meter_provider is not None)
    switch = sys.modules.get(_METRICS)
    if switch is None and asked:
        switch = importlib.import_module(_METRICS)
    if switch is not None:
        switch.switch_metrics(settings)


def _switch_events_off() -> None:
    events, state.events = state.events, None
    if events is not None:
        events.release()


def _set_native(native: Any) -> None:
    """Let calls run in C++ from now on, or in Python."""
    if native is not None:
        native.configure_calls(
            record_failure,
            _is_omni_thread,
            otel.NonRecordingSpan,
            thread_attributes,
            state.epoch,
            pass_through_tracer(),
        )
        native.set_carrier(state.bridge, *state.bridge.parts)
    elif state.native is not None:
        state.native.set_carrier(None, *CarrierParts())
    state.native = native
    state.changed()


def _is_omni_thread() -> bool:
    return bool(import_tango().is_omni_thread())


def stay_off() -> None:
    """Keep what cppTango cannot parse away from it in a process whose telemetry is off."""
    given = environment_when_off(read_environment())
    if not is_chosen(get_config().servers):
        given[env.TANGO_TELEMETRY_ENABLE] = "off"  # the host's says `on`
    apply_cpptango_environment(given)


def deactivate() -> None:
    """Take one instrumentor back; with the last one the bridge goes too, and the environment is the user's
    again.
    """
    state.active = max(0, state.active - 1)
    if not state.active:
        atexit.unregister(_switch_off_at_the_end)
        _patches.undo()
        guarded(_switch_logs, None)
        guarded(_switch_metrics, None)
        _of_server.clear()
        guarded(_hand_back)
        guarded(release_native)
        state.bridge = NoOpBridge()
        state.make_current = make_current
        _set_native(None)
        guarded(_switch_events_off)
        state.tracer_provider = None
        state.meter_provider = None
        state.reset_tracers()


def _hand_back() -> None:
    restore_environment()
    if tango_version() >= (10,):
        given = environment_afterwards(read_environment())
        apply_cpptango_environment(given)
        if given.get(env.TANGO_TELEMETRY_ENABLE) == "off":
            leave_builtin_tracing_out()  # 10.0 and 10.1 made up their mind when they were imported
