"""What a caller hands over to be worked with, looked at before anything is."""

from __future__ import annotations

from ..errors import UsageError

__all__ = ["check_can", "check_kind"]


def check_kind(part: object, kind: type, name: str) -> None:
    """Refuse what is no object of a class.

    Args:
        part: what was given.
        kind: the class that it must be of.
        name: its name, for the error's text.

    Raises:
        UsageError: of another class.
    """
    if not isinstance(part, kind):
        found = type(part).__name__
        raise UsageError(f"{name} must be an instance of {kind.__name__}, not {found}")


def check_can(part: object, method: str, name: str) -> None:
    """Refuse what lacks the method that it will be called by.

    What is given may be of any class; `__call__` stands for a function.

    Args:
        part: what was given.
        method: the method's name.
        name: its name, for the error's text.

    Raises:
        UsageError: it has no such method.
    """
    if not callable(getattr(part, method, None)):
        wanted = "callable" if method == "__call__" else f"something with {method}()"
        raise UsageError(f"{name} must be {wanted}, not {type(part).__name__}")
