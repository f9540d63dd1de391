"""The formulas of the handshake, one function each (HPKE-02, HPKE-03).

::

    info      = "sage-hpke-info|0.10.0\\n" ‖ JCS(B)
    exportCtx = "sage-hpke-export|0.10.0\\n" ‖ H(info)
    th        = H(JCS(T))
    prk       = Extract(salt=th, ikm=exporter‖ssE2E)
    seed      = Expand(prk, "sage-hpke-combiner|0.10.0"‖th, 32)
    ackKey    = Expand(seed, "sage-hpke-ack|0.10.0"‖th, 32)
    ackTag    = HMAC(ackKey, th)
    sid       = b64u(H("sage-session|0.10.0" ‖ th)[0:16])

B is the initiation without ``task``, ``enc`` and ``ephC``; T is the initiation with
the responder's ``ephS`` and ``kid``. Secrets come and go in bytearrays that their
owner wipes; see `erase` for what that can and cannot do.
"""

from __future__ import annotations

from typing import Final

from .._accel import hmac_sha256_into
from .._crypto import X25519PrivateKey, sha256, x25519_exchange
from ..encoding import b64u_encode
from ..errors import Code, ProtocolError
from ..limits import SESSION_ID_BYTES, X25519_KEY_BYTES
from ..types import Buffer, JsonObject, SessionId
from .canonical import BINDING, TRANSCRIPT
from .derive import HASH_BYTES, expand, hkdf
from .erase import wipe

__all__ = [
    "EXPORTER_BYTES",
    "ack_tag",
    "agree",
    "derive_ack_key",
    "derive_seed",
    "export_context",
    "hpke_info",
    "session_id",
    "transcript_hash",
]

EXPORTER_BYTES: Final = 32
"""What the handshake exports from HPKE."""


def hpke_info(binding: JsonObject) -> bytes:
    """Return HPKE's ``info`` for B, the 10 members that bind both ends."""
    return b"sage-hpke-info|0.10.0\n" + BINDING.write(binding)


def export_context(info: bytes) -> bytes:
    """Return HPKE's exporter context, 56 bytes."""
    return b"sage-hpke-export|0.10.0\n" + sha256(info)


def transcript_hash(transcript: JsonObject | bytes) -> bytes:
    """Return th, the 32-byte hash of T, the 15 members of both messages.

    Args:
        transcript: T, or its canonical JSON where that was written already.
    """
    if not isinstance(transcript, bytes):
        transcript = TRANSCRIPT.write(transcript)
    return sha256(transcript)


def session_id(transcript_hash: bytes) -> SessionId:
    """Return the public name of the session, 22 characters (SESSION-01)."""
    digest = sha256(b"sage-session|0.10.0" + transcript_hash)
    return SessionId(b64u_encode(digest[:SESSION_ID_BYTES]))


def agree(
    exporter: Buffer,
    private: X25519PrivateKey,
    public: Buffer,
    transcript_hash: bytes,
) -> bytearray:
    """Run the second Diffie-Hellman and return the seed, 32 bytes; wipe it later.

    Args:
        exporter: what HPKE exported, 32 bytes.
        private: our ephemeral key; drop it afterwards.
        public: the peer's ephemeral key, 32 bytes.
        transcript_hash: th, 32 bytes.

    Raises:
        ProtocolError: ``public`` is not 32 bytes or of small order
            (``handshake.invalid-dh``); see also `derive_seed`.
    """
    shared = x25519_exchange(private, public)
    try:
        return derive_seed(exporter, shared, transcript_hash)
    finally:
        wipe(shared)


def derive_seed(exporter: Buffer, shared: Buffer, transcript_hash: bytes) -> bytearray:
    """Combine both secrets into the session's seed, 32 bytes; wipe it later.

    Raises:
        ProtocolError: a secret is not 32 bytes or all zero
            (``handshake.invalid-combiner-input``).
    """
    _check_input(exporter)
    _check_input(shared)
    ikm = bytearray().join((exporter, shared))  # one allocation, nothing left behind
    try:
        return hkdf(
            transcript_hash, ikm, b"sage-hpke-combiner|0.10.0" + transcript_hash
        )
    finally:
        wipe(ikm)


def derive_ack_key(seed: Buffer, transcript_hash: bytes) -> bytearray:
    """Return the key of the acknowledgement, 32 bytes; wipe it later."""
    return expand(seed, b"sage-hpke-ack|0.10.0" + transcript_hash)


def ack_tag(seed: Buffer, transcript_hash: bytes) -> bytes:
    """Return the responder's proof that it holds the seed, 32 bytes.

    The caller compares in constant time, with `hmac.compare_digest`.
    """
    tag, key = bytearray(HASH_BYTES), derive_ack_key(seed, transcript_hash)
    try:
        hmac_sha256_into(key, transcript_hash, tag)
    finally:
        wipe(key)
    return bytes(tag)


def _check_input(secret: Buffer) -> None:
    view = memoryview(secret)
    if view.nbytes != X25519_KEY_BYTES or not any(view):
        raise ProtocolError(
            "unusable secret for the combiner",
            code=Code.HANDSHAKE_INVALID_COMBINER_INPUT,
        )
