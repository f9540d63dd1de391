"""`SignatureAuth`: the ``auth`` argument of httpx and of httpx2.

Both libraries ask for an instance of their own ``Auth`` class, and hand it requests
and responses of their own. So the class here descends from the ``Auth`` of each that
is installed, and whatever it makes for a request comes from that request's library.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from functools import cache
from types import ModuleType
from typing import Any, Final, NoReturn

from ..errors import Code, ConfigError, ProtocolError, UsageError
from ..limits import HTTP_CONTENT_MAX_BYTES
from .content_check import ContentCheck
from .keys import SignatureKey
from .message import RequestMessage, ResponseMessage
from .raw_fields import decode_fields
from .response_check import ResponseCheck, after_sending, received_head
from .signer import Signer

__all__ = ["SignatureAuth"]


def _installed() -> Iterator[ModuleType]:
    for name in ("httpx", "httpx2"):
        try:
            yield importlib.import_module(name)
        except ModuleNotFoundError as exc:
            if exc.name != name:
                raise


_LIBRARIES: Final = tuple(_installed())
if not _LIBRARIES:
    raise ConfigError("SignatureAuth needs httpx or httpx2: pip install httpx")
_Auth: Any = type("_Auth", tuple(library.Auth for library in _LIBRARIES), {})


class SignatureAuth(_Auth):  # type: ignore[misc]  # its bases are those installed
    """Signs every request of an httpx or httpx2 client (RFC 9421).

    Usable with the synchronous and the asynchronous clients of both, by any number
    of requests at a time. A request that is sent again is signed again.

    The signature covers the content through its digest, so the content is read
    before it is sent: at most ``max_content_bytes`` of it. Longer content can be
    streamed all the same by whoever knows its digest: a request that streams and has
    a ``Content-Digest`` already is signed with that one, unread.

    A client that follows redirects sends the signature of the first URI to the
    second, where it does not verify.
    """

    def __init__(
        self,
        key: SignatureKey,
        *,
        responses: ResponseCheck | None = None,
        max_content_bytes: int = HTTP_CONTENT_MAX_BYTES,
        **signature: Any,
    ) -> None:
        """Sign with a key.

        Args:
            key: an agent's ``signing_key``, or an `HttpKey`.
            responses: what the answers are held to; ``None`` believes any. A content
                whose digest does not hold raises where it would have ended: before
                anything is returned by ``client.get`` and its like, and at the end
                of what was iterated by ``client.stream``. The response hooks of a
                client come before the check of anything.
            max_content_bytes: how much streamed request content is read.
            signature: ``label``, ``tag``, ``components``, ``also_cover`` and ``ttl_s``
                of `Signer`.
        """
        self._signer = Signer(key=key, **signature)
        self._responses = responses
        self._max_content_bytes = max_content_bytes

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Sign, send, and check the answer; called by a ``Client``.

        Raises:
            UsageError: the request cannot be signed; or its content is too long.
            PeerError, ResolutionError: the response was refused (`ResponseCheck`).
        """
        library = _library_of(request)
        if _must_be_read(library, request):
            stream = _stream_of(request, library.SyncByteStream)
            content = b"".join(self._bounded(stream))
            _replace_content(library, request, content)
        if self._responses is not None:
            _require_no_loop()
        sent = self._sign(library, request)
        response = yield request
        if self._responses is not None:
            message = _answer(request, response)
            checking = self._responses.check(message, request=sent)
            _put_check(library, response, asyncio.run(checking))

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Sign, send, and check the answer; called by an ``AsyncClient``.

        Raises:
            UsageError: the request cannot be signed; or its content is too long.
            PeerError, ResolutionError: the response was refused (`ResponseCheck`).
        """
        library = _library_of(request)
        if _must_be_read(library, request):
            stream = _stream_of(request, library.AsyncByteStream)
            parts = [part async for part in self._bounded_async(stream)]
            _replace_content(library, request, b"".join(parts))
        sent = self._sign(library, request)
        response = yield request
        if self._responses is not None:
            message = _answer(request, response)
            check = await self._responses.check(message, request=sent)
            _put_check(library, response, check)

    def _sign(self, library: ModuleType, request: Any) -> RequestMessage:
        """Put the fields of a new signature into a request; return what goes out."""
        content = _content_of(library, request)
        for name in ("Signature", "Signature-Input"):
            request.headers.pop(name, None)
        if content is not None:
            request.headers.pop("Content-Digest", None)
        for name, value in self._signer.sign_request(_message(request, content)):
            request.headers[name] = value
        return _message(request, content)

    def _bounded(self, stream: Any) -> Iterator[bytes]:
        size = 0
        for part in stream:
            size += len(part)
            self._require_room(size)
            yield part

    async def _bounded_async(self, stream: Any) -> AsyncIterator[bytes]:
        size = 0
        async for part in stream:
            size += len(part)
            self._require_room(size)
            yield part

    def _require_room(self, size: int) -> None:
        if size > self._max_content_bytes:
            raise UsageError(
                f"over {self._max_content_bytes} bytes of streamed content: give "
                "the request its Content-Digest, or raise max_content_bytes"
            )

    def __repr__(self) -> str:
        return f"<SignatureAuth {self._signer.key.kid}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SignatureAuth holds a private key and cannot be pickled")


def _library_of(request: Any) -> ModuleType:
    for library in _LIBRARIES:
        if isinstance(request, library.Request):
            return library
    raise UsageError("SignatureAuth signs the requests of httpx and httpx2")


def _content_of(library: ModuleType, request: Any) -> bytes | None:
    """Return the content of a request, or ``None`` where it was not read."""
    try:
        content: bytes = request.content
    except library.RequestNotRead:
        return None
    return content


def _must_be_read(library: ModuleType, request: Any) -> bool:
    return (
        _content_of(library, request) is None
        and "Content-Digest" not in request.headers
    )


def _stream_of(request: Any, kind: type) -> Any:
    """Return a request's content, if it is one for the client that sends it."""
    if not isinstance(request.stream, kind):
        raise UsageError(f"the client needs content that is a {kind.__name__}")
    return request.stream


