"""How a failed call is written into its span."""

from __future__ import annotations

from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry._otel import Span, Status, StatusCode

__all__ = ["error_type", "record_error", "record_failure"]

_LINE = 200


def _dev_errors(error: BaseException) -> tuple[Any, ...]:
    """The DevError stack of a DevFailed, outermost reason first; empty for any other exception."""
    first = error.args[0] if error.args else None
    return tuple(error.args) if hasattr(first, "reason") and hasattr(first, "desc") else ()


def error_type(error: BaseException) -> str:
    """Give the low-cardinality name of a failure: the DevFailed reason, else the exception class."""
    stack = _dev_errors(error)
    return str(stack[0].reason) if stack else _qualified(type(error))


def _qualified(cls: type) -> str:
    # PyTango's exceptions live in tango._tango (10.x) or PyTango (9.x), and users know them as tango.DevFailed.
    module = "tango" if cls.__module__ in ("tango._tango", "PyTango") else cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"


def _one_line(text: object) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= _LINE else f"{line[: _LINE - 3]}..."


def _stack_lines(stack: tuple[Any, ...]) -> str:
    return "\n".join(
        f"{e.reason}: {' '.join(str(e.desc).split())} [{e.severity}] at {e.origin}" for e in stack
    )


def record_error(span: Span, kind: str, message: str) -> None:
    """Mark a span as failed where there is no exception to record (a call that cppTango itself rejects)."""
    span.set_attribute(names.ERROR_TYPE, kind)
    span.set_status(Status(StatusCode.ERROR, _one_line(message)))


def record_failure(span: Span, error: BaseException) -> None:
    """Mark a span as failed: ``error.type``, one line of status, one exception event with the whole DevError stack."""
    if not span.is_recording():
        return
    stack = _dev_errors(error)
    kind = error_type(error)
    if stack:
        message = f"{stack[0].reason}: {_one_line(stack[0].desc)}"
        span.add_event(
            names.EXCEPTION_EVENT,
            {
                names.EXCEPTION_TYPE: _qualified(type(error)),
                names.EXCEPTION_MESSAGE: _one_line(stack[0].desc),
                names.EXCEPTION_STACKTRACE: _stack_lines(stack),
            },
        )
    else:
        text = _one_line(error)
        message = f"{type(error).__name__}: {text}" if text else type(error).__name__
        span.record_exception(error)
    record_error(span, kind, message)
