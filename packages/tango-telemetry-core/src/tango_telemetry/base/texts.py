"""Short texts of other people's values and exceptions, at a price that does not depend on their size.

A value is never asked for its own ``repr()``: that may raise, take seconds or give a gigabyte. An exception
is asked for its text only where its class writes that in Python; what Python itself would build of its
arguments is built here, and cut before it is made and not after.
"""

from __future__ import annotations

import builtins
import enum
import itertools
import re
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, TracebackType
from typing import Any

__all__ = ["cut", "describe", "encodable", "exception_message", "exception_stacktrace", "type_name"]

_ITEMS = 32
_DEPTH = 4
_DIGITS = 1024
_PARTS = 8
_FRAMES = 64
_CHAIN = 16
_SURROGATES = re.compile("[\ud800-\udfff]")
_FAILED = "<exception str() failed>"
"""What :mod:`traceback` says too of an exception whose own code fails."""

# Read past what a class or its metaclass puts in their place.
_module_of: Callable[[type], Any] = vars(type)["__module__"].__get__
_qualname_of: Callable[[type], str] = vars(type)["__qualname__"].__get__
_args_of: Callable[[BaseException], tuple[Any, ...]] = vars(BaseException)["args"].__get__
_cause_of: Callable[[BaseException], BaseException | None] = vars(BaseException)["__cause__"].__get__
_context_of: Callable[[BaseException], BaseException | None] = vars(BaseException)["__context__"].__get__
_suppresses: Callable[[BaseException], bool] = vars(BaseException)["__suppress_context__"].__get__
_traceback_of: Callable[[BaseException], TracebackType | None] = vars(BaseException)["__traceback__"].__get__
_GROUP: Any = getattr(builtins, "BaseExceptionGroup", ())  # Python >= 3.11
_PLAIN_STR = vars(BaseException)["__str__"]


def cut(text: str, limit: int) -> str:
    """Return the beginning of a text; one that goes on ends in three dots.

    :param limit: characters
    """
    length = str.__len__(text)
    return (
        str.__getitem__(text, slice(None))
        if length <= limit
        else f"{str.__getitem__(text, slice(limit - 3))}..."
    )


def type_name(cls: type) -> str:
    """Return the name of a class with its module, as users know it.

    PyTango's exceptions live in ``tango._tango`` (10.x) or ``PyTango`` (9.x), and are known as
    ``tango.DevFailed``.
    """
    try:
        module = _module_of(cls)
    except AttributeError:
        module = None
    if module in ("tango._tango", "PyTango"):
        module = "tango"
    name = _qualname_of(cls)
    return name if not isinstance(module, str) or module in ("", "builtins") else f"{module}.{name}"


def describe(value: Any, limit: int) -> str:
    """Return what ``repr()`` gives of a small value of Python's, NumPy's or Tango's, and of any other its
    beginning or type.

    :param limit: characters
    """
    return cut(_describe(value, limit, _DEPTH), limit)


def _describe(value: Any, limit: int, depth: int) -> str:
    kind = type(value)
    if value is None or kind is bool:
        return str(value)
    for base, give in _SCALARS:
        if issubclass(kind, base):
            return give(value, limit)
    for base, brackets in _CONTAINERS:
        if issubclass(kind, base):
            return _describe_items(value, base, brackets, limit, depth)
    if _module_of_root(kind) == "numpy":
        return _describe_numpy(value, limit, depth)
    if _module_of_root(kind) in ("tango", "PyTango") and hasattr(kind, "values"):
        return str(value)  # an enumeration
    if kind in (FunctionType, BuiltinFunctionType, MethodType):
        return f"<function {value.__qualname__}>"
    return f"<class {type_name(value)}>" if issubclass(kind, type) else f"<{type_name(kind)} object>"


def _module_of_root(kind: type) -> Any:
    module = _module_of(kind)
    return module.partition(".")[0] if isinstance(module, str) else None


