"""The receiving end of the file application: a handler for `Service`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection
from typing import Final

from ..errors import Code, DecodeError, Overloaded, ProtocolError, RemoteFailure
from ..identity import parse_did
from ..service import Clock, Message, Stream
from ..service.logs import Event, fields
from ..types import Did
from .receipts import Part, Receipt
from .saving import SaveFolder, Saving
from .text import printable

__all__ = ["Receiver"]

logger = logging.getLogger("sage.receipts")

_IDLE_S: Final = 120.0


class Receiver:
    """Hashes what arrives, keeps it if there is a folder, answers with receipts.

    A part that is malformed or out of order is answered ``operation_failed`` and
    changes nothing; one too many file at once, ``unavailable``; a sender that is not
    allowed, ``policy_denied``.

    Args:
        folder: where to keep files, each sender's below ``<locator>/<agent-id>``;
            they are hashed and dropped without one.
        allowed: the only agents to receive from; ``None`` for any.
        clock: for tests.
        max_open: unfinished files at once, of all senders. One that has not moved
            for two minutes counts as given up.
        max_open_per_peer: likewise, of each sender.
    """

    def __init__(
        self,
        *,
        folder: SaveFolder | None = None,
        allowed: Collection[str] | None = None,
        clock: Clock | None = None,
        max_open: int = 1024,
        max_open_per_peer: int = 64,
    ) -> None:
        self._folder = folder
        self._allowed = None if allowed is None else frozenset(allowed)
        self._clock = clock if clock is not None else Clock()
        self._max_open, self._max_open_per_peer = max_open, max_open_per_peer
        self._open: dict[tuple[Did, str], _Transfer] = {}

    async def __call__(self, message: Message) -> bytes:
        """Take one part and return its receipt (see `Handler`).

        Raises:
            RemoteFailure: it was not taken; the log says why.
        """
        try:
            self._require_allowed(message.peer)
            return self._take(message.peer, Part.decode(message.payload)).encode()
        except RemoteFailure:
            raise
        except Overloaded as exc:
            raise _refused(message.peer, exc, "unavailable") from exc
        except (DecodeError, ProtocolError, OSError) as exc:
            raise _refused(message.peer, exc, "operation_failed") from exc

    async def serve_stream(self, stream: Stream) -> None:
        """Take parts as records, and answer the last of each file with its receipt.

        Raises:
            RemoteFailure: a part was not taken, which ends the connection.
        """
        self._require_allowed(stream.peer)
        try:
            async for record in stream:
                part = Part.decode(record)
                receipt = self._take(stream.peer, part)
                if part.is_last:
                    await stream.send(receipt.encode())
        except (DecodeError, ProtocolError, Overloaded, OSError) as exc:
            raise _refused(stream.peer, exc, "operation_failed") from exc

    def close(self) -> None:
        """Remove unfinished files."""
        for transfer in self._open.values():
            transfer.discard()
        self._open.clear()

    def _require_allowed(self, peer: Did) -> None:
        if self._allowed is not None and peer not in self._allowed:
            logger.warning("not allowed: %s", peer, extra=fields(Event.DENIED))
            raise RemoteFailure("policy_denied")

    def _take(self, peer: Did, part: Part) -> Receipt:
        key = peer, part.transfer
        transfer = self._open.pop(key, None)
        if transfer is None:
            transfer = self._begin(peer, part)
        else:
            self._open[key] = transfer
            transfer.require_next(part)
            del self._open[key]
        try:
            receipt = transfer.take(part, now=self._clock.now())
        except OSError:
            transfer.discard()
            raise
        if part.is_last:
            logger.info("received %s, %d bytes", printable(part.path), part.size)
        else:
            self._open[key] = transfer
        return receipt

    def _begin(self, peer: Did, part: Part) -> _Transfer:
        if part.offset:
            raise ProtocolError("not the first part", code=Code.FRAME_MALFORMED)
        if not part.is_last:
            self._make_room(peer)
        saving = self._folder.begin() if self._folder is not None else None
        return _Transfer(part, saving, _folder_of(peer))

    def _make_room(self, peer: Did) -> None:
        given_up = self._clock.now() - _IDLE_S
        for key in [k for k, t in self._open.items() if t.moved_at < given_up]:
            self._open.pop(key).discard()
        of_peer = sum(key[0] == peer for key in self._open)
        if len(self._open) >= self._max_open or of_peer >= self._max_open_per_peer:
            raise Overloaded("too many unfinished files")


class _Transfer:
    """One file on its way."""

    __slots__ = (
        "_folder",
        "_hash",
        "_path",
        "_received",
        "_saving",
        "_size",
        "moved_at",
    )

    def __init__(self, part: Part, saving: Saving | None, folder: str) -> None:
        self._path, self._size, self._folder = part.path, part.size, folder
        self._received, self._hash = 0, hashlib.sha256()
        self._saving = saving
        self.moved_at = 0.0

    def require_next(self, part: Part) -> None:
        expected = self._path, self._size, self._received
        if (part.path, part.size, part.offset) != expected:
            raise ProtocolError("not the next part", code=Code.FRAME_MALFORMED)

    def take(self, part: Part, *, now: float) -> Receipt:
        if self._saving is not None:
            self._saving.write(part.data)
            if part.is_last:
                self._saving.finish(f"{self._folder}/{part.path}")
        self._hash.update(part.data)
        self._received, self.moved_at = part.end, now
        return Receipt(
            transfer=part.transfer,
            path=self._path,
            size=self._received,
            sha256=self._hash.hexdigest(),
        )

    def discard(self) -> None:
        if self._saving is not None:
            self._saving.discard()


def _folder_of(peer: Did) -> str:
    """Return the sender's own folder: nobody replaces somebody else's files."""
    name = parse_did(peer)
    return f"{name.locator.replace(':', '_')}/{name.agent_id}"


def _refused(peer: Did, error: Exception, reason: str) -> RemoteFailure:
    what, why = printable(str(error)), fields(Event.DENIED)
    logger.warning("%s from %s: %s", reason, peer, what, extra=why)
    return RemoteFailure(reason)
