"""A signer with a clock and a source of chance: what the drop-ins sign with."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..encoding import b64u_encode
from ..errors import UsageError
from ..limits import ENVELOPE_TTL_S, NONCE_BYTES
from .component import named_components, texts
from .keys import SignatureKey
from .message import FieldLines, RequestMessage, ResponseMessage
from .parameters import SignatureParameters, encode_parameters
from .profile import GENERAL
from .sign import sign_request, sign_response
from .signature_input import is_label

__all__ = ["Signer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Signs requests and responses now, each with a nonce of its own.

    Attributes:
        key: what signs; an `identity.SigningKey` fits.
        label: the name of the signature in its two fields.
        tag: the application that the signature is for (RFC 9421, 2.3), if any.
        components: what a request's signature covers instead of the default.
        also_cover: header fields that it covers as well, each where a request has it.
        ttl_s: whole seconds from ``created`` to ``expires``.

    Raises:
        UsageError: what should sign is no key, such as the agent that has one; what
            should be covered is no component; or label, tag or time are none.
    """

    key: SignatureKey
    label: str = "sig1"
    tag: str | None = None
    components: Sequence[str] | None = None
    also_cover: Sequence[str] = ()
    ttl_s: int = ENVELOPE_TTL_S

    def __post_init__(self) -> None:
        """Refuse what could not sign, before the first request."""
        if not hasattr(self.key, "algorithm"):
            raise UsageError(
                "a key signs, such as an agent's signing_key, not"
                f" {type(self.key).__name__}"
            )
        for name in ("also_cover", "components"):
            value = getattr(self, name)
            if value is not None:
                named_components(texts(value, name))
        if not is_label(self.label):
            raise UsageError(f"{self.label!r} cannot be a label")
        if type(self.ttl_s) is not int or self.ttl_s < 1:
            raise UsageError("ttl_s is an int from 1")
        encode_parameters(SignatureParameters(tag=self.tag), ("tag",))

    def sign_request(self, request: RequestMessage) -> FieldLines:
        """Return the fields to add to a request.

        Raises:
            UsageError: the key was wiped, or the request lacks a component.
        """
        created = int(time.time())
        return sign_request(
            request,
            self.key,
            created=created,
            expires=created + self.ttl_s,
            nonce=_nonce(),
            label=self.label,
            tag=self.tag,
            components=self.components,
            also_cover=self.also_cover,
        )

    def sign_response(
        self, response: ResponseMessage, *, request: RequestMessage
    ) -> FieldLines:
        """Return the fields to add to the response to ``request``, bound to it.

        A response whose content is ``None`` and that has no ``Content-Digest`` is
        signed without one: its status, what it answers, and its type.

        Raises:
            UsageError: the key was wiped.
        """
        created = int(time.time())
        return sign_response(
            response,
            self.key,
            request=request,
            created=created,
            expires=created + self.ttl_s,
            nonce=_nonce(),
            label=self.label,
            components=_without_digest(response, request),
            tag=self.tag,
        )


def _without_digest(
    response: ResponseMessage, request: RequestMessage
) -> tuple[str, ...] | None:
    """Return what the head of a stream can prove; ``None`` for all that is usual.

    The digest of a content that does not exist yet cannot be in front of it.
    """
    names = {name.lower() for name, _ in response.fields}
    if response.content is not None or "content-digest" in names:
        return None
    asked = {name.lower() for name, _ in request.fields}
    bound = (
        f'"{name}";req' for name in ("content-digest", "signature") if name in asked
    )
    described = ("content-type",) if "content-type" in names else ()
    return (*GENERAL.response, *bound, *described)


def _nonce() -> str:
    return b64u_encode(os.urandom(NONCE_BYTES))
