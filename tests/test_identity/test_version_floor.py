from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sage
from sage.errors import Code, ConfigError, ResolutionError, UsageError
from sage.identity import (
    AgentRecord,
    SigningKey,
    VersionFloor,
    add_keys,
    deactivate,
    revoke_key,
)
from sage.identity.revocations import AGENT_MARK, MARKS_MAX, Standing
from sage.types import Did

from ..damage import damage

ADA = Did("did:sage:web:agents.example:ada")
EVE = Did("did:sage:web:agents.example:eve")
ONE, TWO = b"1" * 32, b"2" * 32


@pytest.fixture
def floor() -> Iterator[VersionFloor]:
    floor = VersionFloor()
    yield floor
    floor.close()


def is_stale(floor: VersionFloor, version: int, digest: bytes = ONE) -> bool:
    try:
        floor.check(ADA, version, digest)
    except ResolutionError as exc:
        if exc.code is not Code.RECORD_STALE:
            raise
        return True
    return False


def test_versions_never_go_back(floor: VersionFloor) -> None:
    assert not is_stale(floor, 3)
    assert not is_stale(floor, 3)
    assert is_stale(floor, 2)
    assert not is_stale(floor, 9)
    assert is_stale(floor, 3)
    assert is_stale(floor, 8)
    assert not is_stale(floor, 9)


def test_one_version_has_one_content(floor: VersionFloor) -> None:
    assert not is_stale(floor, 3, ONE)
    assert is_stale(floor, 3, TWO)
    assert not is_stale(floor, 3, ONE)
    assert not is_stale(floor, 4, TWO)
    assert is_stale(floor, 4, ONE)


def test_agents_do_not_share_a_floor(floor: VersionFloor) -> None:
    assert not is_stale(floor, 9)
    floor.check(EVE, 1, TWO)
    assert is_stale(floor, 8)


def test_versions_use_all_64_bits(floor: VersionFloor) -> None:
    for version in (9, 10, 2**63 - 1, 2**63, 2**64 - 1):
        assert not is_stale(floor, version)
        assert is_stale(floor, version - 1)


@settings(deadline=None)
@given(
    reads=st.lists(
        st.tuples(st.integers(1, 5) | st.integers(1, 2**64 - 1), st.booleans())
    )
)
def test_the_floor_is_the_highest_version_and_its_first_content(
    reads: list[tuple[int, bool]],
) -> None:
    floor, highest, content = VersionFloor(), 0, b""
    for version, which in reads:
        digest = ONE if which else TWO
        stale = version < highest or (version == highest and digest != content)
        assert is_stale(floor, version, digest) is stale
        if version > highest:
            highest, content = version, digest
    floor.close()


def test_a_power_cut_forgets_nothing(tmp_path: Path) -> None:
    for path, synchronous in ((tmp_path / "floor.db", 2), ("", 0)):  # FULL, OFF
        floor = VersionFloor(path)
        (level,) = floor._database.execute("PRAGMA synchronous").fetchone()
        assert level == synchronous
        floor.close()


def test_what_was_revoked_since_has_no_standing(floor: VersionFloor) -> None:
    marks = frozenset([b"a key"])
    floor.require_standing(ADA, Standing(accepted=marks))
    floor.check(ADA, 1, ONE, Standing(revoked=marks))
    with pytest.raises(ResolutionError) as caught:
        floor.require_standing(ADA, Standing(accepted=marks))
    assert caught.value.code is Code.RECORD_INVALID
    floor.require_standing(EVE, Standing(accepted=marks))


def test_a_file_remembers_across_restarts(tmp_path: Path) -> None:
    path = tmp_path / "floor.sqlite"
    first = VersionFloor(path)
    assert not is_stale(first, 5)
    first.close()
    second, third = VersionFloor(path), VersionFloor(str(path))
    assert is_stale(second, 4)
    assert not is_stale(second, 6)
    assert is_stale(third, 5)
    second.close()
    third.close()


