"""Records and sessions.

A session ends after 1,000 records and asv calls ``setup`` before each timed call, so
one call is 1,000 operations: the result in milliseconds is microseconds a record. What
is made in ``setup`` is not measured. Each generation's new key (4 in 1,000 records) is.
Results are dropped as they come, so the figures leave out fresh memory for what an
application keeps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import ClassVar

from sage._accel import backend
from sage._crypto import ChaCha20Poly1305
from sage.session import Session
from sage.types import Role

SEED, TH = bytes(range(32)), bytes(range(32, 64))
RECORDS = 1000
SIZES = [64, 1024, 16384]


def pair() -> tuple[Session, Session]:
    """Make both ends of a session."""
    ada, grace = (Session.v0_10(SEED, TH, role) for role in Role)
    return ada, grace


class Records:
    """A thousand records in one direction."""

    params: ClassVar = [SIZES]
    param_names: ClassVar = ["bytes"]
    number = 1
    warmup_time = 0.1

    def setup(self, size: int) -> None:
        self.plaintext = bytes(size)
        self.ada, self.grace = pair()
        sender, _ = pair()
        self.records = [sender.seal(self.plaintext) for _ in range(RECORDS)]

    def time_seal_1000(self, size: int) -> None:
        seal, plaintext = self.ada.seal, self.plaintext
        for _ in range(RECORDS):
            seal(plaintext)

    def time_open_1000(self, size: int) -> None:
        open_ = self.grace.open
        for record in self.records:
            open_(record)

    def time_round_trip_1000(self, size: int) -> None:
        seal, open_, plaintext = self.ada.seal, self.grace.open, self.plaintext
        for _ in range(RECORDS):
            open_(seal(plaintext))


class Streams:
    """A thousand records of a stream, by each way to seal and open them.

    asv's two runs, with and without the run-time switch, are the two kernels.
    """

    params: ClassVar = [["chacha20poly1305", "aes-256-gcm"], SIZES]
    param_names: ClassVar = ["aead", "bytes"]
    number = 1
    warmup_time = 0.1

    def setup(self, aead: str, size: int) -> None:
        self.ada, self.grace = (
            Session.stream(SEED, TH, bytes(16), role, aead) for role in Role
        )
        sender = Session.stream(SEED, TH, bytes(16), Role.INITIATOR, aead)
        self.plaintexts = [bytes(size)] * RECORDS
        self.rows = memoryview(bytearray(size * RECORDS)).cast("B", (RECORDS, size))
        self.room = memoryview(bytearray(size * RECORDS)).cast("B", (RECORDS, size))
        self.out, self.opened = bytearray(size + 36), bytearray(size)
        self.records = sender.seal_many(self.plaintexts)
        wire = bytearray(b"".join(self.records))
        self.wire = memoryview(wire).cast("B", (RECORDS, size + 36))
        self.sealed = memoryview(bytearray(len(wire))).cast("B", self.wire.shape)

    def time_seal_1000(self, aead: str, size: int) -> None:
        seal = self.ada.seal
        for plaintext in self.plaintexts:
            seal(plaintext)

    def time_seal_into_1000(self, aead: str, size: int) -> None:
        seal_into, out = self.ada.seal_into, self.out
        for plaintext in self.plaintexts:
            seal_into(plaintext, out)

    def time_seal_many_1000(self, aead: str, size: int) -> None:
        self.ada.seal_many(self.plaintexts)

    def time_seal_batch_1000(self, aead: str, size: int) -> None:
        self.ada.seal_batch(self.rows, self.sealed)

    def time_open_1000(self, aead: str, size: int) -> None:
        open_ = self.grace.open
        for record in self.records:
            open_(record)

    def time_open_into_1000(self, aead: str, size: int) -> None:
        open_into, opened = self.grace.open_into, self.opened
        for record in self.records:
            open_into(record, opened)

    def time_open_many_1000(self, aead: str, size: int) -> None:
        self.grace.open_many(self.records)

    def time_open_batch_1000(self, aead: str, size: int) -> None:
        self.grace.open_batch(self.wire, self.room)


class Allocations:
    """Blocks that 1,000 calls leave allocated, with their results alive."""

    unit = "blocks"

    def setup(self) -> None:
        self.ada, self.grace = (
            Session.stream(SEED, TH, bytes(16), role) for role in Role
        )
        self.out = bytearray(100)
        self.results: list[object] = [None] * RECORDS
        self.grace.open(self.ada.seal(bytes(64)))  # makes the engines

    def _blocks(self, act: Callable[[], object]) -> int:
        results = self.results
        act()
        before = sys.getallocatedblocks()
        for index in range(RECORDS):
            results[index] = act()
        return sys.getallocatedblocks() - before

    def track_seal_1000(self) -> int:
        plaintext = bytes(64)
        return self._blocks(lambda: self.ada.seal(plaintext))

    def track_seal_into_1000(self) -> int:
        plaintext = bytes(64)
        return self._blocks(lambda: self.ada.seal_into(plaintext, self.out))

    def track_session_1000(self) -> int:
        return self._blocks(lambda: Session.v0_10(SEED, TH, Role.INITIATOR))


class Engine:
    """The bare AEAD under the same loop: what a record cannot cost less than."""

    params: ClassVar = [SIZES]
    param_names: ClassVar = ["bytes"]
    number = 1
    warmup_time = 0.1

    def setup(self, size: int) -> None:
        self.aead = ChaCha20Poly1305(SEED)
        self.plaintext, self.nonce, self.aad = bytes(size), bytes(12), bytes(63)
        self.sealed = self.aead.encrypt(self.nonce, self.plaintext, self.aad)

    def time_encrypt_1000(self, size: int) -> None:
        encrypt = self.aead.encrypt
        nonce, plaintext, aad = self.nonce, self.plaintext, self.aad
        for _ in range(RECORDS):
            encrypt(nonce, plaintext, aad)

    def time_decrypt_1000(self, size: int) -> None:
        decrypt, nonce, sealed, aad = (
            self.aead.decrypt,
            self.nonce,
            self.sealed,
            self.aad,
        )
        for _ in range(RECORDS):
            decrypt(nonce, sealed, aad)


class Sessions:
    """Sessions as objects."""

    number = 1
    warmup_time = 0.1

    def time_create_1000(self) -> None:
        """One end each, both first keys derived, dropped at once."""
        for _ in range(1000):
            Session.v0_10(SEED, TH, Role.INITIATOR)

    def time_derive_1000_streams(self) -> None:
        """Each of an id of its own: a session derives none twice."""
        ada, _ = pair()
        for number in range(1000):
            ada.derive_stream(number.to_bytes(16, "big"))

    def time_create_1000_drafts(self) -> None:
        for _ in range(1000):
            Session.draft1(SEED, "A" * 22, Role.INITIATOR)

    def time_take_turns_1000(self) -> None:
        """One record each of 1,000 sessions: none finds its engine waiting."""
        for session in self.many:
            session.seal(b"")

    def setup(self) -> None:
        self.many = [Session.v0_10(SEED, TH, Role.INITIATOR) for _ in range(1000)]

    def time_create_and_close_1000(self) -> None:
        for _ in range(1000):
            Session.v0_10(SEED, TH, Role.INITIATOR).close()

    def time_refuse_1000_forgeries(self) -> None:
        from sage.errors import AuthenticationError

        ada, grace = pair()
        forged = ada.seal(bytes(64))[:-1] + b"?"
        refused = 0
        for _ in range(1000):
            try:
                grace.open(forged)
            except AuthenticationError:
                refused += 1
        assert refused == 1000

    def track_compiled(self) -> int:
        """Return 1 where the compiled kernels were measured, 0 for the pure ones."""
        return int(backend()["core"] == "cython")

    def track_object_bytes(self) -> int:
        """Return an idle session's own bytes, without the engine's contexts.

        A compiled session is one object; of a pure one this is the outermost only.
        """
        from sys import getsizeof

        return getsizeof(pair()[0])

    track_object_bytes.unit = "bytes"
