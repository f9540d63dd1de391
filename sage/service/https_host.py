"""A service's end of HTTPS: one POST, one acceptance, one signed answer.

What is not acceptable gets a bare status and one generic text, 400 or 413 for bytes
that are no such message, 401 for everything that has to do with keys, time, replay
or policy, and the connection ends. Nobody may take that for an answer: it is not
signed.
"""

from __future__ import annotations

import contextlib
import logging

from ..envelope import Request, Response, decode_envelope
from ..errors import (
    Code,
    ConfigError,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    Overloaded,
    PeerError,
    ProtocolError,
    SageError,
)
from ..http import Policy, RequestMessage, begin_request
from ..identity import PublicKey
from ..limits import (
    ENVELOPE_MAX_BYTES,
    HTTPS_BODIES_MAX_BYTES,
    SEND_TIMEOUT_S,
    UNAUTHENTICATED_MAX_BYTES,
)
from ..transport import within
from ..transport.asgi_http import AsgiHttpRequest
from ..transport.http_binding import check_binding, wrap_response
from ..transport.metrics import Carriage, diagnose
from ..types import Did
from .acceptance import Acceptance
from .byte_budget import ByteBudget
from .host import GENERIC_REFUSAL, Host
from .logs import Event, correlate, fields, new_connection_id
from .measure import count_answer, count_refusal
from .request_room import Place, RequestRoom
from .shared_sessions import SharedSessions

__all__ = ["HttpsHost"]

logger = logging.getLogger("sage.service")


