"""The whole handshake of both ends, without a wire.

One call is ten handshakes, from two key pairs to two sessions that have exchanged the
confirming record. The signature, X25519 and HPKE work of both ends is in it; resolving
records, envelopes and sockets are not. Keys are generated once for the file, so loading
a peer's public key is measured warm, as between agents that have met.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sage.handshake import Initiator, Responder
from sage.identity import KemKey, PublicKey, SigningKey
from sage.session import Session

HANDSHAKES = 10
NOW, UNIX, EXPIRES = 0.0, 1_790_000_000, 1_790_000_060
ADA, GRACE = (f"did:sage:web:agents.example:{name}" for name in ("ada", "grace"))


@dataclass(frozen=True)
class Envelope:
    """What the responder learns from the envelope around an initiation."""

    context_id: str
    nonce: str
    kid: str
    did: str
    recipient: str


class Agents:
    """The long-lived keys of two agents."""

    def __init__(self) -> None:
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

    def shake_hands(self) -> tuple[Session, Session]:
        """Go from NEW to ESTABLISHED at both ends."""
        keys = self.keys
        initiator = Initiator(self.ada, **keys, entropy=secrets.token_bytes)
        responder = Responder(
            self.grace,
            self.kem,
            init_key=keys["init_key"],
            resp_key=keys["resp_key"],
            kem_public=keys["kem_key"],
            entropy=secrets.token_bytes,
        )
        payload = initiator.start(now=NOW, expires=EXPIRES)
        completion = responder.respond(
            payload,
            envelope_context=Envelope(
                initiator.ctx, initiator.nonce, self.ada.kid, ADA, GRACE
            ),
            now=NOW,
            expires=EXPIRES,
            response_expires=EXPIRES,
        )
        ours = initiator.finish(completion, **keys, now=NOW, unix_time=UNIX)
        theirs = responder.secrets
        ada, grace = (
            Session.v0_10(found.seed, found.transcript_hash, found.binding.role)
            for found in (ours, theirs)
        )
        assert grace.open(ada.seal(b"")) == b""
        responder.confirm(now=NOW, unix_time=UNIX)
        return ada, grace


class Handshake:
    """Both ends in one process, one after the other."""

    number = 1
    warmup_time = 0.1

    def setup(self) -> None:
        self.agents = Agents()
        self.agents.shake_hands()  # the public keys are loaded and checked

    def time_both_ends_10(self) -> None:
        for _ in range(HANDSHAKES):
            self.agents.shake_hands()
