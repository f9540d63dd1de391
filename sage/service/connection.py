"""One connection of a service: reads envelopes, verifies, dispatches, answers.

Authenticate, then accept, then act: an envelope moves nothing before its signature,
its record and its reservation all hold. The first thing that is not right ends the
connection, with one generic text for the peer and a diagnostic code for the log.
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from ..encoding import b64u_encode
from ..envelope import (
    ReplayGuard,
    Request,
    Reservation,
    Response,
    authenticate_payload,
    check_pinned,
    check_request,
    decode_envelope,
    seal_response,
    sign,
    verify_request,
)
from ..errors import (
    AuthenticationError,
    Code,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    PeerError,
    ProtocolError,
    RemoteFailure,
    ResolutionError,
    SageError,
    SessionClosed,
)
from ..handshake import Binding, Responder
from ..identity import Resolver
from ..limits import (
    NONCE_BYTES,
    RECORD_PLAINTEXT_MAX_BYTES,
    UNAUTHENTICATED_MAX_BYTES,
)
from ..session import Session
from ..transport import AsgiWebSocket, within
from ..types import Role, SessionId
from .agent import Agent
from .clock import Clock
from .config import ServiceConfig
from .message import Handler, Message
from .operation import Operation
from .stream import StreamHandler
from .stream_host import StreamHost
from .stream_opening import CONTINUES, StreamOpening

__all__ = ["GENERIC_REFUSAL", "Connection", "Host"]

logger = logging.getLogger("sage.service")

GENERIC_REFUSAL = "refused"
"""The only thing that a peer is ever told about a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What all connections of a service share."""

    agent: Agent
    resolver: Resolver
    handler: Handler
    guard: ReplayGuard
    config: ServiceConfig
    clock: Clock
    stream_handler: StreamHandler | None = None


@dataclass(slots=True, eq=False)
class _Accepted:
    """A session of this connection; provisional until its first record."""

    session: Session
    binding: Binding
    responder: Responder
    confirmed: bool = False

    def close(self) -> None:
        self.session.close()
        self.responder.close()


class Connection:
    """Serves one accepted WebSocket until it ends."""

    def __init__(self, socket: AsgiWebSocket, host: Host) -> None:
        self._socket, self._host = socket, host
        self._sessions: dict[SessionId, _Accepted] = {}
        self._slots = asyncio.Semaphore(host.config.max_in_flight)
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams = StreamHost(host.stream_handler, carrier=self, clock=host.clock)
        self._authenticated = False

    async def run(self) -> None:
        """Serve until the peer leaves, fails, or is silent for too long."""
        try:
            while True:
                message = await self._next_message()
                if isinstance(message, bytes):
                    await self._streams.feed(message)
                    continue
                await self._slots.acquire()
                task = asyncio.create_task(self._serve(message))
                self._tasks.add(task)
                task.add_done_callback(self._done)
                if not self._authenticated:
                    # One at a time until somebody has proven who they are.
                    await asyncio.wait([task])
        except ConnectionLost:
            logger.debug("connection ended")
        except SageError as exc:
            await self._refuse(exc)
        finally:
            await self._end()

    async def close(self, code: int = 1001) -> None:
        """Say goodbye; `run` ends by itself."""
        self._streams.fail(ConnectionLost("the service said goodbye"))
        await self._socket.close(code)

    async def send_record(self, record: bytes) -> None:
        """Send one record of a stream; see `Carrier`."""
        limit = self._host.config.stream_send_timeout_s
        await self._socket.send_binary(record, timeout_s=limit)

    async def give_up(self, error: SageError) -> None:
        """End the connection for a stream's sake; see `Carrier`."""
        if isinstance(error, PeerError):
            await self._refuse(error)
        else:
            logger.info("the connection was given up: %s", error)
            await self._socket.close(1011, GENERIC_REFUSAL)

    async def _next_message(self) -> str | bytes:
        config = self._host.config
        if self._authenticated:
            return await self._next_authenticated()
        limit = config.first_message_timeout_s
        text = await self._socket.receive(timeout_s=limit)
        if len(text) > UNAUTHENTICATED_MAX_BYTES:
            raise DecodeError(
                "a long message before a handshake", code=Code.SIZE_EXCEEDED
            )
        return text

    async def _next_authenticated(self) -> str | bytes:
        """Wait for a message; a stream on which we send is not idle."""
        limit = self._host.config.idle_timeout_s
        while True:
            try:
                return await self._socket.receive_any(timeout_s=limit)
            except DeadlineExceeded:
                expires = self._streams.expires_at
                if expires is None or expires <= self._host.clock.now():
                    raise

    async def _serve(self, text: str) -> None:
        """Turn one message into one answer, or end the connection."""
        try:
            request = decode_envelope(text)
            if not isinstance(request, Request):
                raise ProtocolError("a response at a service", code=Code.SIG_BINDING)
            check_request(
                request,
                recipient=self._host.agent.did,
                unix_time=self._host.clock.unix_time(),
            )
            afterwards = None
            if request.encoding == "plain":
                response = await self._shake_hands(request)
            else:
                response, afterwards = await self._deliver(request)
            await self._socket.send(response.encode())
            if afterwards is not None:
                afterwards()
        except ConnectionLost:
            logger.debug("the client left before its answer")
        except SessionClosed:
            # Its session gave way to newer ones; nothing else can carry the answer.
            logger.info("a session ended before its answer")
        except SageError as exc:
            await self._refuse(exc)
        except Exception:
            logger.exception("internal error; the connection is closed")
            await self._socket.close(1011, GENERIC_REFUSAL)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slots.release()

    async def _refuse(self, error: SageError) -> None:
        logger.warning("refused: %s (%s)", error, getattr(error, "code", "-"))
        code = error.close_code if isinstance(error, PeerError) else 1008
        self._streams.fail(ConnectionLost("the connection was refused"))
        await self._socket.close(code, GENERIC_REFUSAL)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        for accepted in self._sessions.values():
            accepted.close()
        self._sessions.clear()
        await self._socket.close()
        await self._streams.finish(limit_s=self._host.config.handler_timeout_s)

    # --- handshake ---------------------------------------------------------------

    async def _shake_hands(self, request: Request) -> Response:
        agent, clock = self._host.agent, self._host.clock
        if request.role is not Role.INITIATOR or request.task_id is not None:
            raise ProtocolError(
                "a plain request that is no initiation", code=Code.HANDSHAKE_BINDING
            )
        operation = self._operation(request)
        await operation.observe()
        unix_time = clock.unix_time()
        init_key = operation.init_record.find_signing_key(
            request.kid, unix_time=unix_time
        )
        verify_request(request, init_key)
        await self._reserve(request)
        responder = Responder(
            agent.signing_key,
            agent.kem_key,
            init_key=init_key,
            resp_key=operation.resp_record.find_signing_key(
                agent.signing_key.kid, unix_time=unix_time
            ),
            kem_public=operation.resp_record.find_kem_key(
                agent.kem_key.kid, unix_time=unix_time
            ),
            entropy=os.urandom,
        )
        response = self._header(request)
        now = clock.now()
        completion = responder.respond(
            request.payload,
            envelope_context=request,
            now=now,
            expires=request.expires,
            response_expires=response.expires,
            unix_time=unix_time,
        )
        secrets = responder.secrets
        session = Session.v0_10(
            secrets.seed, secrets.transcript_hash, Role.RESPONDER, now=now
        )
        binding = secrets.binding
        secrets.wipe()
        self._keep(_Accepted(session, binding, responder))
        self._authenticated = True
        self._socket.lift_limit()
        logger.info("handshake with %s", request.did)
        return sign(response.with_data(completion), agent.signing_key)

    def _keep(self, accepted: _Accepted) -> None:
        if len(self._sessions) >= self._host.config.max_sessions:
            # A client that gave a handshake up never used what came of it. The last
            # one may be about to be used.
            *before, _ = self._sessions.values()
            unused = (one for one in before if not one.confirmed)
            leaving = next(unused, next(iter(self._sessions.values())))
            del self._sessions[leaving.binding.session_id]
            leaving.close()
        self._sessions[accepted.binding.session_id] = accepted

    # --- session -----------------------------------------------------------------

    async def _deliver(
        self, request: Request
    ) -> tuple[Response, Callable[[], None] | None]:
        """Return the answer, and what there is to do once it was sent."""
        accepted = self._sessions.get(SessionId(request.session_id or ""))
        if accepted is None:
            raise AuthenticationError(code=Code.SESSION_UNKNOWN)
        check_pinned(request, accepted.binding)
        operation = self._operation(request)
        await operation.observe()
        verify_request(request, accepted.binding.init_key)
        self._require_current(operation, accepted)
        plaintext = await self._accept(request, accepted)
        opening, data, error = None, b"", None
        try:
            opening = StreamOpening.decode_request(plaintext)
        except DecodeError as exc:
            logger.warning("no stream: %s (%s)", exc, exc.code)
            error = "operation_failed"
        else:
            if opening is None:
                data, error = await self._answer(request, plaintext)
        await operation.pass_gate()
        self._require_current(operation, accepted)
        if accepted.session.closed:
            raise SessionClosed("the session gave way to newer ones")
        afterwards = None
        if opening is not None:
            data, error, afterwards = self._grant(opening, request, accepted)
        response = seal_response(
            self._header(request, error=error),
            data,
            session=accepted.session,
            key=self._host.agent.signing_key,
            now=self._host.clock.now(),
        )
        return response, afterwards

    async def _answer(
        self, request: Request, plaintext: bytes
    ) -> tuple[bytes, str | None]:
        message = Message(
            payload=plaintext,
            peer=request.did,
            id=request.id,
            session_id=SessionId(request.session_id or ""),
            metadata=request.metadata or {},
        )
        return await self._handle(message)

    def _grant(
        self, opening: StreamOpening, request: Request, accepted: _Accepted
    ) -> tuple[bytes, str | None, Callable[[], None] | None]:
        try:
            afterwards = self._streams.grant(
                opening,
                session=accepted.session,
                peer=request.did,
                continues=(request.metadata or {}).get(CONTINUES),
            )
        except RemoteFailure as exc:
            return b"", exc.reason, None
        return opening.encode_answer(), None, afterwards

    async def _accept(self, request: Request, accepted: _Accepted) -> bytes:
        """Authenticate the record, reserve, then move the session (HPKE-05)."""
        clock, responder = self._host.clock, accepted.responder
        seq, plaintext = authenticate_payload(
            request, session=accepted.session, now=clock.now()
        )
        if not accepted.confirmed:
            responder.check_deadline(now=clock.now(), unix_time=clock.unix_time())
        await self._reserve(request, seq=seq)
        now = clock.now()
        if not accepted.confirmed:
            responder.confirm(now=now, unix_time=clock.unix_time())
            accepted.confirmed = True
        accepted.session.accept(seq, now=now)
        return plaintext

    async def _handle(self, message: Message) -> tuple[bytes, str | None]:
        """Run the handler; whatever it does becomes an answer."""
        limit = self._host.config.handler_timeout_s
        try:
            data = await within(limit, self._host.handler(message), "the handler")
            if not isinstance(data, bytes | bytearray | memoryview):
                raise TypeError(f"a handler returns bytes, not {type(data).__name__}")
            if len(data) > RECORD_PLAINTEXT_MAX_BYTES:
                raise ValueError("a handler's answer is at most 8,388,572 bytes")
        except RemoteFailure as exc:
            return b"", exc.reason
        except DeadlineExceeded as exc:
            logger.warning("%s", exc)
            return b"", "unavailable"
        except Exception:
            logger.exception("the handler failed")
            return b"", "operation_failed"
        return bytes(data), None

    # --- shared ------------------------------------------------------------------

    def _operation(self, request: Request) -> Operation:
        host = self._host
        return Operation(
            host.resolver, host.clock, init_did=request.did, resp_did=host.agent.did
        )

    def _require_current(self, operation: Operation, accepted: _Accepted) -> None:
        try:
            operation.require_current(accepted.binding)
        except ResolutionError:
            self._sessions.pop(accepted.binding.session_id, None)
            accepted.close()
            raise

    async def _reserve(self, request: Request, *, seq: int | None = None) -> None:
        clock = self._host.clock
        await self._host.guard.reserve(
            Reservation.of(request, seq=seq),
            now=clock.now(),
            unix_time=clock.unix_time(),
        )

    def _header(self, request: Request, *, error: str | None = None) -> Response:
        """Build every member of a response but its data and signature."""
        unix_time = self._host.clock.unix_time()
        # Never longer than what it answers, but for at least a second.
        ttl_s = min(self._host.config.envelope_ttl_s, request.expires - unix_time)
        return Response.answer(
            request,
            id=str(uuid.uuid4()),
            kid=self._host.agent.signing_key.kid,
            created=unix_time,
            expires=unix_time + max(ttl_s, 1),
            nonce=b64u_encode(os.urandom(NONCE_BYTES)),
            error=error,
        )
