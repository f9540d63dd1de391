"""A replay guard in a file: it survives its process, and several may share it."""

from __future__ import annotations

import os
import sqlite3
import threading

from ..errors import Overloaded, ReplayError, SageError, StaleError, UsageError
from ..identity.files import as_database
from ..limits import REPLAY_GUARD_ENTRIES
from .replay_database import DamagedDatabase, ReplayDatabase, set_aside
from .replay_guard import (
    PURGE_ENTRIES,
    Reservation,
    Watch,
    check_room,
    forked,
    overloaded,
    replayed,
)

__all__ = ["SqliteReplayGuard"]


class SqliteReplayGuard:
    """Remembers in an SQLite file, for all processes of one machine that open it.

    A restart, or a process that dies, loses nothing and costs nothing. A reboot that
    cut the file off, a file deleted or damaged, a wall clock set back: each ends in
    the quarantine of 360 s, kept in the file. All processes must pass the same
    monotonic clock (on Linux, `time.monotonic` is one).

    Each process opens the file for itself. The copy that a fork makes refuses: SQLite
    forbids to use its connections so, and the lock may be held for ever.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        now: float | None = None,
        max_entries: int = REPLAY_GUARD_ENTRIES,
        assume_no_history: bool = False,
    ) -> None:
        """Open the file, mode 0600, or make it; reads all of it once.

        Args:
            path: on a local file system.
            now: monotonic seconds, from which a quarantine counts; ``None`` lets it
                count from the first `reserve`.
            max_entries: how many live entries it holds before it refuses.
            assume_no_history: if the file is new, so is the identity, or the caller
                accepts that plain envelopes of the last 300 s can be played to it
                again. No quarantine, then. Say so once, when the identity is made:
                said at every start, it also covers up that a file was deleted.

        Raises:
            ConfigError: the file cannot be opened, is not a replay database, or
                others may read or write it.
            Overloaded: it is locked for too long, or the disk is full.
            UsageError: ``max_entries`` is not an int from 3.
        """
        check_room(max_entries)
        self._path = as_database(path)
        self._max_entries = max_entries
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._database: ReplayDatabase | None
        try:
            self._database = self._open(now, assume_no_history=assume_no_history)
        except DamagedDatabase:
            set_aside(self._path)
            self._database = self._open(now, assume_no_history=False)

    async def reserve(
        self, reservation: Reservation, *, now: float, unix_time: int
    ) -> None:
        """Reserve everything that an envelope uses up (see `ReplayGuard`).

        One transaction: about a hundred microseconds, without giving way to other
        tasks; at most half a second when another process holds the file.
        """
        if self._process != os.getpid():
            raise forked()
        with self._lock:
            if self._database is None:
                raise UsageError("the replay guard is closed")
            try:
                if not self._database.is_in_place():
                    self._replace(self._database, now)
                self._reserve(self._database, reservation, now, unix_time)
            except DamagedDatabase:
                set_aside(self._path)
                self._replace(self._database, now)
                self._reserve(self._database, reservation, now, unix_time)

    def close(self) -> None:
        """Write everything to disk and mark the file as closed in order."""
        if self._process != os.getpid():
            return  # the other process is at work in it
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database = None

    def _open(self, now: float | None, *, assume_no_history: bool) -> ReplayDatabase:
        return ReplayDatabase(self._path, now=now, assume_no_history=assume_no_history)

    def _replace(self, database: ReplayDatabase, now: float) -> None:
        """Go on with whatever file is there now: a new one is in quarantine."""
        replacement = self._open(now, assume_no_history=False)
        database.abandon()
        self._database = replacement

    def _reserve(
        self,
        database: ReplayDatabase,
        reservation: Reservation,
        now: float,
        unix_time: int,
    ) -> None:
        refusal: SageError | None = None
        with database.transaction() as connection:
            watch, entries = database.load()
            watch.observe(now, unix_time)
            entries -= _purge(connection, watch)
            try:
                watch.check(reservation)
                entries += self._take(connection, reservation, watch, entries)
            except (StaleError, ReplayError, Overloaded) as exc:
                refusal = exc
            # Also where it refuses: the clock and the quarantine are kept.
            database.save(watch, entries)
        if refusal is not None:
            raise refusal

    def _take(
        self,
        connection: sqlite3.Connection,
        reservation: Reservation,
        watch: Watch,
        entries: int,
    ) -> int:
        """Add the new entries, or refuse before anything is written."""
        keys = reservation.keys()
        added = len(keys)
        for index, key in enumerate(keys):
            row = connection.execute(
                "SELECT until FROM reservation WHERE key = ?", (key,)
            ).fetchone()
            if row is not None:
                if row[0] > watch.clock:
                    raise replayed(index)
                added -= 1  # expired, and about to be replaced
        if entries + added > self._max_entries:
            raise overloaded(self._max_entries)
        connection.executemany(
            "INSERT OR REPLACE INTO reservation VALUES (?, ?)",
            [(key, reservation.until) for key in keys],
        )
        return added


def _purge(connection: sqlite3.Connection, watch: Watch) -> int:
    """Drop a few expired entries; return how many."""
    return connection.execute(
        "DELETE FROM reservation WHERE key IN"
        " (SELECT key FROM reservation WHERE until <= ? LIMIT ?)",
        (watch.clock, PURGE_ENTRIES),
    ).rowcount
