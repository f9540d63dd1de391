"""A handshake of 0.10.0, both ends in one process, everything but the network.

From two agents that know each other's keys to two sessions, the first record opened:
the initiation in its signed request, the completion in its signed response, both
encoded to text and parsed and checked from it. No records are looked up, and no guard
is asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import repeat
from typing import Final

from ..._crypto import OpensslEd25519PrivateKey, OpensslX25519PrivateKey
from ...envelope import (
    Request,
    Response,
    check_request,
    check_response,
    decode_envelope,
    sign,
    verify_request,
    verify_response,
)
from ...handshake import Initiator, Responder
from ...handshake.identifiers import new_nonce, new_uuid4
from ...identity import KemKey, PublicKey, SigningKey
from ...session import Session
from ...types import Did, Role
from .figures import PRIMITIVES, TLS_HANDSHAKE, Case, Figure, NotHere
from .timing import Effort, Subject, compare

__all__ = ["Agents", "handshake_cases", "in_a_row", "primitives"]

_ADA, _GRACE = (Did(f"did:sage:web:agents.example:{name}") for name in ("ada", "grace"))
_NOW, _UNIX, _TTL_S = 0.0, 1_790_000_000, 60
# An initiation and its envelope are about as long.
_MESSAGE: Final = bytes(1024)


class Agents:
    """Two agents that have met: their keys, which each has checked."""

    def __init__(self) -> None:
        self._ada = SigningKey.generate(f"{_ADA}#sign-1")
        self._grace = SigningKey.generate(f"{_GRACE}#sign-1")
        self._kem = KemKey.generate(f"{_GRACE}#kem-1")
        self._init_key, self._resp_key = (
            PublicKey(key.kid, key.algorithm, key.public_key)
            for key in (self._ada, self._grace)
        )
        self._kem_key = PublicKey(self._kem.kid, "x25519", self._kem.public_key)

    def shake_hands(self) -> tuple[Session, Session]:
        """Return the initiator's session and the responder's."""
        initiator = Initiator(
            self._ada,
            init_key=self._init_key,
            resp_key=self._resp_key,
            kem_key=self._kem_key,
            entropy=os.urandom,
        )
        request = self._ask(initiator)
        theirs, responder, answer = self._answer(request.encode().decode())
        ours = self._finish(initiator, request, answer)
        theirs.open(ours.seal(b""))
        responder.confirm(now=_NOW, unix_time=_UNIX)
        return ours, theirs

    def _ask(self, initiator: Initiator) -> Request:
        payload = initiator.start(now=_NOW, expires=_UNIX + _TTL_S, unix_time=_UNIX)
        header = Request(
            id=new_uuid4(os.urandom),
            did=_ADA,
            recipient=_GRACE,
            kid=self._ada.kid,
            created=_UNIX,
            expires=_UNIX + _TTL_S,
            nonce=initiator.nonce,
            encoding="plain",
            context_id=initiator.ctx,
            role=Role.INITIATOR,
            payload=payload,
        )
        return sign(header, self._ada)

    def _answer(self, text: str) -> tuple[Session, Responder, str]:
        request = decode_envelope(text)
        assert isinstance(request, Request)  # noqa: S101  # we sent it
        check_request(request, recipient=_GRACE, unix_time=_UNIX)
        verify_request(request, self._init_key)
        responder = Responder(
            self._grace,
            self._kem,
            init_key=self._init_key,
            resp_key=self._resp_key,
            kem_public=self._kem_key,
            entropy=os.urandom,
        )
        response = Response.answer(
            request,
            id=new_uuid4(os.urandom),
            kid=self._grace.kid,
            created=_UNIX,
            expires=request.expires,
            nonce=new_nonce(os.urandom),
        )
        completion = responder.respond(
            request.payload,
            envelope_context=request,
            now=_NOW,
            expires=request.expires,
            response_expires=response.expires,
            unix_time=_UNIX,
        )
        found = responder.secrets
        session = Session.v0_10(found.seed, found.transcript_hash, Role.RESPONDER)
        signed = sign(response.with_data(completion), self._grace)
        return session, responder, signed.encode().decode()

    def _finish(self, initiator: Initiator, request: Request, answer: str) -> Session:
        response = decode_envelope(answer)
        assert isinstance(response, Response)  # noqa: S101  # we sent it
        check_response(response, request, unix_time=_UNIX)
        verify_response(response, request, self._resp_key)
        found = initiator.finish(
            response.data,
            init_key=self._init_key,
            resp_key=self._resp_key,
            kem_key=self._kem_key,
            now=_NOW,
            unix_time=_UNIX,
        )
        try:
            return Session.v0_10(found.seed, found.transcript_hash, Role.INITIATOR)
        finally:
            found.wipe()


def primitives() -> Subject:
    """Return what no handshake can do without, by OpenSSL, on keys that are loaded."""
    generate = OpensslX25519PrivateKey.generate
    key, peer = generate(), generate().public_key()
    signer = OpensslEd25519PrivateKey.generate()
    public = signer.public_key()

    def prepare(count: int) -> Callable[[], object]:
        def burst() -> None:
            for _ in repeat(None, count):
                for _ in range(3):
                    generate()
                    public.verify(signer.sign(_MESSAGE), _MESSAGE)
                for _ in range(4):
                    key.exchange(peer)

        return burst

    return Subject(prepare)


def in_a_row(effort: Effort) -> Effort:
    """Return the effort for what takes as long as a burst.

    There would be one handshake in it, fetching into the caches what the subject
    before it has pushed out. Records run by the hundred; let some of these do so too.
    """
    return replace(effort, burst_ns=10 * effort.burst_ns)


def handshake_cases() -> Iterator[Case]:
    """Yield the handshake."""
    yield Case("handshake", None, _measure)


def _measure(effort: Effort) -> list[Figure]:
    agents = Agents()

    def prepare(count: int) -> Callable[[], object]:
        def burst() -> None:
            for _ in repeat(None, count):
                agents.shake_hands()

        return burst

    subjects = [Subject(prepare), primitives()]
    against = [PRIMITIVES]
    without_tls: list[Figure] = []
    try:
        from .tls import handshaking

        tls, note = handshaking()
    except NotHere as exc:
        note = None
        without_tls = [
            Figure(row="handshake", bytes=None, against=TLS_HANDSHAKE, absent=str(exc))
        ]
    else:
        subjects.append(tls)
        against.append(TLS_HANDSHAKE)
    times = compare(subjects, in_a_row(effort))
    return [
        Figure.of(
            times,
            row="handshake",
            bytes=None,
            against=name,
            peer=index,
            note=note if name == TLS_HANDSHAKE else None,
        )
        for index, name in enumerate(against, 1)
    ] + without_tls