def _describe_text(value: Any, limit: int) -> str:
    return repr(cut(value, limit))


def _describe_bytes(value: Any, limit: int) -> str:
    beginning = repr(bytes(memoryview(value)[:limit]))
    return beginning if len(value) <= limit else f"{beginning[: limit - 3]}..."


def _describe_int(value: int, limit: int) -> str:
    if isinstance(value, enum.Enum):
        return _describe_enum(value, limit)
    bits = int.bit_length(value)
    return int.__repr__(value) if bits <= _DIGITS else f"<int of {bits} bits>"


def _describe_enum(value: enum.Enum, limit: int) -> str:
    return f"{_qualname_of(type(value))}.{value._name_}"


def _describe_view(value: memoryview, limit: int) -> str:
    return f"<memoryview of {value.nbytes} bytes>"


_SCALARS: tuple[tuple[type, Callable[[Any, int], str]], ...] = (
    (str, _describe_text),
    (int, _describe_int),
    (float, lambda value, limit: float.__repr__(value)),
    (complex, lambda value, limit: complex.__repr__(value)),
    (bytes, _describe_bytes),
    (bytearray, _describe_bytes),
    (memoryview, _describe_view),
    (enum.Enum, _describe_enum),
)
_CONTAINERS: tuple[tuple[type, str], ...] = (
    (list, "[]"),
    (tuple, "()"),
    (dict, "{}"),
    (set, "{}"),
    (frozenset, "{}"),
    (deque, "[]"),
)


def _describe_items(value: Any, base: Any, brackets: str, limit: int, depth: int) -> str:
    size = base.__len__(value)
    if depth <= 0 and size:
        return f"{brackets[0]}...{brackets[1]}"
    texts: list[str] = []
    left = limit
    try:
        for key in itertools.islice(base.__iter__(value), _ITEMS):
            if left <= 0:
                break
            text = _describe(key, left, depth - 1)
            if base is dict:
                text = f"{text}: {_describe(base.__getitem__(value, key), left, depth - 1)}"
            texts.append(text)
            left -= len(text) + 2
    except (RuntimeError, KeyError):  # another thread changes it meanwhile
        size = max(size, len(texts) + 1)
    if len(texts) < size:
        texts.append("...")
    comma = "," if base is tuple and size == 1 else ""
    return f"{brackets[0]}{', '.join(texts)}{comma}{brackets[1]}"


def _describe_numpy(value: Any, limit: int, depth: int) -> str:
    name = _qualname_of(type(value))
    if name == "ndarray":
        if value.ndim == 0 or value.size > _ITEMS or value.ndim > 1:
            first = [_describe(item, limit, depth - 1) for item in value.flat[:3].tolist()]
            more = ", ..." if value.size > len(first) else ""
            return f"array([{', '.join(first)}{more}], shape={value.shape}, dtype={value.dtype.str!r})"
        return f"array({_describe(value.tolist(), limit, depth - 1)})"
    item = getattr(value, "item", None)
    if item is None or not isinstance(getattr(value, "nbytes", None), int) or value.nbytes > 64:
        return f"<{type_name(type(value))} object>"
    plain = item()
    return _describe(plain, limit, depth - 1) if type(plain) is not type(value) else str(plain)


