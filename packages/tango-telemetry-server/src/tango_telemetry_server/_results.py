"""What cppTango says of a handler's result after the handler has returned: not allowed, no value, the wrong
type.

PyTango's C++ converts the result once the wrapper around the handler is gone, so the span would end without
the error that the caller gets. A check looks at the result first: at its type, which costs next to nothing,
and only where that says nothing by a conversion of its own (``DeviceData.insert``; PyTango 10.0 to 10.3.1
accept and refuse the same there as in a command's result, tried with 45 values for each type).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from numbers import Integral
from typing import Any

from tango_telemetry.instrumentation import guarded, import_pytango, record_error, record_failure

__all__ = ["Check", "create_allowed_check", "create_command_check", "create_read_check"]

Check = Callable[[Any, tuple[Any, ...], Any], None]
"""Called with the span, the arguments of the handler after the device, and its result."""

guarded(import_pytango)  # the first module of the package that needs it
tango: Any = importlib.import_module("tango")
_TYPES = tango.CmdArgType
# By value: on 9.5.1 `CmdArgType(int)` has no name.
_NAMES = {int(getattr(_TYPES, name)): name for name in dir(_TYPES) if name.startswith("Dev")}
_INVALID = tango.AttrQuality.ATTR_INVALID
# `value_is_set` is new in PyTango 10.1.
_value_is_set: Callable[[Any], bool] = (
    getattr(tango.Attribute, "value_is_set", None) or tango.Attribute.get_value_flag
)
_REFUSED = (TypeError, ValueError, ArithmeticError, LookupError, SystemError, tango.DevFailed)
# 9.3 to 9.5 convert a scalar by Boost's rules, which take NumPy's integers and anything for a bool.
_BOOST = tuple(int(part) for part in tango.__version__.split(".")[:1]) < (10,)


def create_allowed_check(name: str, reason: str) -> Check:
    """Return the check of an is-allowed method.

    :param name: the command or attribute
    :param reason: the DevFailed reason with which cppTango refuses the call
    """

    def check(span: Any, args: tuple[Any, ...], result: Any) -> None:
        if not result:
            record_error(span, reason, f"{name} is not allowed now")

    return check


def create_read_check(name: str) -> Check:
    """Return the check of a read method: cppTango refuses a read that has set no value, unless its quality is
    invalid.
    """

    def check(span: Any, args: tuple[Any, ...], result: Any) -> None:
        if args and not _value_is_set(args[0]) and args[0].get_quality() != _INVALID:
            record_error(span, "API_AttrValueNotSet", f"the handler has set no value for attribute {name}")

    return check


def create_command_check(declared: Any) -> Check | None:
    """Return the check of a command's result, None for a command without one.

    :param declared: the ``CmdArgType`` of its result
    """
    if declared == _TYPES.DevVoid:
        return None
    is_good = _create_predicate(declared)

    def check(span: Any, args: tuple[Any, ...], result: Any) -> None:
        if not is_good(result):
            _try_conversion(span, declared, result)

    return check


def _try_conversion(span: Any, declared: Any, result: Any) -> None:
    if hasattr(result, "__next__"):  # an iterator, refused everywhere; a trial might use it up
        record_error(span, "TypeError", f"{type(result).__name__} is not a value of {declared}")
        return
    try:
        tango.DeviceData().insert(declared, result)
    except _REFUSED as error:
        kind: type = type(result)
        if _BOOST and (declared == _TYPES.DevBoolean or (isinstance(result, Integral) and kind is not int)):
            return
        # Boost.Python returns with the error set, which Python wraps (9.5.1: None for a string).
        record_failure(span, error.__cause__ or error if isinstance(error, SystemError) else error)


_SIGNED = {"DevShort": 16, "DevLong": 32, "DevLong64": 64}
_UNSIGNED = {"DevUShort": 16, "DevULong": 32, "DevULong64": 64, "DevEnum": 15}
_FLOATS = ("DevFloat", "DevDouble")


def _bounds(name: str) -> tuple[int, int] | None:
    if name in _SIGNED:
        return -(1 << _SIGNED[name] - 1), (1 << _SIGNED[name] - 1) - 1
    return (0, (1 << _UNSIGNED[name]) - 1) if name in _UNSIGNED else None


def _create_predicate(declared: Any) -> Callable[[Any], bool]:
    """Return a cheap test that is true only for what is certainly accepted."""
    name = _TYPES.values[int(declared)].name  # calling a Boost enumeration gives a nameless value (9.5.1)
    if name.startswith("DevVar") and name.endswith("Array"):
        return _create_array_predicate(f"Dev{name[6:-5]}")
    bounds = _bounds(name)
    if bounds is not None:
        low, high = bounds
        return lambda result: type(result) is int and low <= result <= high
    if name == "DevString":
        return lambda result: type(result) is str and result.isascii()
    exact: Any = {"DevBoolean": bool, "DevState": tango.DevState, **dict.fromkeys(_FLOATS, float)}.get(name)
    return lambda result: type(result) is exact


def _create_array_predicate(name: str) -> Callable[[Any], bool]:
    bounds = _bounds(name)
    if bounds is not None:
        low, high = bounds

        def is_good(result: Any) -> bool:
            kinds = set(map(type, result))
            return not kinds or (kinds == {int} and low <= min(result) and max(result) <= high)

    elif name == "DevString":

        def is_good(result: Any) -> bool:
            return set(map(type, result)) <= {str} and all(map(str.isascii, result))

    else:

        def is_good(result: Any) -> bool:
            return name in _FLOATS and set(map(type, result)) <= {float}

    numbers = name in _FLOATS or bounds is not None

    def is_good_sequence(result: Any) -> bool:
        kind = type(result)
        if kind is list or kind is tuple:
            return is_good(result)
        # NumPy's arrays are cast, whatever their number type (10.3.1); NumPy itself is not imported for this.
        return numbers and kind.__name__ == "ndarray" and result.ndim == 1 and result.dtype.kind in "iuf"

    return is_good_sequence
