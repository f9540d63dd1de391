"""Numbers that bound something: how many, and how long."""

from __future__ import annotations

from dataclasses import fields
from math import isnan
from sys import maxsize
from typing import Any

from ..errors import UsageError

__all__ = ["check_bounds", "check_count", "check_limit"]


def check_count(number: object, name: str, *, least: int = 1) -> None:
    """Refuse what is no number of things that a process can hold.

    Args:
        number: what was given.
        name: its name, for the error's text.
        least: the smallest that makes sense.

    Raises:
        UsageError: not an int from ``least`` to the platform's largest size.
    """
    if type(number) is not int or not least <= number <= maxsize:
        raise UsageError(f"{name} must be an int from {least}, not {_shown(number)}")


def check_limit(seconds: object, name: str = "timeout_s") -> None:
    """Refuse what is no time limit. One that has passed already, or never does, is.

    An event loop takes a NaN, and then keeps its other timers in no order.

    Args:
        seconds: what was given.
        name: its name, for the error's text.

    Raises:
        UsageError: not a number.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise UsageError(f"{name} must be seconds, not {type(seconds).__name__}")
    try:
        number = isnan(seconds)
    except OverflowError:  # an int beyond all floats
        number = True
    if number:
        raise UsageError(f"{name} must be seconds, not {_shown(seconds)}")


def check_bounds(config: Any) -> None:
    """Refuse a dataclass with a bound that is none.

    Args:
        config: of it, every field that is annotated as ``int`` or ``float``.

    Raises:
        UsageError: one is no such number, or not positive.
    """
    for field in fields(config):
        if field.type not in ("int", "float"):
            continue
        value = getattr(config, field.name)
        kinds = int if field.type == "int" else int | float
        if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
            raise UsageError(f"{field.name} must be positive, not {_shown(value)}")


def _shown(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # Python writes out so many digits of an int, and no more
        return "an int without end"
