"""Replacing methods and putting back exactly what was there.

Two ways, chosen by what is found. A method in a class is replaced in the class's own dictionary and comes back as the
very entry that was there, or as none where it was inherited. A method that PyTango made green is a closure around the
function that makes the call; there the function is replaced inside the closure, so that the class stays untouched and
the green mode, ``wait``, ``timeout``, signature and docstring stay PyTango's (``tango.green.green``, 9.3 to 10.3).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any

__all__ = ["Patches", "find_raw", "green_cell", "without_builtin_tracing"]

_ABSENT: Any = object()


def find_raw(owner: type, name: str) -> Any:
    """Give the raw class-dict entry that ``owner.name`` comes from, through the MRO; None if there is none."""
    for cls in owner.__mro__:
        if name in vars(cls):
            return vars(cls)[name]
    return None


def green_cell(function: Any) -> CellType | None:
    """Give the closure cell that holds the function inside PyTango's ``green`` wrapper, None for anything else."""
    if (
        not isinstance(function, FunctionType)
        or function.__code__.co_name != "greener"
        or not function.__closure__
    ):
        return None
    return dict(zip(function.__code__.co_freevars, function.__closure__, strict=True)).get("fn")


def without_builtin_tracing(function: Any) -> Any:
    """Give what PyTango's own client tracing wrapped (10.0 to 10.3: ``_trace_client``), or the function itself."""
    while isinstance(function, FunctionType) and function.__code__.co_name == "client_trace_wrapper":
        function = function.__wrapped__  # type: ignore[attr-defined]
    return function


class Patches:
    """A stack of changes that can be undone exactly, newest first."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        return bool(self._undo)

    def add_undo(self, function: Callable[..., Any], *args: Any) -> None:
        """Let :meth:`undo` call ``function(*args)`` in its turn: for what has an undoing function of its own."""
        self._undo.append(functools.partial(function, *args))

    def set_attribute(self, owner: Any, name: str, value: Any) -> None:
        """Set ``owner.name`` in the dictionary of ``owner`` itself (a class or a module)."""
        raw = vars(owner).get(name, _ABSENT)
        setattr(owner, name, value)
        self._undo.append(functools.partial(_restore, owner, name, raw))

    def set_bases(self, cls: type, bases: tuple[type, ...]) -> None:
        """Give a class other bases; its own dictionary stays as it is."""
        before = cls.__bases__
        cls.__bases__ = bases
        self._undo.append(lambda: setattr(cls, "__bases__", before))

    def wrap(self, owner: type, name: str, make: Callable[[Any], Any]) -> bool:
        """Replace ``owner.name`` by ``make(original)``.

        :returns: False where ``owner`` has no such method (another version of PyTango)
        """
        raw = find_raw(owner, name)
        if raw is None:
            return False
        cell = green_cell(raw)
        if cell is not None:
            original = cell.cell_contents
            cell.cell_contents = make(without_builtin_tracing(original))
            self._undo.append(functools.partial(setattr, cell, "cell_contents", original))
            return True
        made = make(without_builtin_tracing(raw))
        if made.__doc__ is None and raw.__doc__ is not None:
            made.__doc__ = raw.__doc__  # 10.0 documents its tracing wrapper, and not what is in it
        self.set_attribute(owner, name, made)
        return True

    def undo(self) -> None:
        """Put everything back."""
        while self._undo:
            self._undo.pop()()


def _restore(owner: Any, name: str, raw: Any) -> None:
    if raw is _ABSENT:
        if name in vars(owner):
            delattr(owner, name)
    else:
        setattr(owner, name, raw)
