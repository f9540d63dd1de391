"""Signed envelopes in memory: what each act on a hundred costs, with a record of 1 KiB.

Of signing and of verifying, the most is the primitive's; `service` has whole requests.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from time import process_time
from typing import Any

from .house import ADA, GRACE, needs

version = "1"
timer = process_time
MANY = 100


def header(agent: Any) -> Any:
    """Return a request without its payload."""
    Request, Role = needs("sage.envelope", "Request"), needs("sage.types", "Role")
    b64u_encode, now = needs("sage.encoding", "b64u_encode"), int(time.time())
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
        role=Role.INITIATOR,
    )


class Envelope:
    """Each act on one request."""

    number = 1
    repeat = 4
    warmup_time = 0.05

    def setup(self) -> None:
        self.sign, self.decode, self.verify = needs(
            "sage.envelope", "sign", "decode_envelope", "verify_request"
        )
        self.ada = needs("sage", "Agent").generate(ADA)
        self.key = self.ada.record.select_signing_key(unix_time=int(time.time()))
        self.record = bytes(1052)
        self.signed = self._sign()
        self.text = self.signed.encode().decode()

    def time_build_and_sign_100(self) -> None:
        for _ in range(MANY):
            self._sign().encode()

    def time_decode_100(self) -> None:
        for _ in range(MANY):
            self.decode(self.text)

    def time_decode_and_verify_100(self) -> None:
        for _ in range(MANY):
            self.verify(self.decode(self.text), self.key)

    def track_bytes_for_1_kib(self) -> int:
        return len(self.text)

    track_bytes_for_1_kib.unit = "bytes"

    def _sign(self) -> Any:
        head = header(self.ada)
        head.caller_aad()
        return self.sign(head.with_payload(self.record), self.ada.signing_key)


class Guard:
    """A replay guard in memory that takes 500 envelopes."""

    number = 1
    repeat = 4
    warmup_time = 0.05

    def setup(self) -> None:
        Guard, Reservation = needs("sage.envelope", "MemoryReplayGuard", "Reservation")
        now = int(time.time())
        self.reservations = [
            Reservation(
                sender=ADA,
                recipient=GRACE,
                id=str(uuid.uuid4()),
                nonce=uuid.uuid4().hex[:22],
                expires=now + 60,
            )
            for _ in range(500)
        ]
        self.guard = Guard(assume_no_history=True)
        self.unix_time = now
        self.loop = asyncio.new_event_loop()

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()

    def time_reserve_500(self) -> None:
        self.loop.run_until_complete(self._reserve())

    async def _reserve(self) -> None:
        for reservation in self.reservations:
            await self.guard.reserve(reservation, now=100.0, unix_time=self.unix_time)
