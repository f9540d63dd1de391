"""The client's end of streams: asking for one, and keeping it alive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from ..errors import (
    Code,
    ConnectionLost,
    ProtocolError,
    RemoteFailure,
    SageError,
    UsageError,
)
from ..limits import NONCE_BYTES, RENEW_RETRY_MAX_S, RENEW_RETRY_S
from ..session import Session
from ..transport import within
from ..transport.metrics import NO_METRICS, Metrics, diagnose
from ..types import Did, Role
from .clock import Clock
from .config import ClientConfig
from .initiation import Established
from .logs import Event, fields
from .stream import Carrier, Stream
from .stream_opening import CONTINUES, STREAM_AEADS, StreamOpening

__all__ = ["Exchange", "StreamClient"]

logger = logging.getLogger("sage.client")


class Exchange(Protocol):
    """How a channel asks: one request, one verified answer."""

    async def __call__(
        self,
        payload: bytes,
        metadata: Mapping[str, str],
        *,
        before_sending: Callable[[Established], None],
    ) -> bytes:
        """Send a request; ``before_sending`` learns which session carries it."""


class StreamClient:
    """The one stream that a channel may carry.

    Args:
        exchange: asks the peer.
        handshake: gives the channel a new session.
        carrier: the connection.
        peer: who is at the other end.
        config: when to renew.
        clock: for ages.
        metrics: counts streams.
    """

    def __init__(
        self,
        exchange: Exchange,
        handshake: Callable[[], Awaitable[None]],
        *,
        carrier: Carrier,
        peer: Did,
        config: ClientConfig,
        clock: Clock,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._exchange, self._handshake = exchange, handshake
        self._carrier, self._peer = carrier, peer
        self._config, self._clock, self._metrics = config, clock, metrics
        self._stream: Stream | None = None
        self._opening = False

    @asynccontextmanager
    async def open(self, aead: str) -> AsyncIterator[Stream]:
        """Open a stream for the length of a block; see `Channel.stream`."""
        stream = await self._open(aead)
        keeper = asyncio.create_task(self._keep(stream, aead))
        try:
            yield stream
        except BaseException:
            # Our direction must not look complete when it is not.
            if not stream.out_ended:
                await stream.abort()
            raise
        finally:
            keeper.cancel()
            try:
                await asyncio.wait([keeper])
                await stream.close()
            finally:
                await self._leave(stream)

    async def feed(self, records: Sequence[bytes]) -> None:
        """Hand over binary messages.

        Raises:
            SageError: there is no stream, or see `Stream.feed`.
        """
        if self._stream is None:
            raise ProtocolError("a record of no stream", code=Code.FRAME_MALFORMED)
        await self._stream.feed(records)

    def fail(self, error: SageError) -> None:
        """The connection has ended."""
        if self._stream is not None:
            self._stream.fail(error)

    async def _leave(self, stream: Stream) -> None:
        """Leave nothing open, though leaving was cancelled before it was done."""
        if not (stream.out_ended or stream.closed):
            await stream.abort()
        stream.discard()

    async def _open(self, aead: str) -> Stream:
        if aead not in STREAM_AEADS:
            raise UsageError(f"aead must be one of {', '.join(STREAM_AEADS)}")
        last = self._stream
        if self._opening or not (last is None or last.closing):
            raise UsageError("a channel carries one stream at a time")
        self._opening = True
        try:
            if last is not None:
                # Its handler at the peer still works: there is one at a time there too.
                limit_s, end = self._config.request_timeout_s, last.wait_closed()
                await within(limit_s, end, "the peer's end of the last stream")
            return await self._ask(StreamOpening(os.urandom(NONCE_BYTES), aead))
        finally:
            self._opening = False

    async def _ask(self, opening: StreamOpening) -> Stream:
        opened: list[Stream] = []
        try:
            answer = await self._exchange(
                opening.encode_request(),
                {},
                before_sending=lambda found: opened.append(
                    self._register(found, opening)
                ),
            )
            opening.require_answer(answer)
        except RemoteFailure:
            self._drop()
            raise
        except BaseException as exc:
            # The peer may have opened it: what it sends would be a record of no
            # stream, so the connection cannot go on.
            if self._drop():
                lost = exc if isinstance(exc, SageError) else None
                await self._carrier.give_up(
                    lost or ConnectionLost("an opening was cancelled")
                )
            raise
        return opened[-1]

    def _register(self, established: Established, opening: StreamOpening) -> Stream:
        """Be ready for the peer's first record before we ask for it."""
        self._drop()
        self._stream = stream = Stream(
            self._derive(established, opening),
            id=opening.id,
            peer=self._peer,
            carrier=self._carrier,
            clock=self._clock,
            on_end=self._forget,
            renew_after_records=self._config.stream_renew_after_records,
        )
        self._metrics.streams(Role.INITIATOR, 1)
        return stream

    def _derive(self, established: Established, opening: StreamOpening) -> Session:
        return established.session.derive_stream(
            opening.stream_id, opening.aead, now=self._clock.now()
        )

    def _drop(self) -> bool:
        stream = self._stream
        if stream is not None:
            stream.fail(ProtocolError("not opened", code=Code.FRAME_MALFORMED))
        return stream is not None

    def _forget(self) -> None:
        self._stream = None
        self._metrics.streams(Role.INITIATOR, -1)

    async def _keep(self, stream: Stream, aead: str) -> None:
        """Renew the stream in time, and try again, ever more rarely, if that fails."""
        made_at, retry_s = self._clock.now(), RENEW_RETRY_S
        while not stream.closed:
            left_s = made_at + self._config.renew_after_s - self._clock.now()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(left_s, 0)):
                    await stream.is_due.wait()
            began = self._clock.now()
            try:
                await self._handshake()
                await self._continue(stream, aead)
            except Exception as exc:  # a resolver of the caller's may raise anything
                why = fields(Event.RENEWAL_FAILED, diagnose(exc))
                logger.info("a stream's renewal failed: %s", exc, extra=why)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, RENEW_RETRY_MAX_S)
            else:
                made_at, retry_s = began, RENEW_RETRY_S

    async def _continue(self, stream: Stream, aead: str) -> None:
        """Go on under the channel's newest session; both ends switch by themselves."""
        opening = StreamOpening(os.urandom(NONCE_BYTES), aead)
        successors: list[Session] = []

        def expect(established: Established) -> None:
            for unused in successors:
                stream.forget(unused)
            successors.append(self._derive(established, opening))
            stream.expect(successors[-1])

        try:
            answer = await self._exchange(
                opening.encode_request(), {CONTINUES: stream.id}, before_sending=expect
            )
        except RemoteFailure:
            for successor in successors:
                stream.forget(successor)
            raise
        opening.require_answer(answer)
        stream.switch(successors[-1])
