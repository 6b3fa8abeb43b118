"""How a failed call is written into its span."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry.base.texts import cut, exception_message, exception_stacktrace, type_name
from tango_telemetry.otel.api import Span, Status, StatusCode

__all__ = ["error_type", "record_error", "record_failure"]

_LINE = 200
_TEXT = 4096
_ERRORS = 32
"""Entries of a DevError stack that are kept."""


def _dev_errors(error: BaseException) -> tuple[Any, ...]:
    """The DevError stack of a DevFailed, outermost reason first; empty for any other exception.

    It goes by the types: an exception of the user's may have a ``reason`` that raises.
    """
    if type_name(type(error)).rpartition(".")[2] != "DevFailed" and not any(
        type_name(cls) == "tango.DevFailed" for cls in type(error).__mro__
    ):
        return ()
    stack = BaseException.args.__get__(error)[:_ERRORS]  # type: ignore[attr-defined]
    return tuple(each for each in stack if type_name(type(each)).rpartition(".")[2] == "DevError")


def _field(error: Any, name: str, limit: int) -> str:
    """One field of a DevError, which PyTango's C++ decodes (10.3) and refuses where it cannot."""
    try:
        value = getattr(error, name)
        return cut(value, limit) if isinstance(value, str) else cut(str(value), limit)
    except Exception:  # noqa: BLE001 - a text that cannot be had is left out
        return ""


def error_type(error: BaseException) -> str:
    """Return the low-cardinality name of a failure: the DevFailed reason, else the exception class."""
    stack = _dev_errors(error)
    return (_field(stack[0], "reason", _LINE) if stack else "") or type_name(type(error))


def _one_line(text: str) -> str:
    # Four times the line: a text that is mostly white space still fills it.
    return cut(" ".join(cut(text, 4 * _LINE).split()), _LINE)


def _stack_lines(stack: tuple[Any, ...]) -> str:
    def line(error: Any) -> str:
        reason, severity, origin = (_field(error, name, _LINE) for name in ("reason", "severity", "origin"))
        return f"{reason}: {' '.join(_field(error, 'desc', _TEXT).split())} [{severity}] at {origin}"

    return "\n".join(map(line, stack))


def record_error(span: Span, kind: str, message: str) -> None:
    """Mark a span as failed where there is no exception to record (a call that cppTango itself rejects)."""
    span.set_attribute(names.ERROR_TYPE, kind)
    span.set_status(Status(StatusCode.ERROR, _one_line(message)))


def record_failure(span: Span, error: BaseException) -> None:
    """Mark a span as failed: ``error.type``, one line of status, one exception event with the whole DevError
    stack.

    That it has failed, and the type, come first and rest on the class alone. The texts are the user's: each
    may fail or be huge, and takes nothing else with it.
    """
    if not span.is_recording():
        return
    name = type_name(type(error))
    span.set_attribute(names.ERROR_TYPE, name)
    span.set_status(Status(StatusCode.ERROR, name))
    stack = _dev_errors(error)
    if stack:
        kind = error_type(error)
        message = _one_line(_field(stack[0], "desc", 4 * _LINE))
        record_error(span, kind, f"{kind}: {message}")
        trace: Callable[[], str] = lambda: _stack_lines(stack)  # noqa: E731
    else:
        message = exception_message(error, _TEXT)
        short = type(error).__name__
        record_error(span, name, f"{short}: {message}" if message else short)
        trace = lambda: exception_stacktrace(error, _TEXT)  # noqa: E731
    event = {names.EXCEPTION_TYPE: name, names.EXCEPTION_MESSAGE: message}
    span.add_event(names.EXCEPTION_EVENT, {**event, names.EXCEPTION_STACKTRACE: trace()})
