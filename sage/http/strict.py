"""What only 0.10.0 asks of a signed message (MSG-01..05), beside its exact coverage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..encoding import b64u_decode
from ..errors import Code, DecodeError, PeerError, ProtocolError
from ..identity.did import parse_key_url
from ..limits import NONCE_BYTES
from .base import MessageView
from .digest import digest_text, parse_digest
from .parameters import SignatureParameters
from .profile import Profile
from .signature_input import encode_signature

__all__ = ["CONTENT_TYPE", "VERSION", "check_one_text", "check_strict"]

CONTENT_TYPE: Final = "application/json"
VERSION: Final = "0.10.0"


def check_strict(
    view: MessageView,
    parameters: SignatureParameters,
    given: Mapping[str, Any],
    profile: Profile,
) -> None:
    """Check what the general rules leave open.

    Raises:
        ProtocolError: a content coding, trailers, or another Content-Type than
            ``application/json`` (``sig.coverage``); another version
            (``version.unsupported``); another sender than the key's
            (``sig.binding``); a parameter missing or beyond the six
            (``sig.coverage``).
        DecodeError: a ``keyid`` that is no key URL (``id.malformed``); a nonce that
            is not 16 bytes (``sig.malformed``); a digest that is not exactly one
            of SHA-256 (``digest.mismatch``).
    """
    if given.keys() != set(profile.parameters):
        raise ProtocolError("not the six parameters", code=Code.SIG_COVERAGE)
    _check_message(view)
    _check_sender(view, parameters)
    try:
        b64u_decode(parameters.nonce or "", size=NONCE_BYTES)
    except PeerError:
        raise DecodeError("a nonce is 16 bytes", code=Code.SIG_MALFORMED) from None
    _check_digest(view)


def check_one_text(view: MessageView, label: str, signature: bytes) -> None:
    """Check that ``Signature`` is written in the one way there is.

    Raises:
        DecodeError: white space, parameters, or bits behind the last byte
            (``sig.malformed``).
    """
    if view.field("signature") != encode_signature(label, signature):
        raise DecodeError("not exactly one signature", code=Code.SIG_MALFORMED)


def _check_message(view: MessageView) -> None:
    if view.message.trailers or "content-encoding" in view.lines:
        raise ProtocolError(
            "neither trailers nor a content coding", code=Code.SIG_COVERAGE
        )
    if view.field("content-type") != CONTENT_TYPE:
        raise ProtocolError(f"content is {CONTENT_TYPE}", code=Code.SIG_COVERAGE)
    if view.field("x-sage-version") != VERSION:
        raise ProtocolError("unsupported version", code=Code.VERSION_UNSUPPORTED)


def _check_sender(view: MessageView, parameters: SignatureParameters) -> None:
    url = parse_key_url(parameters.keyid or "")
    if view.field("x-sage-did") != url.did.did:
        raise ProtocolError("X-SAGE-DID is not the key's", code=Code.SIG_BINDING)


def _check_digest(view: MessageView) -> None:
    value = view.field("content-digest")
    if value is None:
        raise ProtocolError("the digest is missing", code=Code.DIGEST_MISSING)
    digest = parse_digest(value).get("sha-256", b"")
    if value != digest_text("sha-256", digest):
        raise DecodeError("exactly one sha-256", code=Code.DIGEST_MISMATCH)
