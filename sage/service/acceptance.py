"""How a service takes one request and makes its answer, whatever carried it.

Authenticate, then accept, then act: an envelope moves nothing before its signature,
its record and its reservation all hold.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import TypeAlias

from ..envelope import (
    FAILURES,
    Request,
    Reservation,
    Response,
    authenticate_payload,
    check_pinned,
    check_request,
    seal_response,
    sign,
    verify_request,
)
from ..errors import (
    AuthenticationError,
    Code,
    DeadlineExceeded,
    DecodeError,
    PeerError,
    ProtocolError,
    RemoteFailure,
    ResolutionError,
    SessionClosed,
)
from ..handshake import Initiation, Responder
from ..handshake.identifiers import new_nonce, new_uuid4
from ..identity import PublicKey, SigningKey
from ..limits import RECORD_PLAINTEXT_MAX_BYTES
from ..session import Session
from ..transport import within
from ..transport.metrics import Direction, diagnose
from ..types import Role, SessionId
from .accepted import Accepted, Sessions
from .cancelling import is_our_own
from .compression import pack_answer, unpack, without_encodings
from .host import Host
from .logs import Event, correlate, fields
from .message import Message
from .operation import Operation
from .stream_host import StreamHost
from .stream_opening import CONTINUES, StreamOpening

__all__ = ["Acceptance", "Answer"]

logger = logging.getLogger("sage.service")

Answer: TypeAlias = tuple[Response, Callable[[], None] | None]
"""A signed response, and what there is to do once it was sent."""

Verify: TypeAlias = Callable[[PublicKey], object]


class Acceptance:
    """Accepts the requests of one carrier.

    Args:
        host: what the service's carriers share.
        sessions: where the carrier's sessions are kept.
        streams: the carrier's streams; without them, none is granted.
    """

    def __init__(
        self, host: Host, sessions: Sessions, streams: StreamHost | None = None
    ) -> None:
        self._host, self._sessions, self._streams = host, sessions, streams

    async def answer(self, request: Request, *, verify: Verify | None = None) -> Answer:
        """Verify a request, accept it, act on it, and sign the answer.

        Args:
            request: as decoded; nothing about it is known to be true.
            verify: verifies what the carrier adds, under the same key; called right
                after the envelope's own signature was verified, and before anything
                moves. It raises where that does not hold.

        Raises:
            PeerError: it is not acceptable; nothing moved.
            ResolutionError: a record or key is missing or unusable.
            SessionClosed: its session gave way to newer ones meanwhile.
            ResourceError, ConfigError: the guard has no room, or does not work.
        """
        check_request(
            request,
            recipient=self._host.agent.did,
            unix_time=self._host.clock.unix_time(),
        )

        def verify_all(key: PublicKey) -> None:
            verify_request(request, key)
            if verify is not None:
                verify(key)
            correlate(request.id)

        if request.encoding == "plain":
            return await self._shake_hands(request, verify_all), None
        return await self._deliver(request, verify_all)

    # --- handshake ---------------------------------------------------------------

    async def _shake_hands(self, request: Request, verify: Verify) -> Response:
        agent, clock = self._host.agent, self._host.clock
        if request.role is not Role.INITIATOR or request.task_id is not None:
            raise ProtocolError(
                "a plain request that is no initiation", code=Code.HANDSHAKE_BINDING
            )
        operation = self._operation(request)
        await operation.observe()
        init_key = self._init_key(operation, request)
        verify(init_key)
        await self._reserve(request)
        # A guard may take its time, and the records are to be of now.
        await operation.pass_gate()
        if self._init_key(operation, request) != init_key:
            raise ResolutionError("the key has changed", code=Code.RECORD_INVALID)
        unix_time = clock.unix_time()
        # The initiator names two keys of ours; during a rotation there are four.
        initiation = Initiation.decode(request.payload)
        signing_key = agent.find_signing_key(initiation.resp_kid)
        kem_key = agent.find_kem_key(initiation.kem_kid)
        responder = Responder(
            signing_key,
            kem_key,
            init_key=init_key,
            resp_key=operation.resp_record.find_signing_key(
                signing_key.kid, unix_time=unix_time
            ),
            kem_public=operation.resp_record.find_kem_key(
                kem_key.kid, unix_time=unix_time
            ),
            entropy=os.urandom,
        )
        response = self._header(request, signing_key)
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
        self._sessions.keep(Accepted(session, binding, responder, used_at=now))
        logger.info("handshake with %s", request.did, extra=fields(Event.HANDSHAKE))
        return sign(response.with_data(completion), signing_key)

    # --- session -----------------------------------------------------------------

    async def _deliver(
        self, request: Request, verify: Verify
    ) -> tuple[Response, Callable[[], None] | None]:
        """Return the answer, and what there is to do once it was sent."""
        accepted = self._sessions.get(request.session_id or "")
        if accepted is None:
            raise AuthenticationError(code=Code.SESSION_UNKNOWN)
        check_pinned(request, accepted.binding)
        operation = self._operation(request)
        try:
            await operation.observe()
        except ResolutionError:
            # A session ends with the records it stands on, for its own peer alone.
            verify(accepted.binding.init_key)
            self._sessions.drop(accepted)
            raise
        verify(accepted.binding.init_key)
        self._require_current(operation, accepted)
        plaintext = await self._accept(request, accepted, operation)
        opening, data, error, metadata = None, b"", None, None
        try:
            opening = StreamOpening.decode_request(plaintext)
        except DecodeError as exc:
            why = fields(Event.STREAM_REFUSED, exc.code.value)
            logger.warning("no stream: %s (%s)", exc, exc.code, extra=why)
            error = "operation_failed"
        else:
            if opening is None:
                data, error, metadata = await self._answer(request, plaintext)
        await self._pass_gate(operation, accepted)
        afterwards = None
        if opening is not None:
            data, error, afterwards = self._grant(opening, request, accepted)
        key = self._host.agent.find_signing_key(accepted.binding.resp_kid)
        response = seal_response(
            self._header(request, key, error=error, metadata=metadata),
            data,
            session=accepted.session,
            key=key,
            now=self._host.clock.now(),
        )
        self._host.metrics.payload(Role.RESPONDER, Direction.OUT, len(data))
        return response, afterwards

    async def _answer(
        self, request: Request, plaintext: bytes
    ) -> tuple[bytes, str | None, Mapping[str, str] | None]:
        """Return what the handler answers, or why not, and the answer's metadata."""
        signed, encodings = request.metadata or {}, self._host.config.compression
        try:
            payload = await unpack(plaintext, signed, encodings)
        except PeerError as exc:
            logger.warning("the payload was refused: %s (%s)", exc, exc.code)
            denied = isinstance(exc, ProtocolError)
            return b"", "policy_denied" if denied else "operation_failed", None
        message = Message(
            payload=payload,
            peer=request.did,
            id=request.id,
            session_id=SessionId(request.session_id or ""),
            metadata=without_encodings(signed),
        )
        data, error = await self._handle(message)
        packed, metadata = await pack_answer(data, signed, encodings)
        return packed, error, metadata

    def _grant(
        self, opening: StreamOpening, request: Request, accepted: Accepted
    ) -> tuple[bytes, str | None, Callable[[], None] | None]:
        if self._streams is None:
            return b"", "policy_denied", None
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

    async def _accept(
        self, request: Request, accepted: Accepted, operation: Operation
    ) -> bytes:
        """Authenticate the record, reserve, then move the session (HPKE-05)."""
        clock, responder = self._host.clock, accepted.responder
        seq, plaintext = authenticate_payload(
            request, session=accepted.session, now=clock.now()
        )
        if not accepted.confirmed:
            responder.check_deadline(now=clock.now(), unix_time=clock.unix_time())
        await self._reserve(request, seq=seq)
        await self._pass_gate(operation, accepted)
        now = clock.now()
        if not accepted.confirmed:
            responder.confirm(now=now, unix_time=clock.unix_time())
            self._sessions.confirm(accepted)
        accepted.session.accept(seq, now=now)
        accepted.used_at = now
        self._host.metrics.payload(Role.RESPONDER, Direction.IN, len(plaintext))
        return plaintext

    async def _handle(self, message: Message) -> tuple[bytes, str | None]:
        """Run the handler; whatever it does becomes an answer."""
        limit = self._host.config.handler_timeout_s
        try:
            answer = await within(limit, self._host.handler(message), "the handler")
            return _bytes_of(answer), None
        except RemoteFailure as exc:
            # A reason that no answer can carry would end the connection, and none at
            # all would be a success.
            known = exc.reason in FAILURES
            return b"", exc.reason if known else "operation_failed"
        except DeadlineExceeded as exc:
            logger.warning("%s", exc, extra=fields(Event.HANDLER_FAILED, diagnose(exc)))
            return b"", "unavailable"
        except BaseException as exc:
            if is_our_own(exc):
                raise
            logger.exception("the handler failed", extra=fields(Event.HANDLER_FAILED))
            return b"", "operation_failed"

    # --- shared ------------------------------------------------------------------

    def _operation(self, request: Request) -> Operation:
        host = self._host
        return Operation(
            host.resolver, host.clock, init_did=request.did, resp_did=host.agent.did
        )

    def _init_key(self, operation: Operation, request: Request) -> PublicKey:
        return operation.init_record.find_signing_key(
            request.kid, unix_time=self._host.clock.unix_time()
        )

    async def _pass_gate(self, operation: Operation, accepted: Accepted) -> None:
        """Look again after a wait: at the records, then at the session."""
        try:
            await operation.pass_gate()
        except ResolutionError:
            self._sessions.drop(accepted)
            raise
        self._require_current(operation, accepted)
        if accepted.session.closed:
            raise SessionClosed("the session gave way to newer ones")

    def _require_current(self, operation: Operation, accepted: Accepted) -> None:
        try:
            operation.require_current(accepted.binding)
        except ResolutionError:
            self._sessions.drop(accepted)
            raise

    async def _reserve(self, request: Request, *, seq: int | None = None) -> None:
        clock = self._host.clock
        await self._host.guard.reserve(
            Reservation.of(request, seq=seq),
            now=clock.now(),
            unix_time=clock.unix_time(),
        )

    def _header(
        self,
        request: Request,
        key: SigningKey,
        *,
        error: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Response:
        """Build every member of a response but its data and signature."""
        unix_time = self._host.clock.unix_time()
        # Never longer than what it answers, but for at least a second.
        ttl_s = min(self._host.config.envelope_ttl_s, request.expires - unix_time)
        return Response.answer(
            request,
            id=new_uuid4(os.urandom),
            kid=key.kid,
            created=unix_time,
            expires=unix_time + max(ttl_s, 1),
            nonce=new_nonce(os.urandom),
            error=error,
            metadata=metadata,
        )


def _bytes_of(answer: object) -> bytes:
    if not isinstance(answer, bytes | bytearray | memoryview):
        raise TypeError(f"a handler returns bytes, not {type(answer).__name__}")
    # An element of a view may be longer than a byte.
    if memoryview(answer).nbytes > RECORD_PLAINTEXT_MAX_BYTES:
        raise ValueError("a handler's answer is at most 8,388,572 bytes")
    return bytes(answer)