class HttpsHost:
    """Answers the POST requests of a service.

    Args:
        host: what the service's carriers share.
    """

    def __init__(self, host: Host) -> None:
        config = host.config
        self._host = host
        self._sessions = SharedSessions(
            config.max_https_sessions,
            max_per_peer=config.max_https_sessions_per_peer,
            max_unused=config.max_https_handshakes,
            clock=host.clock,
            metrics=host.metrics,
        )
        self._acceptance = Acceptance(host, self._sessions)
        self._room = RequestRoom(config.max_https_requests, HTTPS_BODIES_MAX_BYTES)

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return len(self._sessions)

    def close(self) -> None:
        """Wipe every session. Idempotent."""
        self._sessions.close()

    async def serve(self, asked: AsgiHttpRequest) -> None:
        """Answer one request to one of our endpoints; errors end here."""
        correlate(new_connection_id())
        try:
            with self._room.enter() as place:
                await self._serve(asked, place)
        except ConnectionLost as exc:
            gone = fields(Event.CONNECTION_ENDED, diagnose(exc))
            logger.debug("the client left before its answer: %s", exc, extra=gone)
        except SageError as exc:
            await self._refuse(asked, exc)
        except Exception:
            why = fields(Event.INTERNAL_ERROR)
            logger.exception("internal error; the request is refused", extra=why)
            await self._send(asked, 500, (("connection", "close"),), _REFUSED)

    async def _serve(self, asked: AsgiHttpRequest, place: Place) -> None:
        message = await self._read(asked, place)
        loan = _Loan(self._budget(asked, place, message), message)
        # Until there is room among those that are answered, it counts as read.
        await loan.take()
        place.release()
        try:
            await self._answer(asked, message, place, loan)
        finally:
            loan.release()

    def _budget(
        self, asked: AsgiHttpRequest, place: Place, message: RequestMessage
    ) -> ByteBudget:
        """Return what lends a body its bytes: strangers have a part for them all.

        Most of what is short comes from peers and is proven in a moment. Only where
        it would have to wait among strangers does its head have to prove it before.
        """
        strangers = self._host.budget_of_strangers
        if place.peer is None and not strangers.has_room(len(message.content or b"")):
            self._prove(asked, place)
        return strangers if place.peer is None else self._host.budget

    async def _answer(
        self,
        asked: AsgiHttpRequest,
        message: RequestMessage,
        place: Place,
        loan: _Loan,
    ) -> None:
        began = self._host.clock.now()
        request, response = await self._accept(message, place, loan)
        asked.trust()
        # The envelope's own key: during a rotation a session keeps to its older one.
        key = self._host.agent.find_signing_key(response.kid)
        wrapped = wrap_response(response, key, request=message)
        content = wrapped.content or b""
        await self._send(asked, wrapped.status, wrapped.fields, content)
        seconds = self._host.clock.now() - began
        count_answer(
            self._host.metrics, Carriage.HTTPS, request, response, seconds=seconds
        )

    async def _read(self, asked: AsgiHttpRequest, place: Place) -> RequestMessage:
        """Read the body: a long one only behind a head that a peer's key has signed.

        So is a short one where strangers have taken all of their places.
        """
        asked.check_framing()
        announced = asked.content_length
        long = announced is None or announced > UNAUTHENTICATED_MAX_BYTES
        if (long and (announced or 0) <= ENVELOPE_MAX_BYTES) or self._room.is_crowded:
            self._prove(asked, place)
        if place.peer is None and self._room.is_crowded:
            raise Overloaded("too many requests of strangers at once")
        config, known = self._host.config, place.peer is not None
        limit = ENVELOPE_MAX_BYTES if known else UNAUTHENTICATED_MAX_BYTES
        timeout_s = (
            config.handler_timeout_s if known else config.first_message_timeout_s
        )
        return await asked.read(max_bytes=limit, timeout_s=timeout_s, take=place.take)

    def _prove(self, asked: AsgiHttpRequest, place: Place) -> None:
        """Give the place to the peer whose key has signed the head, if it is one.

        What was signed covers the digest of the body, but not its nonce's use: that,
        and everything else, is looked at again once the body is here.
        """
        unix_time = self._host.clock.unix_time()
        head = begin_request(asked.head, policy=Policy.v10(), unix_time=unix_time)
        key = self._sessions.pinned_key(head.keyid or "")
        if key is not None:
            # One that does not verify is a stranger's, and finds out no more than one.
            with contextlib.suppress(PeerError):
                place.give_to(Did(head.finish(key).peer))
                # Else the server's patience with a stranger would end the body.
                asked.trust()

    async def _accept(
        self, message: RequestMessage, place: Place, loan: _Loan
    ) -> tuple[Request, Response]:
        """Have both signatures verified and the message accepted, in one step."""
        unix_time = self._host.clock.unix_time()
        pending = begin_request(message, policy=Policy.v10(), unix_time=unix_time)
        request = decode_envelope(message.content or b"")
        if not isinstance(request, Request):
            raise ProtocolError("a response at a service", code=Code.SIG_BINDING)
        check_binding(request, pending)

        def verify(key: PublicKey) -> None:
            pending.finish(key)
            place.give_to(request.did)
            loan.give_to_peer()

        # One reservation covers both: the nonce, the times and the key are the same.
        answer = await self._acceptance.answer(request, verify=verify)
        return request, answer[0]

    async def _refuse(self, asked: AsgiHttpRequest, error: SageError) -> None:
        code = count_refusal(self._host.metrics, error)
        why = fields(Event.REFUSED, code)
        logger.warning("refused: %s (%s)", error, code, extra=why)
        await self._send(asked, _status_of(error), (("connection", "close"),), _REFUSED)

    async def _send(
        self,
        asked: AsgiHttpRequest,
        status: int,
        fields: tuple[tuple[str, str], ...],
        content: bytes,
    ) -> None:
        sending = asked.respond(status, fields, content)
        with contextlib.suppress(ConnectionLost, DeadlineExceeded):
            await within(SEND_TIMEOUT_S, sending, "sending")


class _Loan:
    """The bytes of one body that is worked on, and where they are lent."""

    def __init__(self, budget: ByteBudget, message: RequestMessage) -> None:
        self._budget, self._size = budget, len(message.content or b"")

    async def take(self) -> None:
        """Wait until there is room."""
        await self._budget.acquire(self._size)

    def give_to_peer(self) -> None:
        """Leave strangers their part: who sent it is proven."""
        self._budget = self._budget.give_up_part(self._size)

    def release(self) -> None:
        """Give them back."""
        self._budget.release(self._size)


_REFUSED = GENERIC_REFUSAL.encode("ascii")


def _status_of(error: SageError) -> int:
    if isinstance(error, DecodeError):
        return 413 if error.code is Code.SIZE_EXCEEDED else 400
    if isinstance(error, Overloaded | ConfigError):
        return 503
    return 401
