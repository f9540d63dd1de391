"""The responder's half of the handshake (HPKE-03, HPKE-04, HPKE-05)."""

from __future__ import annotations

from typing import Protocol

from .._crypto import x25519_generate, x25519_public_bytes
from ..errors import Code, ProtocolError, UsageError
from ..identity.entropy import Entropy
from ..identity.keys import KemKey, PublicKey, SigningKey
from ..types import Buffer, Role
from .binding import Binding, PinnedKeys, SessionSecrets
from .deadline import Deadline
from .engine import Engine, require_own
from .erase import wipe
from .hpke import setup_recipient
from .identifiers import new_uuid4
from .messages import Completion, Initiation
from .state import Event
from .transcript import (
    EXPORTER_BYTES,
    ack_tag,
    agree,
    export_context,
    hpke_info,
    transcript_hash,
)

__all__ = ["EnvelopeContext", "Responder"]


class EnvelopeContext(Protocol):
    """What the verified request envelope says; any object with these attributes.

    Attributes:
        context_id: must be the initiation's ``ctx``.
        nonce: must be the initiation's ``nonce``, 22 characters.
        kid: the key that signed the envelope; must be the initiation's ``initKid``.
        did: who sent it; must be ``initDid``.
        recipient: whom it is for; must be ``respDid``.
    """

    @property
    def context_id(self) -> str | None: ...  # noqa: D102  # described above
    @property
    def nonce(self) -> str: ...  # noqa: D102
    @property
    def kid(self) -> str: ...  # noqa: D102
    @property
    def did(self) -> str: ...  # noqa: D102
    @property
    def recipient(self) -> str: ...  # noqa: D102


