"""Carries a channel's requests as HTTPS posts, each with a signature of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..envelope import Request, Response, decode_envelope
from ..errors import (
    Code,
    ConnectionLost,
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
from .courier import Feed, Progress, Reply, Report

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

    def start(self, *, feed: Feed, fail: Report, identifier: str) -> None:
        """Nothing arrives unasked; see `Courier`."""

    async def ask(self, request: Request, progress: Progress) -> Reply:
        """Post a request; see `Courier`."""
        key = self._find_key(request.kid)
        sent = wrap_request(request, key, endpoint=self._endpoint)
        # Until we know better: a call that is cancelled never learns how far it came.
        progress.sent = True
        try:
            received = await self._client.post(
                self._endpoint, headers=sent.fields, content=sent.content or b""
            )
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
        """Close the connections that are ours alone; see `Courier`."""
        if self._owned:
            await self._client.close()

    async def wait_stopped(self) -> None:
        """Nothing goes on behind our back; see `Courier`."""

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
