"""The extension module. Public names are documented in the package and in `tango_telemetry_native.giop`."""

from collections.abc import Callable
from types import TracebackType
from typing import Final, Literal

from typing_extensions import Self, disjoint_base

__version__: Final[str]
ABI_VERSION: Final[int]
GIOP_CONTEXT_ID: Final[int]
MAX_TRACESTATE_SIZE: Final[int]
giop_functions: Final[object]
idl_functions: Final[object]

def get_trace_context() -> dict[str, str]:
    """Return cppTango's trace context on this thread as {"traceparent": ..., "tracestate": ...}, "" where
    none.
    """

@disjoint_base
class TraceContextScope:
    """Make a trace context cppTango's own for the length of a with block, on the thread that enters it."""

    def __new__(cls, name: str, traceparent: str, tracestate: str) -> Self: ...
    def __enter__(self) -> None: ...
    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]: ...

def set_outgoing(traceparent: str, tracestate: str, /) -> tuple[str, str] | None:
    """Set the context of this thread's requests; ("", "") for none. Return what was set before."""

def set_outgoing_span(trace_id: int, span_id: int, flags: int, /) -> tuple[str, str] | None:
    """Set the context of this thread's requests to the two strings that name a span.

    Return what was set before.
    """

def get_incoming_span() -> tuple[int, int, int] | tuple[str, str] | None:
    """Return what `get_incoming` does; (trace id, span id, flags) where both strings name one span and
    nothing else.
    """

def restore_outgoing(previous: tuple[str, str] | None, /) -> None:
    """Set again what `set_outgoing` returned."""

def get_incoming() -> tuple[str, str] | None:
    """Return the context of the request whose upcall runs on this thread, None if it came without one."""

# What the modules of the package are made of.
def giop_install(path: str) -> bool: ...
def giop_status() -> dict[str, object]: ...
def giop_parse(payload: bytes) -> tuple[str, str] | None: ...
def giop_encode(traceparent: str, tracestate: str) -> bytes | None: ...
def idl6_bind(path: str) -> bool: ...
def identification_install(path: str, scopes: bool) -> str: ...
def identification_disable() -> None: ...
def identification_status() -> dict[str, object]: ...
def idl6_has_interface() -> bool: ...
def idl6_set_prepare(callable: Callable[[], bool] | None) -> None: ...
def after_fork_in_child() -> None: ...

EVENT_FRAME_SIZE: int

def event_install(path: str) -> bool: ...
def event_status() -> dict[str, object]: ...
def event_release() -> None: ...
def event_set_outgoing(trace_id: int, span_id: int, flags: int, /) -> tuple[int, int, int] | None: ...
def event_restore_outgoing(previous: tuple[int, int, int] | None, /) -> None: ...
def event_leave_for_polling(subject: str, trace_id: int, span_id: int, flags: int, /) -> None: ...
def event_forget_polling() -> None: ...
def event_find_incoming(
    subject: str, event_type: str, microseconds: int, elsewhere: bool, /
) -> tuple[int, int, int] | None: ...
def event_decode(frame: bytes, /) -> tuple[int, int, int] | None: ...
def event_encode(byte_order: int, high: int, low: int, span_id: int, flags: int, /) -> bytes: ...
def environment_answer(given: dict[str, str | None]) -> bool:
    """Have libtango's getenv answer with these for names that begin with TANGO_TELEMETRY_; return whether it
    does.
    """
