"""The highest version seen of each record, so that no registry can go back (REG-05)."""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import Final

from ..errors import Code, ConfigError, ResolutionError
from ..types import Did

__all__ = ["VersionFloor"]


class VersionFloor:
    """Remembers, per agent, the highest version and the digest of its bytes.

    A registry that answers with a lower version has rolled back. One that answers
    with the same version and other bytes tells two stories. Both are refused.
    May be used from several threads and, with a file, from several processes.
    """

    def __init__(self, path: str | os.PathLike[str] = ":memory:") -> None:
        """Open or create the memory.

        Args:
            path: an SQLite file, or ``":memory:"`` to forget at the end of the
                process, which lets a registry go back across a restart.

        Raises:
            ConfigError: the file cannot be opened or is not such a file.
        """
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(
                path, check_same_thread=False, isolation_level=None, timeout=_BUSY_S
            )
        except (sqlite3.Error, ValueError) as exc:
            raise ConfigError(f"cannot open {path!r}: {exc}") from exc
        try:
            self._database.execute(_SCHEMA)
        except sqlite3.Error as exc:
            self._database.close()
            raise ConfigError(f"{path!r} is not a version floor: {exc}") from exc

    def check(self, did: Did, version: int, digest: bytes) -> None:
        """Refuse what is older than something seen before; else remember it.

        Args:
            did: the agent.
            version: its record's version.
            digest: the hash of the record's canonical bytes.

        Raises:
            ResolutionError: a lower version than before, or the same with another
                digest (``record.stale``); the memory cannot be read or written
                (``record.unreachable``).
        """
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                try:
                    self._raise_floor(did, version, digest)
                finally:
                    self._database.execute("COMMIT")
            except (sqlite3.Error, ValueError) as exc:
                raise ResolutionError(
                    f"the version floor is unavailable: {exc}",
                    code=Code.RECORD_UNREACHABLE,
                ) from exc

    def close(self) -> None:
        """Close the file; later checks refuse."""
        with self._lock:
            self._database.close()

    def _raise_floor(self, did: Did, version: int, digest: bytes) -> None:
        row = self._database.execute(
            "SELECT version, digest FROM floor WHERE did = ?", (did,)
        ).fetchone()
        if row is not None:
            # As text: versions go to 2^64 - 1, SQLite's integers only to 2^63 - 1.
            seen = int(row[0])
            if (version, digest) == (seen, row[1]):
                return
            if version <= seen:
                raise ResolutionError(
                    f"the registry went back from version {seen}, or told two stories",
                    code=Code.RECORD_STALE,
                )
        self._database.execute(
            "INSERT OR REPLACE INTO floor VALUES (?, ?, ?)", (did, str(version), digest)
        )


_BUSY_S: Final = 2.0
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS floor"
    " (did TEXT PRIMARY KEY, version TEXT NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID"
)
