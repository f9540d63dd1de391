"""Two ends of one session, on either twin, and a look at what they hold."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from sage.session import V0_10
from sage.types import Role

SEED, TH = bytes(range(32)), bytes(range(100, 132))


def slots_of(value: Any) -> Any:
    """Return a value's whole state, by value."""
    if isinstance(value, (bytearray, dict)):
        return value.copy()
    names = getattr(type(value), "__slots__", ())
    if type(value).__module__ == "sage._core_py" and type(value).__name__ != "_Plan":
        return {name: slots_of(getattr(value, name)) for name in names}
    return value


@pytest.fixture(scope="session")
def snapshot() -> Callable[[Any], Any]:
    """Return a function that takes the whole state of a session.

    Of a compiled one that is its memory, byte for byte, behind the reference count.
    """

    def take(session: Any) -> Any:
        if type(session).__module__ == "sage._core_py":
            return slots_of(session)
        size = type(session).__basicsize__
        return ctypes.string_at(id(session), size)[ctypes.sizeof(ctypes.c_ssize_t) :]

    return take


@pytest.fixture(scope="session")
def ends(twin: ModuleType) -> Callable[..., tuple[Any, Any]]:
    """Return a function that makes an initiator and a responder, at time 0."""

    def make(profile: Any = V0_10, now: float = 0.0) -> tuple[Any, Any]:
        core = twin.SessionCore
        return (
            core(profile, SEED, TH, Role.INITIATOR, now=now),
            core(profile, SEED, TH, Role.RESPONDER, now=now),
        )

    return make
