"""Tracer providers and tracers: who makes them, and which one a call belongs to."""

from __future__ import annotations

import inspect
import os
import socket
from collections.abc import Mapping
from typing import Any, Protocol

from tango_telemetry import semantic_conventions as names
from tango_telemetry._version import VERSION
from tango_telemetry.base.guard import log_internal_error
from tango_telemetry.base.warnings import quiet_warnings
from tango_telemetry.context.current import current_tracer, get_carried_owner, get_owner
from tango_telemetry.otel import api as otel
from tango_telemetry.otel.api import Context, NoOpTracerProvider, Tracer, TracerProvider
from tango_telemetry.otel.sdk import MissingPackageError
from tango_telemetry.providers import factory as provider_factory
from tango_telemetry.providers.resource import create_plain_resource, create_resource
from tango_telemetry.settings.config import Endpoint
from tango_telemetry.state import get_config, state, switch_tracer, warn_once

__all__ = [
    "TracerProviderFactory",
    "call_tracer_provider_factory",
    "create_tracer_provider",
    "describe_process",
    "get_calling_tracer",
    "get_client_tracer",
    "get_device_tracer",
    "get_tracer",
    "get_tracer_provider_factory",
    "set_tracer_provider_factory",
]

CLIENT_SCOPE = "tango_telemetry.client"
SERVER_SCOPE = "tango_telemetry.server"
_NO_OP = type(NoOpTracerProvider().get_tracer("tango_telemetry"))


class TracerProviderFactory(Protocol):
    """What makes tracer providers (the signature of PyTango 10.3; 10.0's, without ``endpoints``, is accepted
    too).
    """

    def __call__(
        self,
        service_name: str,
        service_instance_id: str | None = None,
        extra_resource_attributes: dict[str, str] | None = None,
        endpoints: tuple[Endpoint, ...] | None = None,
    ) -> TracerProvider: ...


def create_tracer_provider(
    service_name: str,
    service_instance_id: str | None = None,
    extra_resource_attributes: dict[str, str] | None = None,
    endpoints: tuple[Endpoint, ...] | None = None,
) -> TracerProvider:
    """Make a tracer provider for one service; all of a process share one pipeline per endpoint.

    :param service_name: resource attribute ``service.name``; a device class, or a client's name
    :param service_instance_id: ``service.instance.id``; a device name
    :param extra_resource_attributes: further resource attributes
    :param endpoints: where its spans go; None: where the settings say, which is nowhere while telemetry is
        off
    :returns: the C++ provider or the SDK's; OpenTelemetry's no-op where its SDK is missing; our stub where
        the API is
    """
    config = get_config()
    if endpoints is None:
        endpoints = config.endpoints if state.active or config.enabled else ()
    if not otel.API_AVAILABLE or not endpoints:
        return NoOpTracerProvider()
    try:
        return provider_factory.create_tracer_provider(
            {
                **_resource_of_process(),
                names.SERVICE_NAME: service_name,
                **({names.SERVICE_INSTANCE_ID: service_instance_id} if service_instance_id else {}),
                **(extra_resource_attributes or {}),
            },
            endpoints,
            config,
        )
    except MissingPackageError as error:
        warn_once(str(error))
        return NoOpTracerProvider()
    except ValueError as error:
        # The SDK does not take the value of one of its variables, and says which (1.45,
        # OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT).
        warn_once(f"{error}. No span is made. Type: unset {str(error).partition(' ')[0]}")
        return NoOpTracerProvider()


def describe_process(
    service_name: str | None = None, service_instance_id: str | None = None
) -> Mapping[str, Any]:
    """Give the resource attributes of a service of this process, for what is not a span.

    :param service_name: None: that of calls outside devices
    """
    attributes = {
        **_resource_of_process(),
        names.SERVICE_NAME: service_name or _client_service_name(),
        **({names.SERVICE_INSTANCE_ID: service_instance_id} if service_instance_id else {}),
        **({names.TANGO_SERVER_NAME: state.server_name} if state.server_name else {}),
    }
    with log_internal_error("describing the process", foreign=True):
        plain = create_plain_resource(attributes)
        found: Mapping[str, Any] = create_resource(attributes).attributes if plain is None else plain
        return found
    return attributes


def _resource_of_process() -> dict[str, Any]:
    """The resource attributes that every service of this process has."""
    attributes: dict[str, Any] = {
        names.SERVICE_NAMESPACE: names.TANGO,
        names.HOST_NAME: socket.gethostname(),
        names.PROCESS_PID: os.getpid(),
    }
    if tango_host := os.environ.get("TANGO_HOST"):
        attributes[names.TANGO_HOST] = tango_host
    return attributes


_factory: TracerProviderFactory | None = None


def get_tracer_provider_factory() -> TracerProviderFactory:
    """Return the factory that makes the tracer providers of devices and clients."""
    return _factory or create_tracer_provider


def set_tracer_provider_factory(factory: TracerProviderFactory | None) -> None:
    """Register what makes the tracer providers of devices and clients from now on; None restores our own.

    :param factory: called with ``(service_name, service_instance_id, extra_resource_attributes,
        endpoints=…)``; ``endpoints`` is left out for a factory that does not take it
    """
    global _factory
    _factory = factory
    state.reset_tracers()


