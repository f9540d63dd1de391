"""The file behind `SqliteReplayGuard`: opened, identified, kept, replaced.

What the file promises, and how:

* **A process that dies loses nothing.** A committed transaction of the write-ahead
  log is with the operating system; no process takes it along.
* **A machine that dies is noticed.** Syncing every reservation would cost
  milliseconds, so a power cut can lose the last ones. The file carries the boot id of
  the machine and a mark, synced to disk, of whether it was closed in order. Another
  boot without that mark is lost state. Where the system has no boot id (it is Linux
  that has one), every start without the mark counts as such.
* **A file that is gone, or is no longer a database, is noticed**, also while it is in
  use; a damaged one is set aside as ``<name>.damaged`` and replaced.

Not noticed: an older copy of the file put in its place.

SQLite's write-ahead log needs a local file system, not a network share.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ..errors import ConfigError, Overloaded
from ..identity.files import prepare_private
from .replay_guard import Watch

__all__ = ["DamagedDatabase", "ReplayDatabase", "set_aside"]

# A transaction takes about a hundred microseconds. Whoever cannot begin one for this
# long waits behind something broken; the event loop must not wait with it.
_BUSY_TIMEOUT_S: Final = 0.5

# Opening reads all of the file and syncs it, and others may be at the same.
_OPEN_TIMEOUT_S: Final = 10.0

_LOG_ATTEMPTS: Final = 100

_APPLICATION_ID: Final = 0x53414745  # "SAGE"
_MAGIC: Final = b"SQLite format 3\0"
_APPLICATION_ID_AT: Final = slice(68, 72)  # of the header (SQLite file format, 1.3)

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

_BUSY: Final = frozenset(
    (
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
        *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM),
    )
)
_DAMAGE: Final = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))

_SCHEMA: Final = (
    "CREATE TABLE reservation (key BLOB PRIMARY KEY, until INTEGER NOT NULL)"
    " WITHOUT ROWID",
    "CREATE INDEX reservation_until ON reservation (until)",
    "CREATE TABLE state (clock INTEGER NOT NULL, entries INTEGER NOT NULL,"
    " quarantined INTEGER NOT NULL, since REAL, boot TEXT NOT NULL,"
    " clean INTEGER NOT NULL)",
    "INSERT INTO state VALUES (0, 0, 0, NULL, '', 0)",
)


class DamagedDatabase(ConfigError):
    """The file is ours, and no longer makes sense."""


class ReplayDatabase:
    """One open connection to the file. Not for two threads at once."""

    def __init__(
        self, path: Path, *, now: float | None, assume_no_history: bool
    ) -> None:
        """Open the file, or make it, and decide whether it is to be trusted.

        Raises:
            ConfigError: it cannot be opened, is somebody else's, or others may
                read it.
            DamagedDatabase: it is damaged.
            Overloaded: it is locked for too long, or the disk is full.
        """
        self._path = path
        _prepare(path)
        with self._typed():
            self._connection = sqlite3.connect(
                path,
                timeout=_OPEN_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
        try:
            with self._typed():
                self._identify()
                self._begin_use(now, assume_no_history)
                busy_ms = int(_BUSY_TIMEOUT_S * 1000)
                self._connection.execute(f"PRAGMA busy_timeout = {busy_ms}")
                self._identity = _identity(path)
        except BaseException:
            self._connection.close()
            raise

    def is_in_place(self) -> bool:
        """Whether the path still leads to the file that is open."""
        return _identity(self._path) == self._identity

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the one write lock; commit at the end, or undo everything.

        Raises:
            DamagedDatabase, ConfigError, Overloaded: as on opening.
        """
        with self._typed():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                while self._value("clean"):
                    # Another process closed in order. Its mark must be off the
                    # disk before we write what a power cut could take. A third may
                    # close while we hold no lock.
                    self._connection.execute("ROLLBACK")
                    self._mark(clean=False)
                    self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def load(self) -> tuple[Watch, int]:
        """Return the clock and quarantine, and the number of entries."""
        row = self._connection.execute(
            "SELECT clock, quarantined, since, entries FROM state"
        ).fetchone()
        match row:
            case (int(clock), int(quarantined), float() | None as since, int(entries)):
                return Watch(clock, bool(quarantined), since), entries
        raise DamagedDatabase("the replay database has lost its state")

    def save(self, watch: Watch, entries: int) -> None:
        """Keep what `load` returned, changed."""
        self._connection.execute(
            "UPDATE state SET clock = ?, quarantined = ?, since = ?, entries = ?",
            (watch.clock, watch.quarantined, watch.since, entries),
        )

    def close(self) -> None:
        """Leave everything on disk, marked as closed in order, and close."""
        # Without the mark, a reboot ends in a quarantine: slower, not less safe.
        with suppress(ConfigError, Overloaded), self._typed():
            self._mark(clean=True)
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.abandon()

    def abandon(self) -> None:
        """Close without the mark."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def _identify(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        tables = self._value("count(*)", "sqlite_master")
        given = self._connection.execute("PRAGMA application_id").fetchone()[0]
        if given != _APPLICATION_ID:
            if tables or given:
                raise ConfigError(f"{self._path} is not a replay database")
            # Before the log takes over: it stands in the file's own header.
            self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        self._connection.execute("COMMIT")
        self._use_log()
        verdict = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != ("ok",):
            raise DamagedDatabase("the replay database is damaged")

    def _use_log(self) -> None:
        """Switch to the write-ahead log, which several may do to a new file at once."""
        for _ in range(_LOG_ATTEMPTS):
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                # Unlike a transaction, it does not wait for the others: so wait.
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.execute("ROLLBACK")
            else:
                return
        raise Overloaded("the replay database is busy: others are opening it")

    def _begin_use(self, now: float | None, assume_no_history: bool) -> None:
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("BEGIN IMMEDIATE")
        boot = _boot_id()
        if not self._value("count(*)", "sqlite_master"):
            for statement in _SCHEMA:
                self._connection.execute(statement)
            lost, other_boot = not assume_no_history, False
        else:
            other_boot = not boot or self._value("boot") != boot
            lost = other_boot and not self._value("clean")
        watch, entries = self.load()
        # Monotonic clocks of two boots cannot be compared: start counting again.
        if lost or (other_boot and watch.quarantined):
            watch.quarantine(now)
        self.save(watch, entries)
        self._connection.execute("UPDATE state SET boot = ?, clean = 0", (boot,))
        self._connection.execute("COMMIT")
        self._connection.execute("PRAGMA synchronous = NORMAL")

    def _mark(self, *, clean: bool) -> None:
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("UPDATE state SET clean = ?", (clean,))
        self._connection.execute("PRAGMA synchronous = NORMAL")

    def _value(self, what: str, table: str = "state") -> object:
        row = self._connection.execute(f"SELECT {what} FROM {table}").fetchone()  # noqa: S608  # names of ours
        if row is None:
            raise DamagedDatabase("the replay database has lost its state")
        return row[0]

    @contextmanager
    def _typed(self) -> Iterator[None]:
        """Turn SQLite's errors into ours. Whatever fails, nothing was reserved."""
        try:
            yield
        # The second: SQLite quotes what is damaged, and `sqlite3` cannot read that.
        except (sqlite3.Error, UnicodeDecodeError) as exc:
            code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            damaged = code in _DAMAGE or isinstance(exc, UnicodeDecodeError)
            if code in _BUSY:
                raise Overloaded(f"the replay database is busy: {exc}") from exc
            if damaged and _is_ours(self._path):
                raise DamagedDatabase(f"the replay database is damaged: {exc}") from exc
            raise ConfigError(f"the replay database {self._path}: {exc}") from exc


def set_aside(path: Path) -> None:
    """Move a damaged file out of the way, its log with it, for whoever examines it.

    Raises:
        ConfigError: it cannot be moved.
    """
    try:
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{path}{suffix}").replace(f"{path}.damaged{suffix}")
    except OSError as exc:
        raise ConfigError(f"cannot set the damaged {path} aside: {exc}") from exc


def _prepare(path: Path) -> None:
    try:
        prepare_private(path)
    except OSError as exc:
        raise ConfigError(f"cannot open the replay database: {exc}") from exc


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError:
        return False
    application_id = header[_APPLICATION_ID_AT]
    return header.startswith(_MAGIC) and application_id == _APPLICATION_ID.to_bytes(4)


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""
