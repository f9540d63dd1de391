"""The HTTPS client over HTTP/2, through httpx2: many requests on one connection.

Slower than HTTP/1.1 on several connections, where those can be had: it is for servers
and proxies that speak nothing else, or that count connections.

The library gives a connection up where one request on it is cancelled in the middle of
a read or a write, and with it all the others. So each exchange has a task of its own,
which is left behind where its caller is cancelled or out of time: it sends no request
any more if it has not begun to, or else takes the answer that nobody waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from typing import Any, Final

import httpx2

from ..errors import (
    Code,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    SageError,
    UsageError,
)
from ..limits import CLOSE_TIMEOUT_S
from ..runtime.bounds import check_limit
from .address import tls_context
from .https_client import (
    HeaderLines,
    HttpResponse,
    HttpsPoolConfig,
    check_head,
    require_https,
)

__all__ = ["Http2Pool"]

# Answers that nobody waits for any more, of at most 16 MiB each.
_LEFT_MAX: Final = 16


class Http2Pool:
    """An `HttpsClient` over HTTP/2. It belongs to the event loop that first uses it.

    Args:
        config: bounds and time limits.
        tls: a client context of its own: it is set to offer HTTP/2 alone. The
            system's authorities when not given.
    """

    def __init__(
        self,
        config: HttpsPoolConfig | None = None,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._config = config = config if config is not None else HttpsPoolConfig()
        # The transport below the client: it has no cookies, no redirects and no
        # decoding that could be left on.
        self._transport = httpx2.AsyncHTTPTransport(
            verify=tls if tls is not None else tls_context.__wrapped__(None),
            trust_env=False,
            http1=False,
            http2=True,
            limits=httpx2.Limits(
                max_connections=config.max_connections,
                max_keepalive_connections=config.max_connections,
                keepalive_expiry=config.idle_s,
            ),
        )
        self._closed = False
        self._exchanges: set[asyncio.Task[HttpResponse]] = set()
        self._left: set[asyncio.Task[HttpResponse]] = set()  # some of these

    async def post(
        self,
        url: str,
        *,
        headers: HeaderLines,
        content: bytes,
        timeout_s: float | None = None,
    ) -> HttpResponse:
        """Post once and return the whole answer; see `HttpsClient.post`."""
        require_https(url)
        if self._closed:
            raise UsageError("the HTTPS client was closed")
        total_s = self._config.total_timeout_s if timeout_s is None else timeout_s
        check_limit(total_s)
        attempt = _Attempt(total_s)
        extensions = {"timeout": self._timeouts(), "trace": attempt.note}
        try:
            request = httpx2.Request(
                "POST",
                url,
                headers=list(headers),
                content=content,
                extensions=extensions,
            )
        except (httpx2.InvalidURL, ValueError) as exc:
            raise UsageError(f"no HTTPS request to {url!r}: {exc}") from exc
        exchange = asyncio.create_task(self._exchange(request))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._exchanges.discard)
        exchange.add_done_callback(_look)
        try:
            with attempt.watched(url):
                async with asyncio.timeout(total_s):
                    await asyncio.wait([exchange])
                if exchange.cancelled():
                    # By `close`, for its caller is still here: nobody cancelled that.
                    raise ConnectionError("the HTTPS client was closed")
                return exchange.result()
        finally:
            if not exchange.done():
                attempt.leave()
                self._leave(exchange)

    async def close(self) -> None:
        """Close every connection, within a second. Idempotent."""
        self._closed = True
        # Closed below them, those that are connecting would go on and send.
        for exchange in self._exchanges:
            exchange.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if self._exchanges:
                    await asyncio.wait(self._exchanges)
                await self._transport.aclose()

    async def _exchange(self, request: httpx2.Request) -> HttpResponse:
        response = await self._transport.handle_async_request(request)
        try:
            head = check_head(response.headers.raw)
            body = await self._body(response)
        finally:
            await response.aclose()
        return HttpResponse(response.status_code, head, (), body)

    def _leave(self, exchange: asyncio.Task[HttpResponse]) -> None:
        """Let an exchange end by itself, for a while, and not too many of them."""
        if self._closed or len(self._left) >= _LEFT_MAX:
            exchange.cancel()
            return
        self._left.add(exchange)
        later = asyncio.get_running_loop().call_later
        ending = later(self._config.read_timeout_s, exchange.cancel)
        exchange.add_done_callback(lambda _: ending.cancel())
        exchange.add_done_callback(self._left.discard)

    def _timeouts(self) -> dict[str, float | None]:
        config = self._config
        return httpx2.Timeout(
            connect=config.connect_timeout_s,
            read=config.read_timeout_s,
            write=config.read_timeout_s,
            pool=config.pool_timeout_s,
        ).as_dict()

    async def _body(self, response: httpx2.Response) -> bytes:
        limit, body = self._config.max_response_bytes, bytearray()
        async for data in response.aiter_raw():
            body += data
            if len(body) > limit:
                raise DecodeError(
                    f"the response is longer than {limit} bytes",
                    code=Code.SIZE_EXCEEDED,
                )
        return bytes(body)


class _Attempt:
    """One request under way: whether it was sent, and what its end means."""

    def __init__(self, total_s: float) -> None:
        self._total_s, self._sent, self._left = total_s, False, False
        self._stream: Any = None

    def leave(self) -> None:
        """Send nothing any more: its caller has been told how far it came."""
        self._left = True

    async def note(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]
        elif event == "connection.start_tls.failed":
            # Cancelled in a TLS handshake, the library forgets the connection, open.
            await self._stream.aclose()
        elif event == "http2.send_request_headers.started":
            if self._left:
                raise ConnectFailed("given up before it was sent")
            self._sent = True

    @contextlib.contextmanager
    def watched(self, url: str) -> Iterator[None]:
        """Turn what httpx2 raises into errors of ours."""
        try:
            yield
        except SageError:
            raise
        except TimeoutError:
            text = f"the request took longer than {self._total_s:g} s"
            raise DeadlineExceeded(text, may_have_run=self._sent) from None
        except httpx2.TimeoutException as exc:
            text = f"a time limit passed: {type(exc).__name__}"
            raise DeadlineExceeded(text, may_have_run=self._sent) from exc
        except (httpx2.HTTPError, UnicodeError, OSError, ExceptionGroup) as exc:
            # A group is of what looks up and connects, several addresses at once.
            reason = str(exc) or type(exc).__name__
            if not self._sent:
                raise ConnectFailed(f"cannot connect to {url}: {reason}") from exc
            text = f"the connection broke: {reason}"
            raise ConnectionLost(text, may_have_run=True) from exc


def _look(exchange: asyncio.Task[HttpResponse]) -> None:
    """See how it ended, also where nobody waits for it any more."""
    if not exchange.cancelled():
        exchange.exception()
