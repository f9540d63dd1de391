"""Sign requests and responses (RFC 9421, section 3.1).

Signing adds fields and changes none: ``Content-Digest`` where there is content and no
digest yet, ``Signature-Input``, ``Signature``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import PeerError, UsageError
from .algorithms import HTTP_ALGORITHMS
from .base import MessageView, signature_base
from .component import Component, named_components, texts
from .digest import check_digest, encode_digest, parse_digest
from .fields import check_sizes, check_unrepeated
from .keys import SignatureKey
from .message import FieldLines, Message, RequestMessage, ResponseMessage
from .parameters import SignatureParameters, encode_parameters
from .profile import GENERAL, Profile
from .signature_input import (
    encode_signature,
    is_label,
    parse_signature_input,
    parse_signatures,
)
from .strict import check_strict
from .structured import check_kinds

__all__ = ["sign_request", "sign_response"]

_NO_MORE_FIELDS: Final[Mapping[str, str]] = {}
_SIGNATURES: Final[Mapping[str, Callable[[str], Mapping[str, object]]]] = {
    "signature-input": parse_signature_input,
    "signature": parse_signatures,
}


def sign_request(
    request: RequestMessage,
    key: SignatureKey,
    *,
    profile: Profile = GENERAL,
    created: int,
    expires: int | None,
    nonce: str | None,
    label: str | None = None,
    components: Sequence[str] | None = None,
    also_cover: Sequence[str] = (),
    tag: str | None = None,
    structured_fields: Mapping[str, str] = _NO_MORE_FIELDS,
) -> FieldLines:
    """Sign a request; return the fields to add to it, in order.

    Args:
        request: what will be sent. Streamed content (``None``) needs a
            ``Content-Digest`` among its fields already.
        key: `sage.identity.SigningKey`, `HttpKey`, or anything like them.
        profile: what is covered, and the order.
        created: wall seconds.
        expires: wall seconds, after ``created``; ``None`` for a peer that does not
            know it. Our own verifiers refuse such a signature by default.
        nonce: printable ASCII that this key never used, such as 22 characters of
            base64url over 16 random bytes; ``None`` as for ``expires``.
        label: of the signature; the profile's where ``None``.
        components: what to cover instead of what the profile says, by plain names or
            whole identifiers. The profile `V10` allows no choice.
        also_cover: header fields to cover as well, each where the request has it.
        tag: the application that the signature is for.
        structured_fields: more structured fields and their types, as in `Policy`.

    Raises:
        UsageError: something of this cannot be signed: a component that the request
            has not, a time that does not fit, a label that is used already, a key
            of another algorithm than the profile's; or, under `V10`, a message that
            its rules refuse.
    """
    return _sign(
        _view(request, None, structured_fields),
        key,
        profile,
        _Wanted(created, expires, nonce, tag, label, components, also_cover),
    )


def sign_response(
    response: ResponseMessage,
    key: SignatureKey,
    *,
    request: RequestMessage,
    profile: Profile = GENERAL,
    created: int,
    expires: int | None,
    nonce: str | None,
    label: str | None = None,
    components: Sequence[str] | None = None,
    tag: str | None = None,
    structured_fields: Mapping[str, str] = _NO_MORE_FIELDS,
) -> FieldLines:
    """Sign a response to a request; return the fields to add to it, in order.

    The signature covers the request's method, target, digest and signature as well
    (``;req``), so that it answers this request and no other.

    Args:
        response: what will be sent.
        key: as `sign_request`.
        request: as received, signature fields included.
        profile: as `sign_request`.
        created: as `sign_request`.
        expires: as `sign_request`.
        nonce: as `sign_request`.
        label: as `sign_request`.
        components: as `sign_request`. A streamed response whose digest nobody knows
            yet is signed by naming components without it; the peer must ask for that
            with ``Policy(require_digest=False)``.
        tag: as `sign_request`.
        structured_fields: as `sign_request`.

    Raises:
        UsageError: as `sign_request`.
    """
    return _sign(
        _view(response, _view(request, None, structured_fields), structured_fields),
        key,
        profile,
        _Wanted(created, expires, nonce, tag, label, components),
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the caller asks of one signature."""

    created: int
    expires: int | None
    nonce: str | None
    tag: str | None
    label: str | None
    components: Sequence[str] | None
    also_cover: Sequence[str] = ()


def _view(
    message: Message, asked: MessageView | None, structured: Mapping[str, str]
) -> MessageView:
    check_kinds(structured)
    try:
        return MessageView(message, request=asked, structured=structured)
    except PeerError as exc:
        raise UsageError(f"this message cannot be signed: {exc}") from exc


