"""A value that an immutable object works out once, when it is first asked for.

What `functools.cached_property` is from Python 3.12 on. Before, it took a lock for
every first access, and looked the value up once more: several times the price of a
short text. Two threads may both work the value out; it is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

__all__ = ["kept"]

_T = TypeVar("_T")


class kept(Generic[_T]):  # noqa: N801  # used as a decorator, as `property` is
    """Turn a method without arguments into an attribute that is kept.

    The value lies in the object's ``__dict__`` under the method's name, where the
    next access finds it before it finds this.
    """

    def __init__(self, make: Callable[[Any], _T]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> _T: ...
    def __get__(self, instance: object | None, owner: type) -> Self | _T:
        """Work the value out."""
        if instance is None:
            return self
        value = self._make(instance)
        instance.__dict__[self._name] = value
        return value
