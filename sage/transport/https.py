"""The pooled HTTPS client: HTTP/1.1 over kept-alive connections, through aiohttp."""

from __future__ import annotations

import asyncio
import contextlib
import io
import ssl
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from yarl import URL

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

__all__ = ["HttpsPool"]

_AT_ONCE_BYTES: Final = 64 * 1024


class HttpsPool:
    """An `HttpsClient` over HTTP/1.1. It belongs to the event loop that first uses it.

    Args:
        config: bounds and time limits.
        tls: a client context; the system's authorities when not given.
    """

    def __init__(
        self,
        config: HttpsPoolConfig | None = None,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._config = config if config is not None else HttpsPoolConfig()
        self._tls = tls if tls is not None else tls_context()
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._attempts: set[_Attempt] = set()

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
        session = self._open()
        total_s = self._config.total_timeout_s if timeout_s is None else timeout_s
        check_limit(total_s)
        attempt = _Attempt(self._config, total_s)
        async with attempt.watched(url, among=self._attempts):
            posting = session.post(
                # The very bytes of the URL were signed: none of them is quoted anew.
                URL(url, encoded=True),
                headers=list(headers),
                data=_body_of(content),
                allow_redirects=False,
                trace_request_ctx=attempt,
            )
            async with posting as response:
                head = check_head(response.raw_headers)
                body = await self._body(response)
        return HttpResponse(response.status, head, (), body)

    async def close(self) -> None:
        """Close every connection, within a second. Idempotent."""
        self._closed = True
        # Before aiohttp learns of it: that would cancel the tasks of whoever waits for
        # a connection, and let those go on that are making one.
        for attempt in self._attempts:
            attempt.close()
        if self._session is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise UsageError("the HTTPS client was closed")
        if self._session is None:
            config = self._config
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=self._tls,
                    limit=config.max_connections,
                    limit_per_host=config.max_per_host,
                    keepalive_timeout=config.idle_s,
                    resolver=aiohttp.ThreadedResolver(),
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept-Encoding", "User-Agent", "Accept"),
                auto_decompress=False,
                trust_env=False,
                trace_configs=[_tracing()],
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_read=config.read_timeout_s
                ),
            )
        return self._session

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._config.max_response_bytes
        body = bytearray()
        announced = response.content_length
        if announced is None or announced <= limit:
            async for data in response.content.iter_any():
                body += data
                if len(body) > limit:
                    break
            else:
                return bytes(body)
        # What is left unread would be taken for the next answer.
        response.close()
        raise DecodeError(
            f"the response is longer than {limit} bytes", code=Code.SIZE_EXCEEDED
        )


class _Attempt:
    """One request under way: which time limit holds, and whether it was sent."""

    def __init__(self, config: HttpsPoolConfig, total_s: float) -> None:
        self._config = config
        self._ends_at = asyncio.get_running_loop().time() + total_s
        self._limit_s, self._doing = total_s, "the request"
        self._total_s = total_s
        self._timeout = asyncio.timeout_at(self._ends_at)
        self._sent = self._closed = False

    def wait_for_place(self) -> None:
        self._limit(self._config.pool_timeout_s, "waiting for a free connection")

    def connect(self) -> None:
        self._limit(self._config.connect_timeout_s, "connecting")

    def go_on(self) -> None:
        self._limit(self._total_s, "the request")

    def send(self) -> None:
        self._sent = True

    def close(self) -> None:
        """End it now, and not later."""
        self._closed = True
        if not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time())

    @contextlib.asynccontextmanager
    async def watched(self, url: str, *, among: set[_Attempt]) -> AsyncIterator[None]:
        """Be among those under way; turn what aiohttp raises into errors of ours."""
        try:
            async with self._timeout:
                among.add(self)
                try:
                    yield
                finally:
                    among.discard(self)
        except SageError:
            raise
        except aiohttp.SocketTimeoutError as exc:
            raise self._late("reading", self._config.read_timeout_s) from exc
        except TimeoutError:
            if self._closed:
                closed = ConnectionError("the HTTPS client was closed")
                raise self._broken(url, closed) from None
            raise self._late(self._doing, self._limit_s) from None
        except aiohttp.InvalidURL as exc:
            raise UsageError(f"not an HTTPS URL: {url!r}") from exc
        except aiohttp.ClientResponseError as exc:
            raise _not_http(exc.message) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise self._broken(url, exc) from exc
        except ValueError as exc:
            # What yarl, the codec of names and the writer of heads say, each by itself.
            if self._sent:
                raise _not_http(str(exc)) from exc
            raise UsageError(f"no HTTPS request to {url!r}: {exc}") from exc

    def _late(self, doing: str, limit_s: float) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{doing} took longer than {limit_s:g} s", may_have_run=self._sent
        )

    def _broken(self, url: str, exc: Exception) -> ConnectFailed | ConnectionLost:
        reason = str(exc) or type(exc).__name__
        if isinstance(exc, aiohttp.ClientConnectorError) or not self._sent:
            return ConnectFailed(f"cannot connect to {url}: {reason}")
        return ConnectionLost(f"the connection broke: {reason}", may_have_run=True)

    def _limit(self, seconds: float, doing: str) -> None:
        now = asyncio.get_running_loop().time()
        ends_at = now + seconds
        if ends_at >= self._ends_at or doing == "the request":
            ends_at, seconds, doing = self._ends_at, self._total_s, "the request"
        self._limit_s, self._doing = seconds, doing
        if not self._closed and not self._timeout.expired():
            self._timeout.reschedule(ends_at)


def _not_http(why: str) -> DecodeError:
    return DecodeError(
        f"the server does not speak HTTP/1.1: {why}", code=Code.FRAME_MALFORMED
    )


def _body_of(content: bytes) -> bytes | io.BytesIO:
    """Have a long body written in pieces, so that others go on meanwhile."""
    return content if len(content) <= _AT_ONCE_BYTES else io.BytesIO(content)


def _tracing() -> aiohttp.TraceConfig:
    """Let each attempt know what aiohttp does for it."""
    trace = aiohttp.TraceConfig()

    def call(name: str) -> Any:
        async def note(_: object, context: SimpleNamespace, __: object) -> None:
            getattr(context.trace_request_ctx, name)()

        return note

    trace.on_connection_queued_start.append(call("wait_for_place"))
    trace.on_connection_queued_end.append(call("go_on"))
    trace.on_connection_create_start.append(call("connect"))
    trace.on_connection_create_end.append(call("go_on"))
    trace.on_request_headers_sent.append(call("send"))
    return trace
