"""A channel to one peer: requests and streams, and the session that protects them.

Many requests may be under way at once; a `Courier` carries them, over a WebSocket or
over HTTPS. The session is renewed beside the requests; see `Renewal`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

from ..envelope import (
    MemoryReplayGuard,
    Request,
    Reservation,
    Response,
    authenticate_payload,
    check_pinned,
    check_response,
    seal_request,
    verify_response,
)
from ..errors import (
    ConnectionLost,
    DeadlineExceeded,
    LimitReached,
    PeerError,
    RemoteFailure,
    ResolutionError,
    SageError,
    SessionClosed,
    SessionExpired,
    TransportError,
    UsageError,
)
from ..handshake.identifiers import new_nonce, new_uuid4
from ..identity import Resolver
from ..limits import LIVENESS_TIMEOUT_S, RECORD_MIN_BYTES
from ..runtime.bounds import check_limit
from ..transport.metrics import NO_METRICS, Direction, Metrics, Outcome
from ..types import Buffer, Did, Role, SessionId
from .agent import Agent
from .clock import Clock
from .compression import pack_request, unpack
from .config import ClientConfig
from .courier import Courier, Progress, Reply, for_waiting
from .initiation import Established, initiate
from .logs import Event, fields, new_connection_id
from .measure import Timer, count_failure, record_counters
from .operation import Operation
from .renewal import Renewal
from .stream import Stream
from .stream_client import StreamClient
from .stream_opening import is_reserved

__all__ = ["Channel"]

logger = logging.getLogger("sage.client")


class Channel:
    """An authenticated, encrypted channel to one peer. Made by `connect`."""

    def __init__(
        self,
        courier: Courier,
        *,
        agent: Agent,
        peer: Did,
        resolver: Resolver,
        config: ClientConfig,
        clock: Clock,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._courier, self._agent, self._peer = courier, agent, peer
        self._resolver, self._config, self._clock = resolver, config, clock
        self._metrics, self._id = metrics, new_connection_id()
        self._count_request = partial(metrics.request, Role.INITIATOR, courier.carriage)
        self._count_payload = partial(metrics.payload, Role.INITIATOR)
        self._count_in, self._count_out = record_counters(metrics, Role.INITIATOR)
        # A response is accepted only for a request of this very channel, so the
        # guard has no earlier life whose memory it could have lost.
        self._guard = MemoryReplayGuard(assume_no_history=True)
        self._slots = asyncio.Semaphore(config.max_in_flight)
        self._renewal = Renewal(
            self._shake_hands, config=config, clock=clock, metrics=metrics
        )
        self._streams = StreamClient(
            self._exchange,
            self.handshake,
            carrier=self,
            peer=peer,
            config=config,
            clock=clock,
            metrics=metrics,
        )
        self._failure: SageError | None = None
        courier.start(feed=self._feed, fail=self._fail, identifier=self._id)
        metrics.connections(Role.INITIATOR, 1)

    @property
    def peer(self) -> Did:
        """The DID of the agent at the other end."""
        return self._peer

    @property
    def session_id(self) -> SessionId | None:
        """The id of the session in use; ``None`` once closed."""
        established = self._renewal.current
        return None if established is None else established.binding.session_id

    @property
    def closed(self) -> bool:
        """Whether the channel was closed or has failed."""
        return self._failure is not None

    async def request(
        self,
        payload: Buffer,
        *,
        metadata: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """Send a request and return the peer's answer, both authenticated.

        Args:
            payload: at most 8,388,572 bytes.
            metadata: signed but not encrypted: at most 32 names
                ``[a-z][a-z0-9_]{0,31}`` with values of at most 1,024 bytes. With
                compression, at most 30: ``content_encoding`` and
                ``accept_encoding`` are set by the channel.
            timeout_s: from this call to the verified answer; the configured one
                when not given.

        Raises:
            RemoteFailure: the peer answered that it failed, or would not.
            DeadlineExceeded: no answer in time; ``may_have_run`` says whether the
                request was sent.
            ConnectionLost: the connection or the session ended; ``may_have_run``
                likewise.
            ResolutionError: one of the keys is no longer good; the session is
                closed.
            PeerError: what came back is not the peer's answer; the channel is
                closed.
            SessionClosed: the channel was closed.
            UsageError: the payload or the metadata is too long or malformed, the
                payload is what `stream` sends (JSON of the task
                ``sage-stream/open@1``), or the limit is no number.
        """
        if not isinstance(metadata, Mapping | None):
            raise UsageError(f"metadata is a mapping, not {type(metadata).__name__}")
        if is_reserved(payload):
            raise UsageError("the payload is the opening of a stream: use stream()")
        return await self._exchange(payload, metadata or {}, timeout_s=timeout_s)

    def stream(
        self, aead: str = "chacha20poly1305"
    ) -> AbstractAsyncContextManager[Stream]:
        """Open a stream, as ``async with channel.stream() as stream:``.

        One at a time; requests go on beside it. Leaving the block normally closes
        the stream (see `Stream.close`), and the channel goes on; if the peer has not
        ended it by then, opening the next one waits for that. Leaving it with an
        exception before `Stream.end` ends the whole connection, so that the peer
        does not take what it has for everything.

        Args:
            aead: what seals the records, ``chacha20poly1305`` or ``aes-256-gcm``.

        Raises:
            RemoteFailure: on entry; ``policy_denied``: the service has no streams, or
                one is open on this connection.
            UsageError: a stream of this channel is open, no such algorithm, or the
                channel is over HTTPS: streams need a WebSocket.
            DeadlineExceeded: the peer did not end the last one within the time limit
                of a request, or did not answer.
            TransportError, ResolutionError, PeerError, SessionClosed: as for
                `request`.
        """
        if not self._courier.has_streams:
            raise UsageError("streams need a WebSocket: connect to a wss:// URL")
        return self._streams.open(aead)

    async def handshake(self) -> None:
        """Make a new session, and use it from the next request on.

        Raises:
            DeadlineExceeded: it took longer than the configured time, or had to wait
                so long for a request under way in an old session.
            TransportError, ResolutionError, PeerError: as for `connect`.
        """
        self._require_open()
        try:
            await self._renewal.renew(timeout_s=self._config.handshake_timeout_s)
        except SessionClosed:
            self._require_open()
            raise

    async def check(self, *, timeout_s: float = LIVENESS_TIMEOUT_S) -> None:
        """Make sure that the peer's end is there: a half-open connection looks idle.

        Over HTTPS there is nothing to check: every request finds a connection.

        Raises:
            SessionClosed, TransportError: it is not, and the channel is closed.
            UsageError: the limit is no number.
        """
        check_limit(timeout_s)
        self._require_open()
        try:
            await self._courier.check(timeout_s=timeout_s)
        except TransportError as exc:
            await self._fail(exc)
            raise

    async def close(self) -> None:
        """Close the connection and wipe the session, within a second. Idempotent."""
        await self._fail(SessionClosed("the channel was closed"), code=1000)
        self._renewal.close()  # for answers that came before the connection's end
        await self._courier.wait_stopped()

    async def send_records(self, records: Sequence[bytes]) -> None:
        """Send records of a stream; see `Carrier`."""
        limit = self._config.stream_send_timeout_s
        await self._courier.send_records(records, timeout_s=limit)
        for record in records:
            self._count_out(len(record))

    async def give_up(self, error: SageError) -> None:
        """End the connection for a stream's sake; see `Carrier`."""
        await self._fail(error)

    async def _shake_hands(self) -> Established:
        with Timer(self._clock, self._count_handshake):
            return await self._shake_hands_in_time()

    def _count_handshake(self, outcome: Outcome, seconds: float) -> None:
        if self._failure is not None:
            outcome = Outcome.LOST  # it was cancelled, because the channel had failed
        self._metrics.handshake(Role.INITIATOR, outcome, seconds)

    async def _shake_hands_in_time(self) -> Established:
        limit = self._config.handshake_timeout_s
        operation = Operation(
            self._resolver, self._clock, init_did=self._agent.did, resp_did=self._peer
        )
        replies: list[Reply] = []

        async def ask(request: Request) -> Response:
            replies.append(await self._ask(request, Progress()))
            return replies[0].response

        limited = asyncio.timeout(limit)
        try:
            async with limited:
                return await initiate(
                    ask,
                    verify=lambda key: replies[0].verify(key),
                    agent=self._agent,
                    peer=self._peer,
                    operation=operation,
                    clock=self._clock,
                    ttl_s=self._config.envelope_ttl_s,
                )
        except TimeoutError as exc:
            if not limited.expired() or isinstance(exc, DeadlineExceeded):
                raise
            raise DeadlineExceeded(f"no handshake within {limit:g} s") from None

    async def _exchange(
        self,
        payload: Buffer,
        metadata: Mapping[str, str],
        *,
        timeout_s: float | None = None,
        before_sending: Callable[[Established], None] = lambda _: None,
    ) -> bytes:
        limit = timeout_s if timeout_s is not None else self._config.request_timeout_s
        check_limit(limit)
        progress, limited = Progress(), asyncio.timeout(limit)
        try:
            with Timer(self._clock, self._count_request):
                async with limited, self._slots:
                    encodings = self._config.compression
                    packed = await pack_request(payload, metadata, encodings)
                    return await self._request(*packed, progress, before_sending)
        except SageError as exc:
            exc.may_have_run = progress.sent
            if isinstance(exc, PeerError) and not isinstance(exc, RemoteFailure):
                await self._fail(exc)
            raise
        except TimeoutError:
            if not limited.expired():  # the resolver's, which is the caller's own
                raise
            raise DeadlineExceeded(
                f"no answer within {limit:g} s", may_have_run=progress.sent
            ) from None

    async def _request(
        self,
        payload: Buffer,
        metadata: Mapping[str, str],
        progress: Progress,
        before_sending: Callable[[Established], None],
    ) -> bytes:
        while True:
            established = await self._acquire()
            try:
                operation = self._operation(established)
                await operation.observe()
                operation.require_current(established.binding)
                self._require_open()  # it may have ended meanwhile
                request = self._sealed(payload, metadata, established)
                before_sending(established)
                reply = await self._ask(request, progress)
                data = await self._accept(reply, request, operation, established)
                # Of what was sealed: the caller's buffer may be gone by now.
                size = len(request.payload) - RECORD_MIN_BYTES
                self._count_payload(Direction.OUT, size)
                return data
            except ConnectionLost:
                if not self._courier.is_bound:
                    # Whether the service still has the session is not known.
                    self._renewal.retire(established)
                raise
            except (LimitReached, SessionExpired, SessionClosed) as exc:
                if progress.sent:
                    raise ConnectionLost(f"before its answer: {exc}") from exc
                self._require_open()
                # Requests beside this one used the session up: nothing was sent.
                self._renewal.retire(established)
            except ResolutionError:
                # A key that cannot be seen is no better than a bad one (REG-05).
                established.session.close()
                raise
            finally:
                self._renewal.release(established)

    async def _acquire(self) -> Established:
        self._require_open()
        try:
            return await self._renewal.acquire()
        except SessionClosed:
            self._require_open()
            raise

    def _require_open(self) -> None:
        if isinstance(self._failure, SessionClosed):
            raise SessionClosed("the channel was closed")
        if self._failure is not None:
            raise for_waiting(self._failure)

    def _operation(self, established: Established) -> Operation:
        return Operation(
            self._resolver,
            self._clock,
            init_did=established.binding.init_did,
            resp_did=established.binding.resp_did,
        )

    def _sealed(
        self, payload: Buffer, metadata: Mapping[str, str], established: Established
    ) -> Request:
        unix_time = self._clock.unix_time()
        header = Request(
            id=new_uuid4(os.urandom),
            did=self._agent.did,
            recipient=self._peer,
            kid=established.binding.init_kid,
            created=unix_time,
            expires=unix_time + self._config.envelope_ttl_s,
            nonce=new_nonce(os.urandom),
            encoding="session",
            context_id=established.binding.ctx,
            session_id=established.binding.session_id,
            role=Role.INITIATOR,
            metadata=dict(metadata) or None,
        )
        return seal_request(
            header,
            payload,
            session=established.session,
            key=self._agent.find_signing_key(established.binding.init_kid),
            now=self._clock.now(),
        )

    async def _accept(
        self,
        reply: Reply,
        request: Request,
        operation: Operation,
        established: Established,
    ) -> bytes:
        """Authenticate a response, then accept it, then return what it says."""
        binding, session = established.binding, established.session
        response = reply.response
        check_response(response, request, unix_time=self._clock.unix_time())
        check_pinned(response, binding)
        await operation.pass_gate()
        operation.require_current(binding)
        verify_response(response, request, binding.resp_key)
        reply.verify(binding.resp_key)
        seq, plaintext = authenticate_payload(
            response, session=session, now=self._clock.now()
        )
        reservation = Reservation.of(response, seq=seq)
        now = self._clock.now()
        await self._guard.reserve(
            reservation, now=now, unix_time=self._clock.unix_time()
        )
        session.accept(seq, now=now)
        established.used_at = now
        self._count_payload(Direction.IN, len(plaintext))
        if not response.success:
            raise RemoteFailure(response.error or "operation_failed")
        encodings = self._config.compression
        return await unpack(plaintext, response.metadata or {}, encodings)

    async def _ask(self, request: Request, progress: Progress) -> Reply:
        """Send a request and wait for the response that names it."""
        self._require_open()
        return await self._courier.ask(request, progress)

    async def _feed(self, records: Sequence[bytes]) -> None:
        await self._streams.feed(records)
        for record in records:
            self._count_in(len(record))

    async def _fail(self, error: SageError, *, code: int | None = None) -> None:
        """End the channel: wipe the session, fail what waits, end the carrying.

        Where only the connection ended, answers that had come are judged as ever: a
        service that stops sends them right before its goodbye.
        """
        if self._failure is not None:
            return
        self._failure = error
        self._metrics.connections(Role.INITIATOR, -1)
        if isinstance(error, ConnectionLost):
            self._renewal.finish()
        else:
            self._renewal.close()
        self._streams.fail(for_waiting(error))
        if code is None:
            code = error.close_code if isinstance(error, PeerError) else 1000
            why = count_failure(self._metrics, error)
            ended = fields(Event.CONNECTION_ENDED, why, identifier=self._id)
            logger.info("channel failed: %s (%s)", error, why, extra=ended)
        await self._courier.stop(error, code)
