"""Verify signed messages (RFC 9421, section 3.2; the order of MSG-05).

1. `begin_request` or `begin_response`: sizes, syntax, label, parameters, coverage,
   time, digest; it builds the signature base. No key yet, and no work that a key costs.
2. The caller finds the key that `PendingSignature.keyid` names.
3. `PendingSignature.finish`: the signature, under exactly that key.
4. The caller reserves `VerifiedSignature.reservation` in a replay guard, and only
   then acts. Without this step a request can be played again while it is fresh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field
from typing import Final, NoReturn

from .. import _crypto
from ..envelope.replay_guard import Reservation
from ..errors import (
    AuthenticationError,
    Code,
    ProtocolError,
    UsageError,
)
from ..limits import REPLAY_GRACE_S
from .base import MessageView, signature_base
from .checks import (
    check_algorithm,
    check_coverage,
    check_digests,
    check_framing,
    check_required,
    check_sender,
    check_target,
    check_times,
    select_signature,
    stale_at,
)
from .component import Component
from .digest import ContentDigester
from .keys import VerificationKey
from .message import Message, RequestMessage, ResponseMessage
from .parameters import SignatureParameters, read_parameters
from .policy import Policy
from .strict import check_one_text, check_strict

__all__ = [
    "PendingSignature",
    "VerifiedSignature",
    "begin_request",
    "begin_response",
    "verify_request",
    "verify_response",
]

_TOKEN: Final = object()
_DEFAULT: Final = Policy()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Signature:
    """What is known of a signature before and after it is verified.

    Attributes:
        message: what was signed.
        label: which of the message's signatures.
        parameters: what the signature says of itself.
        components: what it covers, in order.
        digests: what the content must have; empty where it is not covered.
    """

    # Who prints a peer wants no cookies and no content in the log.
    message: Message = field(repr=False)
    label: str
    parameters: SignatureParameters
    components: tuple[Component, ...]
    digests: Mapping[str, bytes]
    policy: Policy = field(repr=False)
    token: InitVar[object]

    def __post_init__(self, token: object) -> None:
        if token is not _TOKEN:
            raise UsageError("only verifying makes a proof of it")

    @property
    def keyid(self) -> str | None:
        """Whose key it says it is of."""
        return self.parameters.keyid

    @property
    def algorithm(self) -> str | None:
        """The algorithm that it names."""
        return self.parameters.alg

    @property
    def created(self) -> int | None:
        """When it was made, in wall seconds."""
        return self.parameters.created

    @property
    def expires(self) -> int | None:
        """Until when it holds, in wall seconds."""
        return self.parameters.expires

    @property
    def nonce(self) -> str | None:
        """What makes it good for one use."""
        return self.parameters.nonce

    @property
    def tag(self) -> str | None:
        """The application that it is for."""
        return self.parameters.tag

    @property
    def covered(self) -> tuple[str, ...]:
        """The identifiers of what is covered, such as ``"@method"``, with quotes."""
        return tuple(component.identifier for component in self.components)

    def content_digester(self) -> ContentDigester:
        """Return what compares content that was streamed (``content=None``).

        Raises:
            UsageError: the content is not covered.
        """
        return ContentDigester(self.digests, max_bytes=self.policy.max_content_bytes)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a proof does not leave the process that verified it")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class VerifiedSignature(_Signature):
    """Proof that ``message`` was signed by ``key``; only verifying makes one.

    It proves what `covered` lists and nothing else: a field that is not covered may
    be anybody's. It proves nothing about replay until `reservation` is reserved.

    Attributes:
        key: the key that verified it.
    """

    key: VerificationKey

    @property
    def peer(self) -> str:
        """Who signed: the key's name up to a ``#``, so an agent's DID."""
        return self.key.kid.partition("#")[0]

    def reservation(self, recipient: str) -> Reservation:
        """Return what `ReplayGuard.reserve` must take before anything is done.

        The nonce is used up within the pair of key and recipient, until the
        signature is stale by itself; under the profile `V10` within that of agent and
        recipient, whichever of the agent's keys signed (MSG-05). (An envelope of
        0.10.0 inside reserves the same nonce, and its id: there, reserve the envelope.)

        Args:
            recipient: ourselves: a DID, an authority, any name that stays the same.

        Raises:
            UsageError: the policy let something pass that cannot be reserved: it has
                no nonce, or never goes stale.
        """
        end = stale_at(self.parameters, self.policy)
        if not self.nonce or end is None:
            raise UsageError("without nonce and end nothing keeps this from replay")
        return Reservation(
            sender=self.peer if self.policy.profile.exact else self.key.kid,
            recipient=recipient,
            id=None,
            nonce=self.nonce,
            # The guard keeps it for REPLAY_GRACE_S longer: until exactly the end.
            expires=end - REPLAY_GRACE_S,
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PendingSignature(_Signature):
    """A signature that is right in everything but, perhaps, itself.

    Attributes:
        base: the bytes that were signed.
        signature: over them.
    """

    base: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def finish(self, key: VerificationKey) -> VerifiedSignature:
        """Verify the signature under a key.

        Args:
            key: what a trusted source says of `keyid`; its algorithm decides.

        Raises:
            AuthenticationError: it does not verify (``sig.bad``), has the wrong
                length (``sig.malformed``), or the key's algorithm is not the one
                that it names or the policy takes (``sig.alg-mismatch``).
            ProtocolError: another key than it names (``sig.binding``).
            ConfigError: ``es256k`` without `pycryptodome`.
        """
        if self.keyid is not None and key.kid != self.keyid:
            raise ProtocolError("another key was signed with", code=Code.SIG_BINDING)
        algorithm = key.algorithm
        check_algorithm(algorithm, self.policy)
        if self.algorithm not in (None, algorithm):
            raise AuthenticationError(code=Code.SIG_ALG_MISMATCH)
        if self.policy.profile.low_s and algorithm == "ecdsa-p256-sha256":
            _check_low_s(self.signature)
        key.verify(self.base, self.signature)
        return VerifiedSignature(
            message=self.message,
            label=self.label,
            parameters=self.parameters,
            components=self.components,
            digests=self.digests,
            policy=self.policy,
            key=key,
            token=_TOKEN,
        )


KeyOrLookup = VerificationKey | Callable[[str | None], VerificationKey]
"""A key, or what finds the one that a ``keyid`` names (or raises a `SageError`)."""


def begin_request(
    request: RequestMessage, *, policy: Policy = _DEFAULT, unix_time: int
) -> PendingSignature:
    """Check everything about a signed request that needs no key.

    Args:
        request: as received. With ``content=None`` it is the head that is verified;
            the content is to be compared with `PendingSignature.content_digester` then.
        policy: what is demanded.
        unix_time: wall seconds.

    Raises:
        DecodeError: malformed or too long (``sig.malformed``, ``digest.mismatch``,
            ``size.exceeded``, ``id.malformed``).
        ProtocolError: not signed (``sig.missing``), under another label
            (``sig.unknown-label``), not enough covered (``sig.coverage``), covered
            and not there (``sig.base-mismatch``), for somebody else
            (``sig.binding``), without digest (``digest.missing``), another version
            (``version.unsupported``), or a field twice (``sig.malformed``).
        StaleError: outside its time (``sig.stale``).
        AuthenticationError: another content than the digest's
            (``digest.mismatch``), or an algorithm that the policy does not take
            (``sig.alg-mismatch``).
    """
    view = MessageView(request, structured=policy.structured_fields)
    return _begin(view, policy, unix_time)


def begin_response(
    response: ResponseMessage,
    *,
    request: RequestMessage | None,
    policy: Policy = _DEFAULT,
    unix_time: int,
) -> PendingSignature:
    """Check everything about a signed response that needs no key.

    Args:
        response: as received.
        request: what we sent, with the signature fields that we sent it with; ``None``
            only where the policy does not ask for it.
        policy: what is demanded.
        unix_time: wall seconds.

    Raises:
        UsageError: no request, where the policy asks that the response be bound to it.
        SageError: everything else as `begin_request`.
    """
    asked = None
    if request is not None:
        asked = MessageView(request, structured=policy.structured_fields)
    elif policy.require_request:
        raise UsageError("a response is verified with the request that it answers")
    view = MessageView(response, request=asked, structured=policy.structured_fields)
    return _begin(view, policy, unix_time)


def verify_request(
    request: RequestMessage,
    key: KeyOrLookup,
    *,
    policy: Policy = _DEFAULT,
    unix_time: int,
) -> VerifiedSignature:
    """Verify a signed request: `begin_request` and `PendingSignature.finish`.

    Reserve `VerifiedSignature.reservation` before you act on it.

    Args:
        request: as received.
        key: the key, or what finds the one that a ``keyid`` names.
        policy: what is demanded.
        unix_time: wall seconds.

    Raises:
        SageError: as those two.
    """
    pending = begin_request(request, policy=policy, unix_time=unix_time)
    return pending.finish(_found(key, pending))


def verify_response(
    response: ResponseMessage,
    key: KeyOrLookup,
    *,
    request: RequestMessage | None,
    policy: Policy = _DEFAULT,
    unix_time: int,
) -> VerifiedSignature:
    """Verify a signed response: `begin_response` and `PendingSignature.finish`.

    Args:
        response: as received.
        key: the key, or what finds the one that a ``keyid`` names.
        request: what we sent, with its signature fields.
        policy: what is demanded.
        unix_time: wall seconds.

    Raises:
        SageError: as those two.
    """
    pending = begin_response(
        response, request=request, policy=policy, unix_time=unix_time
    )
    return pending.finish(_found(key, pending))


def _begin(view: MessageView, policy: Policy, unix_time: int) -> PendingSignature:
    check_framing(view, policy)
    label, given, signature = select_signature(view, policy)
    parameters = read_parameters(given.parameters)
    check_required(parameters, policy)
    if policy.profile.exact:
        check_strict(view, parameters, given.parameters, policy.profile)
        check_one_text(view, label, signature)
    check_coverage(view, given.components, policy)
    if parameters.alg is not None:
        check_algorithm(parameters.alg, policy)
    check_times(parameters, policy, unix_time)
    check_sender(view, parameters.keyid)
    if isinstance(view.message, RequestMessage):
        check_target(view, policy)
    digests = check_digests(view, given.components, policy)
    return PendingSignature(
        message=view.message,
        label=label,
        parameters=parameters,
        components=given.components,
        digests=digests,
        policy=policy,
        base=signature_base(view, given.components, given.text),
        signature=signature,
        token=_TOKEN,
    )


def _found(key: KeyOrLookup, pending: PendingSignature) -> VerificationKey:
    return key(pending.keyid) if callable(key) else key


def _check_low_s(signature: bytes) -> None:
    # Of the wrong length it is the key that says so.
    if len(signature) == 64 and not _crypto.p256_is_low_s(signature):
        raise AuthenticationError(code=Code.SIG_BAD)
