"""A request as ASGI hands it over: its head as a message, and its content.

What the head says about where the request was sent (``Host``, ``Forwarded``,
``X-Forwarded-*``) is what a client or a proxy claims. The target URI is put together
from the configured base URL instead, and so a signature verifies only where it was
made for that URL.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final
from urllib.parse import quote, urlsplit

from ..errors import Code, DecodeError, PeerError, StaleError, UsageError
from ..types import AsgiMessage, AsgiReceive, AsgiScope
from .content_check import ContentCheck
from .message import FieldLines, RequestMessage
from .raw_fields import decode_fields

__all__ = [
    "KNOWN_PEER",
    "ClientLeft",
    "ContentReader",
    "base_url_of",
    "once",
    "request_of",
    "require_room",
    "vouch",
]

KNOWN_PEER: Final = "sage.known-peer"
"""The scope extension of a server that holds strangers to short waits; see `vouch`."""

_HOST: Final = re.compile(r"[a-z0-9.-]+|\[[0-9a-f:.]+\]")
_PREFIX: Final = re.compile(r"[!-~]*")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PATH_SAFE: Final = "/:@!$&'()*+,;="  # what a path has as it is (RFC 3986, 3.3)


class ClientLeft(Exception):
    """The client went away before its request was complete."""


def base_url_of(text: str) -> str:
    """Return a base URL in normal form: scheme, authority, and a prefix of paths.

    Args:
        text: ``https://host[:port][/prefix]``.

    Raises:
        UsageError: no text; another scheme than http and https; a user, query or
            fragment; no host; or anything that is not visible ASCII.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.netloc.lower(), parts.port
    except (AttributeError, ValueError) as exc:
        raise UsageError(f"{text!r} has no host or port that could be one") from exc
    if port is not None:
        host = host.rpartition(":")[0]
    if parts.scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(host):
        raise UsageError(f"{text!r} is not https://host[:port][/prefix]")
    if parts.query or parts.fragment or not _PREFIX.fullmatch(parts.path):
        raise UsageError(f"{text!r} is more than https://host[:port][/prefix]")
    if port not in (None, _DEFAULT_PORTS[parts.scheme]):
        host = f"{host}:{port}"
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"


def request_of(scope: AsgiScope, base_url: str) -> RequestMessage:
    """Return the head of a request; its content is ``None`` until it is read.

    Args:
        scope: of type ``http``.
        base_url: from `base_url_of`.

    Raises:
        DecodeError: the target is not a path in ASCII (``frame.malformed``).
    """
    path = _path(scope)
    query: bytes = scope.get("query_string", b"")
    target = base_url.encode() + path + (b"?" + query if query else b"")
    if not path.startswith(b"/") or not target.isascii():
        raise DecodeError("not a path", code=Code.FRAME_MALFORMED)
    fields = decode_fields(scope["headers"])
    return RequestMessage(
        method=scope["method"],
        target_uri=target.decode("ascii"),
        fields=fields,
        content=b"" if _is_without_content(scope, fields) else None,
    )


def vouch(scope: AsgiScope) -> None:
    """Tell the server that the peer is known: it may be slow, and idle for longer."""
    extension = (scope.get("extensions") or {}).get(KNOWN_PEER)
    if extension is not None:
        extension["tell"]()


def require_room(request: RequestMessage, max_bytes: int) -> None:
    """Refuse a content by the length that it announces, before any of it is read.

    Raises:
        DecodeError: it is too long (``size.exceeded``).
    """
    announced = _framing(request.fields).get("content-length", "0")
    # There may be any number of leading zeros, and `int` takes only so many digits.
    digits = announced.lstrip("0") or "0"
    if digits.isdecimal() and (
        len(digits) > len(str(max_bytes)) or int(digits) > max_bytes
    ):
        raise DecodeError(f"over {max_bytes} bytes of content", code=Code.SIZE_EXCEEDED)


def once(content: bytes, receive: AsgiReceive) -> AsgiReceive:
    """Return a ``receive`` that gives content already read, and then the server's."""
    parts: list[AsgiMessage] = [
        {"type": "http.request", "body": content, "more_body": False}
    ]

    async def next_event() -> AsgiMessage:
        return parts.pop() if parts else await receive()

    return next_event


class ContentReader:
    """An ASGI ``receive`` that judges the content of a request as it passes.

    Either all of it is read before anything is done (`read_all`); or the application
    calls this in place of its own ``receive`` and gets each part at once, but the end
    only when the digest held. Where it does not, the call for the end raises, and so
    does every later one.

    Attributes:
        failure: why the content was refused, if it was.
    """

    def __init__(
        self,
        receive: AsgiReceive,
        check: ContentCheck,
        *,
        timeout_s: float,
    ) -> None:
        """Read from ``receive``.

        Args:
            receive: the server's.
            check: what the content must pass.
            timeout_s: how long all of it may take in `read_all`, and each part
                otherwise.
        """
        self.failure: PeerError | None = None
        self._receive, self._check = receive, check
        self._timeout_s = timeout_s
        self._complete = False

    async def read_all(self) -> bytes:
        """Return the content, checked.

        Raises:
            ClientLeft: it never became complete.
            DecodeError: it is too long (``size.exceeded``).
            StaleError: it took too long (``sig.stale``).
            PeerError: its check failed.
        """
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(self._timeout_s):
                while not self._complete:
                    parts.append(self._take(await self._receive()))
        except TimeoutError:
            raise self._too_slow() from None
        return b"".join(parts)

    async def __call__(self) -> AsgiMessage:
        """Return the next part, or whatever the server says after the last.

        Raises:
            DecodeError, StaleError, PeerError: as `read_all`.
        """
        if self.failure is not None:
            raise self.failure
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(self._timeout_s):
                message = await self._receive()
            if message["type"] == "http.request":
                self._take(message)
        except TimeoutError:
            self.failure = self._too_slow()
            raise self.failure from None
        except PeerError as exc:
            self.failure = exc
            raise
        return message

    def _take(self, message: AsgiMessage) -> bytes:
        if message["type"] != "http.request":
            raise ClientLeft
        part: bytes = message.get("body", b"")
        self._check.update(part)
        if not message.get("more_body", False):
            self._check.finish()
            self._complete = True
        return part

    def _too_slow(self) -> StaleError:
        return StaleError(
            f"the content took longer than {self._timeout_s:g} s", code=Code.SIG_STALE
        )


_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})


def _is_without_content(scope: AsgiScope, fields: FieldLines) -> bool:
    """Whether a request announces no content (RFC 9112, 6); `ContentReader` sees.

    HTTP/2 and 3 need announce none that comes. Then a digest does.
    """
    announced = _framing(fields)
    if "content-length" in announced or "transfer-encoding" in announced:
        return announced == {"content-length": "0"}
    return scope.get("http_version", "1.1").startswith("1") or not any(
        name == "content-digest" for name, _ in fields
    )


def _framing(fields: FieldLines) -> dict[str, str]:
    # ASGI has lower-case names, and its servers one length at most.
    return {name: value for name, value in fields if name in _FRAMING}


def _path(scope: AsgiScope) -> bytes:
    """Return the path as it was sent; ASGI servers need not keep it.

    Raises:
        DecodeError: it was not kept, and cannot be told any more.
    """
    raw: bytes | None = scope.get("raw_path")
    if raw is not None:
        return raw
    try:
        return quote(scope["path"], safe=_PATH_SAFE).encode()
    except UnicodeEncodeError:  # a server that lets lone surrogates through
        raise DecodeError("not a path", code=Code.FRAME_MALFORMED) from None
