"""An envelope whose payload is a session record (SESSION-04, TRANSPORT-04).

The record's associated data is the JCS of the envelope around it, so that neither
can be moved under the other. All other members are final before the record is
sealed; the signature comes last, over everything.
"""

from __future__ import annotations

from ..errors import AuthenticationError, Code
from ..handshake import Binding
from ..identity import SigningKey
from ..session import Session
from ..types import Buffer, Role
from .base import sign
from .request import Request
from .response import Response

__all__ = [
    "authenticate_payload",
    "check_pinned",
    "seal_request",
    "seal_response",
]


def seal_request(
    header: Request, plaintext: Buffer, *, session: Session, key: SigningKey, now: float
) -> Request:
    """Return ``header`` with the sealed plaintext as payload, signed.

    Args:
        header: every member but payload and signature, final.
        plaintext: at most 8,388,572 bytes.
        session: ours; one sequence number is used up, whatever happens after.
        key: our pinned signing key.
        now: monotonic seconds.

    Raises:
        SessionClosed: the session was closed.
        SessionExpired: its age or idle limit is reached.
        LimitReached: its last record was used.
        UsageError: the plaintext or the header is too long.
    """
    record = session.seal(plaintext, header.caller_aad(), now=now)
    return sign(header.with_payload(record), key)


def seal_response(
    header: Response,
    plaintext: Buffer,
    *,
    session: Session,
    key: SigningKey,
    now: float,
) -> Response:
    """Return ``header`` with the sealed plaintext as data, signed.

    The arguments and errors are those of `seal_request`.
    """
    record = session.seal(plaintext, header.caller_aad(), now=now)
    return sign(header.with_data(record), key)


def check_pinned(envelope: Request | Response, binding: Binding) -> None:
    """Check that an envelope from the peer keeps to the session's pinned tuple.

    Raises:
        AuthenticationError: a name, key, role, context or session differs
            (``sig.binding``).
    """
    sender_is_initiator = binding.role is Role.RESPONDER
    init = binding.init_did, binding.init_kid
    resp = binding.resp_did, binding.resp_kid
    (did, kid), (recipient, _) = (init, resp) if sender_is_initiator else (resp, init)
    expected = (
        did,
        recipient,
        kid,
        binding.role.other,
        binding.ctx,
        binding.session_id,
        "session",
    )
    found = (
        envelope.did,
        envelope.recipient,
        envelope.kid,
        envelope.role,
        envelope.context_id,
        envelope.session_id,
        envelope.encoding,
    )
    if found != expected:
        raise AuthenticationError(code=Code.SIG_BINDING)


def authenticate_payload(
    envelope: Request | Response, *, session: Session, now: float
) -> tuple[int, bytes]:
    """Return the sequence number and plaintext of an envelope's record.

    Moves no state: reserve the envelope's id, nonce and sequence number, then call
    ``session.accept``.

    Raises:
        AuthenticationError: the record or the envelope around it was altered.
        DecodeError: not a record.
        ReplayError: the sequence number was accepted before.
        StaleError: it lies behind the window, or beyond the session's last.
        SessionClosed: the session was closed.
        SessionExpired: its age or idle limit is reached.
    """
    record = envelope.payload if isinstance(envelope, Request) else envelope.data
    return session.authenticate(record, envelope.caller_aad(), now=now)
