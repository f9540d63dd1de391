"""The records of a stream, in order: what is sealed next, what may be opened next.

No I/O. STREAM runs over connections that keep order, so a record that is not the next
one means that somebody between the two ends took some away: it is refused. Three
things are this project's own additions to STREAM:

* **The end.** An authenticated record without plaintext ends its direction. A
  connection that ends before it was cut off.
* **The switch.** A stream outlives its session by a successor: the receiver tries
  the running session first, then each successor that it was told of, and a record
  authenticates under exactly one of them. Each direction switches by itself.
* **The seam.** The first record of a successor in each direction carries, as its
  associated data, be64(the number of records that its predecessor carried there).
  Nobody can drop the predecessor's last records without being noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from ..errors import BatchError, Code, ProtocolError, SageError, UsageError
from ..limits import RECORD_MIN_BYTES, STREAM_SUCCESSORS_MAX
from ..session import Session
from ..types import Buffer

__all__ = ["Records"]


class Records:
    """Both directions of one stream. It owns its sessions and closes them.

    Attributes:
        out_ended: our direction has ended; nothing more can be sealed.
        in_ended: the peer's direction has ended; nothing more may arrive.
    """

    __slots__ = ("_aad_out", "_in", "_out", "_successors", "in_ended", "out_ended")

    def __init__(self, session: Session) -> None:
        self._in = self._out = session
        self._successors: list[Session] = []
        self._aad_out = b""
        self.out_ended = self.in_ended = False

    @property
    def record_max_bytes(self) -> int:
        """The longest record."""
        limit: int = self._out.profile.record_max_bytes
        return limit

    @property
    def expires_at(self) -> float:
        """When the stream expires as things stand, monotonic seconds."""
        # Either direction keeps the session alive that carries it.
        return max(self._out.expires_at, self._in.expires_at)

    def seal(self, plaintext: Buffer, *, now: float) -> bytes:
        """Return the next record.

        Raises:
            UsageError: empty, too long, or after the end.
            ResourceError: the session is used up, expired or closed.
        """
        try:
            empty = not memoryview(plaintext).nbytes
        except TypeError:
            empty = False  # seal() says what is wrong with it
        if empty:
            raise UsageError("an empty record is the end; end the stream instead")
        return self._seal(plaintext, now)

    def measure(self, plaintexts: Sequence[Buffer]) -> list[int]:
        """Return how long each of some plaintexts is, in bytes.

        Raises:
            UsageError: one of them is not bytes, is empty, or too long for a record.
        """
        limit = self.record_max_bytes - RECORD_MIN_BYTES
        try:
            sizes = [
                len(plaintext)
                if type(plaintext) is bytes
                else memoryview(plaintext).nbytes
                for plaintext in plaintexts
            ]
        except TypeError:
            raise UsageError(
                "a record is made of bytes, or of what is like them"
            ) from None
        if sizes and not (min(sizes) > 0 and max(sizes) <= limit):
            raise UsageError(f"a record carries 1..{limit} bytes")
        return sizes

    def seal_many(self, plaintexts: Sequence[Buffer], *, now: float) -> list[bytes]:
        """Return the next records, one for each plaintext that was measured.

        Raises:
            UsageError: after the end.
            ResourceError: the session is used up, expired or closed.
        """
        if self._aad_out:
            return [self._seal(plaintext, now) for plaintext in plaintexts]
        self._require_out()
        return self._out.seal_many(plaintexts, now=now)

    def end(self, *, now: float) -> bytes:
        """Return the record that ends our direction.

        Raises:
            UsageError: it has ended already.
            ResourceError: the session is used up, expired or closed.
        """
        record = self._seal(b"", now)
        self.out_ended = True
        return record

    def open(self, record: Buffer, *, now: float) -> bytes:
        """Return what the next record carries; ``b""`` is the end.

        Raises:
            DecodeError: not a record.
            AuthenticationError: it does not authenticate (``session.aead``).
            ReplayError, StaleError: it came before.
            ProtocolError: one is missing before it (``session.window``), or it
                comes after the end (``frame.malformed``).
            ResourceError: the session is used up, expired or closed.
        """
        if self.in_ended:
            raise _after_the_end()
        try:
            plaintext = self._in.open(record, now=now)
        except SageError as exc:
            plaintext = self._open_successor(record, now, exc)
        if int.from_bytes(memoryview(record)[:8], "big") != self._in.received - 1:
            raise _missing()
        self.in_ended = not plaintext
        return plaintext

    def open_many(
        self, records: Sequence[bytes], *, now: float
    ) -> tuple[list[bytes], SageError | None]:
        """Open the next records, up to the first that is not what comes next.

        Returns:
            What they carry, as `open` returns it, and what is wrong with the first
            that did not open, as `open` raises it; ``None`` where all did.
        """
        if self._successors:
            return self._open_singly(records, now)
        expected = self._in.received
        errors: dict[int, SageError] = {}
        opened: Sequence[bytes | None]
        try:
            opened = self._in.open_many(records, now=now)
        except BatchError as exc:
            opened, errors = cast("list[bytes | None]", exc.opened), exc.errors
        except SageError as exc:
            return [], exc
        plaintexts: list[bytes] = []
        for position, plaintext in enumerate(opened):
            if self.in_ended:
                return plaintexts, _after_the_end()
            if plaintext is None:
                return plaintexts, errors[position]
            if int.from_bytes(records[position][:8], "big") != expected + position:
                return plaintexts, _missing()
            plaintexts.append(plaintext)
            self.in_ended = not plaintext
        return plaintexts, None

    def expect(self, successor: Session) -> None:
        """From now on the peer may send under a further session.

        A peer with nothing to send uses none of them: of more than 16, the oldest
        gives way. So many are those that a peer may still use, whose answers to our
        renewals were lost.
        """
        self._successors.append(successor)
        if len(self._successors) > STREAM_SUCCESSORS_MAX:
            self._release(self._successors.pop(0))

    def forget(self, successor: Session) -> None:
        """The peer will not use a successor after all; its keys are wiped."""
        if successor in self._successors:
            self._successors.remove(successor)
        if successor is not self._out and successor is not self._in:
            successor.close()

    def switch(self, successor: Session) -> None:
        """Seal what comes next under a successor that the peer expects."""
        before, self._out = self._out, successor
        # A predecessor that carried nothing leaves the seam to its own predecessor.
        if before.sent or not self._aad_out:
            self._aad_out = before.sent.to_bytes(8, "big")
        self._release(before)

    def close(self) -> None:
        """Wipe every key. Idempotent."""
        for session in (self._in, self._out, *self._successors):
            session.close()

    def _open_singly(
        self, records: Sequence[bytes], now: float
    ) -> tuple[list[bytes], SageError | None]:
        plaintexts: list[bytes] = []
        for record in records:
            try:
                plaintexts.append(self.open(record, now=now))
            except SageError as exc:
                return plaintexts, exc
        return plaintexts, None

    def _require_out(self) -> None:
        if self.out_ended:
            raise UsageError("this direction of the stream has ended")

    def _seal(self, plaintext: Buffer, now: float) -> bytes:
        self._require_out()
        record = self._out.seal(plaintext, self._aad_out, now=now)
        self._aad_out = b""
        return record

    def _open_successor(self, record: Buffer, now: float, error: SageError) -> bytes:
        """Try what may come after the running session; the first to open is next."""
        aad = self._in.received.to_bytes(8, "big")
        for position, successor in enumerate(self._successors):
            try:
                plaintext = successor.open(record, aad, now=now)
            except SageError:
                continue
            skipped = [self._in, *self._successors[:position]]
            del self._successors[: position + 1]
            self._in = successor
            for session in skipped:
                self._release(session)
            return plaintext
        raise error

    def _release(self, session: Session) -> None:
        """Wipe a session that neither direction needs any more."""
        if session is self._in or session is self._out or session in self._successors:
            return
        session.close()


def _missing() -> ProtocolError:
    return ProtocolError("a record is missing", code=Code.SESSION_WINDOW)


def _after_the_end() -> ProtocolError:
    return ProtocolError("a record after the end", code=Code.FRAME_MALFORMED)
