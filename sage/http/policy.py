"""What a verifier demands. Every field's default is the safe one.

A weaker policy is asked for by name: ``Policy(require_nonce=False)`` says in the
place where it is used what is given up. The `V10` profile cannot be weakened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

from ..errors import UsageError
from ..limits import FRESHNESS_SKEW_S, FRESHNESS_WINDOW_S, HTTP_CONTENT_MAX_BYTES
from ..runtime.bounds import check_count
from .component import named_components, texts
from .profile import GENERAL, V10, Profile
from .structured import check_kinds

__all__ = ["Policy"]

# What the strict profile fixes; everything else about it is the caller's situation.
_FIXED: Final = (
    "algorithms",
    "allow_other_signatures",
    "allow_repeated_fields",
    "also_cover",
    "cover",
    "label",
    "max_age_s",
    "require_created",
    "require_digest",
    "require_expires",
    "require_keyid",
    "require_nonce",
    "require_request",
    "skew_s",
    "tag",
)


_TEXTS: Final[Mapping[str, type[tuple[str, ...]] | type[frozenset[str]]]] = {
    "algorithms": frozenset,
    "also_cover": tuple,
    "authorities": frozenset,
    "cover": tuple,
    "target_uris": frozenset,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a signature must be, cover and say.

    Attributes:
        profile: the shape that is expected.
        label: which signature; ``None`` takes whatever label there is.
        allow_other_signatures: let other labels stand beside it (a proxy's). With
            ``label=None`` the first in alphabetical order is verified.
        tag: the application that it must have been made for; ``None``: not looked at.
        algorithms: which are good enough; ``None`` for the profile's. ``rsa-v1_5-
            sha256`` and ``es256k`` are verified only where they are named here.
        require_created: when it was made must be said.
        require_expires: until when it holds must be said.
        require_nonce: it must be good for one use; see `VerifiedSignature.reservation`.
        require_keyid: whose key it is must be said.
        require_alg: the algorithm must be said; where it is said, it is compared.
        require_digest: content must be covered through its digest.
        require_request: a response must be bound to its request.
        cover: what requests must cover instead of what the profile says; ``None`` for
            that. Whatever is not covered, anybody on the way may have put there.
        also_cover: what they must cover as well.
        max_age_s: seconds from ``created``; ``None`` for no end.
        skew_s: how far clocks may be apart, 0 to 30.
        authorities: our own names, as ``host`` or ``host:port`` in lower case; ``None``
            where whoever built the message has compared the name already.
        target_uris: exactly these URIs; ``None`` for any.
        allow_repeated_fields: join repeated Signature, Signature-Input,
            Content-Digest, Content-Type and X-SAGE lines instead of refusing them.
        max_content_bytes: the longest content.
        structured_fields: more structured fields, by lower-case name, and their types
            (``"dictionary"``, ``"item"``, ``"list"``), for ``;sf``.

    Raises:
        UsageError: a strict profile with something that weakens it, a number that is
            no int or out of range, or components or types of fields that are none.
    """

    profile: Profile = GENERAL
    label: str | None = "sig1"
    allow_other_signatures: bool = False
    tag: str | None = None
    algorithms: frozenset[str] | None = None
    require_created: bool = True
    require_expires: bool = True
    require_nonce: bool = True
    require_keyid: bool = True
    require_alg: bool = False
    require_digest: bool = True
    require_request: bool = True
    cover: tuple[str, ...] | None = None
    also_cover: tuple[str, ...] = ()
    max_age_s: int | None = FRESHNESS_WINDOW_S
    skew_s: int = FRESHNESS_SKEW_S
    authorities: frozenset[str] | None = None
    target_uris: frozenset[str] | None = None
    allow_repeated_fields: bool = False
    max_content_bytes: int = HTTP_CONTENT_MAX_BYTES
    structured_fields: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        for name in ("max_age_s", "max_content_bytes", "skew_s"):
            value = getattr(self, name)
            if value is None and name == "max_age_s":
                continue
            # An age of 1.5 s would come out of the replay guard, request by request.
            check_count(value, name, least=0)
        for name, kind in _TEXTS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, kind(texts(value, name)))
        # A replay guard forgets an entry 30 s after it went stale.
        if not 0 <= self.skew_s <= FRESHNESS_SKEW_S:
            raise UsageError(f"skew_s is 0 to {FRESHNESS_SKEW_S}")
        named_components((self.cover or ()) + self.also_cover)
        check_kinds(self.structured_fields)
        if self.profile.exact:
            self._check_strict()

    def _check_strict(self) -> None:
        for name in _FIXED:
            default = type(self).__dataclass_fields__[name].default
            if getattr(self, name) != default:
                raise UsageError(f"the profile {self.profile.name} fixes {name}")

    @classmethod
    def v10(cls, target_uri: str | None = None) -> Self:
        """Return the policy of 0.10.0.

        Args:
            target_uri: our own endpoint, exactly; ``None`` for a client, and for a
                server that has compared it already.
        """
        uris = None if target_uri is None else frozenset({target_uri})
        return cls(profile=V10, target_uris=uris)

    @property
    def accepted_algorithms(self) -> frozenset[str]:
        """The algorithms that are good enough."""
        return self.profile.algorithms if self.algorithms is None else self.algorithms

    def replace(self, **changes: object) -> Self:
        """Return the same policy but for what is named."""
        return replace(self, **changes)  # type: ignore[arg-type]
