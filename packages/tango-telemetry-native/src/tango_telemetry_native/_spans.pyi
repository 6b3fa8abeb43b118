"""Spans in C++: the types that tango_telemetry_native.spans derives its classes from."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from types import CodeType, TracebackType
from typing import Any, TypeVar, final

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, Tracer
from typing_extensions import disjoint_base

_Function = TypeVar("_Function", bound=Callable[..., Any])

def configure(**objects: object) -> None: ...
def configure_calls(
    record_failure: Callable[[Span, BaseException], object],
    is_omni_thread: Callable[[], bool],
    remote_span_class: type[Span],
    thread_attributes: Callable[[], dict[str, Any]],
    pass_through: Tracer | None = None,
    /,
) -> None: ...
def set_carrier(
    bridge: object | None, giop_functions: object | None, idl_functions: object | None, /
) -> None: ...
def open_spans(most: int, /) -> list[Any]: ...
def forget_open_spans() -> None: ...
def write_json_lines(signal: int, request: bytes, most_per_line: int, /) -> bytes:
    """Return the lines of OTLP JSON for a serialised request of traces (0), logs (1) or metrics (2).

    :param most_per_line: spans, log records or metrics
    :raises ValueError: for what is no such request
    """

def get_epoch() -> int: ...
def new_epoch() -> None: ...
def make_current(span: Span, context: Context, /, *pairs: Any) -> CurrentSpan: ...

@final
class CurrentSpan:
    @property
    def context(self) -> Context: ...
    def leave(self) -> None: ...

@final
class Plan: ...

@final
class Plans:
    def put(
        self,
        beginning: ClientBeginning | HandlerBeginning,
        code: CodeType | None,
        position: int,
        name: str | tuple[str, ...] | None,
        epoch: int,
        title: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        tracer: Tracer,
        handler: object | None,
        checks_topic: bool,
        named: tuple[str | None, ...] | None = None,
        /,
    ) -> bool: ...
    def __len__(self) -> int: ...

@final
class Call:
    @property
    def span(self) -> Span: ...
    @property
    def context(self) -> Context: ...
    def enter(self) -> None: ...
    def leave(self) -> None: ...
    def fail(self, error: BaseException, /) -> None: ...
    def check(self, check: Callable[..., object], args: tuple[Any, ...], result: Any, /) -> None: ...
    def end(self) -> None: ...

@final
class ClientBeginning:
    def __init__(
        self,
        slow: Callable[..., Any],
        tracer_variable: ContextVar[Any],
        active_variable: ContextVar[Any],
        modules: dict[str, bool],
        carry: str,
        site_variable: ContextVar[Any],
        keyword: str,
        takes: int,
        /,
    ) -> None: ...
    def begin(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], links: Sequence[Link] | None = None, /
    ) -> Any: ...

@final
class HandlerBeginning:
    def __init__(
        self,
        slow: Callable[..., Any],
        tracer_variable: ContextVar[Any],
        handler_variable: ContextVar[Any],
        known_clients: dict[Any, Mapping[str, Any]] | None,
        describe_client: Callable[[Any], Mapping[str, Any]],
        /,
    ) -> None: ...
    def begin(self, device: Any, args: tuple[Any, ...], /) -> Any: ...

@final
class SpanQueue:
    def __new__(cls, max_spans: int, max_bytes: int, wake_spans: int = ...) -> SpanQueue: ...
    def drain(self, max_bytes: int, /) -> tuple[bytes, int]: ...
    def pending(self) -> tuple[int, int]: ...
    def dropped(self) -> int: ...
    def accepted(self) -> int: ...
    def set_wake(self, wake: Callable[[], object] | None, /) -> None: ...

@final
class Resource:
    def __new__(cls, attributes: Mapping[str, Any] | None, schema_url: str | None) -> Resource: ...

@final
class Scope:
    def __new__(
        cls,
        resource: Resource,
        name: str,
        version: str | None,
        schema_url: str | None,
        attributes: Mapping[str, Any] | None,
    ) -> Scope: ...

@final
class Activation:
    def __enter__(self) -> Span: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
        /,
    ) -> bool: ...
    def __call__(self, func: _Function) -> _Function: ...
    def _recreate(self) -> Activation: ...

@disjoint_base
class SpanBase:
    @property
    def name(self) -> str: ...
    @property
    def context(self) -> SpanContext: ...
    @property
    def kind(self) -> SpanKind: ...
    @property
    def parent(self) -> SpanContext | None: ...
    @property
    def start_time(self) -> int: ...
    @property
    def end_time(self) -> int | None: ...
    @property
    def status(self) -> Status: ...
    @property
    def _tracer(self) -> TracerBase: ...
    def set_attribute(self, key: str, value: Any) -> None: ...
    def set_attributes(self, attributes: Mapping[str, Any]) -> None: ...
    def add_event(
        self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None
    ) -> None: ...
    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None: ...
    def update_name(self, name: str) -> None: ...
    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None: ...
    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None: ...
    def end(self, end_time: int | None = None) -> None: ...
    def get_span_context(self) -> SpanContext: ...
    def is_recording(self) -> bool: ...
    def __enter__(self) -> Span: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None: ...
    def _decode_attributes(self) -> tuple[dict[str, Any], int]: ...
    def _decode_events(self) -> tuple[list[tuple[str, int, dict[str, Any], int]], int]: ...
    def _decode_links(self) -> tuple[list[tuple[SpanContext, dict[str, Any], int]], int]: ...

@disjoint_base
class DroppedSpanBase:
    @property
    def _context(self) -> SpanContext: ...
    def set_attribute(self, key: str, value: Any) -> None: ...
    def set_attributes(self, attributes: Mapping[str, Any]) -> None: ...
    def add_event(
        self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None
    ) -> None: ...
    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None: ...
    def update_name(self, name: str) -> None: ...
    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None: ...
    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None: ...
    def end(self, end_time: int | None = None) -> None: ...
    def get_span_context(self) -> SpanContext: ...
    def is_recording(self) -> bool: ...

@disjoint_base
class TracerBase:
    def __init__(
        self,
        queue: SpanQueue,
        scope: Scope,
        limits: tuple[int, int, int, int, int, int, int],
        root: int,
        parent_based: bool,
        bound: int,
        sampler: Any,
        id_generator: Any,
        new_traces: Any,
    ) -> None: ...
    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = ...,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span: ...
    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = ...,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Activation: ...
    def _set_hooks(
        self,
        on_start: Callable[[Any, Context | None], object] | None,
        on_end: Callable[[Any], object] | None,
        /,
    ) -> None: ...
    def _set_enabled(self, enabled: bool, /) -> None: ...
    def _set_scope(self, scope: Scope, /) -> None: ...
