"""Writes received files below one folder, whatever their senders call them.

Each name on the way down is opened relative to the folder above it, without following
links: a link that somebody planted is refused, not followed. A file grows under a
name of its own and gets its own name in one step, when it is complete.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ..errors import ConfigError

__all__ = ["SaveFolder", "Saving"]

_FOLDER: Final = (
    os.O_RDONLY
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
_NEW: Final = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
_MORE: Final = (
    os.O_WRONLY
    | os.O_APPEND
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


class SaveFolder:
    """The folder below which files arrive.

    Args:
        top: the folder; made if it is not there. It may be a link, its owner's.

    Raises:
        ConfigError: it cannot be opened, or the system cannot open files relative
            to a folder (Windows).
    """

    def __init__(self, top: str | os.PathLike[str]) -> None:
        if not {os.open, os.mkdir, os.rename, os.unlink} <= os.supports_dir_fd:
            raise ConfigError("this system cannot save received files safely")
        try:
            Path(top).mkdir(parents=True, exist_ok=True)
            self._top = os.open(top, _FOLDER & ~getattr(os, "O_NOFOLLOW", 0))
        except OSError as exc:
            raise ConfigError(f"cannot save below {top}: {exc.strerror}") from exc

    def begin(self) -> Saving:
        """Start a file that has no name yet.

        Raises:
            OSError: it cannot be made.
        """
        return Saving(self._top)

    def close(self) -> None:
        """Let go of the folder. Idempotent."""
        if self._top >= 0:
            os.close(self._top)
        self._top = -1


class Saving:
    """One file on its way; made by `SaveFolder.begin`."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._name = f".sage-{secrets.token_hex(8)}.part"
        os.close(os.open(self._name, _NEW, 0o600, dir_fd=top))

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            OSError: the disk is full, or the file is gone.
        """
        # Opened anew each time: a thousand transfers may be open, descriptors may not.
        with open(os.open(self._name, _MORE, dir_fd=self._top), "wb") as file:
            file.write(data)

    def finish(self, path: str) -> None:
        """Give the file its name; a file of that name is replaced (mode 0600).

        Args:
            path: as from `check_path`.

        Raises:
            OSError: a part of the path is a link or a file, or is not permitted.
        """
        *folders, name = path.split("/")
        with _descended(self._top, folders) as folder:
            os.rename(self._name, name, src_dir_fd=self._top, dst_dir_fd=folder)

    def discard(self) -> None:
        """Remove what has arrived. Idempotent."""
        with suppress(OSError):
            os.unlink(self._name, dir_fd=self._top)


@contextmanager
def _descended(top: int, folders: list[str]) -> Iterator[int]:
    """Open the folder below ``top``, making what is missing, following no link."""
    here = os.dup(top)
    try:
        for name in folders:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=here)
            below = os.open(name, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)
