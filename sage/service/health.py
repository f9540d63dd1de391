"""Whether a service lives, and whether it can serve.

*Live* means that the event loop answers: restart a process that does not. *Ready* means
that the next request could be served: send no traffic where it is not so.

* It is not shutting down, and there is room for one more connection.
* The agent's own record can be resolved, is active, and holds the agent's keys.
* The replay guard takes a reservation: it works, and is not in quarantine.

The questions are asked at most once a second, whoever asks and however often, so that a
flood of probes costs nothing. The answer is one word: which of them failed is for the
log, not for whoever probes.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from math import inf

from ..envelope import Reservation
from ..errors import Code, ResolutionError
from ..handshake.identifiers import new_nonce, new_uuid4
from ..limits import READINESS_AGE_S, READINESS_TIMEOUT_S
from ..transport import within
from ..transport.metrics import diagnose
from .host import Host
from .logs import Event, fields

__all__ = ["Health"]

logger = logging.getLogger("sage.service")


class Health:
    """Answers the probes of one service.

    Args:
        host: what to look at.
        connections: how many there are.
    """

    def __init__(self, host: Host, *, connections: Callable[[], int]) -> None:
        self._host, self._connections = host, connections
        self._stopping = False
        self._ready: bool | None = None  # not known yet
        self._checked_at = -inf
        self._checking: asyncio.Task[bool] | None = None

    def stop(self) -> None:
        """The service is shutting down: it is not ready any more."""
        self._stopping = True

    async def ready(self) -> bool:
        """Return whether the next request could be served, as of a second ago."""
        if self._stopping or self._is_full():
            return False
        if self._host.clock.now() - self._checked_at >= READINESS_AGE_S:
            if self._checking is None:
                self._checking = asyncio.create_task(self._check())
            # A probe that is given up must not take the others' answer with it.
            return await asyncio.shield(self._checking)
        return bool(self._ready)

    def _is_full(self) -> bool:
        return self._connections() >= self._host.config.max_connections

    async def _check(self) -> bool:
        try:
            await within(READINESS_TIMEOUT_S, self._ask(), "looking at ourselves")
        except Exception as exc:
            # A resolver or a guard of somebody's own may raise anything.
            self._note(exc)
        else:
            self._note(None)
        finally:
            self._checking = None
        return bool(self._ready)

    def _note(self, error: Exception | None) -> None:
        """Keep the answer, and log where it differs from the one before."""
        self._checked_at, before = self._host.clock.now(), self._ready
        self._ready = error is None
        if error is not None and before is not False:
            code = diagnose(error)
            logger.warning(
                "not ready: %s (%s)", error, code, extra=fields(Event.NOT_READY, code)
            )
        elif error is None and before is False:
            logger.info("ready", extra=fields(Event.READY))

    async def _ask(self) -> None:
        await self._look_ourselves_up()
        await self._reserve()

    async def _look_ourselves_up(self) -> None:
        agent, clock = self._host.agent, self._host.clock
        seen = await self._host.resolver.resolve(agent.did, now=clock.now())
        unix_time = clock.unix_time()
        signing_kid, kem_kid = agent.signing_key.kid, agent.kem_key.kid
        held = (
            seen.record.find_signing_key(signing_kid, unix_time=unix_time).key,
            seen.record.find_kem_key(kem_kid, unix_time=unix_time).key,
        )
        if held != (agent.signing_key.public_key, agent.kem_key.public_key):
            raise ResolutionError("not our keys", code=Code.RECORD_INVALID)

    async def _reserve(self) -> None:
        """Reserve what nobody else can, for as short as can be."""
        agent, clock = self._host.agent, self._host.clock
        unix_time = clock.unix_time()
        reservation = Reservation(
            sender=agent.did,
            recipient=agent.did,
            id=new_uuid4(os.urandom),
            nonce=new_nonce(os.urandom),
            expires=unix_time,
        )
        await self._host.guard.reserve(
            reservation, now=clock.now(), unix_time=unix_time
        )