def _replace_content(library: ModuleType, request: Any, content: bytes) -> None:
    request.stream = library.ByteStream(content)
    request.read()


def _message(request: Any, content: bytes | None) -> RequestMessage:
    url = request.url
    # What goes out: without user, password and fragment.
    netloc, target = url.netloc.decode("ascii"), url.raw_path.decode("ascii")
    return RequestMessage(
        method=request.method,
        target_uri=f"{url.scheme}://{netloc}{target}",
        fields=decode_fields(request.headers.raw),
        content=content,
    )


def _answer(request: Any, response: Any) -> ResponseMessage:
    """Return the head of the response to exactly this request."""
    if response.request is not request:
        with after_sending():
            raise ProtocolError("a redirect was followed", code=Code.SIG_BINDING)
    return received_head(response.status_code, decode_fields(response.headers.raw))


def _require_no_loop() -> None:
    """Refuse, before anything is sent, what only a loop of our own could check."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError("a running event loop: check responses with an AsyncClient")


def _put_check(library: ModuleType, response: Any, check: ContentCheck | None) -> None:
    """Let the content of a response pass through its check while it is read."""
    if check is None:
        return
    try:
        content = response.content  # read before us: by a hook, or by the transport
    except library.ResponseNotRead:
        response.stream = _checked_stream(library)(response.stream, check)
        return
    if content and response.headers.get("Content-Encoding", "identity") != "identity":
        with after_sending():
            # What was signed was undone, and is not there any more.
            raise ProtocolError(
                "a compressed answer that was read unchecked", code=Code.DIGEST_MISMATCH
            )
    check.update(content)
    check.finish()


@cache
def _checked_stream(library: ModuleType) -> Any:
    bases = (library.SyncByteStream, library.AsyncByteStream)
    return type("CheckedStream", (_CheckedStream, *bases), {})


class _CheckedStream:
    """A response's content, whose last byte is followed by the verdict."""

    def __init__(self, stream: Any, check: ContentCheck) -> None:
        self._stream, self._check = stream, check

    @property
    def elapsed(self) -> Any:
        """How long it took, which httpx2 asks its own stream for."""
        return self._stream.elapsed

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            self._check.update(part)
            yield part
        self._check.finish()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._check.update(part)
            yield part
        self._check.finish()

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()
