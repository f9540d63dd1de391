"""A socket that brings nothing, to stand in for one that brings too much."""

from __future__ import annotations

import contextlib
import os
import socket
import sys

__all__ = ["DeadEnd"]


class DeadEnd:
    """Takes the place of one socket at a time, within its own descriptor.

    What a socket is read from is shut down in vain: Linux lets it be read until its
    queue is empty, and that may hold megabytes. So its descriptor is made another
    socket's, whose peer is gone. What it was before is kept beside it, and goes back
    before anybody else looks: neither the loop that watches the descriptor nor the
    peer notices.

    Both descriptors that this takes are there from the beginning, for under attack
    there may be none left.

    Raises:
        OSError: there are none.
    """

    __slots__ = ("_end", "_kept")

    def __init__(self) -> None:
        self._end, other = socket.socketpair()
        other.close()
        try:
            self._kept = self._end.dup()
        except OSError:
            self._end.close()
            raise

    @classmethod
    def open(cls) -> DeadEnd | None:
        """Return one, or ``None`` where there is none to be had or it is not needed.

        Other systems give nothing away any more of a socket that is shut down. And
        Windows knows no such descriptors.
        """
        if sys.platform != "linux":
            return None
        try:
            return cls()
        except OSError:
            return None

    def take(self, sock: socket.socket) -> bool:
        """Stand in for a socket; return whether that was possible."""
        try:
            _replace(self._kept, sock)
            _replace(sock, self._end)
        except OSError:
            with contextlib.suppress(OSError):
                _replace(self._kept, self._end)
            return False
        return True

    def give_back(self, sock: socket.socket) -> None:
        """Make the socket what it was."""
        with contextlib.suppress(OSError):
            _replace(sock, self._kept)
            _replace(self._kept, self._end)

    def close(self) -> None:
        """Give the descriptors back. Idempotent."""
        self._end.close()
        self._kept.close()


def _replace(sock: socket.socket, by: socket.socket) -> None:
    # One step for whoever reads it at this moment: there is always something there.
    os.dup2(by.fileno(), sock.fileno(), inheritable=False)
