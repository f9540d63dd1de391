"""What is checked of a signed message before any key is looked at.

Each function is one rule of the policy; `sage.http.verify` calls them in the order
that costs an attacker most and us least. `sage.http.strict` has what only 0.10.0 asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..errors import (
    AuthenticationError,
    Code,
    DecodeError,
    ProtocolError,
    StaleError,
)
from .base import MessageView
from .component import Component, named_components
from .digest import check_digest, parse_digest
from .fields import check_sizes, check_unrepeated
from .message import RequestMessage
from .parameters import SignatureParameters
from .policy import Policy
from .signature_input import SignatureInput, parse_signature_input, parse_signatures
from .structured import parse_structured

__all__ = [
    "check_algorithm",
    "check_coverage",
    "check_digests",
    "check_framing",
    "check_required",
    "check_sender",
    "check_target",
    "check_times",
    "select_signature",
    "stale_at",
]

_NO_DIGESTS: Final[Mapping[str, bytes]] = {}
_SIGNED: Final = frozenset({"signature", "signature-input"})


def check_framing(view: MessageView, policy: Policy) -> None:
    """Check sizes and repeated lines.

    Raises:
        DecodeError: too long (``size.exceeded``).
        ProtocolError: a field is repeated that must not be (``sig.malformed``).
    """
    message = view.message
    check_sizes((*message.fields, *message.trailers), view.lines)
    if message.content is not None and len(message.content) > policy.max_content_bytes:
        text = f"content: more than {policy.max_content_bytes} bytes"
        raise DecodeError(text, code=Code.SIZE_EXCEEDED)
    if not policy.allow_repeated_fields:
        # Whoever adds a signature adds it in lines of its own.
        theirs = _SIGNED if policy.allow_other_signatures else frozenset[str]()
        check_unrepeated(view.lines, besides=theirs)


def select_signature(
    view: MessageView, policy: Policy
) -> tuple[str, SignatureInput, bytes]:
    """Find the one signature that the policy wants: its label, input and bytes.

    Raises:
        ProtocolError: no signature, or half of one (``sig.missing``); another label,
            or more of them than the policy lets (``sig.unknown-label``).
        DecodeError: the fields are malformed (``sig.malformed``).
    """
    given, signed = view.field("signature-input"), view.field("signature")
    if given is None or signed is None:
        raise ProtocolError("not signed", code=Code.SIG_MISSING)
    inputs, signatures = parse_signature_input(given), parse_signatures(signed)
    label = policy.label
    if label is None:
        label = min(inputs, default="")
    if not policy.allow_other_signatures and not (
        inputs.keys() | signatures.keys() <= {label}
    ):
        raise ProtocolError("a foreign label", code=Code.SIG_UNKNOWN_LABEL)
    if label not in inputs or label not in signatures:
        raise ProtocolError("no such signature", code=Code.SIG_MISSING)
    return label, inputs[label], signatures[label]


def check_required(parameters: SignatureParameters, policy: Policy) -> None:
    """Check that every parameter is there that must be, and the tag is ours.

    Raises:
        ProtocolError: one is missing (``sig.coverage``), or the tag another's
            (``sig.binding``).
    """
    demands = (
        (policy.require_created, parameters.created, "created"),
        (policy.require_expires, parameters.expires, "expires"),
        (policy.require_nonce, parameters.nonce, "nonce"),
        (policy.require_keyid, parameters.keyid, "keyid"),
        (policy.require_alg, parameters.alg, "alg"),
    )
    for required, value, name in demands:
        if required and value is None:
            raise ProtocolError(f"{name} is missing", code=Code.SIG_COVERAGE)
    if policy.require_nonce and not parameters.nonce:
        raise ProtocolError("the nonce is empty", code=Code.SIG_COVERAGE)
    tag = policy.profile.tag if policy.tag is None else policy.tag
    if tag is not None and parameters.tag != tag:
        raise ProtocolError("signed for something else", code=Code.SIG_BINDING)


def check_algorithm(algorithm: str, policy: Policy) -> None:
    """Check that an algorithm is one of the policy's.

    Raises:
        AuthenticationError: it is not (``sig.alg-mismatch``).
    """
    if algorithm not in policy.accepted_algorithms:
        raise AuthenticationError(code=Code.SIG_ALG_MISMATCH)


def check_times(
    parameters: SignatureParameters, policy: Policy, unix_time: int
) -> None:
    """Check that a signature is of now (MSG-05).

    Raises:
        StaleError: made too far ahead, too long ago, expired, or to live for nothing
            or, in a strict profile, for too long (``sig.stale``).
    """
    created, expires = parameters.created, parameters.expires
    fresh = True
    # Written so that a clock without a value (NaN) refuses.
    if created is not None:
        fresh = created <= unix_time + policy.skew_s
    if created is not None and policy.max_age_s is not None:
        fresh = fresh and unix_time < created + policy.max_age_s + policy.skew_s
    if expires is not None:
        fresh = fresh and unix_time < expires + policy.skew_s
    if created is not None and expires is not None:
        lifetime = expires - created
        fresh = fresh and lifetime > 0
        if policy.profile.exact:
            fresh = fresh and lifetime <= policy.profile.max_lifetime_s
    if not fresh:
        raise StaleError("the signature is outside its time", code=Code.SIG_STALE)


def stale_at(parameters: SignatureParameters, policy: Policy) -> int | None:
    """Return the wall second from which `check_times` refuses; ``None`` for never."""
    ends = []
    if parameters.expires is not None:
        ends.append(parameters.expires + policy.skew_s)
    if parameters.created is not None and policy.max_age_s is not None:
        ends.append(parameters.created + policy.max_age_s + policy.skew_s)
    return min(ends, default=None)


def check_coverage(
    view: MessageView, components: tuple[Component, ...], policy: Policy
) -> None:
    """Check that everything is covered that must be.

    Raises:
        ProtocolError: it is not, or in a strict profile more is, or in another order
            (``sig.coverage``).
    """
    covered = [component.identifier for component in components]
    wanted = _identifiers(_required(view, policy))
    if policy.profile.exact:
        complete = covered == wanted
    else:
        complete = set(covered).issuperset(wanted)
    if not complete:
        raise ProtocolError("not enough is covered", code=Code.SIG_COVERAGE)


def check_digests(
    view: MessageView, components: tuple[Component, ...], policy: Policy
) -> Mapping[str, bytes]:
    """Compare the content with its covered digest; return what it must have.

    Content that is streamed (``None``) is not compared here.

    Raises:
        ProtocolError: content is not covered (``sig.coverage``), or there is no
            digest of it, or none that we can check (``digest.missing``).
        DecodeError: a digest that is none (``digest.mismatch``).
        AuthenticationError: another content's (``digest.mismatch``).
    """
    content = view.message.content
    value = view.field("content-digest")
    if not any(map(_covers_digest, components)):
        if value is not None:
            # An answer covers the digest of what it answers, whoever put it there.
            parse_structured(value, "dictionary", code=Code.DIGEST_MISMATCH)
        if content == b"" or not policy.require_digest:
            return _NO_DIGESTS
        if value is None:
            raise ProtocolError("content without digest", code=Code.DIGEST_MISSING)
        raise ProtocolError("content is not covered", code=Code.SIG_COVERAGE)
    if value is None:
        raise ProtocolError("the digest is missing", code=Code.DIGEST_MISSING)
    digests = parse_digest(value)
    if content is not None:
        check_digest(content, digests)
    return digests


def check_target(view: MessageView, policy: Policy) -> None:
    """Check that a request was meant for us.

    Raises:
        ProtocolError: another authority or URI than ours (``sig.binding``).
        DecodeError: the target URI cannot be read (``sig.malformed``).
    """
    if policy.authorities is None and policy.target_uris is None:
        return
    target = view.target
    ours = policy.authorities is None or target.authority in policy.authorities
    if not ours or not (policy.target_uris is None or target.uri in policy.target_uris):
        raise ProtocolError("meant for somebody else", code=Code.SIG_BINDING)


def check_sender(view: MessageView, keyid: str | None) -> None:
    """Check that ``X-SAGE-DID`` is the key's, where it is there, covered or not.

    Whoever reads it believes it, and anybody on the way may add what is not covered.

    Raises:
        ProtocolError: it names somebody else (``sig.binding``).
    """
    named = view.field("x-sage-did")
    if named is None:
        return
    if keyid is None or named != keyid.partition("#")[0]:
        raise ProtocolError("X-SAGE-DID is not the key's", code=Code.SIG_BINDING)


def _required(view: MessageView, policy: Policy) -> tuple[str, ...]:
    """Name what this message must cover, its digest aside."""
    profile = policy.profile
    if isinstance(view.message, RequestMessage):
        required = profile.request if policy.cover is None else policy.cover
        return required + policy.also_cover
    if view.request is None or not policy.require_request:
        return ("@status",)
    sent = view.request.lines
    bound = (
        name
        for name, component in zip(
            profile.response_request,
            named_components(profile.response_request),
            strict=True,
        )
        if component.name in sent
    )
    return (*profile.response, *bound)


def _identifiers(names: tuple[str, ...]) -> list[str]:
    return [component.identifier for component in named_components(names)]


def _covers_digest(component: Component) -> bool:
    # Not a trailer's, not the request's, not one algorithm out of several.
    return component.name == "content-digest" and not (
        component.req or component.tr or component.key is not None
    )
