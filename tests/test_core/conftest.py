"""Two ends of one session, on either twin, and a look at what they hold."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import pytest

from sage import _core_py as pure
from sage.errors import AuthenticationError
from sage.session import V0_10
from sage.types import Role

SEED, TH = bytes(range(32)), bytes(range(100, 132))


# What is no state: the count of failures, which strangers move by failing, and
# whether the engines are being kept.
COUNTERS = {"_failed_opens", "_warm", "__weakref__"}


def slots_of(value: Any) -> Any:
    """Return a value's whole state, by value."""
    if isinstance(value, (bytearray, dict)):
        return value.copy()
    if isinstance(value, (pure.SessionCore, pure.ReplayWindow)):
        kind = next(k for k in type(value).__mro__ if k.__module__ == pure.__name__)
        names = kind.__dict__["__slots__"]
        return {
            name: slots_of(getattr(value, name))
            for name in names
            if name not in COUNTERS
        }
    return value


def memory_of(session: Any) -> bytes:
    """Return a compiled session's memory behind the reference count."""
    size = session.__class__.__basicsize__
    return ctypes.string_at(id(session), size)[ctypes.sizeof(ctypes.c_ssize_t) :]


@cache
def counter_of(core: Any) -> slice:
    """Return where a compiled session counts failures: what one failure changes."""
    ada, grace = (core(V0_10, SEED, TH, role, now=0.0) for role in Role)
    grace.open(ada.seal(b"", now=1.0), now=1.0)  # makes the engine
    forged = ada.seal(b"", now=1.0)[:-1] + b"?"
    before = memory_of(grace)
    with pytest.raises(AuthenticationError):
        grace.open(forged, now=2.0)
    after = memory_of(grace)
    (place,) = (at for at in range(len(after)) if after[at] != before[at])
    assert grace.failed_opens == 1
    return slice(place, place + 8)


@pytest.fixture(scope="session")
def snapshot() -> Callable[[Any], Any]:
    """Return a function that takes the whole state of a session.

    Of a compiled one that is its memory, byte for byte, behind the reference count
    and without the count of failures.
    """

    def take(session: Any) -> Any:
        if isinstance(session, pure.SessionCore):
            return slots_of(session)
        memory, counter = memory_of(session), counter_of(type(session))
        return memory[: counter.start], memory[counter.stop :]

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
