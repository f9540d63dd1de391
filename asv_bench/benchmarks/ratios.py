"""What sage costs, in multiples of what it is made of.

The reference is `ChaCha20Poly1305.encrypt` without additional data, of the same size in
the same run: thread CPU time, medians of 31 rounds in turn. A round trip is sealing and
opening with everything on: header, AAD, counter, window, generation, limits, locks.
Ratios hold on any machine, so they are the figures to watch on a shared one.

glibc gives the top of its heap back to the kernel whenever 128 KiB of it are free,
until a larger block was freed once. Batches of 16 KiB would be measured by their
page faults, so `settle_allocator` frees one, as whoever had a large message has.
"""

from __future__ import annotations

from typing import Any, ClassVar

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from .handshakes import Agents, Primitives
from .house import (
    AEADS,
    SEED,
    SIZES,
    STREAM_ID,
    TH,
    median_ratio,
    needs,
    needs_method,
)

version = "1"
LOOPS = {64: 400, 1024: 300, 16384: 64}
MANY = 64


def settle_allocator() -> None:
    """Let freed memory stay with the process from here on."""
    bytearray(8 << 20)


def encrypting(size: int, loops: int) -> Any:
    """Return the reference: so many encryptions of one size."""
    encrypt, nonce = ChaCha20Poly1305(SEED).encrypt, bytes(12)
    plaintext = bytes(size)

    def reference() -> None:
        for _ in range(loops):
            encrypt(nonce, plaintext, None)

    return reference


class Records:
    """A record's way there and back, singly and in batches of 64."""

    params: ClassVar = [["round_trip", "many", "batch"], AEADS, SIZES]
    param_names: ClassVar = ["how", "aead", "bytes"]
    unit = "times one encryption"
    timeout = 60

    def setup(self, how: str, aead: str, size: int) -> None:
        Session, Role = needs("sage.session", "Session"), needs("sage.types", "Role")
        needs_method(Session, "stream")
        self.ada, self.grace = (
            Session.stream(SEED, TH, STREAM_ID, role, aead) for role in Role
        )
        settle_allocator()
        self.act, self.loops = getattr(self, f"_{how}")(size)

    def track_record(self, how: str, aead: str, size: int) -> float:
        loops = LOOPS[size]
        return median_ratio(
            self.act, encrypting(size, loops), loops=(self.loops, loops)
        )

    def _round_trip(self, size: int) -> tuple[Any, int]:
        seal, open_, loops = self.ada.seal, self.grace.open, LOOPS[size]
        plaintext = bytes(size)

        def act() -> None:
            for _ in range(loops):
                open_(seal(plaintext))

        return act, loops

    def _many(self, size: int) -> tuple[Any, int]:
        seal, open_ = self.ada.seal_many, self.grace.open_many
        plaintexts = [bytes(size)] * MANY
        times = max(1, LOOPS[size] // MANY)

        def act() -> None:
            for _ in range(times):
                open_(seal(plaintexts))

        return act, times * MANY

    def _batch(self, size: int) -> tuple[Any, int]:
        seal, open_ = self.ada.seal_batch, self.grace.open_batch
        rows, sealed, opened = (
            memoryview(bytearray(MANY * n)).cast("B", (MANY, n))
            for n in (size, size + 36, size)
        )
        times = max(1, LOOPS[size] // MANY)

        def act() -> None:
            for _ in range(times):
                seal(rows, sealed)
                open_(sealed, opened)

        return act, times * MANY


class V10:
    """The same of a 0.10.0 session, which ends after 1,000 records."""

    params: ClassVar = [SIZES]
    param_names: ClassVar = ["bytes"]
    unit = "times one encryption"

    def setup(self, size: int) -> None:
        self.Session, self.Role = (
            needs("sage.session", "Session"),
            needs("sage.types", "Role"),
        )

    def track_round_trip(self, size: int) -> float:
        loops = min(LOOPS[size], 250)  # one generation: deriving keys has its own
        pairs = iter(
            [
                [self.Session.v0_10(SEED, TH, role) for role in self.Role]
                for _ in range(32)
            ]
        )
        plaintext = bytes(size)

        def act() -> None:
            ada, grace = next(pairs)
            seal, open_ = ada.seal, grace.open
            for _ in range(loops):
                open_(seal(plaintext))

        return median_ratio(act, encrypting(size, loops), loops=(loops, loops))


class Beginning:
    """What comes before the first record."""

    def setup(self) -> None:
        self.Session, self.Role = (
            needs("sage.session", "Session"),
            needs("sage.types", "Role"),
        )

    def track_session(self) -> float:
        """Return what making a session takes, as encryptions of 64 bytes."""
        make, role = self.Session.v0_10, self.Role.INITIATOR

        def act() -> None:
            for _ in range(100):
                make(SEED, TH, role)

        return median_ratio(act, encrypting(64, 400), loops=(100, 400))

    track_session.unit = "times one encryption"

    def track_handshake(self) -> float:
        """Return what both ends take, envelopes included, as its primitives."""
        agents, primitives = Agents(), Primitives()
        agents.shake_hands_signed()
        return median_ratio(agents.shake_hands_signed, primitives.signed)

    track_handshake.unit = "times its primitives"
