"""Signed HTTP: RFC 9421 signatures with RFC 9530 digests, for any client and server.

`sign_request` and `sign_response` return the fields to add; `verify_request` and
`verify_response` return a proof, and `begin_request` and `begin_response` are their
first halves, for whoever must look a key up in between. `Policy` is what a verifier
demands, `GENERAL` and `V10` are what signatures look like. None of these knows a
socket, a clock or a source of chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .digest import ContentDigester, encode_digest
    from .keys import HttpKey, HttpPublicKey, SignatureKey, VerificationKey
    from .message import RequestMessage, ResponseMessage
    from .policy import Policy
    from .profile import GENERAL, V10, Profile
    from .sign import sign_request, sign_response
    from .verify import (
        PendingSignature,
        VerifiedSignature,
        begin_request,
        begin_response,
        verify_request,
        verify_response,
    )

__all__ = [
    "GENERAL",
    "V10",
    "ContentDigester",
    "HttpKey",
    "HttpPublicKey",
    "PendingSignature",
    "Policy",
    "Profile",
    "RequestMessage",
    "ResponseMessage",
    "SignatureKey",
    "VerificationKey",
    "VerifiedSignature",
    "begin_request",
    "begin_response",
    "encode_digest",
    "sign_request",
    "sign_response",
    "verify_request",
    "verify_response",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ContentDigester": ".digest",
        "GENERAL": ".profile",
        "HttpKey": ".keys",
        "HttpPublicKey": ".keys",
        "PendingSignature": ".verify",
        "Policy": ".policy",
        "Profile": ".profile",
        "RequestMessage": ".message",
        "ResponseMessage": ".message",
        "SignatureKey": ".keys",
        "V10": ".profile",
        "VerificationKey": ".keys",
        "VerifiedSignature": ".verify",
        "begin_request": ".verify",
        "begin_response": ".verify",
        "encode_digest": ".digest",
        "sign_request": ".sign",
        "sign_response": ".sign",
        "verify_request": ".verify",
        "verify_response": ".verify",
    },
)
