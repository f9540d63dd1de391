"""Signed envelopes in memory: what each act on one costs, with a record of 1 KiB.

Of signing and of verifying, the most is the primitive's; `service` has whole requests.
"""

from __future__ import annotations

import time
import uuid

import sage
from sage.encoding import b64u_encode
from sage.envelope import Request, decode_envelope, sign, verify_request

ADA, GRACE = (f"did:sage:web:agents.example:{name}" for name in ("ada", "grace"))


def _header(agent: sage.Agent) -> Request:
    now = int(time.time())
    return Request(
        id=str(uuid.uuid4()),
        did=agent.did,
        recipient=GRACE,
        kid=agent.signing_key.kid,
        created=now,
        expires=now + 60,
        nonce=b64u_encode(bytes(16)),
        encoding="session",
        context_id=str(uuid.uuid4()),
        session_id=b64u_encode(bytes(16)),
        role=sage.Role.INITIATOR,
    )


class Envelope:
    """Each act on one request."""

    def setup(self) -> None:
        self.ada = sage.Agent.generate(ADA)
        self.key = self.ada.record.select_signing_key(int(time.time()))
        self.record = bytes(1052)
        self.signed = sign(
            _header(self.ada).with_payload(self.record), self.ada.signing_key
        )
        self.text = self.signed.encode().decode()

    def time_build_and_sign(self) -> None:
        header = _header(self.ada)
        header.caller_aad()
        sign(header.with_payload(self.record), self.ada.signing_key).encode()

    def time_decode(self) -> None:
        decode_envelope(self.text)

    def time_decode_and_verify(self) -> None:
        verify_request(decode_envelope(self.text), self.key)
