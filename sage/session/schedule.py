"""What both ends of a session compute before there is one: ids, and draft1's seed."""

from __future__ import annotations

from typing import Final

from .._crypto import hkdf_extract, sha256
from ..encoding import b64u_encode
from ..errors import UsageError
from ..limits import (
    SEED_BYTES,
    SESSION_ID_BYTES,
    TRANSCRIPT_HASH_BYTES,
    X25519_KEY_BYTES,
)
from ..types import Buffer, SessionId
from .profile import V0_10, Profile

__all__ = ["DRAFT1_LABELS", "draft1_seed", "draft1_session_id", "session_id"]

DRAFT1_LABELS: Final = {
    "hpke+e2e": "sage/hpke+e2e v1",
    "hpke": "sage/hpke v1",
    "a2a": "a2a/handshake v1",
}
"""The labels of 1.0.0-draft.1: of HPKE with the end-to-end secret, of HPKE alone, and
of the handshake before it, which also stands where no label is given."""


def session_id(transcript_hash: Buffer, *, profile: Profile = V0_10) -> SessionId:
    """Return the id of the session that a 32-byte transcript hash leads to.

    ``sid = b64u(H(label ‖ th)[0:16])``, 22 characters (SESSION-01). It is public;
    both ends know it before the first record.

    Raises:
        UsageError: not 32 bytes, or a profile whose ids follow from something else.
    """
    if getattr(profile, "layout", None) != "transcript":
        raise UsageError("only the id of a transcript's session follows from its hash")
    th = _exactly(transcript_hash, TRANSCRIPT_HASH_BYTES, "transcript_hash")
    digest = sha256(profile.session_label + th)
    return SessionId(b64u_encode(digest[:SESSION_ID_BYTES]))


def draft1_seed(
    label: str,
    context_id: str,
    ephemeral_a: Buffer,
    ephemeral_b: Buffer,
    shared_secret: Buffer,
) -> bytes:
    """Return the 32-byte seed of a 1.0.0-draft.1 session.

    ``seed = Extract(H(label ‖ ctxID ‖ lo ‖ hi), sharedSecret)`` with both ends'
    ephemeral keys in the order of their bytes. The draft's HPKE handshake does not
    come here: it takes its own seed directly.

    Args:
        label: one of `DRAFT1_LABELS`; empty means ``"a2a/handshake v1"``.
        context_id: the handshake's context.
        ephemeral_a: one end's public key, 32 bytes.
        ephemeral_b: the other end's; the two may change places.
        shared_secret: what the key exchange gave.

    Raises:
        UsageError: an argument of the wrong type or size.
    """
    one = _exactly(ephemeral_a, X25519_KEY_BYTES, "ephemeral_a")
    other = _exactly(ephemeral_b, X25519_KEY_BYTES, "ephemeral_b")
    low, high = sorted((one, other))
    salt = sha256(_label(label) + _text(context_id, "context_id") + low + high)
    return hkdf_extract(salt, _bytes(shared_secret, "shared_secret"))


def draft1_session_id(label: str, seed: Buffer) -> SessionId:
    """Return the id of a 1.0.0-draft.1 session: ``b64u(H(label ‖ seed)[0:16])``.

    Raises:
        UsageError: an argument of the wrong type or size.
    """
    digest = sha256(_label(label) + _exactly(seed, SEED_BYTES, "seed"))
    return SessionId(b64u_encode(digest[:SESSION_ID_BYTES]))


def _label(label: str) -> bytes:
    return _text(label, "label") or _text(DRAFT1_LABELS["a2a"], "label")


def _text(value: str, name: str) -> bytes:
    try:
        return value.encode("utf-8")
    except (AttributeError, UnicodeEncodeError):
        raise UsageError(f"{name} must be text") from None


def _exactly(data: Buffer, size: int, name: str) -> bytes:
    plain = _bytes(data, name)
    if len(plain) != size:
        raise UsageError(f"{name} must be {size} bytes, not {len(plain)}")
    return plain


def _bytes(data: Buffer, name: str) -> bytes:
    try:
        return memoryview(data).tobytes()
    except (TypeError, ValueError, BufferError):
        kind = type(data).__name__
        raise UsageError(f"{name} must be bytes-like, not {kind}") from None
