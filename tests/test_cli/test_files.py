from __future__ import annotations

import os
from pathlib import Path

import pytest

from sage.cli.files import Found, SourceFile, find_files
from sage.cli.receipts import PART_MAX_BYTES
from sage.errors import ConfigError


def test_everything_below_a_folder_in_order_with_notes(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "é x").write_bytes(b"12")
    (tmp_path / "b" / "empty").write_bytes(b"")
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "c").symlink_to(tmp_path / "b")
    os.mkfifo(tmp_path / "p")
    found = {entry.path: (entry.size, entry.note) for entry in find_files(tmp_path)}
    assert found == {
        "a": (1, None),
        "c": (0, "a symbolic link"),
        "p": (0, "not a regular file"),
        "b/empty": (0, None),
        "b/é x": (2, None),
    }


def test_a_file_stands_for_itself_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        (found,) = find_files(tmp_path / name)
        assert (found.path, found.size) == ("file", 2)
        with SourceFile(found) as source:
            assert source.read() == b"12"


def test_what_is_not_there_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        list(find_files(tmp_path / "none"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(ConfigError, match="closed"):
        list(find_files(tmp_path))


def found(path: Path) -> Found:
    return Found(path, path.name, path.stat().st_size)


@pytest.mark.parametrize(
    "size", [0, 1, PART_MAX_BYTES - 1, PART_MAX_BYTES, PART_MAX_BYTES + 1]
)
def test_a_file_is_read_in_parts(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "x").write_bytes(content)
    with SourceFile(found(tmp_path / "x")) as source:
        assert source.size == size
        first = source.read()
        assert len(first) == min(size, PART_MAX_BYTES)
        rest = source.read() if len(first) < size else b""
    assert first + rest == content


@pytest.mark.parametrize("change", [b"", b"123", b"12345"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, change: bytes
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1234")
    with SourceFile(found(path)) as source:
        path.write_bytes(change)
        with pytest.raises(ConfigError, match="changed while it was read"):
            source.read()


def test_a_file_of_the_same_size_but_another_time_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1234")
    with SourceFile(found(path)) as source:
        path.write_bytes(b"4321")
        os.utime(path, ns=(1, 1))
        with pytest.raises(ConfigError, match="changed while it was read"):
            source.read()


def test_what_took_a_files_place_is_neither_followed_nor_waited_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1")
    entry = found(path)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(OSError):  # noqa: PT011  (ELOOP)
        SourceFile(entry)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="not a regular file"):
        SourceFile(entry)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")
def test_a_folder_that_took_a_files_place_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1")
    entry = found(path)
    path.unlink()
    path.mkdir()

    def into_it() -> int:
        links = (os.path.realpath(f"/proc/self/fd/{fd}") for fd in range(256))
        return sum(link == os.path.realpath(path) for link in links)

    with pytest.raises(OSError, match="directory"):
        SourceFile(entry)
    assert into_it() == 0


def test_files_come_before_folders_and_each_by_name(tmp_path: Path) -> None:
    names = ["b", "z", "a/2", "a/c/1", "a/d/1", "x/1"]
    for name in names[::-1]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [one.path for one in find_files(tmp_path)] == names
