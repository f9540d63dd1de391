"""A bounded cache: what was used least recently gives way, and everything expires.

The work is done by `cachebox` where it is installed (the extra ``fast``), and by
`cachetools` otherwise. Both keep to two rules here, because `cachebox` holds a lock
while it compares keys and drops values, and hangs for ever when either calls back:

* **Keys are `str`**, of exactly that type. Anything else is refused.
* **Values are inert**: nothing with a finaliser, and nothing that is to be wiped.
  Keys of sessions do not belong in here; an entry that is over stays in memory until
  it is asked for or gives way.
"""

from __future__ import annotations

import importlib
from typing import Any, Final, Generic, TypeVar, cast

from ..errors import ConfigError, UsageError
from .bounds import check_count

__all__ = ["Cache"]

V = TypeVar("V")


class Cache(Generic[V]):
    """At most so many entries, each with the time when it is over.

    It knows no clock: whoever asks says what time it is. Not for two threads at once
    (`cachetools` has no lock).
    """

    __slots__ = ("_entries", "_get", "backend")

    def __init__(self, max_entries: int) -> None:
        """Make an empty cache.

        Args:
            max_entries: what it holds at most; a further one takes the place of
                the one that was used least recently.

        Raises:
            UsageError: ``max_entries`` is not an int from 1.
            ConfigError: neither `cachebox` nor `cachetools` is installed.
        """
        check_count(max_entries, "max_entries")
        #: The library that does the work: ``cachebox`` or ``cachetools``.
        self.backend, self._entries = _make(max_entries)
        # Bound once: this is the whole cost of a hit.
        self._get = self._entries.get

    def get(self, key: str, *, now: float) -> V | None:
        """Return what is kept under ``key``, or ``None``; a use of the entry.

        Args:
            key: as it was put.
            now: seconds, of the clock of `put`'s ``expires_at``.

        Raises:
            UsageError: ``key`` is not a `str`.
        """
        if type(key) is not str:
            raise _not_a_key()
        entry = self._get(key)
        if entry is None:
            return None
        value, expires_at = entry
        # Written so that a time that is not a number finds nothing.
        if now < expires_at:
            return cast(V, value)
        self.evict(key)
        return None

    def put(self, key: str, value: V, *, expires_at: float) -> None:
        """Keep ``value`` until ``expires_at``, in place of what is there.

        Raises:
            UsageError: ``key`` is not a `str`.
        """
        if type(key) is not str:
            raise _not_a_key()
        self._entries[key] = value, expires_at

    def evict(self, key: str) -> None:
        """Drop the entry, if there is one.

        Raises:
            UsageError: ``key`` is not a `str`.
        """
        if type(key) is not str:
            raise _not_a_key()
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()

    def __len__(self) -> int:
        """Return how many entries are held, those that are over included."""
        return len(self._entries)


_BACKENDS: Final = ("cachebox", "cachetools")


def _make(max_entries: int) -> tuple[str, Any]:
    """Return the best library that there is, and its cache."""
    for name in _BACKENDS:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as exc:
            if exc.name != name:
                raise
            continue
        return name, module.LRUCache(max_entries)
    raise ConfigError("a cache needs cachetools: pip install 'sage-secure[websocket]'")


def _not_a_key() -> UsageError:
    return UsageError("the key of a cache is a str")
