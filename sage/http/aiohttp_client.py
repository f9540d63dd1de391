"""`AiohttpSignature`: a client middleware that signs what aiohttp sends."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, NoReturn

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.base_protocol import BaseProtocol
from yarl import URL

from ..errors import Code, ProtocolError, UsageError
from ..limits import HTTP_CONTENT_MAX_BYTES
from .component import texts
from .keys import SignatureKey
from .message import RequestMessage
from .raw_fields import decode_fields
from .response_check import ResponseCheck, after_sending, received_head
from .signer import Signer

__all__ = ["AiohttpSignature"]

_Handler = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]
_Origin = tuple[str, str, int | None]

_READ_BYTES: Final = 64 * 1024
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class AiohttpSignature:
    """Signs every request of an aiohttp session (RFC 9421).

    For ``aiohttp.ClientSession(middlewares=[…])``. A request that aiohttp sends
    again, for a redirect or on a new connection, is signed again. A redirect to another
    origin is refused: whoever answers would have us sign what they like for somebody
    who trusts us, as aiohttp itself sends no ``Authorization`` there.

    The signature covers the content through its digest, so the content is read
    before it is sent: at most ``max_content_bytes`` of it. Longer content can be
    streamed all the same by whoever knows its digest: a request that has a
    ``Content-Digest`` already is signed with that one, unread.
    """

    def __init__(
        self,
        key: SignatureKey,
        *,
        responses: ResponseCheck | None = None,
        max_content_bytes: int = HTTP_CONTENT_MAX_BYTES,
        redirect_origins: Collection[str] = (),
        **signature: Any,
    ) -> None:
        """Sign with a key.

        Args:
            key: an agent's ``signing_key``, or an `HttpKey`.
            responses: what the answers are held to; ``None`` believes any. A content
                with a digest is read and checked before aiohttp returns the
                response, and is asked for without compression.
            max_content_bytes: how much content of a request is read.
            redirect_origins: such as ``https://b.example``: where a redirect may lead
                besides the origin that it comes from.
            signature: ``label``, ``tag``, ``components``, ``also_cover`` and ``ttl_s``
                of `Signer`.
        """
        self._signer = Signer(key=key, **signature)
        self._responses = responses
        self._max_content_bytes = max_content_bytes
        origins = texts(redirect_origins, "redirect_origins")
        self._redirect_origins = frozenset(map(_origin, origins))

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: _Handler
    ) -> aiohttp.ClientResponse:
        """Sign, send, and check the answer; called by aiohttp.

        Raises:
            UsageError: the request cannot be signed; or its content is too long.
            PeerError, ResolutionError: the response was refused (`ResponseCheck`), or
                leads to another origin (``sig.binding``).
        """
        sent = await self._sign(request)
        response = await handler(request)
        try:
            self._require_origin(request.url, response)
            if self._responses is not None:
                await self._check(self._responses, response, sent)
        except BaseException:
            response.close()
            raise
        return response

    async def _sign(self, request: aiohttp.ClientRequest) -> RequestMessage:
        """Put the fields of a new signature into a request; return what goes out."""
        headers = request.headers
        if request.compress:
            raise UsageError("content that aiohttp compresses cannot be signed")
        if self._responses is not None:
            headers["Accept-Encoding"] = "identity"
        if request.body == b"":  # redirects take a content away, not its digest
            headers.popall("Content-Digest", None)
        content = None if "Content-Digest" in headers else await self._read(request)
        for name in ("Signature", "Signature-Input"):
            headers.popall(name, None)
        for name, value in self._signer.sign_request(_message(request, content)):
            headers[name] = value
        return _message(request, content)

    async def _read(self, request: aiohttp.ClientRequest) -> bytes:
        """Return the content, and put what was read in its place."""
        body = request.body
        if isinstance(body, bytes):
            return body
        collected = _Collector(self._max_content_bytes)
        await body.write(collected)
        content = bytes(collected.content)
        if not isinstance(body, aiohttp.BytesPayload):
            # Not bytes: aiohttp warns of long ones, and writes a file in parts.
            await request.update_body(io.BytesIO(content))
        return content

    def _require_origin(self, url: URL, response: aiohttp.ClientResponse) -> None:
        """Refuse a redirect to where nobody meant to send a signed request."""
        place = response.headers.get("Location") or response.headers.get("URI")
        if response.status not in _REDIRECTS or place is None:
            return
        allowed = {_origin_of(url), *self._redirect_origins}
        # The session decides which of these two it reads.
        if not {_led_to(url, place, encoded=e) for e in (False, True)} <= allowed:
            with after_sending():
                raise ProtocolError(
                    f"a redirect to another origin: {place!r}", code=Code.SIG_BINDING
                )

    async def _check(
        self,
        responses: ResponseCheck,
        response: aiohttp.ClientResponse,
        sent: RequestMessage,
    ) -> None:
        head = received_head(response.status, decode_fields(response.raw_headers))
        check = await responses.check(head, request=sent)
        if check is None:
            return
        encoded = response.headers.get("Content-Encoding", "identity") != "identity"
        if encoded and not response.content.at_eof():
            with after_sending():
                # aiohttp has undone it: what was signed is not there any more.
                raise ProtocolError("a compressed answer", code=Code.DIGEST_MISMATCH)
        content = bytearray()
        async for part in response.content.iter_chunked(_READ_BYTES):
            check.update(part)  # and no further than the policy's limit
            content += part
        check.finish()
        response.content = _filled_reader(bytes(content))

    def __repr__(self) -> str:
        return f"<AiohttpSignature {self._signer.key.kid}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AiohttpSignature holds a private key, never pickled")


class _Collector(AbstractStreamWriter):
    """Takes what a payload writes, up to a limit."""

    def __init__(self, max_bytes: int) -> None:
        self.content = bytearray()
        self._max_bytes = max_bytes

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self.content += chunk
        if len(self.content) > self._max_bytes:
            raise UsageError(
                f"over {self._max_bytes} bytes of content: give the request its "
                "Content-Digest, or raise max_content_bytes"
            )

    async def write_eof(self, chunk: bytes = b"") -> None:
        await self.write(chunk)

    async def drain(self) -> None:
        """Nothing waits."""

    def enable_compression(
        self, encoding: str = "deflate", strategy: int | None = None
    ) -> None:
        raise UsageError("content that aiohttp compresses cannot be signed")

    def enable_chunking(self) -> None:
        """Only a connection chunks."""

    async def write_headers(self, status_line: str, headers: Any) -> None:
        """Only a connection has a head."""


def _origin(text: str) -> _Origin:
    try:
        return _origin_of(URL(text))
    except ValueError as exc:
        raise UsageError(f"{text!r} is not an origin") from exc


def _origin_of(url: URL) -> _Origin:
    """Return scheme, host and port: one origin, with its default port or without."""
    origin = url.origin()
    return origin.scheme, (origin.raw_host or "").lower(), origin.port


def _led_to(url: URL, place: str, *, encoded: bool) -> _Origin | None:
    """Return the origin of where a redirect leads; ``None`` for nowhere."""
    try:
        return _origin_of(url.join(URL(place, encoded=encoded)))
    except ValueError:
        return None


def _message(request: aiohttp.ClientRequest, content: bytes | None) -> RequestMessage:
    url = request.url
    return RequestMessage(
        method=request.method,
        target_uri=f"{url.scheme}://{url.host_port_subcomponent}{url.raw_path_qs}",
        fields=tuple(map(_as_sent, request.headers.items())),
        content=content,
    )


def _as_sent(line: tuple[str, str]) -> tuple[str, str]:
    """Return a field with one character for each byte that aiohttp sends of it."""
    name, value = line
    return str(name), value.encode("utf-8", "surrogateescape").decode("latin-1")


def _filled_reader(content: bytes) -> aiohttp.StreamReader:
    """Return a reader that is at its end once ``content`` was read."""
    loop = asyncio.get_running_loop()
    # With room for all of it, so that it never asks its protocol to pause.
    limit = max(len(content), _READ_BYTES)
    reader = aiohttp.StreamReader(BaseProtocol(loop), limit=limit, loop=loop)
    reader.feed_data(content)
    reader.feed_eof()
    return reader
