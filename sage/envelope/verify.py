"""The checks of a received envelope, in the order of TRANSPORT-03.

Size, strict JSON, schema and version were checked when it was decoded. Then:

1. `check_request` or `check_response`: recipient, binding, time. No key yet.
2. The caller resolves the sender's current key (REG-05).
3. `verify_request` or `verify_response`: the signature. It returns a proof value.
4. In a session, the record is authenticated.
5. One atomic reservation in a `ReplayGuard`; only then does the session accept the
   record, and only then does the application see it.

A session envelope has the same 30 s of grace behind ``expires`` as a plain one
(MSG-04). The Go implementation refuses it at ``expires``: send early enough.
"""

from __future__ import annotations

import hmac
from dataclasses import InitVar, dataclass
from typing import Any, Final, NoReturn

from ..errors import Code, ProtocolError, StaleError, UsageError
from ..identity.keys import PublicKey
from ..limits import FRESHNESS_SKEW_S, REPLAY_GRACE_S
from ..types import Did
from .base import Envelope
from .request import Request
from .response import Response

__all__ = [
    "VerifiedRequest",
    "VerifiedResponse",
    "check_request",
    "check_response",
    "verify_request",
    "verify_response",
]

_TOKEN: Final = object()


@dataclass(frozen=True, slots=True, eq=False)
class _Verified:
    key: PublicKey
    token: InitVar[object]

    def __post_init__(self, token: object) -> None:
        if token is not _TOKEN:
            raise UsageError("only verifying makes a proof of it")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a proof does not leave the process that verified it")


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedRequest(_Verified):
    """Proof that ``request`` was signed by ``key``; only `verify_request` makes one.

    It proves nothing about time, recipient or replay.

    Attributes:
        key: the key that verified it.
        request: what was signed.
    """

    request: Request

    @property
    def peer(self) -> Did:
        """Who sent it."""
        return self.request.did


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedResponse(_Verified):
    """Proof that ``response``, signed by ``key``, answers ``request``.

    Only `verify_response` makes one. It proves nothing about time.

    Attributes:
        key: the key that verified it.
        request: what was asked.
        response: what was signed.
    """

    request: Request
    response: Response

    @property
    def peer(self) -> Did:
        """Who sent it."""
        return self.response.did


def check_request(request: Request, *, recipient: Did, unix_time: int) -> None:
    """Check that a request is for us and of now, before any key is resolved.

    Args:
        request: as decoded.
        recipient: our own DID.
        unix_time: wall seconds.

    Raises:
        ProtocolError: it is for somebody else (``sig.binding``).
        StaleError: ``created`` is more than 30 s ahead, or ``expires`` 30 s or more
            behind (``sig.stale``, MSG-04).
    """
    if request.recipient != recipient:
        raise _unbound("recipient")
    _check_fresh(request, unix_time)


def verify_request(request: Request, key: PublicKey) -> VerifiedRequest:
    """Verify a request's signature under the sender's current key.

    Args:
        request: after `check_request`.
        key: what a fresh observation of the sender's record says of ``request.kid``.

    Raises:
        AuthenticationError: the signature does not verify (``sig.bad``), or has the
            wrong size for the key's algorithm (``sig.malformed``).
        ProtocolError: ``key`` is not the key that the request names
            (``sig.binding``).
        UsageError: the request was never signed.
    """
    _verify_signature(request, key)
    return VerifiedRequest(key, _TOKEN, request)


def check_response(response: Response, request: Request, *, unix_time: int) -> None:
    """Check that a response answers our request and is of now.

    Args:
        response: as decoded.
        request: what we sent, with its signature.
        unix_time: wall seconds.

    Raises:
        ProtocolError: it does not answer this request (``sig.binding``): another
            ``message_id`` or ``request_hash``, ``did`` and ``recipient`` not
            swapped, another context, task, encoding or session, not the opposite
            role, or the request's own id or nonce again.
        StaleError: outside its time (``sig.stale``, MSG-04).
        UsageError: the request was never signed.
    """
    _check_answer(response, request)
    _check_fresh(response, unix_time)


def verify_response(
    response: Response, request: Request, key: PublicKey
) -> VerifiedResponse:
    """Verify a response's signature, and that it answers ``request``.

    The binding is checked again, so that the proof holds by itself.

    Args:
        response: after `check_response`.
        request: what we sent, with its signature.
        key: what a fresh observation of the peer's record says of ``response.kid``.

    Raises:
        AuthenticationError: the signature does not verify (``sig.bad``), or has the
            wrong size for the key's algorithm (``sig.malformed``).
        ProtocolError: another request's answer, or another key (``sig.binding``).
        UsageError: the request or the response was never signed.
    """
    _check_answer(response, request)
    _verify_signature(response, key)
    return VerifiedResponse(key, _TOKEN, request, response)


# --- the rules -------------------------------------------------------------------


def _check_fresh(envelope: Envelope, unix_time: int) -> None:
    # Written so that a clock without a value (NaN) refuses.
    if not (
        envelope.created <= unix_time + FRESHNESS_SKEW_S
        and unix_time < envelope.expires + REPLAY_GRACE_S
    ):
        raise StaleError("the envelope is outside its time", code=Code.SIG_STALE)


def _check_answer(response: Response, request: Request) -> None:
    same: tuple[tuple[str, Any, Any], ...] = (
        ("message_id", response.message_id, request.id),
        ("did", response.did, request.recipient),
        ("recipient", response.recipient, request.did),
        ("context_id", response.context_id, request.context_id),
        ("task_id", response.task_id, request.task_id),
        ("encoding", response.encoding, request.encoding),
        ("session_id", response.session_id, request.session_id),
    )
    for name, given, wanted in same:
        if given != wanted:
            raise _unbound(name)
    if not hmac.compare_digest(response.request_hash, request.hash()):
        raise _unbound("request_hash")
    if response.id == request.id:
        raise _unbound("id")
    if response.nonce == request.nonce:
        raise _unbound("nonce")
    # In a session both have a role, and they are opposite. Elsewhere it may be
    # absent, but one end can never hold the role of the other.
    if response.role is not None and response.role is request.role:
        raise _unbound("role")


def _verify_signature(envelope: Envelope, key: PublicKey) -> None:
    if envelope.signature is None:
        raise UsageError("the envelope is not signed")
    if key.kid != envelope.kid:
        raise _unbound("kid")
    key.verify(envelope.signing_input(), envelope.signature)


def _unbound(name: str) -> ProtocolError:
    return ProtocolError(
        f"{name} does not belong to this exchange", code=Code.SIG_BINDING
    )
