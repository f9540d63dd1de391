"""Room for requests over HTTPS: in all, for strangers, and for each peer.

A request is a stranger's until a signature proves whose it is, and a stranger may let
its body and its record take their time. So strangers have half of the places and a
quarter of the bytes that are read, all of them together, and no peer has more of
either: however many come, and however slowly, others find room. A head that a peer has
signed says nothing about how often it was sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import Overloaded
from ..types import Did

__all__ = ["Place", "RequestRoom"]


class RequestRoom:
    """Places for requests, and bytes for their bodies until they are answered.

    Args:
        max_requests: at once.
        max_bytes: of all bodies that are being read.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests, self._max_each = max_requests, -(-max_requests // 2)
        self._max_bytes, self._max_bytes_each = max_bytes, max_bytes // 4
        self._requests = self._bytes = 0
        # None stands for all strangers.
        self._requests_of: Counter[Did | None] = Counter()
        self._bytes_of: Counter[Did | None] = Counter()

    @property
    def bytes(self) -> int:
        """How many are taken."""
        return self._bytes

    @property
    def is_crowded(self) -> bool:
        """Whether strangers have more than their places."""
        return self._requests_of[None] > self._max_each

    @contextmanager
    def enter(self) -> Iterator[Place]:
        """Give a request a place, a stranger's for now.

        Raises:
            Overloaded: there is none.
        """
        if self._requests >= self._max_requests:
            raise Overloaded("too many requests at once")
        self._requests += 1
        self._requests_of[None] += 1
        place = Place(self)
        try:
            yield place
        finally:
            place.release()
            self._requests -= 1
            self._leave(place.peer)

    def _move(self, peer: Did) -> None:
        self._leave(None)
        self._requests_of[peer] += 1
        if self._requests_of[peer] > self._max_each:
            raise Overloaded("too many requests at once of one peer")

    def _leave(self, peer: Did | None) -> None:
        self._requests_of[peer] -= 1
        if not self._requests_of[peer]:
            del self._requests_of[peer]

    def _take(self, peer: Did | None, count: int) -> None:
        self._bytes += count
        self._bytes_of[peer] += count
        if self._bytes > self._max_bytes:
            raise Overloaded("too many bytes at once")
        if self._bytes_of[peer] > self._max_bytes_each:
            raise Overloaded("too many bytes at once of one peer, or of strangers")

    def _release(self, peer: Did | None, count: int) -> None:
        self._bytes -= count
        self._bytes_of[peer] -= count
        if not self._bytes_of[peer]:
            del self._bytes_of[peer]


class Place:
    """The place of one request.

    Attributes:
        peer: whose it was proven to be; ``None`` for a stranger's.
    """

    __slots__ = ("_room", "_taken", "peer")

    def __init__(self, room: RequestRoom) -> None:
        self._room, self._taken = room, 0
        self.peer: Did | None = None

    def give_to(self, peer: Did) -> None:
        """Count it as this peer's from now on, which has proven to be its sender.

        Raises:
            Overloaded: the peer has too much already; the request is to be given up.
        """
        if self.peer is None:
            taken, self._taken = self._taken, 0
            self._room._release(None, taken)
            self.peer = peer
            self._room._move(peer)
            self.take(taken)

    def take(self, count: int) -> None:
        """Count bytes of the body that arrived.

        Raises:
            Overloaded: there is no room for them; the request is to be given up.
        """
        self._taken += count
        self._room._take(self.peer, count)

    def release(self) -> None:
        """Count its bytes no longer. Idempotent."""
        taken, self._taken = self._taken, 0
        self._room._release(self.peer, taken)