def _is_small(value: Any) -> bool:
    """Whether ``str()`` of an argument costs next to nothing, and runs no code of the user's."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value) <= _DIGITS
    if kind is tuple:
        return (
            len(value) <= _PARTS
            and not any(type(part) is tuple for part in value)
            and all(map(_is_small, value))
        )
    return value is None or kind is bool or kind is float or (kind is int and value.bit_length() <= _DIGITS)


def encodable(text: str) -> str:
    """Return a text that has UTF-8: each lone surrogate, which a file name or a device may bring, becomes
    U+FFFD.
    """
    return text if text.isascii() or _SURROGATES.search(text) is None else _SURROGATES.sub("\ufffd", text)


def exception_message(error: BaseException, limit: int) -> str:
    """Return the text of an exception. Never raises, but for what ends a program.

    :param limit: characters; three dots more where the text goes on
    """
    try:
        return encodable(_message(error, limit))
    except Exception:  # noqa: BLE001 - the user's own code: its failure is no defect of ours, and the text is an extra
        return _FAILED


def _writer_of(value: Any) -> type:
    """The class whose ``__str__`` makes the text of a value."""
    return next(cls for cls in type(value).__mro__ if "__str__" in vars(cls))


def _message(error: BaseException, limit: int, depth: int = _DEPTH) -> str:
    args = _args_of(error)
    written_by = _writer_of(error)
    if _module_of(written_by) != "builtins":
        return cut(str(error), limit)
    if isinstance(error, _GROUP):
        return _group_message(error, limit)
    if all(map(_is_small, args)):
        return cut(str(error), limit)
    if len(args) != 1 or vars(written_by)["__str__"] is not _PLAIN_STR:
        return describe(args, limit)
    (value,) = args
    if isinstance(value, str):
        return cut(value, limit)
    if isinstance(value, BaseException):
        return _message(value, limit, depth - 1) if depth else type_name(type(value))
    written_in_python = type(vars(_writer_of(value))["__str__"]) is FunctionType
    return cut(str(value), limit) if written_in_python else describe(value, limit)


def _group_message(error: Any, limit: int) -> str:
    several = len(error.exceptions)
    return f"{cut(error.message, limit)} ({several} sub-exception{'s' if several != 1 else ''})"


def exception_stacktrace(error: BaseException, limit: int) -> str:
    """Return what :func:`traceback.format_exception` gives, with long texts and long ways cut. Never raises.

    :param limit: characters of each text
    """
    try:
        found = list(itertools.islice(_related(error), _CHAIN + 1))
        if len(found) <= _CHAIN and all(_is_plain(each, limit) for each in found):
            return encodable("".join(traceback.format_exception(type(error), error, _traceback_of(error))))
        return encodable("".join(_format(error, limit)))
    except Exception:  # noqa: BLE001 - as above
        return ""


def _related(error: BaseException) -> Iterator[BaseException]:
    """The exceptions that :mod:`traceback` prints with this one, each once."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [other for other in (_cause_of(each), _context_of(each)) if other is not None]
        inner = getattr(each, "exceptions", None)
        if isinstance(inner, tuple):
            waiting += [other for other in inner[:_CHAIN] if isinstance(other, BaseException)]


def _is_plain(error: BaseException, limit: int) -> bool:
    notes = getattr(error, "__notes__", ())
    trace = _traceback_of(error)
    args = _args_of(error)
    cheap = all(map(_is_small, args)) or _module_of(_writer_of(error)) != "builtins"
    return (
        (cheap or isinstance(error, _GROUP))
        and len(exception_message(error, limit + 1)) <= limit
        and isinstance(notes, (list, tuple))
        and len(notes) <= _ITEMS
        and all(isinstance(note, str) and len(note) <= limit for note in notes)
        and sum(1 for _ in itertools.islice(_frames(trace), _FRAMES + 1)) <= _FRAMES
    )


def _frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _format(error: BaseException, limit: int, depth: int = _DEPTH) -> Iterator[str]:
    cause, context = _cause_of(error), _context_of(error)
    if cause is not None and depth:
        yield from _format(cause, limit, depth - 1)
        yield "\nThe above exception was the direct cause of the following exception:\n\n"
    elif context is not None and depth and not _suppresses(error):
        yield from _format(context, limit, depth - 1)
        yield "\nDuring handling of the above exception, another exception occurred:\n\n"
    trace = _traceback_of(error)
    if trace is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(trace, limit=-_FRAMES)
    name = type_name(type(error)).removeprefix("__main__.")
    text = exception_message(error, limit)
    yield f"{name}: {text}\n" if text else f"{name}\n"
