"""Which files a path stands for, and how one of them is read in parts."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ..errors import ConfigError
from .receipts import PART_MAX_BYTES

__all__ = ["Found", "SourceFile", "find_files"]


@dataclass(frozen=True, slots=True)
class Found:
    """One entry below a folder.

    Attributes:
        file: where it is.
        path: its name for the receiver, relative, with ``/``.
        size: in bytes, when it was seen.
        note: why it is not sent; ``None`` when it is.
    """

    file: Path
    path: str
    size: int = 0
    note: str | None = None


def find_files(top: Path) -> Iterator[Found]:
    """Yield a file, or everything below a folder: its files, then its folders, by name.

    Links below the folder are not followed; they, and everything else that is not a
    regular file, come with a note.

    Raises:
        ConfigError: ``top``, or something below it, cannot be read.
    """
    try:
        status = top.stat()
        if stat.S_ISDIR(status.st_mode):
            yield from _below(top, "")
        else:
            file = top.resolve()
            yield _found(file, file.name, status)
    except OSError as exc:
        name = exc.filename or top
        raise ConfigError(f"cannot read {name}: {exc.strerror}") from exc


class SourceFile:
    """An open regular file that is read once, in parts, and must not change.

    Args:
        found: which file.

    Raises:
        OSError: it cannot be opened.
        ConfigError: it is not a regular file any more.
    """

    def __init__(self, found: Found) -> None:
        # By an opener: its descriptor is closed where a folder took the file's place.
        self._file = open(found.file, "rb", buffering=0, opener=_open)  # noqa: SIM115
        status = os.fstat(self._file.fileno())
        if not stat.S_ISREG(status.st_mode):
            self._file.close()
            raise ConfigError("it is not a regular file any more")
        self._status = status
        self._left = status.st_size

    @property
    def size(self) -> int:
        """In bytes, when it was opened."""
        return self._status.st_size

    def read(self) -> bytes:
        """Return the next part: 1 MiB, or what is left.

        Raises:
            OSError: it cannot be read.
            ConfigError: it was changed since it was opened.
        """
        wanted = min(PART_MAX_BYTES, self._left)
        pieces: list[bytes] = []
        while wanted and (piece := self._file.read(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
            self._left -= len(piece)
        if not self._left or wanted:
            self._require_unchanged(wanted)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def _require_unchanged(self, missing: int) -> None:
        before, after = self._status, os.fstat(self._file.fileno())
        same = (before.st_size, before.st_mtime_ns) == (
            after.st_size,
            after.st_mtime_ns,
        )
        if missing or not same:
            raise ConfigError("it was changed while it was read")


# Not waiting for whoever feeds a pipe that took the file's place.
_READ: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


def _open(path: str, _flags: int) -> int:
    return os.open(path, _READ)


def _below(top: Path, prefix: str) -> Iterator[Found]:
    folders = [(top, prefix)]
    while folders:
        folder, prefix = folders.pop()
        below: list[tuple[Path, str]] = []
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                below.append((Path(entry.path), path + "/"))
            else:
                yield _found(Path(entry.path), path, entry.stat(follow_symlinks=False))
        folders += reversed(below)  # the last is the next


def _found(file: Path, path: str, status: os.stat_result) -> Found:
    if stat.S_ISREG(status.st_mode):
        return Found(file, path, status.st_size)
    kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a regular file"
    return Found(file, path, note=kind)
