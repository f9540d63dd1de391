"""Whether a socket holds bytes that nobody has read.

To ask costs a third of what it costs TLS to find that there are none and to say so
with an exception.
"""

from __future__ import annotations

try:
    from fcntl import ioctl
    from termios import FIONREAD
except ImportError:  # Windows

    def has_unread(descriptor: int) -> bool:
        """Return ``True``: there may be some."""
        return True

else:
    _NONE = bytes(4)

    def has_unread(descriptor: int) -> bool:
        """Return whether a stream socket can be read from, its end aside.

        Raises:
            OSError: not an open socket.
        """
        return ioctl(descriptor, FIONREAD, _NONE) != _NONE


__all__ = ["has_unread"]
