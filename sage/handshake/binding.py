"""What a finished handshake leaves behind: the pinned tuple and the seed.

The tuple says who talks to whom under which keys; every later record is held
against it (SESSION-04). The seed is the one secret that all keys come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, NoReturn, Self

from ..errors import Code, ProtocolError
from ..identity.keys import PublicKey
from ..types import Did, KeyUrl, Role, SessionId
from .erase import wipe
from .messages import Initiation
from .transcript import session_id

__all__ = ["Binding", "PinnedKeys", "SessionSecrets"]


class PinnedKeys(NamedTuple):
    """The three public keys of a handshake, each with its URL and algorithm."""

    init_key: PublicKey
    resp_key: PublicKey
    kem_key: PublicKey

    def require(self, observed: PinnedKeys) -> None:
        """Refuse keys that are not the pinned ones: URL, algorithm, every byte.

        Raises:
            ProtocolError: a key changed (``handshake.binding``).
        """
        if observed != self:
            raise ProtocolError(
                "a key is not the one that was pinned", code=Code.HANDSHAKE_BINDING
            )


class Binding(NamedTuple):
    """The pinned tuple of a session, as one end sees it. Public values only.

    Attributes:
        v: the protocol version.
        ctx: the context, every envelope's ``context_id``.
        init_did: the initiator.
        resp_did: the responder.
        init_kid: the initiator's signing key.
        resp_kid: the responder's signing key.
        kem_kid: the responder's X25519 key.
        suite: the HPKE suite's name.
        combiner: the combiner's name.
        kid: the responder's handle for the session, a UUIDv4.
        transcript_hash: th, 32 bytes.
        session_id: every session envelope's ``session_id``, 22 characters.
        role: which end we are.
        init_key: the public key behind ``init_kid``.
        resp_key: the public key behind ``resp_kid``.
        kem_key: the public key behind ``kem_kid``.
    """

    v: str
    ctx: str
    init_did: Did
    resp_did: Did
    init_kid: KeyUrl
    resp_kid: KeyUrl
    kem_kid: KeyUrl
    suite: str
    combiner: str
    kid: str
    transcript_hash: bytes
    session_id: SessionId
    role: Role
    init_key: PublicKey
    resp_key: PublicKey
    kem_key: PublicKey

    @classmethod
    def pin(
        cls,
        initiation: Initiation,
        keys: PinnedKeys,
        *,
        kid: str,
        transcript_hash: bytes,
        role: Role,
    ) -> Self:
        """Write down what a handshake agreed on."""
        return cls(
            v=initiation.v,
            ctx=initiation.ctx,
            init_did=initiation.init_did,
            resp_did=initiation.resp_did,
            init_kid=initiation.init_kid,
            resp_kid=initiation.resp_kid,
            kem_kid=initiation.kem_kid,
            suite=initiation.suite,
            combiner=initiation.combiner,
            kid=kid,
            transcript_hash=transcript_hash,
            session_id=session_id(transcript_hash),
            role=role,
            init_key=keys.init_key,
            resp_key=keys.resp_key,
            kem_key=keys.kem_key,
        )

    def require_current(
        self, *, init_key: PublicKey, resp_key: PublicKey, kem_key: PublicKey
    ) -> None:
        """Hold freshly observed keys against the pinned ones, before an operation.

        The caller closes the session when this raises, or when a key could not be
        observed at all (REG-05, SESSION-05).

        Raises:
            ProtocolError: a key changed (``handshake.binding``).
        """
        pinned = PinnedKeys(self.init_key, self.resp_key, self.kem_key)
        pinned.require(PinnedKeys(init_key, resp_key, kem_key))


@dataclass(frozen=True, repr=False, eq=False, slots=True)
class SessionSecrets:
    """The result of a handshake: make the session of it, then `wipe` it.

    Attributes:
        seed: 32 secret bytes; all zero once wiped.
        transcript_hash: th, 32 bytes.
        binding: the pinned tuple.
    """

    seed: bytearray
    transcript_hash: bytes
    binding: Binding

    def wipe(self) -> None:
        """Overwrite the seed. Best effort; a session made of it is not touched."""
        wipe(self.seed)

    def __reduce__(self) -> NoReturn:
        """Refuse to be written down."""
        raise TypeError("session secrets cannot be pickled or copied")
