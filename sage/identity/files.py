"""Reading and replacing small files so that nobody sees half of one."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import ConfigError, UsageError

__all__ = [
    "as_database",
    "as_path",
    "exclusive",
    "prepare_private",
    "read_regular",
    "reason",
    "write_atomic",
]


def as_path(path: str | os.PathLike[str]) -> Path:
    """Return a path that the system can be asked about.

    Raises:
        ConfigError: it has a character that no path of this system has: null, or one
            that its encoding cannot write.
        UsageError: neither text nor a path.
    """
    try:
        found = Path(path)
    except TypeError as exc:
        kind = type(path).__name__
        raise UsageError(f"a path is str or os.PathLike, not {kind}") from exc
    if "\0" in str(found):
        raise ConfigError(f"{str(found)!r} has a null character, and is no path")
    try:
        os.fsencode(found)
    except UnicodeEncodeError:
        text = f"{str(found)!r} cannot be written as a path of this system"
        raise ConfigError(text) from None
    return found


def as_database(path: str | os.PathLike[str]) -> Path:
    """Return a path under which SQLite opens that very file, from any folder.

    ``:memory:``, and ``file:`` in front, are no files to SQLite. An absolute path
    begins with neither, and leads to the same place when the process changes folder.

    Raises:
        ConfigError, UsageError: as for `as_path`; or there is no folder to start from.
    """
    found = as_path(path)
    try:
        return found.absolute()
    except OSError as exc:
        raise ConfigError(f"cannot find {found}: {reason(exc)}") from exc


def read_regular(
    path: Path, max_bytes: int, *, private: bool = False, follow: bool = True
) -> bytes:
    """Read a regular file, looking at the very file that was opened.

    Args:
        path: the file; a pipe or a device is refused, not waited for.
        max_bytes: reading stops one byte later, so that the caller sees the excess.
        private: refuse a file that others than its owner may touch (POSIX).
        follow: whether the last part of the path may be a symbolic link.

    Raises:
        ConfigError: not a regular file, or not private.
        OSError: it cannot be opened or read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not follow:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    try:
        _require_regular(path, os.fstat(descriptor), private=private)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(max_bytes + 1)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes, *, mode: int) -> None:
    """Replace a file in one step that survives a loss of power.

    The new content is on the disk under another name before the name changes. That
    other file is readable by its owner alone until it gets ``mode``.

    Raises:
        ConfigError: a pipe or a device is there, which others would miss.
        OSError: it cannot be written; then the old file is still there.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ConfigError(f"{path} is not a regular file")
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:32]}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if os.name == "posix":
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    _sync_folder(path.parent)


def prepare_private(path: Path) -> None:
    """See to it that there is a file, and that only its owner can touch it (0600).

    Where there is none, an empty one is made.

    Raises:
        ConfigError: what is there is not a regular file, or open to others (POSIX).
        OSError: it cannot be made.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    _require_regular(path, path.lstat(), private=True)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Be the only one in this block for a folder, among processes that ask (POSIX).

    Raises:
        ConfigError: somebody else is; nobody waits.
        OSError: the folder cannot be opened.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{folder} is being written by another process") from None
        yield
    finally:
        os.close(descriptor)


def reason(exc: Exception) -> str:
    """Return why, without the path that the caller's own text already has."""
    return getattr(exc, "strerror", None) or str(exc)


def _require_regular(path: Path, status: os.stat_result, *, private: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path} is not a regular file")
    if private and os.name == "posix" and status.st_mode & 0o077:
        raise ConfigError(f"{path} is open to other users: chmod 600 {path}")


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; Windows and some file systems cannot be asked to.

    Nor a folder that may be written and not read. The new content is there already, so
    that is no failure: whoever hears of one counts on the old.
    """
    if os.name != "posix":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
