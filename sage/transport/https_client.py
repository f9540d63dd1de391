"""What every HTTPS client of ours does, whichever library carries it.

One POST, one whole answer. TLS always; no redirects, no cookies, no proxies from the
environment, no content decoding: a signature covers what is sent, where it is sent
and what comes back, so nothing in between may change any of it. Every header line is
shown as it came, repeated ones included.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias
from urllib.parse import urlsplit

from ..errors import Code, DecodeError, UsageError
from ..limits import (
    CONNECT_TIMEOUT_S,
    ENVELOPE_MAX_BYTES,
    HTTP_HEAD_MAX_BYTES,
    HTTPS_IDLE_S,
    HTTPS_MAX_CONNECTIONS,
    HTTPS_MAX_PER_HOST,
    HTTPS_POOL_TIMEOUT_S,
    HTTPS_READ_TIMEOUT_S,
    REQUEST_TIMEOUT_S,
)
from ..runtime.bounds import check_bounds

__all__ = [
    "HeaderLines",
    "HttpResponse",
    "HttpsClient",
    "HttpsPoolConfig",
    "check_head",
    "open_https",
    "require_https",
    "without_password",
]

# Up to the last of them: a password that nobody encoded may have one of its own.
_USER: Final = re.compile(r"//[^/?#]*@")

HeaderLines: TypeAlias = Sequence[tuple[str, str]]
"""Names and values in their order, repeated lines kept."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole response: header and trailer lines as they came, in order."""

    status: int
    headers: HeaderLines
    trailers: HeaderLines
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsPoolConfig:
    """The bounds and the time limits of an HTTPS client.

    Attributes:
        max_connections: open at once, busy and idle together.
        max_per_host: likewise, to one host and port; over HTTP/2 requests share one
            connection, and this has no effect.
        idle_s: how long an unused connection is kept.
        total_timeout_s: one request, from the call to the last byte of its answer.
        pool_timeout_s: how much of it may go into waiting for a free connection,
        connect_timeout_s: into DNS, TCP and TLS,
        read_timeout_s: and into waiting for each next bytes of the answer.
        max_response_bytes: the longest body that is read; at most 16 MiB.
        http2: speak HTTP/2 instead of HTTP/1.1; needs the extra ``http2``.
    """

    max_connections: int = HTTPS_MAX_CONNECTIONS
    max_per_host: int = HTTPS_MAX_PER_HOST
    idle_s: float = HTTPS_IDLE_S
    total_timeout_s: float = REQUEST_TIMEOUT_S
    pool_timeout_s: float = HTTPS_POOL_TIMEOUT_S
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    read_timeout_s: float = HTTPS_READ_TIMEOUT_S
    max_response_bytes: int = ENVELOPE_MAX_BYTES
    http2: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no bound.

        Raises:
            UsageError: a number that is not positive, or a body over 16 MiB.
        """
        check_bounds(self)
        if self.max_response_bytes > ENVELOPE_MAX_BYTES:
            raise UsageError(f"max_response_bytes is at most {ENVELOPE_MAX_BYTES}")


class HttpsClient(Protocol):
    """Posts to HTTPS URLs over connections that it keeps."""

    async def post(
        self,
        url: str,
        *,
        headers: HeaderLines,
        content: bytes,
        timeout_s: float | None = None,
    ) -> HttpResponse:
        """Post ``content`` once, and return the whole answer, whatever its status.

        Nothing is ever sent a second time.

        Args:
            url: an absolute ``https://`` URL.
            headers: what goes beside ``Host`` and ``Content-Length``, as it is.
            content: the body.
            timeout_s: for everything together; the configured one when not given.

        Raises:
            UsageError: not an ``https://`` URL, or the client was closed.
            ConnectFailed: no connection came about; nothing was sent.
            ConnectionLost: the connection ended before the answer did;
                ``may_have_run`` says whether the request had begun to leave.
            DeadlineExceeded: one of the time limits passed; ``may_have_run``
                likewise.
            DecodeError: the answer is not HTTP (``frame.malformed``), or longer
                than its limits (``size.exceeded``).
        """

    async def close(self) -> None:
        """Close every connection, within a second. Idempotent.

        What is under way fails with `ConnectFailed` if nothing of it was sent, or else
        with `ConnectionLost`; nothing is sent any more.
        """


def open_https(
    config: HttpsPoolConfig | None = None, *, tls: ssl.SSLContext | None = None
) -> HttpsClient:
    """Return a client that speaks what the configuration says.

    Args:
        config: bounds and time limits.
        tls: a client context; the system's authorities when not given. Over HTTP/2
            it is set to offer that alone, so give it a context of its own.

    Raises:
        ConfigError: the extra that it needs is not installed.
    """
    config = config if config is not None else HttpsPoolConfig()
    if config.http2:
        from . import Http2Pool

        return Http2Pool(config, tls=tls)
    from . import HttpsPool

    return HttpsPool(config, tls=tls)


def require_https(url: str) -> None:
    """Refuse everything but an absolute URL over TLS.

    Raises:
        UsageError: not such a URL, or one with a fragment or a password in it.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (raises where it is not a number)
        well = parts.scheme == "https" and bool(parts.hostname) and url.isascii()
    except (AttributeError, ValueError):  # the first of what is no text
        well = False
    if not well or parts.fragment or "@" in parts.netloc:
        raise UsageError(f"an https:// URL is needed, not {without_password(url)!r}")


def without_password(url: object) -> str:
    """Return a URL as errors and logs may show it, whether or not it is one."""
    return _USER.sub("//", str(url))


def check_head(lines: Iterable[tuple[bytes, bytes]]) -> HeaderLines:
    """Return a received head as text, every line as it came.

    Raises:
        DecodeError: all fields together are longer than 32 KiB (``size.exceeded``).
    """
    received = list(lines)
    # As the protocol counts: name, value and four bytes between and behind.
    if sum(len(name) + len(value) + 4 for name, value in received) > (
        HTTP_HEAD_MAX_BYTES
    ):
        raise DecodeError("the head is over 32 KiB", code=Code.SIZE_EXCEEDED)
    return tuple(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in received
    )
