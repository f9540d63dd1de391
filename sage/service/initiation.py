"""The client's handshake: one request out, one response in, a session."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf

from ..envelope import (
    Request,
    Response,
    check_response,
    sign,
    verify_response,
)
from ..errors import Code, ProtocolError, RemoteFailure
from ..handshake import Binding, Initiator
from ..handshake.identifiers import new_uuid4
from ..identity import PublicKey
from ..session import Session
from ..types import Did, Role
from .agent import Agent
from .clock import Clock
from .operation import Operation

__all__ = ["Established", "initiate"]

Ask = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True, eq=False)
class Established:
    """A session of ours with what it is pinned to, and who is using it.

    Attributes:
        session: its keys.
        binding: what it is pinned to.
        made_at: when it was made; monotonic seconds.
        used_at: when an answer was accepted last, or it was made; likewise.
        pending_s: for how long, from then on, the service takes its first record.
        in_flight: uses under way.
        retired: whether there will be no new one.
        number: of the channel's sessions, from 1.
    """

    session: Session
    binding: Binding
    made_at: float
    used_at: float
    pending_s: float = inf
    in_flight: int = 0
    retired: bool = False
    number: int = 0

    @property
    def is_pending(self) -> bool:
        """Whether we do not know that the service has taken a first record."""
        return not self.session.received

    @property
    def finished(self) -> bool:
        """Whether nothing uses it or will."""
        return self.retired and not self.in_flight

    def release(self) -> None:
        """Count one use less; a retired session closes with its last use."""
        self.in_flight -= 1
        if self.retired and not self.in_flight:
            self.session.close()

    def retire(self) -> None:
        """Take no new use; close when the uses under way are done."""
        self.retired = True
        if not self.in_flight:
            self.session.close()


async def initiate(
    ask: Ask,
    *,
    agent: Agent,
    peer: Did,
    operation: Operation,
    clock: Clock,
    ttl_s: int,
    verify: Callable[[PublicKey], object] = lambda _: None,
) -> Established:
    """Shake hands with ``peer`` (HPKE-01..06).

    Args:
        ask: sends a signed request and returns the response, not yet verified.
        agent: who we are.
        peer: who must answer.
        operation: a fresh one, with us as the initiator.
        clock: the clocks.
        ttl_s: how long the initiation is valid, in seconds.
        verify: verifies what the carrier added to the response, under the same key;
            called right after the response's own signature was verified.

    Raises:
        ResolutionError: a record or key is missing or unusable.
        PeerError: the answer is not the peer's, or not an answer to this.
        RemoteFailure: the peer answered with a failure.
    """
    await operation.observe()
    unix_time = clock.unix_time()
    # The same one throughout, though a rotation may switch beside this.
    signing_key = agent.signing_key
    initiator = Initiator(
        signing_key,
        init_key=operation.init_record.find_signing_key(
            signing_key.kid, unix_time=unix_time
        ),
        resp_key=operation.resp_record.select_signing_key(unix_time=unix_time),
        kem_key=operation.resp_record.select_kem_key(unix_time=unix_time),
        entropy=os.urandom,
    )
    try:
        began = clock.now()
        payload = initiator.start(
            now=began, expires=unix_time + ttl_s, unix_time=unix_time
        )
        header = Request(
            id=new_uuid4(os.urandom),
            did=agent.did,
            recipient=peer,
            kid=signing_key.kid,
            created=unix_time,
            expires=unix_time + ttl_s,
            nonce=initiator.nonce,
            encoding="plain",
            context_id=initiator.ctx,
            role=Role.INITIATOR,
            payload=payload,
        )
        request = sign(header, signing_key)
        response = await ask(request)
        made = await _finish(initiator, request, response, operation, clock, verify)
        # By the service's own clock, and from before the service can have begun to
        # count: then the wait ends there no sooner than here.
        lifetime_s = min(request.expires, response.expires) - response.created
        made.pending_s = lifetime_s - (made.made_at - began)
        return made
    finally:
        initiator.close()


async def _finish(
    initiator: Initiator,
    request: Request,
    response: Response,
    operation: Operation,
    clock: Clock,
    verify: Callable[[PublicKey], object],
) -> Established:
    await operation.pass_gate()
    unix_time = clock.unix_time()
    initiation = initiator.initiation
    resp_key = operation.resp_record.find_signing_key(
        initiation.resp_kid, unix_time=unix_time
    )
    check_response(response, request, unix_time=unix_time)
    verify_response(response, request, resp_key)
    verify(resp_key)
    if response.role is not Role.RESPONDER:
        raise ProtocolError(
            "a completion comes from the responder", code=Code.HANDSHAKE_BINDING
        )
    if not response.success:
        raise RemoteFailure(response.error or "operation_failed")
    secrets = initiator.finish(
        response.data,
        init_key=operation.init_record.find_signing_key(
            initiation.init_kid, unix_time=unix_time
        ),
        resp_key=resp_key,
        kem_key=operation.resp_record.find_kem_key(
            initiation.kem_kid, unix_time=unix_time
        ),
        now=clock.now(),
        unix_time=unix_time,
    )
    try:
        now = clock.now()
        session = Session.v0_10(
            secrets.seed, secrets.transcript_hash, Role.INITIATOR, now=now
        )
        return Established(session, secrets.binding, made_at=now, used_at=now)
    finally:
        secrets.wipe()
