"""What distinguishes one kind of session from another: labels and limits, no code.

The kernels read a `Profile` and do the same for every one. Sealing and opening have
one path; a new kind of session is a new instance of this class.
"""

from __future__ import annotations

from dataclasses import dataclass

from .. import limits
from ..errors import UsageError

__all__ = ["V0_10", "Profile"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """The labels and limits of one kind of session.

    Every profile frames its records alike::

        key    = Expand(seed, key_label | th | be64(seq div generation_records), 32)
        nonce  = 0000 | be64(seq)
        aad    = aad_label | th | direction (1 B) | be64(seq) | be32(length) | caller's
        record = be64(seq) | nonce | ciphertext | tag

    Attributes:
        name: the version that envelopes and logs show.
        session_label: domain of the session id.
        key_labels: domains of the keys, client to server and server to client.
        aad_label: domain of the authenticated data.
        generation_records: records sealed under one key.
        max_records: sequence numbers in each direction, from 0.
        max_age_s: seconds from the creation of the keys; equality is too late.
        idle_s: seconds since the last record; equality is too late.
        record_max_bytes: the longest record, header and tag included.
        caller_aad_max_bytes: the longest associated data a caller may add.

    Raises:
        UsageError: a limit that no session could keep.
    """

    name: str
    session_label: bytes
    key_labels: tuple[bytes, bytes]
    aad_label: bytes
    generation_records: int
    max_records: int
    max_age_s: float
    idle_s: float
    record_max_bytes: int
    caller_aad_max_bytes: int

    def __post_init__(self) -> None:
        """Refuse limits that the counters and the engine cannot hold."""
        if self.key_labels[0] == self.key_labels[1]:
            raise UsageError("a profile has two different key labels")
        if not 1 <= self.generation_records <= self.max_records <= 2**48:
            raise UsageError("1 <= generation_records <= max_records <= 2^48")
        if not (self.max_age_s > 0 and self.idle_s > 0):
            raise UsageError("max_age_s and idle_s must be positive")
        if not limits.RECORD_MIN_BYTES <= self.record_max_bytes < 2**31:
            raise UsageError("record_max_bytes must be within 36..2^31-1")
        if not 0 <= self.caller_aad_max_bytes < 2**31:
            raise UsageError("caller_aad_max_bytes must be within 0..2^31-1")


V0_10 = Profile(
    name="0.10.0",
    session_label=b"sage-session|0.10.0",
    key_labels=(b"sage-c2s-key|0.10.0", b"sage-s2c-key|0.10.0"),
    aad_label=b"sage-record|0.10.0",
    generation_records=limits.GENERATION_RECORDS,
    max_records=limits.SESSION_MAX_RECORDS,
    max_age_s=limits.SESSION_MAX_AGE_S,
    idle_s=limits.SESSION_IDLE_S,
    record_max_bytes=limits.RECORD_MAX_BYTES,
    caller_aad_max_bytes=limits.RECORD_CALLER_AAD_MAX_BYTES,
)
"""SAGE 0.10.0 (SESSION-01..06): 1,000 records each way, an hour, ten idle minutes."""
