"""Replacing methods and putting back exactly what was there.

Two ways, chosen by what is found. A method in a class is replaced in the class's own dictionary and comes
back as the very entry that was there, or as none where it was inherited. A method that PyTango made green is
a closure around the function that makes the call; there the function is replaced inside the closure, so that
the class stays untouched and the green mode, ``wait``, ``timeout``, signature and docstring stay PyTango's
(``tango.green.green``, 9.3 to 10.3).

Other tools wrap the same methods, before us, after us or between two of our turns. So an entry is called as
Python calls it, through its descriptor; what replaces it carries its name, its marks and its kind; only what
is exactly PyTango's own wrapper is left out; and what somebody else has put over ours stays when ours is
undone.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import CellType, FunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import Any

__all__ = [
    "ClassEntry",
    "Patches",
    "call_as_method",
    "call_inherited",
    "create_entry",
    "find_owner",
    "find_raw",
    "get_made",
    "green_cell",
    "is_pytango_function",
    "without_builtin_tracing",
]

_ABSENT: Any = object()
_PYTANGO = ("tango", "PyTango")


def find_owner(cls: type, name: str) -> type | None:
    """Return the class of the MRO in whose dictionary ``cls.name`` stands; None if there is none."""
    return next((owner for owner in cls.__mro__ if name in vars(owner)), None)


def find_raw(owner: type, name: str) -> Any:
    """Return the raw class-dict entry that ``owner.name`` comes from, through the MRO; None if there is
    none.
    """
    found = find_owner(owner, name)
    return None if found is None else vars(found)[name]


def is_pytango_function(function: Any, *names: str) -> bool:
    """Whether ``function`` is exactly one that PyTango makes, with a code object of one of these names.

    A tool that wraps such a function copies its attributes, and a proxy has even its type: neither is taken
    for it.
    """
    if type(function) is not FunctionType or function.__code__.co_name not in names:
        return False
    module = function.__globals__.get("__name__")
    return isinstance(module, str) and module.partition(".")[0] in _PYTANGO


def green_cell(function: Any) -> CellType | None:
    """Return the closure cell that holds the function inside PyTango's ``green`` wrapper, None for anything
    else.
    """
    if not is_pytango_function(function, "greener") or not function.__closure__:
        return None
    return dict(zip(function.__code__.co_freevars, function.__closure__, strict=True)).get("fn")


def without_builtin_tracing(function: Any) -> Any:
    """Return what PyTango's own client tracing wrapped (10.0 to 10.3: ``_trace_client``), or the function
    itself.
    """
    while is_pytango_function(function, "client_trace_wrapper"):
        function = function.__wrapped__
    return function


def _bind(raw: Any, instance: Any, owner: type | None) -> Any:
    """Return what Python gives for ``instance.name`` where ``raw`` stands in the class."""
    get = getattr(type(raw), "__get__", None)
    return raw if get is None else get(raw, instance, owner)


# What takes the object as its first argument and needs no binding; binding would cost a step at each call.
_UNBOUND = (FunctionType, MethodDescriptorType, WrapperDescriptorType)


def _is_native(raw: Any) -> bool:
    """Whether ``raw`` is a method in C++ of PyTango's (Boost.Python's ``function``, pybind11's
    ``instancemethod``).
    """
    return type(raw).__name__ == "instancemethod" or type(raw).__module__ == "Boost.Python"


def call_as_method(raw: Any) -> Callable[..., Any]:
    """Return a function that is called with the object first, and calls a class entry as Python would.

    :param raw: the entry: a function, a ``staticmethod`` or ``classmethod``, a ``partial`` or
        ``partialmethod``, a method of another object, a compiled function, a callable object, a proxy of
        another tool's
    """
    if type(raw) in _UNBOUND or _is_native(raw):
        return raw  # type: ignore[no-any-return]

    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return _bind(raw, self, type(self))(*args, **kwargs)

    call.__wrapped__ = raw  # type: ignore[attr-defined]
    return call


def call_inherited(cls: type, name: str) -> Callable[..., Any]:
    """Return a function that is called with the object first, and calls what its class inherits as ``name``.

    It is looked up at each call, since a base class may be changed later: by ``mock.patch``, or by a user who
    corrects a running program.

    :param cls: the class whose own entry is to be passed over
    """

    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return getattr(super(cls, self), name)(*args, **kwargs)

    call.__wrapped__ = find_raw(cls, name)  # type: ignore[attr-defined]
    return call


def _signature(target: Any) -> inspect.Signature:
    """For :mod:`inspect`, which looks at the real type where it finds no function behind an object."""
    try:
        return inspect.signature(target)
    except (TypeError, ValueError) as error:
        raise AttributeError("__signature__") from error


def _forward(name: str) -> Any:
    return property(lambda self: getattr(_target(self), name))


class _Stand:
    """Stands for another object and is taken for it: all that is asked of it is asked of that one."""

    __slots__ = ("_target",)
    __class__ = property(lambda self: type(_target(self)))
    __dict__ = _forward("__dict__")
    __signature__ = property(lambda self: _signature(_target(self)))

    def __init__(self, target: Any) -> None:
        object.__setattr__(self, "_target", target)

    def __getattr__(self, name: str) -> Any:
        return getattr(_target(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_target(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_target(self), name)

    def __dir__(self) -> list[str]:
        return dir(_target(self))

    def __repr__(self) -> str:
        return repr(_target(self))

    def __eq__(self, other: object) -> bool:
        return bool(_target(self) == (_target(other) if isinstance(other, _Stand) else other))

    def __hash__(self) -> int:
        return hash(_target(self))


_target: Callable[[Any], Any] = vars(_Stand)["_target"].__get__


class _Bound(_Stand):
    """What ``instance.name`` gives of a :class:`ClassEntry`."""

    __slots__ = ("_call",)

    def __init__(self, target: Any, call: Callable[..., Any]) -> None:
        super().__init__(target)
        object.__setattr__(self, "_call", call)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return _call(self)(*args, **kwargs)


_call: Callable[[Any], Any] = vars(_Bound)["_call"].__get__


class ClassEntry(_Stand):
    """Stands in a class for an entry that is no function: a static method, a partial, an object that can be
    called.

    Calls through an instance go to ``made``, which gets the instance first; everything else finds the entry
    itself.
    """

    __slots__ = ("_made",)

    def __init__(self, raw: Any, made: Callable[..., Any]) -> None:
        super().__init__(raw)
        object.__setattr__(self, "_made", made)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        bound = _bind(_target(self), instance, owner)
        if instance is None or not callable(bound):
            return bound
        return _Bound(bound, functools.partial(_made(self), instance))

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return _target(self)(*args, **kwargs)


_made: Callable[[Any], Any] = vars(ClassEntry)["_made"].__get__

# A class has these two of its own, so that `__getattr__` is not asked for them.
for _cls in (_Bound, ClassEntry):
    for _name in ("__doc__", "__module__"):
        setattr(_cls, _name, _forward(_name))


def create_entry(raw: Any, made: Callable[..., Any]) -> Any:
    """Return what is put into a class in the place of ``raw``: with its name, marks, signature and kind.

    :param raw: the entry that is replaced
    :param made: called with the object first
    """
    # A proxy that says that it is a function (wrapt's) is replaced by one.
    if isinstance(raw, _UNBOUND) or _is_native(raw):
        return made if getattr(made, "__wrapped__", None) is raw else functools.update_wrapper(made, raw)
    return ClassEntry(raw, made)


def get_made(entry: Any) -> Any:
    """Return the function of ours inside an entry of :func:`create_entry`; the entry itself for any other."""
    return _made(entry) if type(entry) is ClassEntry else entry


class Patches:
    """A stack of changes that can be undone exactly, newest first."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        return bool(self._undo)

    def add_undo(self, function: Callable[..., Any], *args: Any) -> None:
        """Let :meth:`undo` call ``function(*args)`` in its turn: for what has an undoing function of
        its own.
        """
        self._undo.append(functools.partial(function, *args))

    def set_attribute(self, owner: Any, name: str, value: Any) -> None:
        """Set ``owner.name`` in the dictionary of ``owner`` itself (a class or a module)."""
        raw = vars(owner).get(name, _ABSENT)
        setattr(owner, name, value)
        self._undo.append(functools.partial(_restore, owner, name, value, raw))

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
            made = make(call_as_method(without_builtin_tracing(original)))
            cell.cell_contents = made
            self._undo.append(functools.partial(_restore_cell, cell, made, original))
            return True
        self.set_attribute(owner, name, create_entry(raw, make(call_as_method(without_builtin_tracing(raw)))))
        return True

    def undo(self) -> None:
        """Put everything back."""
        while self._undo:
            self._undo.pop()()


def _restore(owner: Any, name: str, value: Any, raw: Any) -> None:
    if vars(owner).get(name, _ABSENT) is not value:
        return  # somebody has put something else there since: it is theirs, with ours under it
    if raw is _ABSENT:
        delattr(owner, name)
    else:
        setattr(owner, name, raw)


def _restore_cell(cell: CellType, made: Any, original: Any) -> None:
    if cell.cell_contents is made:
        cell.cell_contents = original
