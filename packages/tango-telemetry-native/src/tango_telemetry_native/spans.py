"""A tracer provider whose spans are recorded and encoded in C++.

`create_native_tracer_provider` makes one. Its tracers and spans are true subclasses of OpenTelemetry's and do
what the SDK's do, by the rules of opentelemetry-sdk 1.45, at a small part of the price: attributes are
encoded as OTLP when they are set, and a finished span is a few hundred bytes in a `SpanQueue`, which a
pipeline drains.

Where this differs from the SDK on purpose:

- Telemetry never raises into user code. Where the SDK lets an exception of a value's ``__str__``, of a
  sampler or of a span processor through to the caller, it is logged here, once for each place, and what
  caused it is left out.
- A lone surrogate in a string becomes U+FFFD. The official encoder loses the attribute, or the whole batch if
  it is in a name.
- The end of a span is read from a clock that does not step, unless the start was given.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import trace
from opentelemetry.context.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
)

from tango_telemetry_native import _spans
from tango_telemetry_native._configure import configure
from tango_telemetry_native._span_settings import SamplerRule, SpanLimits, encode_limits
from tango_telemetry_native._spans import SpanQueue

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor

__all__ = [
    "DEFAULT_QUEUE_BYTES",
    "DEFAULT_QUEUE_SPANS",
    "SHUTDOWN_TIMEOUT",
    "NativeSpan",
    "NativeTracer",
    "NativeTracerProvider",
    "ProviderSettings",
    "SpanLimits",
    "SpanQueue",
    "create_native_tracer_provider",
    "create_span_queue",
    "open_spans",
    "read_settings",
]

DEFAULT_QUEUE_SPANS = 131_072
"""Finished spans that may wait. At the usual 300 bytes each, more than a second of the fastest producer."""

DEFAULT_QUEUE_BYTES = 64 << 20
"""Memory that finished spans may take while they wait."""

SHUTDOWN_TIMEOUT = 1.0
"""Seconds that ``shutdown`` may take to deliver what waits."""

_logger = logging.getLogger(__name__)

# A UUID of version 4: what the SDK's detector gives (1.45), and no name of a device.
_RANDOM_ID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def create_span_queue(
    max_spans: int = DEFAULT_QUEUE_SPANS, max_bytes: int = DEFAULT_QUEUE_BYTES, wake_spans: int = 512
) -> SpanQueue:
    """A queue for the spans of any number of providers: the ``EncodedSource`` of one pipeline.

    It holds at most `max_spans` spans and `max_bytes` bytes and refuses, and counts, what comes on top.
    `wake_spans` is when it calls what ``set_wake`` was given; 1 wakes for every span that finds the queue
    empty. A child of a fork starts empty.
    """
    return SpanQueue(max_spans, max_bytes, wake_spans)


def create_native_tracer_provider(
    resource: Any = None,
    *,
    sampler: Any = None,
    span_limits: Any = None,
    id_generator: Any = None,
    queue: SpanQueue | None = None,
    flush: Callable[[float], bool] | None = None,
    settings: ProviderSettings | None = None,
) -> NativeTracerProvider:
    """A tracer provider with its spans in C++.

    `resource` is the SDK's ``Resource`` or a mapping of attributes; None is what the SDK makes of its
    environment. `sampler`, `span_limits` and `id_generator` are the SDK's or objects like them; without them
    the ``OTEL_*`` variables decide, as in the SDK. Providers that share one `queue` share one pipeline;
    without one the provider makes its own. `flush` is called with seconds by the provider's ``force_flush``
    and ``shutdown``: the pipeline's, which delivers what the queue holds. `settings` stand in for sampler,
    limits and environment.
    """
    return NativeTracerProvider(
        resource,
        sampler=sampler,
        span_limits=span_limits,
        id_generator=id_generator,
        queue=queue,
        flush=flush,
        settings=settings,
    )


class ProviderSettings(NamedTuple):
    """What the ``OTEL_*`` variables say of every provider; :func:`read_settings` reads it once for many
    providers.
    """

    rule: SamplerRule
    limits: tuple[int, int, int, int, int, int, int]
    disabled: bool
    new_traces: Any = None


def read_settings(new_traces: Any = None) -> ProviderSettings:
    """The sampler, the limits and the switch that the environment sets, by the SDK's rules.

    `new_traces` has a method ``take``, which says whether one more trace may begin; None is no bound. The
    first span beyond the bound is recorded and not sampled, and exported only if it fails.

    Raises ValueError for a limit that is not a non-negative integer, as the SDK does.
    """
    return ProviderSettings(
        SamplerRule.from_env(),
        encode_limits(SpanLimits.from_env()),
        _is_disabled(),
        new_traces,
    )


def _is_disabled() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _default_resource() -> Any:
    try:
        from opentelemetry.sdk.resources import Resource
    except ImportError:
        return {}
    return Resource.create({})


def open_spans(most: int) -> list[NativeSpan]:
    """The spans of this process that have not ended, at most so many, the youngest first."""
    return _spans.open_spans(most)


class _Resource:
    """The resource that a provider and its tracers share.

    Attributes become the SDK's resource when somebody asks for it.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def get(self) -> Any:
        if isinstance(self.value, Mapping):
            try:
                from opentelemetry.sdk.resources import Resource
            except ImportError:
                return self.value
            self.value = Resource(self.value)
        return self.value


