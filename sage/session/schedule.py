"""What a session derives from its transcript and no key needs (SESSION-01)."""

from __future__ import annotations

from .._crypto import sha256
from ..encoding import b64u_encode
from ..errors import UsageError
from ..limits import SESSION_ID_BYTES, TRANSCRIPT_HASH_BYTES
from ..types import Buffer, SessionId
from .profile import V0_10, Profile

__all__ = ["session_id"]


def session_id(transcript_hash: Buffer, *, profile: Profile = V0_10) -> SessionId:
    """Return the id of the session that a 32-byte transcript hash leads to.

    ``sid = b64u(H(label ‖ th)[0:16])``, 22 characters (SESSION-01). It is public;
    both ends know it before the first record.

    Raises:
        UsageError: not 32 bytes.
    """
    try:
        th = memoryview(transcript_hash).tobytes()
    except TypeError:
        name = type(transcript_hash).__name__
        raise UsageError(f"transcript_hash must be bytes-like, not {name}") from None
    if len(th) != TRANSCRIPT_HASH_BYTES:
        raise UsageError(f"transcript_hash must be 32 bytes, not {len(th)}")
    digest = sha256(profile.session_label + th)
    return SessionId(b64u_encode(digest[:SESSION_ID_BYTES]))
