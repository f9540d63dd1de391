from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage.errors import Code, ConfigError, ResolutionError
from sage.identity import VersionFloor
from sage.types import Did

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
    for path in (tmp_path / "no" / "floor", tmp_path, tmp_path / "text", "nul\0"):
        with pytest.raises(ConfigError):
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