class NativeSpan(_spans.SpanBase, trace.Span):
    """A recording span. Beside OpenTelemetry's API it has the properties of the SDK's ``ReadableSpan``."""

    _tracer: NativeTracer

    __slots__ = ()
    __repr__ = _spans.SpanBase.__repr__

    @property
    def attributes(self) -> Mapping[str, Any]:
        """A copy of what is set now."""
        return MappingProxyType(self._decode_attributes()[0])

    @property
    def events(self) -> Sequence[Event]:
        """The events so far. Needs opentelemetry-sdk, as `links` and `to_json` do."""
        from tango_telemetry_native._span_view import read_events

        return tuple(read_events(self))

    @property
    def links(self) -> Sequence[trace.Link]:
        """The links so far."""
        from tango_telemetry_native._span_view import read_links

        return tuple(read_links(self))

    @property
    def dropped_attributes(self) -> int:
        """How many attributes found no room."""
        return self._decode_attributes()[1]

    @property
    def dropped_events(self) -> int:
        """How many events found no room."""
        return self._decode_events()[1]

    @property
    def dropped_links(self) -> int:
        """How many links found no room."""
        return self._decode_links()[1]

    @property
    def resource(self) -> Any:
        """The provider's resource."""
        return self._tracer.resource

    @property
    def instrumentation_scope(self) -> Any:
        """The tracer's instrumentation scope."""
        return self._tracer.instrumentation_scope

    def to_json(self, indent: int | None = 4) -> str:
        """The SDK's JSON of a span."""
        return str(self._readable_span().to_json(indent))

    def _readable_span(self) -> ReadableSpan:
        from tango_telemetry_native._span_view import NativeReadableSpan

        return NativeReadableSpan(self)


class NativeDroppedSpan(_spans.DroppedSpanBase, NonRecordingSpan):  # type: ignore[override]
    """A span that the sampler does not want: only its context goes on."""

    __slots__ = ()


class _Hooks:
    """Calls the span processors of a provider at either end of a span."""

    def __init__(self) -> None:
        self.processors: tuple[SpanProcessor, ...] = ()

    def on_start(self, span: NativeSpan, parent_context: Context | None) -> None:
        for processor in self.processors:
            processor.on_start(span, parent_context=parent_context)  # type: ignore[arg-type]

    def on_end(self, span: NativeSpan) -> None:
        for processor in self.processors:
            on_ending = getattr(processor, "_on_ending", None)  # the SDK's, since 1.37
            if on_ending is not None:
                on_ending(span)
        view = span._readable_span()
        for processor in self.processors:
            processor.on_end(view)


class NativeTracer(_spans.TracerBase, trace.Tracer):  # type: ignore[misc]
    """Makes spans of one instrumentation scope."""

    def __init__(self, provider: NativeTracerProvider, key: _ScopeKey) -> None:
        rule = provider._rule
        super().__init__(
            provider.queue,
            provider._create_scope(key),
            provider._limits,
            rule.root,
            rule.parent_based,
            rule.bound,
            rule.sampler,
            provider._id_generator,
            provider._new_traces,
        )
        self._key = key
        self._resource = provider._resource
        # A program may keep the tracer only; a fork finds the tracers by their provider.
        self._provider = provider

    @property
    def resource(self) -> Any:
        """The provider's resource."""
        return self._resource.get()

    @functools.cached_property
    def instrumentation_scope(self) -> Any:
        """The SDK's ``InstrumentationScope`` of this tracer."""
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        name, version, schema_url, attributes = self._key
        return InstrumentationScope(name, version, schema_url, attributes)


# name, version, schema URL, attributes
_ScopeKey = tuple[str, str, str | None, Mapping[str, Any] | None]


