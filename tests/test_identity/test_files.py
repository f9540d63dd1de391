from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from sage.errors import ConfigError
from sage.identity.files import (
    as_database,
    exclusive,
    prepare_private,
    read_regular,
    reason,
    write_atomic,
)

posix = pytest.mark.skipif(os.name != "posix", reason="modes and pipes are POSIX's")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_content_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"one", b"", b"x" * 100_000):
        write_atomic(path, data, mode=0o600)
        assert read_regular(path, 100_000) == data
    assert os.listdir(tmp_path) == ["file"]


@posix
def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    for umask in (0o000, 0o077):
        previous = os.umask(umask)
        try:
            write_atomic(tmp_path / "a", b"a", mode=0o600)
            write_atomic(tmp_path / "b", b"b", mode=0o644)
        finally:
            os.umask(previous)
        assert (mode(tmp_path / "a"), mode(tmp_path / "b")) == (0o600, 0o644)


@posix
def test_a_file_is_private_before_it_has_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, real = [], os.fchmod

    def look(descriptor: int, wanted: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        real(descriptor, wanted)

    monkeypatch.setattr(os, "fchmod", look)
    previous = os.umask(0)
    try:
        write_atomic(tmp_path / "a", b"secret", mode=0o644)
    finally:
        os.umask(previous)
    assert seen == [0o600]


def test_a_failure_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old", mode=0o600)

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="Input/output"):
                write_atomic(path, b"new", mode=0o600)
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["file"]


def test_the_content_is_on_the_disk_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sizes: list[int] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def record(*args: Any, _name: str = name, _real: object = real) -> None:
            order.append(_name)
            if _name == "fsync":
                sizes.append(os.fstat(args[0]).st_size)
            _real(*args)  # type: ignore[operator]

        monkeypatch.setattr(os, name, record)
    write_atomic(tmp_path / "file", b"x", mode=0o600)
    assert order[:2] == ["fsync", "replace"]
    assert sizes[0] == 1  # all of it was there to be synced
    assert os.name != "posix" or order == ["fsync", "replace", "fsync"]


@posix
def test_what_is_replaced_is_not_said_to_be_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that may be written and not read cannot be synced."""
    real = os.open

    def open_no_folder(path: Any, *rest: Any, **more: Any) -> int:
        if path == tmp_path:
            raise PermissionError(errno.EACCES, "not to be read")
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", open_no_folder)
    write_atomic(tmp_path / "a", b"new", mode=0o600)
    assert (tmp_path / "a").read_bytes() == b"new"


def test_reading_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    assert read_regular(path, 3) == b"1234"


@posix
def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
        with pytest.raises(ConfigError, match="not a regular file"):
            read_regular(path, 5)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "absent", 5)


@posix
def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path / "link"):
        with pytest.raises(ConfigError, match="not a regular file"):
            write_atomic(path, b"x", mode=0o600)
    assert pipe.is_fifo()
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "link"}


@posix
def test_links_are_followed_on_request(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "link", 5) == b"x"
    with pytest.raises(OSError, match="symbolic links"):
        read_regular(tmp_path / "link", 5, follow=False)


@posix
@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o610, 0o601, 0o666, 0o620])
def test_private_files_belong_to_their_owner_alone(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    path.chmod(bits)
    assert read_regular(path, 5) == b"x"
    with pytest.raises(ConfigError) as caught:
        read_regular(path, 5, private=True)
    assert f"chmod 600 {path}" in str(caught.value)
    path.chmod(0o600)
    assert read_regular(path, 5, private=True) == b"x"


@posix
@pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")
def test_a_private_file_is_made_or_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "file"
    previous = os.umask(0)
    try:
        prepare_private(path)
    finally:
        os.umask(previous)
    assert mode(path) == 0o600
    path.write_bytes(b"content")
    prepare_private(path)
    assert path.read_bytes() == b"content"
    for bits in (0o640, 0o620, 0o604, 0o602):
        path.chmod(bits)
        with pytest.raises(ConfigError, match="chmod 600"):
            prepare_private(path)
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    for other in (tmp_path / "link", tmp_path):
        with pytest.raises(ConfigError, match="not a regular file"):
            prepare_private(other)
    with pytest.raises(FileNotFoundError):
        prepare_private(tmp_path / "no" / "file")


def test_no_descriptor_is_leaked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        write_atomic(tmp_path / "other", b"12345", mode=0o600)
        read_regular(tmp_path / "file", 1)
        with pytest.raises(ConfigError):
            read_regular(tmp_path, 1)
    assert len(os.listdir("/dev/fd")) == before


@posix
def test_one_writer_at_a_time(tmp_path: Path) -> None:
    failures = []

    def other_thread() -> None:
        try:
            with exclusive(tmp_path):
                pass
        except ConfigError as exc:
            failures.append(str(exc))

    with exclusive(tmp_path):
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
        code = (
            "import sys; from pathlib import Path\n"
            "from sage.identity.files import exclusive\n"
            "from sage.errors import ConfigError\n"
            "try:\n with exclusive(Path(sys.argv[1])): print('in')\n"
            "except ConfigError as exc: print('out')"
        )
        other = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
        )
    assert len(failures) == 1
    assert other.stdout == "out\n"
    with exclusive(tmp_path):
        pass


def test_a_database_is_a_file_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert as_database(":memory:") == tmp_path / ":memory:"
    assert as_database(tmp_path / "a") == tmp_path / "a"


@posix
def test_without_a_working_folder_a_database_is_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(ConfigError):
        as_database("a.db")


def test_reasons_are_short() -> None:
    assert reason(FileNotFoundError(2, "No such file", "path")) == "No such file"
    assert reason(ValueError("embedded null byte")) == "embedded null byte"