@pytest.mark.parametrize("name", [":memory:", "file:x?mode=memory", "floor.db"])
@pytest.mark.skipif(os.name != "posix", reason="elsewhere no file is named so")
def test_a_name_is_a_file_whatever_sqlite_takes_it_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = VersionFloor(name)
    assert not is_stale(first, 5)
    first.close()
    second = VersionFloor(name)
    assert is_stale(second, 4)
    second.close()


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_nobody_else_can_make_it_forget(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        floor = VersionFloor(tmp_path / "floor")
        assert not is_stale(floor, 5)
        modes = {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
        floor.close()
    finally:
        os.umask(previous)
    assert modes == {0o600}


@pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")
def test_what_others_can_change_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "floor"
    VersionFloor(path).close()
    for bits in (0o620, 0o602, 0o644):
        path.chmod(bits)
        with pytest.raises(ConfigError, match="chmod 600"):
            VersionFloor(path)
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(ConfigError, match="not a regular file"):
        VersionFloor(tmp_path / "link")
    VersionFloor(path).close()


def test_threads_share_a_floor(floor: VersionFloor) -> None:
    wrong: list[object] = []

    def climb() -> None:
        for version in range(1, 50):
            try:
                floor.check(ADA, version, ONE)
            except ResolutionError as exc:
                if exc.code is not Code.RECORD_STALE:
                    wrong.append(exc)

    threads = [threading.Thread(target=climb) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert is_stale(floor, 48)
    assert not is_stale(floor, 49)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to look at" * 9)
    (tmp_path / "text").chmod(0o600)
    for path in (tmp_path / "no" / "floor", tmp_path, tmp_path / "text", "nul\0"):
        with pytest.raises(ConfigError):
            VersionFloor(path)


@pytest.mark.parametrize("name", ["account", "sqlitebrowser"])
def test_nothing_is_written_into_the_database_of_another_program(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "other"
    other = sqlite3.connect(path)
    other.execute(f"CREATE TABLE {name} (balance)")
    other.close()
    path.chmod(0o600)
    content = path.read_bytes()
    with pytest.raises(ConfigError, match="not a version floor"):
        VersionFloor(path)
    assert path.read_bytes() == content


def test_a_damaged_name_is_not_a_floor(tmp_path: Path) -> None:
    path = tmp_path / "floor"
    VersionFloor(path).close()
    damage(
        path,
        (b"tablefloor", b"tablefl\xc8or"),
        (b"CREATE TABLE floor", b"CREATE TABL\xc8 floor"),
    )
    with pytest.raises(ConfigError, match="not a version floor"):
        VersionFloor(path)


def test_without_its_memory_it_refuses(tmp_path: Path) -> None:
    closed = VersionFloor()
    closed.close()
    broken = VersionFloor(tmp_path / "floor")
    assert not is_stale(broken, 1)
    other = sqlite3.connect(tmp_path / "floor", isolation_level=None)
    other.execute("UPDATE floor SET version = 'many'")
    foreign = VersionFloor(tmp_path / "floor")
    other.execute("DROP TABLE floor")
    other.close()
    for floor in (closed, foreign):
        with pytest.raises(ResolutionError) as caught:
            floor.check(ADA, 1, ONE)
        assert caught.value.code is Code.RECORD_UNREACHABLE
    broken.close()
    foreign.close()


def test_a_version_that_is_no_number_is_refused(tmp_path: Path) -> None:
    floor = VersionFloor(tmp_path / "floor")
    assert not is_stale(floor, 1)
    other = sqlite3.connect(tmp_path / "floor", isolation_level=None)
    other.execute("UPDATE floor SET version = 'many'")
    other.close()
    with pytest.raises(ResolutionError) as caught:
        floor.check(ADA, 2, ONE)
    assert caught.value.code is Code.RECORD_UNREACHABLE
    floor.close()


# --- revocations ----------------------------------------------------------------------


def refused_as(floor: VersionFloor, record: AgentRecord) -> Code | None:
    try:
        floor.admit(record)
    except ResolutionError as exc:
        return exc.code
    return None


def renumbered(record: AgentRecord, version: int) -> AgentRecord:
    return replace(record, version=version)


@pytest.fixture
def history() -> tuple[AgentRecord, AgentRecord, AgentRecord]:
    """Two signing keys; then one of them; then none, and so no agent."""
    ada = sage.Agent.generate(ADA)
    extra = SigningKey.generate(f"{ADA}#sign-2")
    both = add_keys(ada.record, [extra], (), endorser=ada.signing_key)
    one = revoke_key(both, "sign-2", unix_time=1)
    return both, one, deactivate(one)


def test_a_revoked_key_never_comes_back(floor: VersionFloor, history) -> None:
    both, one, _ = history
    assert refused_as(floor, both) is None
    assert refused_as(floor, one) is None
    assert refused_as(floor, both) is Code.RECORD_STALE
    # Not in a newer version either, and not after any number of lawful ones.
    assert refused_as(floor, renumbered(both, 99)) is Code.RECORD_INVALID
    assert refused_as(floor, renumbered(one, 100)) is None
    assert refused_as(floor, renumbered(both, 101)) is Code.RECORD_INVALID


def test_a_deactivated_agent_never_comes_back(floor: VersionFloor, history) -> None:
    _, one, none = history
    assert refused_as(floor, none) is None
    assert refused_as(floor, renumbered(one, 99)) is Code.RECORD_INVALID
    assert refused_as(floor, renumbered(none, 99)) is None


def test_its_name_and_its_bytes_are_gone(floor: VersionFloor, history) -> None:
    both, one, _ = history
    floor.admit(one)
    lost = both.entry("sign-2")
    assert lost is not None
    renamed = replace(lost, name="sign-3")
    other = sage.Agent.generate(ADA).record.entry("sign-1")
    assert other is not None
    for entry in (renamed, replace(other, name="sign-2")):
        keys = tuple(e for e in one.keys if e.name != "sign-2")
        crafted = replace(one, keys=(*keys, entry), version=50)
        assert refused_as(floor, crafted) is Code.RECORD_INVALID


def test_a_revocation_counts_though_its_record_is_refused(
    floor: VersionFloor, history
) -> None:
    """A registry that is behind, or another one, knows of a revocation."""
    both, one, _ = history
    ahead = renumbered(both, 50)
    assert refused_as(floor, ahead) is None
    assert refused_as(floor, one) is Code.RECORD_STALE
    assert refused_as(floor, ahead) is Code.RECORD_INVALID


def test_each_revocation_is_learned_once(floor: VersionFloor, history) -> None:
    both, one, _ = history
    assert refused_as(floor, both) is None
    assert floor.revocations == 0
    assert refused_as(floor, one) is None
    learned = floor.revocations
    assert learned == 2  # the name and the key
    for version in (100, 101, 102):
        assert refused_as(floor, renumbered(one, version)) is None
    assert floor.revocations == learned


def test_revocations_survive_a_restart(tmp_path: Path, history) -> None:
    both, one, _ = history
    for _ in range(2):
        floor = VersionFloor(tmp_path / "floor")
        assert refused_as(floor, one) is None
        assert refused_as(floor, renumbered(both, 99)) is Code.RECORD_INVALID
        floor.close()


def test_revocations_reach_other_processes(tmp_path: Path, history) -> None:
    both, one, _ = history
    ours, theirs = VersionFloor(tmp_path / "floor"), VersionFloor(tmp_path / "floor")
    assert refused_as(ours, both) is None
    assert refused_as(theirs, one) is None
    assert refused_as(ours, renumbered(both, 99)) is Code.RECORD_INVALID
    ours.close()
    theirs.close()


def test_an_agent_with_unlawfully_many_revocations_is_over(floor: VersionFloor) -> None:
    for number in range(300):
        marks = frozenset([number.to_bytes(16, "big")])
        floor.check(ADA, 1 + number, ONE, Standing(revoked=marks))
        if floor._database.execute(  # as far as a lawful history goes
            "SELECT count(*) FROM revoked"
        ).fetchone() == (MARKS_MAX,):
            break
    more = Standing(revoked=frozenset([b"x" * 16]), accepted=frozenset([AGENT_MARK]))
    for version in (500, 501):
        with pytest.raises(ResolutionError) as caught:
            floor.check(ADA, version, ONE, more)
        assert caught.value.code is Code.RECORD_INVALID
    (kept,) = floor._database.execute("SELECT count(*) FROM revoked").fetchone()
    assert kept == MARKS_MAX + 1


# --- bounds ---------------------------------------------------------------------------


def agent(number: int) -> Did:
    return Did(f"did:sage:web:agents.example:agent-{number}")


def held(floor: VersionFloor) -> int:
    (count,) = floor._database.execute("SELECT count(*) FROM floor").fetchone()
    return int(count)


def test_a_flood_of_names_ends_somewhere() -> None:
    floor = VersionFloor(max_agents=100)
    for number in range(1000):
        floor.check(agent(number), 1, ONE)
        assert number == 0 or is_stale(floor, 4)
        floor.check(ADA, 5, ONE)  # seen all the time, and so it stays
        assert held(floor) <= 100
    assert held(floor) > 90
    floor.close()


def test_a_flood_washes_no_revocation_away() -> None:
    floor = VersionFloor(max_agents=10)
    mark = frozenset([AGENT_MARK])
    for number in range(5):
        floor.check(agent(number), 1, ONE, Standing(revoked=mark))
    for number in range(100, 200):
        floor.check(agent(number), 1, ONE)
    for number in range(5):
        with pytest.raises(ResolutionError) as caught:
            floor.check(agent(number), 2, TWO, Standing(accepted=mark))
        assert caught.value.code is Code.RECORD_INVALID
    floor.close()


def test_full_of_revocations_it_takes_no_more_agents() -> None:
    floor = VersionFloor(max_agents=3)
    over = Standing(revoked=frozenset([AGENT_MARK]))
    for number in range(3):
        floor.check(agent(number), 1, ONE, over)
    with pytest.raises(ResolutionError) as caught:
        floor.check(agent(3), 1, ONE)
    assert caught.value.code is Code.RECORD_UNREACHABLE
    floor.check(agent(2), 2, ONE, over)  # those that it knows go on
    floor.close()


@pytest.mark.parametrize("size", [0, -1, 1.5, True, 2**63])
def test_a_size_that_is_none(size: object) -> None:
    with pytest.raises(UsageError):
        VersionFloor(max_agents=size)  # type: ignore[arg-type]


def test_several_open_a_new_file_at_once(tmp_path: Path) -> None:
    made: list[VersionFloor] = []

    def open_it() -> None:
        made.append(VersionFloor(tmp_path / "floor"))

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    for floor in made:
        floor.check(ADA, 1, ONE)
        floor.close()


def test_one_that_is_dropped_closes_its_file(tmp_path: Path) -> None:
    floor = VersionFloor(tmp_path / "floor")
    database = floor._database
    del floor
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database.execute("SELECT 1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("name", ["", "floor"])
def test_what_a_fork_copied_refuses(held: bool, name: str, tmp_path: Path) -> None:
    """Not even where another thread was at work in it when the process forked."""
    floor = VersionFloor(tmp_path / name if name else "")
    floor.check(ADA, 5, ONE)
    if held:
        floor._lock.acquire()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            assert refused_in_copy(lambda: floor.check(ADA, 6, ONE))
            assert refused_in_copy(lambda: floor.require_standing(ADA, Standing()))
            floor.close()
            os._exit(0)
        finally:
            os._exit(1)
    if held:
        floor._lock.release()
    assert os.waitpid(child, 0)[1] == 0
    floor.check(ADA, 5, ONE)
    floor.close()


def refused_in_copy(ask: Callable[[], None]) -> bool:
    try:
        ask()
    except ResolutionError as exc:
        return exc.code is Code.RECORD_UNREACHABLE
    return False
