"""The session that everyone uses: the kernels' core under a profile's name."""

from __future__ import annotations

from typing import Self

from .._accel import SessionCore
from ..encoding import b64u_decode
from ..errors import DecodeError, UsageError
from ..limits import SESSION_ID_BYTES
from ..types import Buffer, Role
from .profile import V0_10, draft1_profile, stream_profile

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

    @classmethod
    def stream(
        cls,
        seed: Buffer,
        transcript_hash: Buffer,
        stream_id: Buffer,
        role: Role,
        aead: str = "chacha20poly1305",
        *,
        now: float | None = None,
    ) -> Self:
        """Make a stream: records alone, for as long as its session lives.

        Where the 0.10.0 session is at hand, `derive_stream` does this without the
        seed ever leaving it.

        Args:
            seed: the 32 bytes of the stream's 0.10.0 session, copied; wipe yours.
            transcript_hash: the 32 bytes ``th`` of that session.
            stream_id: 16 random bytes, used for one stream only: two streams of one
                session under one id would share their keys and nonces.
            role: which end of that session this is.
            aead: ``"chacha20poly1305"`` or ``"aes-256-gcm"``.
            now: when the session's keys came into being, monotonic seconds: the
                hour counts from there.

        Raises:
            UsageError: an argument of the wrong type or size.
        """
        profile = stream_profile(aead)
        return cls(profile, seed, transcript_hash, role, session_id=stream_id, now=now)

    @classmethod
    def draft1(
        cls,
        seed: Buffer,
        session_id: str,
        role: Role | None = None,
        rekey_interval: int = 256,
        *,
        now: float | None = None,
    ) -> Self:
        """Make a session of SAGE 1.0.0-draft.1, for peers that speak no other version.

        Args:
            seed: 32 bytes: the handshake's, or `draft1_seed`'s; copied, wipe yours.
            session_id: 22 characters, `draft1_session_id`'s; the keys depend on it.
            role: which end this is. ``None`` takes the keys that both ends share,
                under random nonces; what this end sealed then opens here as well.
            rekey_interval: records to a key; 0 for one key throughout.
            now: when the keys came into being, monotonic seconds.

        Raises:
            UsageError: an argument of the wrong type or size.
        """
        profile = draft1_profile(rekey_interval)
        raw = _raw_id(session_id)
        return cls(profile, seed, None, role, session_id=raw, now=now)

    def derive_stream(
        self,
        stream_id: Buffer,
        aead: str = "chacha20poly1305",
        *,
        now: float | None = None,
    ) -> Self:
        """Derive a stream from this 0.10.0 session.

        It starts its own counters and idle clock, ends with this session's hour, and
        outlives this session's ``close()``.

        Args:
            stream_id: 16 random bytes, agreed in this session and never used in it
                before: a second stream under one id would repeat keys and nonces,
                so it is refused.
            aead: ``"chacha20poly1305"`` or ``"aes-256-gcm"``.
            now: monotonic seconds.

        Raises:
            SessionClosed: ``close()`` was called.
            SessionExpired: the age or idle limit was reached.
            UsageError: an argument of the wrong type or size, an id that was used
                before, or not a 0.10.0 session.
        """
        return self.derive(stream_profile(aead), stream_id, now=now)


def _raw_id(session_id: str) -> bytes:
    try:
        return b64u_decode(session_id, size=SESSION_ID_BYTES)
    except (DecodeError, UsageError):
        text = f"session_id must be the base64url of {SESSION_ID_BYTES} bytes"
        raise UsageError(text) from None
