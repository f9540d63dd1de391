"""The highest version seen of each record, and every revocation ever seen (REG-05).

So no registry can go back: neither to an older version, nor to a key that it once said
was revoked, nor to an agent that it once said was deactivated. What a record says is
over is kept even where the record itself is refused.

All of it is on disk, so memory is bounded by SQLite's page cache of 2 MB. Without a
path the file is a temporary one, of which other processes and the next start know
nothing. The number of agents is bounded as well: a new one takes the place of the one
that was not seen for the longest time, **but never of one of which a revocation is
known**. Where only such agents are left, new ones are refused.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from .._crypto import sha256
from ..errors import Code, ConfigError, ResolutionError
from ..limits import VERSION_FLOOR_AGENTS
from ..runtime.bounds import check_count
from ..types import Did
from .files import as_database, prepare_private
from .record import AgentRecord
from .revocations import AGENT_MARK, MARKS_MAX, Standing, standing_of

__all__ = ["VersionFloor"]


class VersionFloor:
    """Remembers, per agent, the highest version, its digest, and what was revoked.

    A registry that answers with a lower version has rolled back. One that answers
    with the same version and other bytes tells two stories. One that presents as good
    what was revoked contradicts itself. All are refused. May be used from several
    threads and, with a file, from several processes that each open it. The copy that a
    fork makes refuses: SQLite forbids to use its connections so, and without a path
    both would write into one temporary file.

    Attributes:
        revocations: how many were learned through this very object.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = "",
        *,
        max_agents: int = VERSION_FLOOR_AGENTS,
    ) -> None:
        """Open or create the memory.

        Args:
            path: an SQLite file, mode 0600; or nothing, to forget at the
                end of the process, which lets a registry go back across a restart.
            max_agents: how many it remembers; some 150 bytes each.

        Raises:
            ConfigError: the file cannot be opened, is not such a file, or others may
                read or write it.
            UsageError: ``max_agents`` is not an int from 1.
        """
        check_count(max_agents, "max_agents")
        self._max_agents = max_agents
        self.revocations = 0
        self._lock = threading.Lock()
        self._process = os.getpid()
        file = as_database(path) if path else None
        try:
            if file is not None:
                prepare_private(file)
            self._database = sqlite3.connect(
                file or "",
                check_same_thread=False,
                isolation_level=None,
                timeout=_BUSY_S,
            )
        except (sqlite3.Error, OSError) as exc:
            raise ConfigError(f"cannot open {path!r}: {exc}") from exc
        try:
            _prepare(self._database, temporary=not path)
            self._agents = self._count()
        # ValueError: where a damaged file names itself in no UTF-8.
        except (sqlite3.Error, ValueError) as exc:
            self._database.close()
            raise ConfigError(f"{path!r} is not a version floor: {exc}") from exc
        # Many a resolver makes its own and is dropped with it. All is on disk at all
        # times, so nothing is lost, and Python 3.13 would warn of it.
        weakref.finalize(self, self._database.close)

    def admit(self, record: AgentRecord) -> None:
        """Refuse a record that contradicts something seen before; else remember it.

        Raises:
            ResolutionError: as `check`.
        """
        digest = sha256(record.encode())
        self.check(record.id, record.version, digest, standing_of(record))

    def check(
        self, did: Did, version: int, digest: bytes, standing: Standing | None = None
    ) -> None:
        """Do the same with what `admit` takes from the record.

        Args:
            did: the agent.
            version: its record's version.
            digest: the hash of the record's canonical bytes.
            standing: what the record says is over, and what it presents as good.

        Raises:
            ResolutionError: a lower version than before, or the same with another
                digest (``record.stale``); something accepted that was revoked
                (``record.invalid``); the memory cannot be read or written, is full of
                revocations, or was copied by a fork (``record.unreachable``).
        """
        standing = Standing() if standing is None else standing
        self._refuse_copy()
        with self._lock, _typed():
            known = self._revoked(did)
            if standing.revoked <= known and self._is_at(did, version, digest):
                _refuse_revived(standing, known)
                return
            before = len(known)
            with self._transaction():
                known = self._revoke(did, standing.revoked)
                refusal = self._contradiction(did, version, digest, standing, known)
                if refusal is None:
                    self._raise_floor(did, version, digest)
            self.revocations += len(known) - before
            # After the commit: what is revoked stays so, whatever is refused.
            if refusal is not None:
                raise refusal

    def require_standing(self, did: Did, standing: Standing) -> None:
        """Refuse what presents as good something that was revoked since.

        Raises:
            ResolutionError: it does (``record.invalid``); the memory cannot be read, or
                was copied by a fork (``record.unreachable``).
        """
        self._refuse_copy()
        with self._lock, _typed():
            _refuse_revived(standing, self._revoked(did))

    def close(self) -> None:
        """Close the file; later checks refuse."""
        if self._process != os.getpid():
            return  # the other process is at work in it
        with self._lock:
            self._database.close()

    def _refuse_copy(self) -> None:
        # Before the lock, which another thread may have held when the process forked.
        if self._process != os.getpid():
            raise ResolutionError(
                "the version floor belongs to the process that was forked",
                code=Code.RECORD_UNREACHABLE,
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        finally:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")

    def _is_at(self, did: Did, version: int, digest: bytes) -> bool:
        """Whether that is what was seen last; the usual case, which writes nothing."""
        row = self._database.execute(
            "SELECT version, digest, used, (SELECT max(used) FROM floor)"
            " FROM floor WHERE did = ?",
            (did,),
        ).fetchone()
        if row is None or (int(row[0]), row[1]) != (version, digest):
            return False
        # Writing down every sight would cost a write each; one in a while will do.
        if row[2] < row[3] - self._max_agents // 4:
            self._database.execute(
                "UPDATE floor SET used = ? WHERE did = ?", (row[3] + 1, did)
            )
        return True

    def _contradiction(
        self,
        did: Did,
        version: int,
        digest: bytes,
        standing: Standing,
        known: frozenset[bytes],
    ) -> ResolutionError | None:
        row = self._database.execute(
            "SELECT version, digest FROM floor WHERE did = ?", (did,)
        ).fetchone()
        # As text: versions go to 2^64 - 1, SQLite's integers only to 2^63 - 1.
        seen = 0 if row is None else int(row[0])
        if version < seen or (version == seen and digest != row[1]):
            return ResolutionError(
                f"the registry went back from version {seen}, or told two stories",
                code=Code.RECORD_STALE,
            )
        try:
            _refuse_revived(standing, known)
        except ResolutionError as exc:
            return exc
        return None

    def _raise_floor(self, did: Did, version: int, digest: bytes) -> None:
        changed = self._database.execute(
            "UPDATE floor SET version = ?, digest = ? WHERE did = ?",
            (str(version), digest, did),
        ).rowcount
        if changed:
            return
        self._make_room()
        self._database.execute(
            "INSERT INTO floor VALUES"
            " (?, ?, ?, (SELECT ifnull(max(used), 0) + 1 FROM floor))",
            (did, str(version), digest),
        )
        self._agents += 1

    def _make_room(self) -> None:
        """Let the agents go that were not seen for the longest time, many at once."""
        if self._agents < self._max_agents:
            return
        # Other processes add and drop as well.
        self._agents = self._count()
        excess = self._agents + 1 + self._max_agents // 64 - self._max_agents
        self._agents -= self._database.execute(
            "DELETE FROM floor WHERE did IN (SELECT did FROM floor WHERE did NOT IN"
            " (SELECT did FROM revoked) ORDER BY used LIMIT ?)",
            (excess,),
        ).rowcount
        if self._agents >= self._max_agents:
            raise ResolutionError(
                f"{self._max_agents} agents with revocations are remembered, and no"
                " more will be: allow fewer domains, or raise max_agents",
                code=Code.RECORD_UNREACHABLE,
            )

    def _count(self) -> int:
        (count,) = self._database.execute("SELECT count(*) FROM floor").fetchone()
        return int(count)

    def _revoked(self, did: Did) -> frozenset[bytes]:
        rows = self._database.execute("SELECT mark FROM revoked WHERE did = ?", (did,))
        return frozenset(mark for (mark,) in rows)

    def _revoke(self, did: Did, marks: frozenset[bytes]) -> frozenset[bytes]:
        """Keep what is over, and return all that is known to be."""
        known = self._revoked(did)
        if len(known | marks) > MARKS_MAX:
            # No lawful history has so many: whoever writes it is not to be believed.
            marks = frozenset([AGENT_MARK])
        self._database.executemany(
            "INSERT INTO revoked VALUES (?, ?)", [(did, m) for m in marks - known]
        )
        return known | marks


def _refuse_revived(standing: Standing, known: frozenset[bytes]) -> None:
    if standing.accepted & known:
        raise ResolutionError(
            "the registry presents as good what it once said was revoked",
            code=Code.RECORD_INVALID,
        )


@contextmanager
def _typed() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, ValueError) as exc:
        raise ResolutionError(
            f"the version floor is unavailable: {exc}", code=Code.RECORD_UNREACHABLE
        ) from exc


_BUSY_S: Final = 2.0
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS floor (did TEXT PRIMARY KEY, version TEXT NOT NULL,"
    " digest BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS floor_used ON floor (used)",
    "CREATE TABLE IF NOT EXISTS revoked"
    " (did TEXT NOT NULL, mark BLOB NOT NULL, PRIMARY KEY (did, mark)) WITHOUT ROWID",
)
_NAMES: Final = frozenset({"floor", "floor_used", "revoked"})


def _prepare(database: sqlite3.Connection, *, temporary: bool) -> None:
    # Before anything is written: the file may be another program's.
    names = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    if not {name for name in names if not name.startswith("sqlite_")} <= _NAMES:
        raise sqlite3.DatabaseError("it is somebody else's")
    if temporary:
        # Nothing of it outlives the process, so nothing has to reach the disk.
        database.execute("PRAGMA synchronous = OFF")
    else:
        # Readers do not wait for writers. Where another process is just opening the
        # file, it does this for both. Writes are synced: a power cut forgets nothing.
        with suppress(sqlite3.OperationalError):
            database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
    for statement in _SCHEMA:
        database.execute(statement)
