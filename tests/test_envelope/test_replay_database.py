"""The file itself: whose it is, who may read it, and what is noticed about it."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sage.envelope.replay_database import DamagedDatabase, ReplayDatabase, set_aside
from sage.envelope.replay_guard import Watch
from sage.errors import ConfigError, Overloaded

from ..damage import damage

Open = Callable[..., ReplayDatabase]
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX file modes")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "replay.db"


@pytest.fixture
def open_database(path: Path) -> Iterator[Open]:
    made: list[ReplayDatabase] = []

    def build(*, assume_no_history: bool = True) -> ReplayDatabase:
        made.append(ReplayDatabase(path, now=5.0, assume_no_history=assume_no_history))
        return made[-1]

    yield build
    for database in made:
        database.abandon()


@posix
def test_all_files_are_private_whatever_the_umask(
    path: Path, open_database: Open
) -> None:
    before = os.umask(0)
    try:
        with open_database().transaction() as connection:
            connection.execute("INSERT INTO reservation VALUES (x'00', 1)")
    finally:
        os.umask(before)
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == [
        "replay.db",
        "replay.db-shm",
        "replay.db-wal",
    ]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_open_to_others_is_refused(
    mode: int, path: Path, open_database: Open
) -> None:
    open_database().close()
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        open_database()


@posix
def test_a_link_is_not_followed(
    path: Path, tmp_path: Path, open_database: Open
) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="not a regular file"):
        open_database()
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_is_not_a_file(path: Path, open_database: Open) -> None:
    path.mkdir()
    with pytest.raises(ConfigError):
        open_database()


def test_a_missing_folder_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot open"):
        ReplayDatabase(tmp_path / "no" / "db", now=None, assume_no_history=True)


@pytest.mark.parametrize(
    "content", [b"my keys", bytes(8192), b"SQLite format 3\0" * 99]
)
def test_somebody_elses_file_is_left_alone(
    content: bytes, path: Path, open_database: Open
) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        open_database()
    assert type(caught.value) is ConfigError
    assert path.read_bytes() == content


def test_somebody_elses_database_is_left_alone(path: Path, open_database: Open) -> None:
    for statement in ("CREATE TABLE mine (a)", "PRAGMA application_id = 7"):
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.close()
        path.chmod(0o600)
        content = path.read_bytes()
        with pytest.raises(ConfigError, match="not a replay database"):
            open_database()
        assert path.read_bytes() == content
        connection = sqlite3.connect(path)
        connection.execute("DROP TABLE IF EXISTS mine")
        connection.close()


def test_somebody_elses_damaged_name_is_left_alone(
    path: Path, open_database: Open
) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE account (balance)")
    connection.close()
    path.chmod(0o600)
    damage(
        path,
        (b"tableaccount", b"tableacc\xc8unt"),
        (b"CREATE TABLE account", b"CREATE TABL\xc8 account"),
    )
    content = path.read_bytes()
    with pytest.raises(ConfigError) as caught:
        open_database()
    assert type(caught.value) is ConfigError
    assert path.read_bytes() == content


def test_an_empty_file_is_a_new_one(path: Path, open_database: Open) -> None:
    path.touch(0o600)
    assert open_database().load() == (Watch(), 0)


def test_a_new_file_is_in_quarantine_unless_there_is_no_history(
    open_database: Open,
) -> None:
    database = open_database(assume_no_history=False)
    assert database.load() == (Watch(0, True, 5.0), 0)


def test_what_is_saved_is_loaded_again(open_database: Open) -> None:
    database = open_database()
    for watch in (Watch(7, True, 1.5), Watch(8, True, None), Watch(9, False, 0.0)):
        with database.transaction():
            database.save(watch, 3)
        assert database.load() == (watch, 3)
        assert open_database().load() == (watch, 3)


def test_a_transaction_that_fails_leaves_nothing(open_database: Open) -> None:
    database = open_database()

    def fail() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO reservation VALUES (x'00', 1)")
            database.save(Watch(7), 1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert database.load() == (Watch(), 0)
    with database.transaction() as connection:
        rows = connection.execute("SELECT count(*) FROM reservation").fetchone()
    assert rows == (0,)


def test_only_one_transaction_at_a_time(open_database: Open) -> None:
    first, second = open_database(), open_database()
    with (
        first.transaction(),
        pytest.raises(Overloaded, match="busy"),
        second.transaction(),
    ):
        pass


def test_several_may_make_the_file_at_once(path: Path) -> None:
    def make(_: int) -> tuple[Watch, int]:
        database = ReplayDatabase(path, now=None, assume_no_history=True)
        try:
            return database.load()
        finally:
            database.close()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(make, range(32))) == [(Watch(), 0)] * 32


def clean_mark(path: Path) -> int:
    connection = sqlite3.connect(path)
    (mark,) = connection.execute("SELECT clean FROM state").fetchone()
    connection.close()
    return int(mark)


def test_the_mark_of_closing_in_order(path: Path, open_database: Open) -> None:
    first = open_database()
    assert clean_mark(path) == 0
    second = open_database()
    first.close()
    assert clean_mark(path) == 1
    # Whoever goes on takes it off before it writes.
    with second.transaction():
        assert clean_mark(path) == 0
    second.close()
    assert clean_mark(path) == 1
    # Or, when it starts, at once.
    open_database().abandon()
    assert clean_mark(path) == 0


def test_the_mark_is_off_though_another_closes_while_it_is_taken_off(
    path: Path, open_database: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, others = open_database(), [open_database(), open_database()]
    mark = ReplayDatabase._mark

    def close_another(self: ReplayDatabase, *, clean: bool) -> None:
        mark(self, clean=clean)
        if self is ours and others:
            others.pop().close()

    monkeypatch.setattr(ReplayDatabase, "_mark", close_another)
    others.pop().close()
    with ours.transaction():
        assert clean_mark(path) == 0
    assert not others


def test_the_mark_is_synced_and_the_rest_does_not_wait(
    open_database: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if "clean = " in sql:
                modes.extend(super().execute("PRAGMA synchronous").fetchone())
            return super().execute(sql, *values)

    real = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *to, **how: real(*to, factory=Watched, **how)
    )
    first = open_database()
    normal, full = 1, 2
    with first.transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (normal,)
    open_database().close()
    with first.transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (normal,)
    assert modes == [full] * 4  # two opened, one closed, and its mark taken back
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (500,)


def test_closing_in_order_leaves_one_file(path: Path, open_database: Open) -> None:
    open_database().close()
    assert [file.name for file in path.parent.iterdir()] == ["replay.db"]


def test_the_file_in_place_is_recognised(path: Path, open_database: Open) -> None:
    database = open_database()
    assert database.is_in_place()
    path.rename(path.with_name("moved"))
    assert not database.is_in_place()
    path.touch(0o600)
    assert not database.is_in_place()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM state",
        "UPDATE state SET clock = 'noon'",
        "UPDATE state SET since = 'dawn'",
        "UPDATE state SET entries = 1.5",
    ],
)
def test_a_state_that_makes_no_sense_is_damage(
    statement: str, path: Path, open_database: Open
) -> None:
    open_database().close()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(DamagedDatabase):
        open_database()


def test_a_damaged_page_is_noticed_on_opening(path: Path, open_database: Open) -> None:
    database = open_database()
    with database.transaction() as connection:
        connection.executemany(
            "INSERT INTO reservation VALUES (?, 1)",
            [(number.to_bytes(16),) for number in range(2000)],
        )
    database.close()
    content = bytearray(path.read_bytes())
    pages = len(content) // 4096
    assert pages > 10
    for page in range(pages):
        damaged = content.copy()
        damaged[4096 * page + 100 : 4096 * page + 140] = b"\xff" * 40
        damaged[4096 * page + 0 + 100 * (page == 0)] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(DamagedDatabase):
            open_database()


def test_a_damaged_name_is_damage(path: Path, open_database: Open) -> None:
    open_database().close()
    damage(
        path,
        (b"tablereservation", b"tablereserv\xc8tion"),
        (b"CREATE TABLE reservation", b"CREATE TABL\xc8 reservation"),
    )
    with pytest.raises(DamagedDatabase):
        open_database()


def test_setting_aside_moves_the_log_along(path: Path, open_database: Open) -> None:
    database = open_database()
    with database.transaction():
        pass
    set_aside(path)
    assert sorted(file.name for file in path.parent.iterdir()) == [
        *("replay.db.damaged", "replay.db.damaged-shm", "replay.db.damaged-wal")
    ]
    set_aside(path)  # nothing there: nothing to do


def test_what_cannot_be_moved_is_a_config_error(
    path: Path, open_database: Open
) -> None:
    open_database().close()
    Path(f"{path}.damaged").mkdir()
    with pytest.raises(ConfigError, match="aside"):
        set_aside(path)
