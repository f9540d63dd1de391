"""The session that everyone uses: the kernels' core under a profile's name."""

from __future__ import annotations

from typing import Self

from .._accel import SessionCore
from ..types import Buffer, Role
from .profile import V0_10

__all__ = ["Session"]


class Session(SessionCore):
    """One end of a session. It seals what it sends and opens what it receives.

    Make one from a handshake's result with `v0_10`, and ``close()`` it when it is no
    longer needed. See `SessionCore` for the methods.

    Threads may share a session: no sequence number is given twice and no record is
    accepted twice. It cannot be copied or pickled.
    """

    __slots__ = ()

    @classmethod
    def v0_10(
        cls,
        seed: Buffer,
        transcript_hash: Buffer,
        role: Role,
        *,
        now: float | None = None,
    ) -> Self:
        """Make a SAGE 0.10.0 session (SESSION-01..06).

        Args:
            seed: 32 bytes from the handshake, copied; wipe yours.
            transcript_hash: the handshake's 32 bytes ``th``.
            role: which end this is.
            now: when the keys came into being, monotonic seconds; the session's age
                counts from here.

        Raises:
            UsageError: an argument of the wrong type or size.
        """
        return cls(V0_10, seed, transcript_hash, role, now=now)
