"""The initiator's half of the handshake (HPKE-02, HPKE-04, HPKE-05)."""

from __future__ import annotations

import hmac

from .._crypto import X25519PrivateKey, x25519_generate, x25519_public_bytes
from ..errors import AuthenticationError, Code, DecodeError, ProtocolError, UsageError
from ..identity.did import parse_key_url
from ..identity.entropy import Entropy
from ..identity.keys import PublicKey, SigningKey
from ..identity.signature import KEM_ALGORITHM
from ..types import Buffer, Role
from .binding import Binding, PinnedKeys, SessionSecrets
from .deadline import Deadline
from .engine import Engine, require_own
from .erase import wipe
from .hpke import setup_sender
from .identifiers import new_nonce, new_uuid4
from .messages import Completion, Initiation, Terms
from .state import Event
from .transcript import (
    EXPORTER_BYTES,
    ack_tag,
    agree,
    export_context,
    hpke_info,
    transcript_hash,
)

__all__ = ["Initiator"]


class Initiator(Engine):
    """Proposes a session to one responder, once.

    The caller puts `start`'s payload into a plain request envelope with `ctx` as
    its ``context_id``, `nonce` as its ``nonce``, role ``initiator`` and no
    ``task_id``, signed by the key behind ``init_key``; verifies the response
    envelope; and hands its ``data`` to `finish`.
    """

    def __init__(
        self,
        signing_key: SigningKey,
        *,
        init_key: PublicKey,
        resp_key: PublicKey,
        kem_key: PublicKey,
        entropy: Entropy,
    ) -> None:
        """Pin the keys of both ends.

        Args:
            signing_key: ours, with which the envelopes are signed.
            init_key: the same key, from our own fresh record.
            resp_key: the responder's signing key, from its fresh record.
            kem_key: the responder's X25519 key, from the same record.
            entropy: returns as many unpredictable bytes as it is asked for.

        Raises:
            UsageError: the keys do not belong together.
        """
        super().__init__(Role.INITIATOR)
        require_own(signing_key, init_key)
        self._keys = PinnedKeys(init_key, resp_key, kem_key)
        self._terms = _terms(self._keys, entropy)
        self._initiation: Initiation | None = None
        self._exporter = bytearray()
        self._ephemeral: X25519PrivateKey | None = None

    @property
    def ctx(self) -> str:
        """The context of this attempt, a fresh UUIDv4."""
        return self._terms.ctx

    @property
    def nonce(self) -> str:
        """The nonce of this attempt, 22 characters."""
        return self._terms.nonce

    @property
    def initiation(self) -> Initiation:
        """The message that was sent.

        Raises:
            UsageError: none was sent yet.
        """
        if self._initiation is None:
            raise UsageError("the handshake was not started")
        return self._initiation

    def start(self, *, now: float, expires: int, unix_time: int | None = None) -> bytes:
        """Make the initiation and return the payload to send.

        Args:
            now: monotonic seconds.
            expires: the ``expires`` of the envelope that will carry it.
            unix_time: wall seconds now; where given, a wall clock that is set back
                later cannot stretch ``expires``.

        Raises:
            UsageError: started before, or closed.
            ProtocolError: the responder's KEM key is unusable
                (``handshake.invalid-kem``); the attempt is closed.
        """
        self._machine.require(Event.START)
        deadline = Deadline.start(now=now, expires=expires, unix_time=unix_time)
        try:
            enc = self._encapsulate()
            self._ephemeral = x25519_generate()
            public = x25519_public_bytes(self._ephemeral)
            self._initiation = Initiation.of(self._terms, enc=enc, eph_c=public)
            payload = self._initiation.encode()
        except BaseException:
            self.fail()
            raise
        self._deadline = deadline
        self._machine.move(Event.START)
        return payload

    def finish(
        self,
        data: Buffer,
        *,
        init_key: PublicKey,
        resp_key: PublicKey,
        kem_key: PublicKey,
        now: float,
        unix_time: int,
    ) -> SessionSecrets:
        """Verify the completion and return the session's secrets.

        The envelope that carried it must have been verified before. Whatever is
        wrong ends the attempt and wipes it: a new one needs a new `Initiator`.

        Args:
            data: the ``data`` of the response envelope, at most 16,384 bytes.
            init_key: our signing key, observed again.
            resp_key: the responder's signing key, observed again.
            kem_key: the responder's X25519 key, observed again.
            now: monotonic seconds.
            unix_time: wall seconds.

        Returns:
            Secrets that are the caller's to wipe.

        Raises:
            StaleError: too late (``handshake.expired``).
            DecodeError: ``handshake.bounds`` or ``handshake.schema``.
            ProtocolError: a key changed (``handshake.binding``), the transcript is
                not of our initiation (``handshake.echo``), or the responder's
                ephemeral key is unusable (``handshake.invalid-dh``).
            AuthenticationError: ``handshake.signature`` or ``handshake.ack``.
            UsageError: not started, already finished, or closed (nothing changes);
                or ``data`` is not a buffer.
        """
        self._machine.require(Event.FINISH)
        self.check_deadline(now=now, unix_time=unix_time)
        try:
            self._keys.require(PinnedKeys(init_key, resp_key, kem_key))
            secrets = self._accept(Completion.decode(data))
        except BaseException:
            self.fail()
            raise
        self._machine.move(Event.FINISH)
        self._forget()
        return secrets

    def _encapsulate(self) -> bytes:
        info = hpke_info(self._terms.binding())
        enc, context = setup_sender(self._keys.kem_key.key, info)
        self._exporter = bytearray(EXPORTER_BYTES)
        try:
            context.export_into(export_context(info), self._exporter)
        finally:
            context.wipe()
        return enc

    def _accept(self, completion: Completion) -> SessionSecrets:
        """Check in the order echo, signature, Diffie-Hellman, tag (HPKE-04)."""
        if completion.echo != self.initiation.to_json():
            raise ProtocolError(
                "the completion echoes another initiation", code=Code.HANDSHAKE_ECHO
            )
        self._verify_signature(completion)
        th = transcript_hash(completion.canonical_transcript)
        assert self._ephemeral is not None  # noqa: S101  # INIT_SENT holds it
        seed = agree(self._exporter, self._ephemeral, completion.eph_s, th)
        if not hmac.compare_digest(ack_tag(seed, th), completion.ack_tag):
            wipe(seed)
            raise AuthenticationError(code=Code.HANDSHAKE_ACK)
        binding = Binding.pin(
            self.initiation,
            self._keys,
            kid=completion.kid,
            transcript_hash=th,
            role=Role.INITIATOR,
        )
        return SessionSecrets(seed, th, binding)

    def _verify_signature(self, completion: Completion) -> None:
        try:
            self._keys.resp_key.verify(completion.signing_input(), completion.signature)
        except AuthenticationError as exc:
            raise AuthenticationError(code=Code.HANDSHAKE_SIGNATURE) from exc

    def _forget(self) -> None:
        self._ephemeral = None
        wipe(self._exporter)


def _terms(keys: PinnedKeys, entropy: Entropy) -> Terms:
    try:
        init = parse_key_url(keys.init_key.kid).did.did
        resp = parse_key_url(keys.resp_key.kid).did.did
        kem = parse_key_url(keys.kem_key.kid).did.did
    except DecodeError as exc:
        raise UsageError("a pinned key has no key URL") from exc
    if kem != resp or keys.kem_key.algorithm != KEM_ALGORITHM:
        raise UsageError("kem_key is not an X25519 key of the responder")
    return Terms(
        ctx=new_uuid4(entropy),
        init_did=init,
        resp_did=resp,
        init_kid=keys.init_key.kid,
        resp_kid=keys.resp_key.kid,
        kem_kid=keys.kem_key.kid,
        nonce=new_nonce(entropy),
    )
