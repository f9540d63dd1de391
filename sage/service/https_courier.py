"""Carries a channel's requests as HTTPS posts, each with a signature of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ..envelope import Request, Response, decode_envelope
from ..errors import (
    Code,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    ProtocolError,
    SageError,
    TransportError,
    UsageError,
)
from ..http import Policy, RequestMessage, ResponseMessage, begin_response
from ..identity import SigningKey
from ..transport import HttpResponse, HttpsClient
from ..transport.http_binding import canonical_endpoint, check_binding, wrap_request
from ..transport.metrics import Carriage
from .courier import Feed, Progress, Reply, Report, for_waiting

__all__ = ["HttpsCourier"]


class HttpsCourier:
    """A `Courier` over HTTPS.

    Args:
        url: the service's endpoint.
        client: posts; closed with the channel where ``owned``.
        owned: whether nobody else uses the client.
        find_key: returns our key of a name. What signs the request around an envelope
            is the envelope's own: during a rotation a session keeps to its older one.
        unix_time: wall seconds.

    Raises:
        UsageError: not an ``https://`` URL.
    """

    carriage = Carriage.HTTPS
    has_streams = False
    is_bound = False

    def __init__(
        self,
        url: str,
        *,
        client: HttpsClient,
        owned: bool,
        find_key: Callable[[str], SigningKey],
        unix_time: Callable[[], int],
    ) -> None:
        self._endpoint = canonical_endpoint(url)
        self._client, self._owned = client, owned
        self._find_key, self._unix_time = find_key, unix_time
        self._posting: set[asyncio.Timeout] = set()
        self._failure: SageError | None = None

    def start(self, *, feed: Feed, fail: Report, identifier: str) -> None:
        """Nothing arrives unasked; see `Courier`."""

    async def ask(self, request: Request, progress: Progress) -> Reply:
        """Post a request; see `Courier`."""
        key = self._find_key(request.kid)
        sent = wrap_request(request, key, endpoint=self._endpoint)
        # Until we know better: a call that is cancelled never learns how far it came.
        progress.sent = True
        try:
            received = await self._post(sent)
        except TransportError as exc:
            progress.sent = exc.may_have_run
            raise
        return self._unwrap(received, sent)

    async def send_records(self, records: Sequence[bytes], *, timeout_s: float) -> None:
        """Refuse; see `Courier`."""
        raise UsageError("records need a WebSocket")

    async def check(self, *, timeout_s: float) -> None:
        """Every request finds a connection; see `Courier`."""

    async def stop(self, error: SageError, code: int) -> None:
        """Fail what is under way, and close what is ours alone; see `Courier`."""
        self._failure = error
        try:
            if self._owned:
                # Closed, it fails them itself, and says how far each of them came.
                await self._client.close()
        finally:
            now = asyncio.get_running_loop().time()
            while self._posting:
                self._posting.pop().reschedule(now)

    async def wait_stopped(self) -> None:
        """Nothing goes on behind our back; see `Courier`."""

    async def _post(self, sent: RequestMessage) -> HttpResponse:
        try:
            # Without a limit of its own: it ends the post when we are stopped.
            async with asyncio.timeout(None) as ending:
                self._posting.add(ending)
                try:
                    return await self._client.post(
                        self._endpoint, headers=sent.fields, content=sent.content or b""
                    )
                finally:
                    self._posting.discard(ending)
        except (TransportError, TimeoutError) as exc:
            if self._failure is None or isinstance(exc, DeadlineExceeded):
                raise
            error = for_waiting(self._failure)
            # Ended by us, it did not come to say.
            error.may_have_run = not isinstance(exc, SageError) or exc.may_have_run
            raise error from None

    def _unwrap(self, received: HttpResponse, sent: RequestMessage) -> Reply:
        """Check everything about a response that needs no key."""
        if not any(name.lower() == "signature" for name, _ in received.headers):
            # Not signed, so not an answer, and no permission to do anything else.
            raise ConnectionLost(
                f"no answer but the status {received.status}", may_have_run=True
            )
        if not 100 <= received.status <= 999:
            raise DecodeError(
                f"{received.status} is not a status", code=Code.FRAME_MALFORMED
            )
        message = ResponseMessage(
            status=received.status,
            fields=tuple(received.headers),
            content=received.body,
            trailers=tuple(received.trailers),
        )
        pending = begin_response(
            message, request=sent, policy=Policy.v10(), unix_time=self._unix_time()
        )
        response = decode_envelope(received.body)
        if not isinstance(response, Response):
            raise ProtocolError("a request at a client", code=Code.SIG_BINDING)
        check_binding(response, pending)
        return Reply(response, pending.finish)