def _sign(
    view: MessageView, key: SignatureKey, profile: Profile, wanted: _Wanted
) -> FieldLines:
    label = _label(view, profile, wanted)
    parameters = _parameters(key, profile, wanted)
    text = encode_parameters(parameters, profile.parameters)
    try:
        added = _add_digest(view, profile)
        components = _components(view, profile, wanted)
        if profile.exact:
            _check_exact(view, parameters, profile)
        listed = " ".join([component.identifier for component in components])
        given = f"({listed}){text}"
        base = signature_base(view, components, given)
        value = encode_signature(label, key.sign(base))
        lines = (
            *added,
            ("Signature-Input", f"{label}={given}"),
            ("Signature", value),
        )
        _check_length(view, lines)
    except PeerError as exc:
        raise UsageError(f"this message cannot be signed: {exc}") from exc
    return lines


def _label(view: MessageView, profile: Profile, wanted: _Wanted) -> str:
    label = profile.label if wanted.label is None else wanted.label
    if not is_label(label) or (profile.exact and label != profile.label):
        raise UsageError(f"{label!r} cannot be a label")
    for name, parse in _SIGNATURES.items():
        given = view.field(name)
        if given is None:
            continue
        try:
            taken = label in parse(given)
        except PeerError as exc:
            raise UsageError("the message has a malformed signature") from exc
        if taken or profile.exact:
            raise UsageError(f"the message has a signature {label!r} already")
    return label


def _parameters(
    key: SignatureKey, profile: Profile, wanted: _Wanted
) -> SignatureParameters:
    tag = profile.tag if wanted.tag is None else wanted.tag
    if profile.tag is not None and tag != profile.tag:
        raise UsageError(f"the profile {profile.name} fixes the tag")
    algorithm = HTTP_ALGORITHMS.get(key.algorithm)
    if algorithm is None or algorithm.sign is None:
        raise UsageError(f"{key.algorithm} does not sign HTTP messages")
    if profile.exact and key.algorithm not in profile.algorithms:
        raise UsageError(f"{key.algorithm} is not of the profile {profile.name}")
    if type(wanted.created) is not int:
        raise UsageError("created is wall seconds, an int")
    if wanted.expires is not None:
        _check_lifetime(profile, wanted.created, wanted.expires)
    return SignatureParameters(
        keyid=key.kid,
        alg=key.algorithm,
        created=wanted.created,
        expires=wanted.expires,
        nonce=wanted.nonce,
        tag=tag,
    )


def _check_lifetime(profile: Profile, created: int, expires: int) -> None:
    lifetime = expires - created if type(expires) is int else 0
    if lifetime <= 0 or (profile.exact and lifetime > profile.max_lifetime_s):
        raise UsageError(f"expires is after created, within {profile.max_lifetime_s} s")


def _add_digest(view: MessageView, profile: Profile) -> FieldLines:
    """Add the content's digest, or check the one that is there."""
    content, given = view.message.content, view.field("content-digest")
    if given is not None:
        if content is not None:
            check_digest(content, parse_digest(given))
        return ()
    if not content and not profile.exact:
        return ()
    if content is None:
        raise UsageError("streamed content needs its Content-Digest beforehand")
    value = encode_digest(content, profile.digest)
    view.lines["content-digest"] = [value]
    return (("Content-Digest", value),)


def _components(
    view: MessageView, profile: Profile, wanted: _Wanted
) -> tuple[Component, ...]:
    chosen = wanted.components
    if profile.exact and (chosen is not None or wanted.also_cover):
        raise UsageError(f"the profile {profile.name} fixes the components")
    if chosen is None:
        components = _usual_components(view, profile)
    else:
        components = named_components(texts(chosen, "components"))
    also = named_components(texts(wanted.also_cover, "also_cover"))
    there = (component for component in also if component.name in view.lines)
    return tuple(dict.fromkeys((*components, *there)))


def _usual_components(view: MessageView, profile: Profile) -> tuple[Component, ...]:
    lines, content = view.lines, view.message.content
    if content is None and "content-digest" not in lines:
        raise UsageError("streamed content needs its Content-Digest beforehand")
    if isinstance(view.message, RequestMessage):
        fixed, described = profile.request, profile.request_content
        optional = profile.request_optional
    else:
        fixed, described = profile.response, profile.response_content
        optional = ()
        fixed = (*fixed, *_bound(view, profile))
    # Without content its fields describe nothing.
    if content == b"":
        described = tuple(n for n in described if n == "content-digest")
    present = [name for name in (*described, *optional) if name in lines]
    return named_components((*fixed, *present))


def _bound(view: MessageView, profile: Profile) -> list[str]:
    """Name what of the request is there to be bound."""
    if view.request is None:
        return []
    names, sent = profile.response_request, view.request.lines
    return [
        name
        for name, component in zip(names, named_components(names), strict=True)
        if component.name in sent
    ]


def _check_exact(
    view: MessageView, parameters: SignatureParameters, profile: Profile
) -> None:
    """Refuse to send what any verifier of the profile refuses."""
    check_unrepeated(view.lines)
    given = {
        name: value
        for name in profile.parameters
        if (value := getattr(parameters, name)) is not None
    }
    check_strict(view, parameters, given, profile)


def _check_length(view: MessageView, added: FieldLines) -> None:
    fields = (*view.message.fields, *view.message.trailers, *added)
    check_sizes(fields, {name.lower(): [value] for name, value in added})
