"""The one module through which the pipeline gets at the OpenTelemetry SDK, the OTLP encoders and the wire
libraries.

Nothing is imported before a function is called: `import tango_telemetry.pipeline` works, and costs nothing,
where OpenTelemetry is not installed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tango_telemetry.base.originals import RLock, threads_are_replaced
from tango_telemetry.base.warnings import quiet_warnings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

    __all__ = ["ReadableSpan", "SpanProcessor"]

INSTALL_COMMAND = 'pip install "tango-telemetry[full]"'


class MissingPackageError(ImportError):
    """A package that the chosen exporter needs is not installed; the message names the command that installs
    it.
    """

    def __init__(self, purpose: str, module: str, cause: str) -> None:
        super().__init__(
            f"{purpose} needs the package of {module!r} ({cause}); install it with: {INSTALL_COMMAND}"
        )


def load(module: str, purpose: str) -> Any:
    """Import `module`; raises MissingPackageError, which says what it was for and what to type."""
    try:
        with quiet_warnings():
            return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(purpose, module, str(error)) from error


@lru_cache(maxsize=1)
def load_sdk() -> Any:
    """The module `opentelemetry.sdk.trace`."""
    return load("opentelemetry.sdk.trace", "recording spans")


def find_sdk() -> None:
    """Raise MissingPackageError if the SDK is not installed; imports next to nothing of it."""
    load("opentelemetry.sdk.version", "recording spans")


def sdk_version() -> str:
    """The version of the SDK."""
    return str(load("opentelemetry.sdk.version", "recording spans").__version__)


_GRPC_VERBOSITY = "GRPC_VERBOSITY"
_PROTOBUF_ENCODER = "opentelemetry.exporter.otlp.proto.common.trace_encoder"
# Encoder first, then transport. `requests` imports netrc at the first request; in a child forked just then
# its import lock would stay locked.
_NEEDED = {
    "http": (_PROTOBUF_ENCODER, "requests", "netrc"),
    "grpc": (_PROTOBUF_ENCODER, "grpc"),
    "file": ("opentelemetry.exporter.otlp.json.file",),
    "console": ("opentelemetry.sdk.trace.export",),
}

loading = RLock()
"""Held while a thread of ours imports, so that a fork can wait: a child forked in the middle of an import
would find the lock of that module locked for ever.
"""


class Deferred:
    """Calls `load` at the first use: the import of a package that is not needed before there is something to
    send.
    """

    __slots__ = ("_load", "_loaded", "_value")

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load
        self._loaded = False

    def __call__(self) -> Any:
        """What `load` gave; raises what it raises."""
        if not self._loaded:
            with loading:
                self._value = self._load()
            self._loaded = True
        return self._value


def reset_after_fork() -> None:
    """Renew the import lock: the thread that held it does not exist in the child."""
    global loading
    loading = RLock()


def find_exporter(exporter: str) -> None:
    """Raise MissingPackageError if a package that `exporter` is made of is not installed. Imports none of
    them.

    They take 0.1 to 0.3 s, which a server would add to its start.
    """
    for module in _NEEDED[exporter]:
        package = module.removesuffix(".trace_encoder")  # looking for a module imports its package
        try:
            found = importlib.util.find_spec(package) is not None
        except (ImportError, ValueError):  # its parent is missing; somebody put None in sys.modules
            found = False
        if not found:
            raise MissingPackageError(f"the {exporter!r} exporter", module, f"No module named {module!r}")


def load_exporter(exporter: str) -> tuple[Any, ...]:
    """The modules that `exporter` ("http", "grpc", "file" or "console") is made of: encoder first, then
    transport.
    """
    return load_encoder(exporter), *load_transport(exporter)


def load_encoder(exporter: str) -> Any:
    """The module that turns spans of the SDK into what `exporter` sends."""
    return load(_NEEDED[exporter][0], f"the {exporter!r} exporter")


def load_transport(exporter: str) -> tuple[Any, ...]:
    """The modules by which `exporter` sends."""
    if exporter == "grpc":
        _import_grpc_quietly()
    return tuple(load(module, f"the {exporter!r} exporter") for module in _NEEDED[exporter][1:])


def _import_grpc_quietly() -> None:
    """gRPC's core writes to standard error at each fork that meets a running call (grpcio 1.85).

    It reads the variable when it is imported; child processes must not inherit it.
    """
    if "grpc" in sys.modules or _GRPC_VERBOSITY in os.environ:
        return
    os.environ[_GRPC_VERBOSITY] = "NONE"
    try:
        load("grpc", "the 'grpc' exporter")
    finally:
        os.environ.pop(_GRPC_VERBOSITY, None)


@lru_cache(maxsize=1)
def _cheap_resource_class() -> Any:
    resource_class: Any = load("opentelemetry.sdk.resources", "recording spans").Resource

    class CheapResource(resource_class):  # type: ignore[misc]
        """A resource that serialises itself to JSON once, not at each hash."""

        _hash: int | None = None

        def __hash__(self) -> int:
            if self._hash is None:
                self._hash = super().__hash__()
            return self._hash

    return CheapResource


def create_resource(attributes: Any, schema_url: str = "") -> Any:
    """An SDK resource whose hash is computed once. Exporters hash the resource of each span."""
    return _cheap_resource_class()(dict(attributes), schema_url)


def detect_resource() -> Any:
    """The SDK's resource of this process: what its detectors and `OTEL_RESOURCE_ATTRIBUTES` say."""
    resources = load("opentelemetry.sdk.resources", "recording spans")
    if not threads_are_replaced():
        with contextlib.suppress(RuntimeError):  # no more threads, or the interpreter is ending
            return resources.Resource.create({})
    # The SDK runs its detectors in a thread pool (1.30 to 1.45) and offers no other way. Where gevent has
    # replaced the pool's queue and not the threads, each detector takes the 5 s that it may, and is then left
    # out.
    pool, resources.concurrent = resources.concurrent, _CallersThread
    try:
        return resources.Resource.create({})
    finally:
        resources.concurrent = pool


