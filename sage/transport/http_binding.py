"""An envelope over HTTP: the outer signature, the fields, and how both belong together.

TRANSPORT-05: the envelope's own signature protects who says what to whom on any
carrier; the outer one (RFC 9421, MSG-01..05) binds method, target and status. Both
are by the same key, with the same times and nonce, so that one reservation covers
both. What is sent:

    POST <endpoint>
    Content-Type: application/json        Content-Digest: sha-256=:…:
    X-SAGE-DID: <sender>                  X-SAGE-Version: 0.10.0
    Signature-Input: sig1=(…)…            Signature: sig1=:…:
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from ..envelope import VERSION, Request, Response
from ..errors import AuthenticationError, Code, ProtocolError, UsageError
from ..http import (
    V10,
    PendingSignature,
    RequestMessage,
    ResponseMessage,
    sign_request,
    sign_response,
)
from ..identity import SigningKey
from .https_client import require_https

__all__ = [
    "STATUS_OF",
    "canonical_endpoint",
    "check_binding",
    "wrap_request",
    "wrap_response",
]

STATUS_OF: Final = {
    None: 200,
    "authentication_failed": 401,
    "policy_denied": 403,
    "operation_failed": 500,
    "unavailable": 503,
}
"""The status of a signed response, by its ``error``."""

_OPTIONAL: Final = {
    "x-sage-message-id": "id",
    "x-sage-context-id": "context_id",
    "x-sage-task-id": "task_id",
}
_KNOWN: Final = frozenset({"x-sage-did", "x-sage-version", *_OPTIONAL})


def canonical_endpoint(url: str) -> str:
    """Return an endpoint's URL as it is signed and compared.

    The host is lower case, the port is left out where it is 443, an empty path is
    ``/`` (RFC 9110, section 4.2.3); nothing is decoded or encoded.

    Raises:
        UsageError: not an absolute ``https://`` URL.
    """
    require_https(url)
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    authority = f"[{host}]" if ":" in host else host
    if parts.port not in (None, 443):
        authority += f":{parts.port}"
    query = f"?{parts.query}" if parts.query else ""
    return f"https://{authority}{parts.path or '/'}{query}"


def wrap_request(request: Request, key: SigningKey, *, endpoint: str) -> RequestMessage:
    """Return the HTTP request that carries a signed envelope.

    Args:
        request: signed by ``key``.
        key: the envelope's.
        endpoint: as `canonical_endpoint` returns it.

    Raises:
        UsageError: the envelope is not signed, or its key's algorithm is none of the
            two that HTTP allows (CRYPTO-02): no other key takes its place.
    """
    bare = RequestMessage(
        method="POST",
        target_uri=endpoint,
        fields=_fields(request),
        content=request.encode(),
    )
    return bare.with_fields(
        *sign_request(
            bare,
            key,
            profile=V10,
            created=request.created,
            expires=request.expires,
            nonce=request.nonce,
        )
    )


def wrap_response(
    response: Response, key: SigningKey, *, request: RequestMessage
) -> ResponseMessage:
    """Return the HTTP response that carries a signed envelope.

    Args:
        response: signed by ``key``.
        key: the envelope's.
        request: what is answered, as it arrived.

    Raises:
        UsageError: as `wrap_request`.
    """
    bare = ResponseMessage(
        status=STATUS_OF[response.error],
        fields=_fields(response),
        content=response.encode(),
    )
    return bare.with_fields(
        *sign_response(
            bare,
            key,
            request=request,
            profile=V10,
            created=response.created,
            expires=response.expires,
            nonce=response.nonce,
        )
    )


def check_binding(envelope: Request | Response, pending: PendingSignature) -> None:
    """Check that an envelope and the signature around it say the same.

    Args:
        envelope: as decoded from the content.
        pending: of the message that carried it.

    Raises:
        AuthenticationError: another key, time, nonce, sender, version or id
            (``sig.binding``).
        ProtocolError: an ``X-SAGE-`` field that 0.10.0 has not (``sig.binding``).
    """
    outer = pending.keyid, pending.created, pending.expires, pending.nonce
    inner = envelope.kid, envelope.created, envelope.expires, envelope.nonce
    if outer != inner:
        raise AuthenticationError(code=Code.SIG_BINDING)
    fields = _sage_fields(pending.message.fields)
    if fields.get("x-sage-did") != envelope.did:
        raise AuthenticationError(code=Code.SIG_BINDING)
    if fields.get("x-sage-version") != envelope.version:
        raise AuthenticationError(code=Code.SIG_BINDING)
    for name, member in _OPTIONAL.items():
        if name in fields and fields[name] != getattr(envelope, member):
            raise AuthenticationError(code=Code.SIG_BINDING)


def _sage_fields(lines: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw, value in lines:
        name = raw.lower()
        if not name.startswith("x-sage-"):
            continue
        if name not in _KNOWN or name in found:
            # X-SAGE-Meta-* is removed: no field says what the body does not.
            raise ProtocolError(
                "an X-SAGE field that is unknown, or twice", code=Code.SIG_BINDING
            )
        found[name] = value
    return found


def _fields(envelope: Request | Response) -> tuple[tuple[str, str], ...]:
    if envelope.version != VERSION:
        raise UsageError(f"this is the binding of {VERSION}")
    return (
        ("Content-Type", "application/json"),
        ("X-SAGE-DID", envelope.did),
        ("X-SAGE-Version", envelope.version),
    )
