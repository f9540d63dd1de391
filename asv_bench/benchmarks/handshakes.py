"""Handshakes to measure: bare, in signed envelopes, and the primitives in them."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from .house import ADA, GRACE, needs

NOW, UNIX, EXPIRES = 0.0, 1_790_000_000, 1_790_000_060


@dataclass(frozen=True)
class Context:
    """What the responder learns from the envelope around an initiation."""

    context_id: str
    nonce: str
    kid: str
    did: str
    recipient: str


class Agents:
    """The long-lived keys of two agents, and their handshakes.

    Keys are generated once, so loading a peer's public key is measured warm, as
    between agents that have met.
    """

    def __init__(self) -> None:
        KemKey, PublicKey, SigningKey = needs(
            "sage.identity", "KemKey", "PublicKey", "SigningKey"
        )
        self._initiator, self._responder = needs(
            "sage.handshake", "Initiator", "Responder"
        )
        self._session = needs("sage.session", "Session")
        self.ada = SigningKey.generate(f"{ADA}#sign-1")
        self.grace = SigningKey.generate(f"{GRACE}#sign-1")
        self.kem = KemKey.generate(f"{GRACE}#kem-1")
        self.keys = {
            "init_key": PublicKey(
                self.ada.kid, self.ada.algorithm, self.ada.public_key
            ),
            "resp_key": PublicKey(
                self.grace.kid, self.grace.algorithm, self.grace.public_key
            ),
            "kem_key": PublicKey(self.kem.kid, "x25519", self.kem.public_key),
        }

    def initiator(self) -> Any:
        """Return an initiator that was not started."""
        return self._initiator(self.ada, **self.keys, entropy=secrets.token_bytes)

    def responder(self) -> Any:
        """Return a responder that has seen nothing."""
        return self._responder(
            self.grace,
            self.kem,
            init_key=self.keys["init_key"],
            resp_key=self.keys["resp_key"],
            kem_public=self.keys["kem_key"],
            entropy=secrets.token_bytes,
        )

    def respond(self, responder: Any, initiator: Any, payload: bytes) -> bytes:
        """Return the completion, the envelope left out."""
        context = Context(initiator.ctx, initiator.nonce, self.ada.kid, ADA, GRACE)
        return self._answer(responder, payload, context)

    def finish(self, initiator: Any, completion: bytes) -> Any:
        """Return the initiator's secrets."""
        return initiator.finish(completion, **self.keys, now=NOW, unix_time=UNIX)

    def session(self, found: Any) -> Any:
        """Return the session of one end's secrets."""
        make = self._session.v0_10
        return make(found.seed, found.transcript_hash, found.binding.role)

    def shake_hands(self) -> tuple[Any, Any]:
        """Go from NEW to ESTABLISHED at both ends, the envelopes left out."""
        initiator, responder = self.initiator(), self.responder()
        completion = self.respond(responder, initiator, initiator.start(**_TIMES))
        ours = self.finish(initiator, completion)
        return self._confirm(ours, responder)

    def shake_hands_signed(self) -> tuple[Any, Any]:
        """The same in envelopes: signed, encoded, decoded and verified."""
        decode, sign, verify_request, verify_response = needs(
            "sage.envelope",
            "decode_envelope",
            "sign",
            "verify_request",
            "verify_response",
        )
        initiator, responder = self.initiator(), self.responder()
        payload = initiator.start(**_TIMES)
        request = sign(self.request(initiator, payload), self.ada)
        received = decode(request.encode().decode())
        proof = verify_request(received, self.keys["init_key"])
        completion = self._answer(responder, received.payload, proof.request)
        response = sign(self.response(received, completion), self.grace)
        answer = decode(response.encode().decode())
        verify_response(answer, request, self.keys["resp_key"])
        return self._confirm(self.finish(initiator, answer.data), responder)

    def request(self, initiator: Any, payload: bytes) -> Any:
        """Return the unsigned envelope of an initiation."""
        Request, Role = needs("sage.envelope", "Request"), needs("sage.types", "Role")
        return Request(
            id=str(uuid.uuid4()),
            did=ADA,
            recipient=GRACE,
            kid=self.ada.kid,
            created=UNIX,
            expires=EXPIRES,
            nonce=initiator.nonce,
            encoding="plain",
            context_id=initiator.ctx,
            role=Role.INITIATOR,
            payload=payload,
        )

    def response(self, request: Any, completion: bytes) -> Any:
        """Return the unsigned envelope of a completion."""
        Response = needs("sage.envelope", "Response")
        b64u_encode = needs("sage.encoding", "b64u_encode")
        return Response.answer(
            request,
            id=str(uuid.uuid4()),
            kid=self.grace.kid,
            created=UNIX,
            expires=EXPIRES,
            nonce=b64u_encode(secrets.token_bytes(16)),
            data=completion,
        )

    def _answer(self, responder: Any, payload: bytes, context: Any) -> bytes:
        return responder.respond(
            payload,
            envelope_context=context,
            response_expires=EXPIRES,
            **_TIMES,
        )

    def _confirm(self, ours: Any, responder: Any) -> tuple[Any, Any]:
        ada, grace = self.session(ours), self.session(responder.secrets)
        assert grace.open(ada.seal(b"")) == b""
        responder.confirm(now=NOW, unix_time=UNIX)
        return ada, grace


_TIMES: dict[str, Any] = {"now": NOW, "expires": EXPIRES}


class Primitives:
    """What `cryptography` takes for the same keys, exchanges and signatures."""

    def __init__(self) -> None:
        self._secret = X25519PrivateKey.generate()
        self._public = X25519PrivateKey.generate().public_key()
        self._key = Ed25519PrivateKey.generate()
        self._verify = self._key.public_key().verify
        self._message = bytes(400)
        self._signature = self._key.sign(self._message)

    def bare(self) -> None:
        """Three key pairs, four exchanges, one signature and its verification."""
        self._repeat(3, X25519PrivateKey.generate)
        self._repeat(4, lambda: self._secret.exchange(self._public))
        self.sign_and_verify(1)

    def signed(self) -> None:
        """The same with both envelopes' signatures and verifications."""
        self.bare()
        self.sign_and_verify(2)

    def sign_and_verify(self, times: int) -> None:
        """Sign and verify so many times."""
        self._repeat(times, lambda: self._key.sign(self._message))
        self._repeat(times, lambda: self._verify(self._signature, self._message))

    @staticmethod
    def _repeat(times: int, act: Callable[[], object]) -> None:
        for _ in range(times):
            act()
