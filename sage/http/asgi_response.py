"""An ASGI ``send`` that signs what the application answers.

A signature stands in the head, and the head goes out first. A response whose length
is known and not above a limit waits until it is whole: its signature covers the
digest of its content. Every other one is a stream. Its signature covers the status,
the request that it answers and its content type, and says nothing about the content.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..types import AsgiMessage, AsgiSend
from .message import FieldLines, ResponseMessage
from .raw_fields import encode_fields

__all__ = ["Sign", "SigningSend"]

Sign = Callable[[ResponseMessage], FieldLines]
"""Returns the fields to add to a response."""

_Headers = list[tuple[bytes, bytes]]

_REPLACED: Final = frozenset({b"signature", b"signature-input"})
_EVENTS: Final = b"text/event-stream"
_WITHOUT_CONTENT: Final = frozenset({204, 304})


class SigningSend:
    """Signs one response."""

    def __init__(
        self, send: AsgiSend, sign: Sign, *, method: str, max_bytes: int
    ) -> None:
        """Send through ``send``.

        Args:
            send: the server's.
            sign: signs the head.
            method: the request's; the answer to ``HEAD`` has no content.
            max_bytes: how much of a response is kept for its digest.
        """
        self._send, self._sign = send, sign
        self._method, self._max_bytes = method, max_bytes
        self._head: AsgiMessage = {}
        self._announced: int | None = None
        self._parts: list[AsgiMessage] = []
        self._size = 0

    async def __call__(self, message: AsgiMessage) -> None:
        """Keep, sign or pass on one event of the application."""
        if message["type"] == "http.response.start":
            await self._start(message)
        elif not self._head:
            await self._send(message)
        elif message["type"] == "http.response.body":
            await self._keep(message)
        else:
            # A file that the server sends by itself, or whatever comes to ASGI yet.
            await self._release(None)
            await self._send(message)

    async def _start(self, head: AsgiMessage) -> None:
        self._head = head
        headers = _headers(head)
        length = _value(headers, b"content-length")
        self._announced = int(length) if length.isdigit() else None
        if (
            self._method == "HEAD"
            or _value(headers, b"content-type").startswith(_EVENTS)
            or (self._announced or 0) > self._max_bytes
        ):
            await self._release(None)

    async def _keep(self, part: AsgiMessage) -> None:
        self._parts.append(part)
        self._size += len(part.get("body", b""))
        if not part.get("more_body", False):
            await self._release(b"".join(p.get("body", b"") for p in self._parts))
        elif self._announced is None or self._size > self._max_bytes:
            await self._release(None)

    async def _release(self, content: bytes | None) -> None:
        """Sign the head, and let go of it and of all that waited behind it."""
        head, parts = self._head, self._parts
        status = int(head["status"])  # an enum, from some applications
        self._head, self._parts = {}, []
        headers = [pair for pair in _headers(head) if pair[0] not in _REPLACED]
        if content is not None:
            headers = self._described(headers, status, content)
        response = ResponseMessage(
            status=status,
            fields=tuple(
                (n.decode("latin-1"), v.decode("latin-1")) for n, v in headers
            ),
            content=content,
        )
        headers += encode_fields(self._sign(response))
        await self._send({**head, "headers": headers})
        for part in parts:
            await self._send(part)

    def _described(self, headers: _Headers, status: int, content: bytes) -> _Headers:
        """Return the headers of a whole content: a length, and no digest but ours."""
        kept = [pair for pair in headers if pair[0] != b"content-digest"]
        if self._announced is None and status not in _WITHOUT_CONTENT:
            # Without it, nobody could tell no content from content without a digest.
            kept.append((b"content-length", str(len(content)).encode()))
        return kept


def _headers(head: AsgiMessage) -> _Headers:
    return [(bytes(n).lower(), bytes(v)) for n, v in head.get("headers", ())]


def _value(headers: _Headers, name: bytes) -> bytes:
    return next((value for found, value in headers if found == name), b"")
