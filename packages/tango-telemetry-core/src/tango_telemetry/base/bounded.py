"""Memory that cannot grow without end: what is kept for the next call must not depend on how many names a
program makes up.
"""

from __future__ import annotations

import contextlib
from typing import TypeVar

__all__ = ["BoundedDict"]

_K = TypeVar("_K")
_V = TypeVar("_V")


class BoundedDict(dict[_K, _V]):
    """A dictionary in which a new entry takes the place of the oldest one where it is full.

    It may be an attribute of a user's object: a copy of that object, or one that was pickled, begins with an
    empty one.

    :param limit: the most entries that it holds
    """

    __slots__ = ("_limit",)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def __setitem__(self, key: _K, value: _V) -> None:
        if key not in self:
            while len(self) >= self._limit:
                # Another thread is doing the same.
                with contextlib.suppress(KeyError, RuntimeError, StopIteration):
                    del self[next(iter(self))]
        super().__setitem__(key, value)

    def __reduce__(self) -> tuple[type[BoundedDict[_K, _V]], tuple[int]]:
        return type(self), (self._limit,)
