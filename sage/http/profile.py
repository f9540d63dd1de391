"""What a signature looks like, as data: what is covered, in which order, under what.

Two profiles. `GENERAL` is RFC 9421 as the drafts of SAGE use it, for any peer that
speaks the RFC. `V10` is MSG-01..05 of 0.10.0: one label, one list of components, one
set of parameters, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..limits import FRESHNESS_WINDOW_S

__all__ = ["GENERAL", "V10", "Profile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The shape of a signature.

    Components are named as in `Component.identifier`, plain names without quotes.

    Attributes:
        name: for errors and logs.
        exact: whether a signature must cover exactly these components, in this
            order, with all these parameters and no other.
        request: what a request always covers.
        request_content: what it covers as well, where it is there: with content
            first the two that describe it.
        response: what a response always covers.
        response_request: what it covers of its request, where that has it.
        response_content: what it covers where it has content.
        parameters: the order in which parameters are written.
        tag: what every signature is tagged with; ``None`` leaves it to the caller.
        label: of the one signature, where nobody says otherwise.
        algorithms: which may be used.
        low_s: whether an ECDSA signature must have the low s (CRYPTO-03).
        digest: the algorithm of ``Content-Digest`` in what we send.
        max_lifetime_s: from ``created`` to ``expires``.
    """

    name: str
    exact: bool
    request: tuple[str, ...]
    request_content: tuple[str, ...] = ()
    request_optional: tuple[str, ...] = ()
    response: tuple[str, ...]
    response_request: tuple[str, ...] = ()
    response_content: tuple[str, ...] = ()
    parameters: tuple[str, ...] = (
        "keyid",
        "alg",
        "created",
        "expires",
        "nonce",
        "tag",
    )
    tag: str | None = None
    label: str = "sig1"
    algorithms: frozenset[str]
    low_s: bool = False
    digest: str = "sha-256"
    max_lifetime_s: int = FRESHNESS_WINDOW_S


GENERAL: Final = Profile(
    name="general",
    exact=False,
    request=("@method", "@target-uri", "@authority"),
    request_content=("content-type", "content-digest"),
    request_optional=("x-sage-did", "date"),
    response=("@status", '"@method";req', '"@target-uri";req', '"@authority";req'),
    response_request=('"content-digest";req', '"signature";req'),
    response_content=("content-type", "content-digest"),
    algorithms=frozenset(
        {
            "ecdsa-p256-sha256",
            "ecdsa-p384-sha384",
            "ed25519",
            "hmac-sha256",
            "rsa-pss-sha512",
        }
    ),
)
"""RFC 9421 for everybody, in the shape of 1.0.0-draft.1."""

V10: Final = Profile(
    name="0.10.0",
    exact=True,
    request=(
        "@method",
        "@target-uri",
        "@authority",
        "content-type",
        "content-digest",
        "x-sage-did",
        "x-sage-version",
    ),
    response=(
        "@status",
        '"@method";req',
        '"@target-uri";req',
        '"@authority";req',
        '"content-digest";req',
        '"signature";req',
        '"x-sage-version";req',
        "content-type",
        "content-digest",
        "x-sage-did",
        "x-sage-version",
    ),
    tag="sage-0.10.0",
    algorithms=frozenset({"ecdsa-p256-sha256", "ed25519"}),
    low_s=True,
)
"""Version 0.10.0, strict (MSG-01..05; its algorithms on HTTP are these two)."""
