"""Sessions as objects: made, keyed, closed, and what they weigh.

The key schedule is what making one costs, and deriving streams from one. The replay
window stands here by itself, as its class; a session has one inside.
"""

from __future__ import annotations

from sys import getsizeof
from time import process_time
from typing import Any

from .house import SEED, TH, needs, needs_method

version = "1"
timer = process_time


class Sessions:
    """A thousand of them."""

    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self) -> None:
        self.Session = needs("sage.session", "Session")
        self.role = needs("sage.types", "Role").INITIATOR

    def time_create_1000(self) -> None:
        """One end each, both first keys derived, dropped at once."""
        make, role = self.Session.v0_10, self.role
        for _ in range(1000):
            make(SEED, TH, role)

    def time_create_and_close_1000(self) -> None:
        make, role = self.Session.v0_10, self.role
        for _ in range(1000):
            make(SEED, TH, role).close()


class Drafts:
    """A thousand of the draft: six keys each."""

    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self) -> None:
        Session = needs("sage.session", "Session")
        needs_method(Session, "draft1")
        self.make, self.role = Session.draft1, needs("sage.types", "Role").INITIATOR

    def time_create_1000(self) -> None:
        make, role = self.make, self.role
        for _ in range(1000):
            make(SEED, "A" * 22, role)


class Keys:
    """The key schedule: streams of one session, generations of one stream."""

    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self) -> None:
        Session, Role = needs("sage.session", "Session"), needs("sage.types", "Role")
        needs_method(Session, "stream")
        self.ada = Session.v0_10(SEED, TH, Role.INITIATOR)
        # Each record is of a generation of its own.
        self.draft = Session.draft1(SEED, "A" * 22, Role.INITIATOR, 1)
        self.ids = [number.to_bytes(16, "big") for number in range(1000)]

    def time_derive_1000_streams(self) -> None:
        derive = self.ada.derive_stream
        for stream_id in self.ids:
            derive(stream_id)

    def time_seal_in_500_generations(self) -> None:
        seal = self.draft.seal
        for _ in range(500):
            seal(b"")


class Turns:
    """One record each of 1,000 sessions: none finds its engine waiting."""

    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self) -> None:
        make = needs("sage.session", "Session").v0_10
        role = needs("sage.types", "Role").INITIATOR
        self.many = [make(SEED, TH, role) for _ in range(1000)]

    def time_take_turns_1000(self) -> None:
        for session in self.many:
            session.seal(b"")


class Window:
    """The replay window: numbers in order, and out of it."""

    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self) -> None:
        self.window = needs("sage._accel", "ReplayWindow")()
        self.shuffled = [n ^ 255 for n in range(1024)]

    def time_accept_1000_in_order(self) -> None:
        accept = self.window.accept
        for seq in range(1000):
            accept(seq)

    def time_accept_1024_out_of_order(self) -> None:
        accept = self.window.accept
        for seq in self.shuffled:
            accept(seq)


class Weight:
    """What a session weighs, and many of them."""

    def setup(self) -> None:
        self.Session = needs("sage.session", "Session")
        self.role = needs("sage.types", "Role").INITIATOR

    def track_object_bytes(self) -> int:
        """Return an idle session's own bytes, without the engine's contexts.

        A compiled session is one object; of a pure one this is the outermost only.
        """
        return getsizeof(self.Session.v0_10(SEED, TH, self.role))

    track_object_bytes.unit = "bytes"

    def track_compiled(self) -> int:
        """Return 1 where the compiled kernels were measured, 0 for the pure ones."""
        return int(needs("sage._accel", "backend")()["core"] == "cython")

    def track_libcrypto(self) -> int:
        """Return 1 where the engine is OpenSSL itself, 0 for `cryptography`."""
        return int(needs("sage._accel", "backend")()["engine"] == "libcrypto")

    def peakmem_100000_sessions(self) -> list[Any]:
        make, role = self.Session.v0_10, self.role
        return [make(SEED, TH, role) for _ in range(100_000)]
