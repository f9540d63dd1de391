"""What distinguishes one kind of session from another: labels and limits, no code.

The kernels read a `Profile` and do the same for every one. Sealing and opening have
one path; a new kind of session is a new instance of this class.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from .. import limits
from .._arguments import check_kinds, is_age
from ..errors import UsageError

__all__ = [
    "DRAFT1",
    "STREAM",
    "STREAM_AES",
    "V0_10",
    "Profile",
    "draft1_profile",
    "stream_profile",
]

_LAYOUTS: Final = ("transcript", "stream", "draft1")
_AEADS: Final = ("chacha20poly1305", "aes-256-gcm")


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """The labels and limits of one kind of session.

    Every profile frames its records as be64(seq) | nonce (12 B) | ciphertext | tag.
    What stands behind that is its layout, with g = seq div generation_records::

        transcript  key   = Expand(seed, key_label | th | be64(g), 32)
                    nonce = 0000 | be64(seq), compared by the receiver
                    aad   = aad_label | th | direction | be64(seq) | be32(length)
                            | the caller's
                    id    = H(session_label | th)[0:16]
        stream      th    = H(session_label | th of its session | id | aead)
                    seed  = Expand(seed of its session, root_label | th, 32)
                    id    = the 16 bytes that opened it; else as transcript
        draft1      prk   = Extract(id as text, seed)
                    key   = Expand(prk, key_label | be64(g), 32) where g > 0, else
                            its place in Expand(prk, block_labels[0], 64)
                            | Expand(prk, block_labels[1], 128)
                    nonce = any; random where both ends share one key
                    aad   = be64(seq) | the caller's

    Attributes:
        name: the version that envelopes and logs show.
        layout: ``"transcript"``, ``"stream"`` or ``"draft1"``.
        aead: ``"chacha20poly1305"`` or ``"aes-256-gcm"``.
        session_label: domain of the session id; of a stream, of its transcript hash.
        root_label: domain of a stream's own seed.
        block_labels: domains of the shared and of the directional keys of draft1.
        key_labels: domains of the keys, client to server and server to client.
        shared_key_label: domain of the key that both ends share, which only draft1
            can; empty where every session has a role.
        aad_label: domain of the authenticated data.
        generation_records: records sealed under one key.
        max_records: sequence numbers in each direction, from 0.
        max_age_s: seconds from the creation of the keys; equality is too late.
        idle_s: seconds since the last record; equality is too late.
        record_max_bytes: the longest record, header and tag included.
        caller_aad_max_bytes: the longest associated data a caller may add.
        max_failed_opens: tags that may fail to verify before the session closes.

    Raises:
        UsageError: a limit that no session could keep.
    """

    name: str
    layout: str = "transcript"
    aead: str = "chacha20poly1305"
    session_label: bytes = b""
    root_label: bytes = b""
    block_labels: tuple[bytes, bytes] = (b"", b"")
    key_labels: tuple[bytes, bytes]
    shared_key_label: bytes = b""
    aad_label: bytes = b""
    generation_records: int
    max_records: int
    max_age_s: float = limits.SESSION_MAX_AGE_S
    idle_s: float = limits.SESSION_IDLE_S
    record_max_bytes: int
    caller_aad_max_bytes: int
    max_failed_opens: int = limits.MAX_FAILED_OPENS

    def __post_init__(self) -> None:
        """Refuse limits that the counters and the engine cannot hold."""
        try:
            check_kinds(self)
        except TypeError:
            text = "a profile has labels of bytes, two of a kind, and counts of int"
            raise UsageError(text) from None
        if self.layout not in _LAYOUTS:
            raise UsageError(f"layout must be one of {', '.join(_LAYOUTS)}")
        if self.aead not in _AEADS:
            raise UsageError(f"aead must be one of {', '.join(_AEADS)}")
        if self.key_labels[0] == self.key_labels[1]:
            raise UsageError("a profile has two different key labels")
        if self.shared_key_label and self.layout != "draft1":
            raise UsageError("only in the layout draft1 may both ends share a key")
        if not 1 <= self.generation_records <= self.max_records <= 2**48:
            raise UsageError("1 <= generation_records <= max_records <= 2^48")
        if not (is_age(self.max_age_s) and is_age(self.idle_s)):
            raise UsageError("max_age_s and idle_s must be positive seconds")
        if not limits.RECORD_MIN_BYTES <= self.record_max_bytes < 2**31:
            raise UsageError("record_max_bytes must be within 36..2^31-1")
        if not 0 <= self.caller_aad_max_bytes < 2**31:
            raise UsageError("caller_aad_max_bytes must be within 0..2^31-1")
        if not 1 <= self.max_failed_opens <= limits.MAX_FAILED_OPENS:
            raise UsageError("max_failed_opens must be within 1..2^36")


V0_10 = Profile(
    name="0.10.0",
    session_label=b"sage-session|0.10.0",
    key_labels=(b"sage-c2s-key|0.10.0", b"sage-s2c-key|0.10.0"),
    aad_label=b"sage-record|0.10.0",
    generation_records=limits.GENERATION_RECORDS,
    max_records=limits.SESSION_MAX_RECORDS,
    record_max_bytes=limits.RECORD_MAX_BYTES,
    caller_aad_max_bytes=limits.RECORD_CALLER_AAD_MAX_BYTES,
)
"""SAGE 0.10.0 (SESSION-01..06): 1,000 records each way, an hour, ten idle minutes."""

STREAM = Profile(
    name="stream-1",
    layout="stream",
    session_label=b"sage-stream|1",
    root_label=b"sage-stream-root|1",
    key_labels=(b"sage-stream-c2s-key|1", b"sage-stream-s2c-key|1"),
    aad_label=b"sage-stream|1",
    generation_records=limits.STREAM_GENERATION_RECORDS,
    max_records=limits.STREAM_MAX_RECORDS,
    record_max_bytes=limits.STREAM_RECORD_MAX_BYTES,
    caller_aad_max_bytes=limits.STREAM_CALLER_AAD_MAX_BYTES,
)
"""Records alone, beside a 0.10.0 session: 2^48 each way, of at most 1 MiB."""

STREAM_AES = replace(STREAM, aead="aes-256-gcm")
"""The same under AES-256-GCM, for processors that have instructions for it."""

DRAFT1 = Profile(
    name="1.0.0-draft.1",
    layout="draft1",
    block_labels=(b"sage-session-keys-v1", b"sage-directional-keys-v1"),
    key_labels=(b"sage-session-rekey-v1c2s", b"sage-session-rekey-v1s2c"),
    shared_key_label=b"sage-session-rekey-v1single",
    generation_records=limits.DRAFT1_GENERATION_RECORDS,
    max_records=limits.DRAFT1_MAX_RECORDS,
    record_max_bytes=limits.RECORD_MAX_BYTES,
    caller_aad_max_bytes=limits.DRAFT1_CALLER_AAD_MAX_BYTES,
)
"""SAGE 1.0.0-draft.1, for peers that speak no other version."""


def stream_profile(aead: str) -> Profile:
    """Return the profile of streams under an AEAD.

    Raises:
        UsageError: neither ``"chacha20poly1305"`` nor ``"aes-256-gcm"``.
    """
    for profile in (STREAM, STREAM_AES):
        if profile.aead == aead:
            return profile
    raise UsageError(f"aead must be one of {', '.join(_AEADS)}")


def draft1_profile(rekey_interval: int) -> Profile:
    """Return the draft's profile with another number of records to a key.

    Args:
        rekey_interval: 0 for one key throughout.

    Raises:
        UsageError: not an ``int``, or negative.
    """
    if type(rekey_interval) is not int or rekey_interval < 0:
        raise UsageError("rekey_interval must be an int, 0 or more")
    records = min(rekey_interval or DRAFT1.max_records, DRAFT1.max_records)
    return _draft1_profile(records)


@lru_cache(maxsize=64)
def _draft1_profile(generation_records: int) -> Profile:
    return replace(DRAFT1, generation_records=generation_records)
