"""Records: sealed and opened singly, into buffers, by the many and in batches.

A 0.10.0 session ends after 1,000 records and asv calls ``setup`` before each timed
call, so one call is 1,000 operations: the result in milliseconds is microseconds a
record. What is made in ``setup`` is not measured. Each generation's new key (4 in 1,000
records) is. Results are dropped as they come, so the figures leave out fresh memory for
what an application keeps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import process_time
from typing import Any, ClassVar

from .house import AEADS, SEED, SIZES, STREAM_ID, TH, needs, needs_method

version = "1"
timer = process_time
RECORDS = 1000


def pair(*stream: Any) -> list[Any]:
    """Make both ends of a 0.10.0 session, or of a stream with this AEAD."""
    Session, Role = needs("sage.session", "Session"), needs("sage.types", "Role")
    if not stream:
        return [Session.v0_10(SEED, TH, role) for role in Role]
    needs_method(Session, "stream")
    return [Session.stream(SEED, TH, STREAM_ID, role, *stream) for role in Role]


class Records:
    """A thousand records in one direction, of a 0.10.0 session."""

    params: ClassVar = [SIZES]
    param_names: ClassVar = ["bytes"]
    number = 1
    repeat = 5
    warmup_time = 0.05

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

    params: ClassVar = [AEADS, SIZES]
    param_names: ClassVar = ["aead", "bytes"]
    number = 1
    repeat = 4
    warmup_time = 0.03

    def setup(self, aead: str, size: int) -> None:
        self.ada, self.grace = pair(aead)
        sender, _ = pair(aead)
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


class Refusals:
    """What a stranger's records cost us."""

    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self) -> None:
        self.error, self.replay = needs(
            "sage.errors", "AuthenticationError", "ReplayError"
        )
        ada, self.grace = pair()
        self.record = ada.seal(bytes(64))
        self.forged = self.record[:-1] + bytes([self.record[-1] ^ 1])

    def time_refuse_1000_forgeries(self) -> None:
        self._refuse(self.forged, self.error)

    def time_refuse_1000_replays(self) -> None:
        self.grace.open(self.record)
        self._refuse(self.record, self.replay)

    def _refuse(self, record: bytes, error: type[Exception]) -> None:
        refused = 0
        for _ in range(1000):
            try:
                self.grace.open(record)
            except error:
                refused += 1
        assert refused == 1000


class Allocations:
    """Blocks that 1,000 calls leave allocated, with their results alive."""

    unit = "blocks"

    def setup(self) -> None:
        self.ada, self.grace = pair("chacha20poly1305")
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
        return self._blocks(lambda: pair()[0])


class Engine:
    """The bare AEAD under the same loop: what a record cannot cost less than."""

    params: ClassVar = [SIZES]
    param_names: ClassVar = ["bytes"]
    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self, size: int) -> None:
        self.aead = needs("sage._crypto", "ChaCha20Poly1305")(SEED)
        self.plaintext, self.nonce, self.aad = bytes(size), bytes(12), bytes(63)
        self.sealed = self.aead.encrypt(self.nonce, self.plaintext, self.aad)

    def time_encrypt_1000(self, size: int) -> None:
        encrypt = self.aead.encrypt
        nonce, plaintext, aad = self.nonce, self.plaintext, self.aad
        for _ in range(RECORDS):
            encrypt(nonce, plaintext, aad)

    def time_decrypt_1000(self, size: int) -> None:
        decrypt, nonce, sealed = self.aead.decrypt, self.nonce, self.sealed
        aad = self.aad
        for _ in range(RECORDS):
            decrypt(nonce, sealed, aad)