class Responder(Engine):
    """Answers one initiation, once.

    After `respond` the keys exist, but only on our word: until `confirm` the caller
    may open the initiator's records and may neither send application data nor run
    protected work. A record that does not verify leaves everything as it is, since
    nothing here moves but by `confirm`, `check_deadline`, `fail` and `close`.
    """

    def __init__(
        self,
        signing_key: SigningKey,
        kem_key: KemKey,
        *,
        init_key: PublicKey,
        resp_key: PublicKey,
        kem_public: PublicKey,
        entropy: Entropy,
    ) -> None:
        """Pin the keys of both ends.

        Args:
            signing_key: ours, which signs the completion.
            kem_key: ours, to which the initiator encapsulates.
            init_key: the initiator's signing key, from its fresh record.
            resp_key: our signing key, from our own fresh record.
            kem_public: our X25519 key, from the same record.
            entropy: returns as many unpredictable bytes as it is asked for.

        Raises:
            UsageError: our keys are not those of our record.
        """
        super().__init__(Role.RESPONDER)
        require_own(signing_key, resp_key)
        require_own(kem_key, kem_public)
        self._signing_key = signing_key
        self._kem_key = kem_key
        self._keys = PinnedKeys(init_key, resp_key, kem_public)
        self._entropy = entropy
        self._secrets: SessionSecrets | None = None

    @property
    def secrets(self) -> SessionSecrets:
        """The session's secrets, provisional until `confirm`; `close` wipes them.

        Raises:
            UsageError: there are none yet, or none any more.
        """
        if self._secrets is None:
            raise UsageError(f"no secrets in state {self.state.value}")
        return self._secrets

    def respond(
        self,
        payload: Buffer,
        *,
        envelope_context: EnvelopeContext,
        now: float,
        expires: int,
        response_expires: int,
        unix_time: int | None = None,
    ) -> bytes:
        """Check an initiation, derive the session and return the completion.

        The envelope must have been verified before, under ``init_key``. The answer
        is the ``data`` of a successful plain response with role ``responder``.
        Whatever is wrong closes the attempt.

        Args:
            payload: the initiation, at most 16,384 bytes.
            envelope_context: the verified envelope.
            now: monotonic seconds.
            expires: the ``expires`` of the initiation's envelope.
            response_expires: the ``expires`` of the envelope that will answer.
            unix_time: wall seconds now; where given, an initiation that has already
                expired is refused, and a wall clock that is set back later cannot
                stretch the deadline.

        Raises:
            StaleError: too late already (``handshake.expired``).
            DecodeError: ``handshake.bounds`` or ``handshake.schema``.
            ProtocolError: another version, suite, combiner, party, key, context or
                nonce than the envelope and our record say (``handshake.binding``);
                ``enc`` or ``ephC`` is unusable (``handshake.invalid-kem``,
                ``handshake.invalid-dh``).
            UsageError: responded before, or closed (nothing changes); or
                ``payload`` is not a buffer.
        """
        self._machine.require(Event.RESPOND)
        deadline = Deadline.start(
            now=now, expires=min(expires, response_expires), unix_time=unix_time
        )
        try:
            if unix_time is not None:
                deadline.require(now=now, unix_time=unix_time)
            initiation = Initiation.decode(payload)
            self._require_binding(initiation, envelope_context)
            completion = self._answer(initiation)
        except BaseException:
            self.fail()
            raise
        self._deadline = deadline
        self._machine.move(Event.RESPOND)
        return completion

    def confirm(self, *, now: float, unix_time: int) -> None:
        """Establish the session: the first record of the initiator was accepted.

        Call it in the same step that reserves the record's id, nonce and sequence
        number. What the application says to the record changes nothing here.

        Args:
            now: monotonic seconds.
            unix_time: wall seconds.

        Raises:
            StaleError: too late (``handshake.expired``); the attempt is closed.
            UsageError: not responded, confirmed before, or closed.
        """
        self.check_deadline(now=now, unix_time=unix_time)
        self._machine.move(Event.CONFIRM)

    def _require_binding(
        self, initiation: Initiation, envelope: EnvelopeContext
    ) -> None:
        """Hold the initiation against the envelope and our pinned keys (HPKE-02)."""
        init, resp, kem = self._keys
        if (
            initiation.ctx != envelope.context_id
            or initiation.nonce != envelope.nonce
            or initiation.init_did != envelope.did
            or initiation.resp_did != envelope.recipient
            or initiation.init_kid != envelope.kid
            or initiation.init_kid != init.kid
            or initiation.resp_kid != resp.kid
            or initiation.kem_kid != kem.kid
        ):
            raise ProtocolError(
                "the initiation is not of this envelope, or not for these keys",
                code=Code.HANDSHAKE_BINDING,
            )

    def _answer(self, initiation: Initiation) -> bytes:
        ephemeral = x25519_generate()
        unsigned = Completion(
            echo=initiation.to_json(),
            eph_s=x25519_public_bytes(ephemeral),
            kid=new_uuid4(self._entropy),
            ack_tag=b"",
        )
        th = transcript_hash(unsigned.canonical_transcript)
        exporter = self._decapsulate(initiation)
        try:
            seed = agree(exporter, ephemeral, initiation.eph_c, th)
        finally:
            wipe(exporter)
        binding = Binding.pin(
            initiation,
            self._keys,
            kid=unsigned.kid,
            transcript_hash=th,
            role=Role.RESPONDER,
        )
        self._secrets = SessionSecrets(seed, th, binding)
        return self._signed(unsigned.with_ack_tag(ack_tag(seed, th))).encode()

    def _decapsulate(self, initiation: Initiation) -> bytearray:
        info = hpke_info(initiation.binding())
        own = self._kem_key
        context = setup_recipient(
            initiation.enc, own.private, info, public_key=own.public_key
        )
        exporter = bytearray(EXPORTER_BYTES)
        try:
            context.export_into(export_context(info), exporter)
        finally:
            context.wipe()
        return exporter

    def _signed(self, completion: Completion) -> Completion:
        signature = self._signing_key.sign(completion.signing_input())
        return completion.with_signature(signature)

    def _forget(self) -> None:
        if self._secrets is not None:
            self._secrets.wipe()
            self._secrets = None