def call_tracer_provider_factory(
    service_name: str,
    service_instance_id: str | None = None,
    extra_resource_attributes: dict[str, str] | None = None,
    endpoints: tuple[Endpoint, ...] | None = None,
) -> TracerProvider:
    """Make a provider as the user wants it: the one given to ``instrument()``, the factory's, OpenTelemetry's
    global.
    """
    if get_config().enabled is False:
        return NoOpTracerProvider()
    if state.tracer_provider is not None:
        return state.tracer_provider
    factory = _factory
    if factory is None:
        configured = otel.configured_tracer_provider()
        if configured is not None and not _stands_for_settings(configured):
            return configured
        return create_tracer_provider(service_name, service_instance_id, extra_resource_attributes, endpoints)
    parameters = inspect.signature(factory).parameters
    takes_endpoints = "endpoints" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if takes_endpoints:
        return factory(service_name, service_instance_id, extra_resource_attributes, endpoints=endpoints)
    return factory(service_name, service_instance_id, extra_resource_attributes)


# Exporters that are ours too.
_OF_SDK = frozenset({"", "console", "none", "otlp", "otlp_proto_grpc", "otlp_proto_http"})
_LAUNCHERS_OWN = (
    *("OTEL_PYTHON_CONFIGURATOR", "OTEL_PYTHON_DISTRO", "OTEL_PYTHON_TRACER_PROVIDER", "OTEL_CONFIG_FILE"),
    *("OTEL_EXPERIMENTAL_CONFIG_FILE", "OTEL_PYTHON_ID_GENERATOR"),
)


def _stands_for_settings(provider: TracerProvider) -> bool:
    """Whether a global provider is nothing but the settings that ``opentelemetry-instrument`` has read.

    One provider has one resource, so every device would be one service; and its exit waits for a collector
    that is away for longer than ours. Providers of our own follow the same settings, and Tango's variables
    where they are set. Whatever only the launcher can make stays in force: another distribution or
    configurator, an exporter that we have not, an id generator.
    """
    if not otel.is_launched() or type(provider).__module__ != "opentelemetry.sdk.trace":
        return False
    exporters = os.environ.get("OTEL_TRACES_EXPORTER", "").lower().split(",")
    return (
        not any(os.environ.get(name) for name in _LAUNCHERS_OWN) and {e.strip() for e in exporters} <= _OF_SDK
    )


def get_tracer(name: str, version: str | None = None) -> Tracer:
    """Return a tracer for spans of your own, whatever is installed: ``with
    get_tracer("my.app").start_as_current_span("scan"):``.

    :param name: the service name of its spans and the name of the tracer
    :param version: the version of the instrumented code
    :returns: a tracer of OpenTelemetry's API; our no-op where that is not installed or telemetry is off
    """
    if not state.active and not get_config().enabled:
        return NoOpTracerProvider().get_tracer(name, version)
    key = (name, version)
    tracer = state.tracers.get(key)
    if tracer is None:
        tracer = state.tracers[key] = _make_tracer(name, name, version)
    return tracer


def get_device_tracer(provider: TracerProvider) -> Tracer:
    """Return the tracer of a device, from its provider."""
    return provider.get_tracer(SERVER_SCOPE, VERSION)


def get_calling_tracer(context: Context) -> Tracer:
    """Return the tracer of a client call that is made here: that of the device whose call it is, or the
    client's.

    A context may be older than the last change of the settings (that of a job in a pool, a thread, a
    greenlet). So the tracer in it is not used; the owner is asked for the one that it has now.

    :param context: OpenTelemetry's, which may have come here by a tool that carries nothing else
    """
    tracer = current_tracer.get()
    if tracer is not None and type(tracer) is _NO_OP:
        return tracer
    owner = get_carried_owner(context) if tracer is None else get_owner()
    if owner is None:
        return tracer or get_client_tracer()
    return owner.get_tracer() or get_client_tracer()


def _make_tracer(service_name: str, name: str, version: str | None) -> Tracer:
    """Make a provider and its tracer; a no-op where that raises, which is logged and no concern of the
    program's.
    """
    with log_internal_error("making a tracer", foreign=True), quiet_warnings():
        return call_tracer_provider_factory(service_name).get_tracer(name, version)
    return NoOpTracerProvider().get_tracer(name, version)


def _client_service_name() -> str:
    """Whose calls those outside devices are: as the user says, else the device server's, else PyTango's name
    for clients.
    """
    launchers = os.environ.get("OTEL_SERVICE_NAME") if otel.is_launched() else ""
    server = state.server_name or state.name_coming_server()
    return get_config().client_service_name or launchers or server or "pytango.client"


def get_client_tracer() -> Tracer:
    """Return the tracer of client calls made outside devices, named by
    ``PYTANGO_TELEMETRY_CLIENT_SERVICE_NAME`` or the server.
    """
    tracer = state.client_tracer
    if tracer is None:
        tracer = state.client_tracer = _make_tracer(_client_service_name(), CLIENT_SCOPE, VERSION)
        switch_tracer(tracer, True)  # a provider of the user's gives the same one again
    return tracer
