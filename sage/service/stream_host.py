"""The service's end of streams: granting them, serving them, feeding them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from ..errors import (
    Code,
    ConnectionLost,
    ProtocolError,
    RemoteFailure,
    SageError,
    UsageError,
)
from ..session import Session
from ..transport.metrics import NO_METRICS, Metrics, diagnose
from ..types import Did, Role
from .cancelling import is_our_own
from .clock import Clock
from .logs import Event, fields
from .stream import Carrier, Stream, StreamHandler
from .stream_opening import StreamOpening

__all__ = ["StreamHost"]

logger = logging.getLogger("sage.service")


class StreamHost:
    """The one stream that a connection may carry.

    Args:
        handler: serves it; ``None`` if the service has no streams.
        carrier: the connection.
        clock: for ages.
        metrics: counts streams.
    """

    def __init__(
        self,
        handler: StreamHandler | None,
        *,
        carrier: Carrier,
        clock: Clock,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._handler, self._carrier, self._clock = handler, carrier, clock
        self._metrics = metrics
        self._stream: Stream | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def expires_at(self) -> float | None:
        """When the stream expires as things stand; ``None`` without one."""
        return None if self._stream is None else self._stream.expires_at

    def grant(
        self,
        opening: StreamOpening,
        *,
        session: Session,
        peer: Did,
        continues: str | None = None,
    ) -> Callable[[], None]:
        """Open a stream, or continue the open one under a further session.

        Args:
            opening: what the peer asked for.
            session: the V10 session that it asked in.
            peer: who asked.
            continues: the id of the stream that this one continues.

        Returns:
            What to call once the answer was sent. Only then may we send records.

        Raises:
            RemoteFailure: ``policy_denied``: there are no streams here, or one is
                open already, or the one to be continued is not, or the id was used
                in this session before.
        """
        stream = self._stream
        if self._handler is None:
            raise RemoteFailure("policy_denied")
        if stream is not None and (continues, peer) != (stream.id, stream.peer):
            raise RemoteFailure("policy_denied")
        if stream is None and (continues is not None or self._task is not None):
            raise RemoteFailure("policy_denied")
        try:
            derived = session.derive_stream(
                opening.stream_id, opening.aead, now=self._clock.now()
            )
        except UsageError:
            raise RemoteFailure("policy_denied") from None
        if stream is not None:
            stream.expect(derived)
            running = stream
            return lambda: running.switch(derived)
        self._stream = opened = Stream(
            derived,
            id=opening.id,
            peer=peer,
            carrier=self._carrier,
            clock=self._clock,
            on_end=self._forget,
        )
        self._metrics.streams(Role.RESPONDER, 1)
        handler = self._handler
        return lambda: self._start(opened, handler)

    async def feed(self, records: Sequence[bytes]) -> None:
        """Hand over binary messages.

        Raises:
            SageError: there is no stream, or see `Stream.feed`.
        """
        if self._stream is None:
            raise ProtocolError("a record of no stream", code=Code.FRAME_MALFORMED)
        await self._stream.feed(records)

    def fail(self, error: SageError) -> None:
        """The connection is ending: nobody waits for room or records any more."""
        if self._stream is not None:
            self._stream.fail(error)

    async def finish(self, *, limit_s: float) -> None:
        """The connection has ended: let the handler take what arrived, for a while."""
        self.fail(ConnectionLost("the connection has ended"))
        task = self._task
        if task is not None:
            try:
                await asyncio.wait([task], timeout=limit_s)
            finally:
                task.cancel()

    def _forget(self) -> None:
        self._stream = None
        self._metrics.streams(Role.RESPONDER, -1)

    def _start(self, stream: Stream, handler: StreamHandler) -> None:
        self._task = asyncio.create_task(self._serve(stream, handler))
        self._task.add_done_callback(self._done)

    def _done(self, _: asyncio.Task[None]) -> None:
        self._task = None

    async def _serve(self, stream: Stream, handler: StreamHandler) -> None:
        """Run the handler; whatever it does becomes an end, or the end of it all."""
        try:
            await handler(stream)
            await stream.end()
        except ConnectionLost as exc:
            ended = fields(Event.STREAM_ENDED, diagnose(exc))
            logger.debug("stream ended: %s", exc, extra=ended)
        except SageError as exc:
            why = fields(Event.HANDLER_FAILED, diagnose(exc))
            logger.warning("the stream handler failed: %s", exc, extra=why)
        except BaseException as exc:
            if is_our_own(exc):
                raise
            logger.exception(
                "the stream handler failed", extra=fields(Event.HANDLER_FAILED)
            )
        if stream.out_ended:
            stream.discard()
        elif not stream.closed:
            await stream.abort()