class _Job:
    """Stands in for a future."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._function = function
        self._args = args

    def result(self, timeout: float | None = None) -> Any:
        """Return what the function returns; raises what it raises."""
        return self._function(*self._args)


class _CallersThread:
    """Stands in for the module `concurrent`: a pool that runs everything in the thread that asks."""

    class futures:  # noqa: N801 - the module's name
        """As much of `concurrent.futures` as the SDK's detection of resources uses."""

        TimeoutError = TimeoutError

        class ThreadPoolExecutor:
            """Runs a job when its result is asked for."""

            def __init__(self, max_workers: int | None = None) -> None:
                pass

            def submit(self, function: Callable[..., Any], *args: Any) -> _Job:
                """Return what stands in for a future."""
                return _Job(function, args)

            def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
                """Nothing is left to do."""

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *error: object) -> None:
                pass


def create_recording_provider(resource: Any) -> Any:
    """The SDK's provider that records every span, whatever ``OTEL_TRACES_SAMPLER`` and ``OTEL_SDK_DISABLED``
    say.
    """
    sdk = load_sdk()
    sampling = load("opentelemetry.sdk.trace.sampling", "recording spans")
    # Read when a provider is made (1.45); there is no argument for it.
    disabled = os.environ.pop("OTEL_SDK_DISABLED", None)
    try:
        return sdk.TracerProvider(resource=resource, sampler=sampling.ALWAYS_ON, shutdown_on_exit=False)
    finally:
        if disabled is not None:
            os.environ["OTEL_SDK_DISABLED"] = disabled


def load_metrics_api() -> Any:
    """The module `opentelemetry.metrics`; None where it is not installed."""
    try:
        with quiet_warnings():
            return importlib.import_module("opentelemetry.metrics")
    except ImportError:
        return None


def configured_meter_provider() -> Any:
    """The meter provider that somebody has set for the process; None if nobody did.

    One that stands for nothing but the absence of an exporter does not count: ``opentelemetry-instrument``
    sets one in any case (opentelemetry-sdk 1.45). Source of the name: opentelemetry-api 1.45; there is no
    public one that does not make a provider.
    """
    provider = getattr(sys.modules.get("opentelemetry.metrics._internal"), "_METER_PROVIDER", None)
    launched = "opentelemetry.instrumentation.auto_instrumentation" in sys.modules
    if launched and os.environ.get("OTEL_METRICS_EXPORTER", "none").strip().lower() in ("", "none"):
        return None
    return None if type(provider).__name__ == "NoOpMeterProvider" else provider


def create_histogram(
    meter: Any, name: str, unit: str, description: str, boundaries: tuple[float, ...]
) -> Any:
    """A histogram of a meter, with the advice of boundaries where it takes any (opentelemetry-api 1.29)."""
    try:
        return meter.create_histogram(
            name, unit, description, explicit_bucket_boundaries_advisory=list(boundaries)
        )
    except TypeError:
        return meter.create_histogram(name, unit, description)


def observe_metrics(meter: Any, instruments: Iterable[Any]) -> None:
    """Create observable instruments: of each ``create`` is the kind, and ``observe`` is called when the meter
    collects.
    """
    api = load_metrics_api()

    def callback(observe: Callable[[], Iterable[tuple[Any, Any]]]) -> Callable[[object], list[Any]]:
        return lambda options: [api.Observation(value, attributes) for value, attributes in observe()]

    for each in instruments:
        make = getattr(meter, f"create_observable_{each.create}")
        make(each.name, callbacks=[callback(each.observe)], unit=each.unit, description=each.description)


def suppress_instrumentation() -> None:
    """Mark this thread's context, so that instrumented HTTP and gRPC libraries make no spans of our own
    requests.
    """
    context = importlib.import_module("opentelemetry.context")
    for key in ("suppress_instrumentation", getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", "")):
        if key:
            context.attach(context.set_value(key, True))


def emit_log(
    logger: Any, time: int, observed: int, severity: int, level: str, body: str, attributes: dict[str, Any]
) -> None:
    """Give a record to a logger of OpenTelemetry's (1.30 to 1.45: the class has moved meanwhile)."""
    logs = load("opentelemetry._logs", "log records")
    known = {
        "timestamp": time,
        "observed_timestamp": observed,
        "severity_number": logs.SeverityNumber(severity),
        "severity_text": level,
        "body": body,
        "attributes": attributes,
    }
    # Trace and span come from the current context, which is the one that the record was made in.
    with contextlib.suppress(TypeError):
        logger.emit(**known)
        return
    logger.emit(logs.LogRecord(**known))


def load_trace_messages() -> Any:
    """The module with OTLP's protobuf classes for traces (`ExportTraceServiceRequest` and its parts)."""
    return load("opentelemetry.proto.collector.trace.v1.trace_service_pb2", "OTLP payloads")