class NativeTracerProvider(trace.TracerProvider):
    """A tracer provider whose spans are made in C++ and end in a `SpanQueue`.

    `add_span_processor` takes the SDK's span processors beside the queue; each costs what it costs with the
    SDK.
    """

    def __init__(
        self,
        resource: Any = None,
        *,
        sampler: Any = None,
        span_limits: Any = None,
        id_generator: Any = None,
        queue: SpanQueue | None = None,
        flush: Callable[[float], bool] | None = None,
        settings: ProviderSettings | None = None,
    ) -> None:
        self.queue = create_span_queue() if queue is None else queue
        self._flush = flush
        self._resource = _Resource(_default_resource() if resource is None else resource)
        if settings is not None:
            self._rule, self._limits, self._disabled, self._new_traces = settings
        else:
            self._rule = SamplerRule.from_env() if sampler is None else SamplerRule.from_sampler(sampler)
            self._limits = encode_limits(SpanLimits.from_env() if span_limits is None else span_limits)
            self._disabled = _is_disabled()
            self._new_traces = None
        self._id_generator = id_generator
        self._lock = threading.Lock()
        self._tracers: dict[Any, NativeTracer] = {}
        self._hooks = _Hooks()
        self._encoded_resource = self._encode_resource()
        _providers.add(self)

    @property
    def resource(self) -> Any:
        """The resource of its spans: the SDK's, where that is installed."""
        return self._resource.get()

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> trace.Tracer:
        """The tracer of an instrumentation scope; the same one for the same arguments."""
        if self._disabled:
            return trace.NoOpTracer()
        if not instrumenting_module_name:
            instrumenting_module_name = ""
            logging.getLogger("opentelemetry.sdk.trace").error("get_tracer called with missing module name.")
        key = (
            instrumenting_module_name,
            instrumenting_library_version or "",
            schema_url,
            dict(attributes) if attributes else None,
        )
        # Attributes may hold what cannot be hashed; they tell scopes apart by their text.
        cache_key = (*key[:3], repr(sorted(key[3].items(), key=repr)) if key[3] else None)
        with self._lock:
            tracer = self._tracers.get(cache_key)
            if tracer is None:
                tracer = self._tracers[cache_key] = NativeTracer(self, key)
                self._hook(tracer)
            return tracer

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Call `span_processor` at either end of each recorded span, with the SDK's meaning."""
        with self._lock:
            self._hooks.processors += (span_processor,)
            for tracer in self._tracers.values():
                self._hook(tracer)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the span processors that were added, then the pipeline, within `timeout_millis` together."""
        deadline = time.monotonic() + timeout_millis / 1000
        flushed = True
        for processor in self._hooks.processors:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            flushed = processor.force_flush(int(left * 1000)) is not False and flushed
        if self._flush is not None:
            flushed = self._flush(max(0.0, deadline - time.monotonic())) and flushed
        return flushed

    def shutdown(self) -> None:
        """Shut down the span processors that were added, and flush.

        The queue belongs to its pipeline, which goes on.
        """
        for processor in self._hooks.processors:
            processor.shutdown()
        if self._flush is not None:
            self._flush(SHUTDOWN_TIMEOUT)

    def _hook(self, tracer: NativeTracer) -> None:
        if self._hooks.processors:
            tracer._set_hooks(self._hooks.on_start, self._hooks.on_end)

    def _encode_resource(self) -> _spans.Resource:
        resource = self._resource.value
        return _spans.Resource(
            getattr(resource, "attributes", resource), getattr(resource, "schema_url", None)
        )

    def _create_scope(self, key: _ScopeKey) -> _spans.Scope:
        name, version, schema_url, attributes = key
        return _spans.Scope(self._encoded_resource, name, version, schema_url, attributes)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        resource = self._resource.value
        attributes = getattr(resource, "attributes", resource) or {}
        # Spans of the child must not carry its parent's process id, nor the instance id that was made up for
        # that process.
        update: dict[str, Any] = {}
        if "process.pid" in attributes:
            update["process.pid"] = os.getpid()
        if "process.parent_pid" in attributes:
            update["process.parent_pid"] = os.getppid()
        instance = attributes.get("service.instance.id")
        if isinstance(instance, str) and _RANDOM_ID.fullmatch(instance):
            update["service.instance.id"] = _instance_of_child(instance)
        if not update:
            return
        if hasattr(resource, "merge"):
            self._resource.value = resource.merge(type(resource)(update))
        else:
            self._resource.value = {**attributes, **update}
        self._encoded_resource = self._encode_resource()
        for tracer in self._tracers.values():
            tracer._set_scope(self._create_scope(tracer._key))


_providers: weakref.WeakSet[NativeTracerProvider] = weakref.WeakSet()


def _after_fork() -> None:
    _spans.forget_open_spans()
    for provider in list(_providers):
        provider._after_fork()


def _instance_of_child(parents: str) -> str:
    """The same for all services that had the same id in the parent, and for those of the SDK's spans
    in core.
    """
    return str(uuid.UUID(bytes=uuid.uuid5(uuid.UUID(parents), str(os.getpid())).bytes, version=4))


configure(NativeSpan, NativeDroppedSpan)
os.register_at_fork(after_in_child=_after_fork)
