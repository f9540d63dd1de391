"""One HTTP request of an ASGI server: its head checked, its body bounded and timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..errors import Code, ConnectionLost, DecodeError
from ..http import RequestMessage
from ..http.asgi_request import vouch
from .asgi import AsgiReceive, AsgiScope, AsgiSend
from .deadline import within

__all__ = ["AsgiHttpRequest"]

_JSON: Final = "application/json"


class AsgiHttpRequest:
    """A request that is about to be read."""

    def __init__(self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self.fields = tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in scope.get("headers", ())
        )

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection arrived over TLS."""
        return self._scope.get("scheme") == "https"

    @property
    def target_uri(self) -> str:
        """Where the client aimed, as it says itself; never what a proxy adds.

        Raises:
            DecodeError: two hosts, or a path that the server did not keep and that
                cannot be told any more (``frame.malformed``).
        """
        authority = self.field("host") or ""
        raw: bytes = self._scope.get("raw_path") or _encoded(self._scope["path"])
        query: bytes = self._scope.get("query_string", b"")
        target = raw + (b"?" + query if query else b"")
        return f"https://{authority.lower()}{target.decode('latin-1')}"

    @property
    def head(self) -> RequestMessage:
        """The request without its body, which is still to be read."""
        return self._message(None)

    @property
    def content_length(self) -> int | None:
        """The announced length; ``None`` where it comes in pieces.

        Raises:
            DecodeError: not a number.
        """
        text = self.field("content-length")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise DecodeError("no length", code=Code.FRAME_MALFORMED)
        return int(text)

    def field(self, name: str) -> str | None:
        """Return a field's one line, or ``None``.

        Raises:
            DecodeError: there are more (``frame.malformed``).
        """
        values = [value for key, value in self.fields if key == name]
        if len(values) > 1:
            raise DecodeError(f"{name} is repeated", code=Code.FRAME_MALFORMED)
        return values[0] if values else None

    def check_framing(self) -> None:
        """Check that the body is JSON as it is: no coding, no parts, no trailers.

        Raises:
            DecodeError: it is not (``frame.malformed``).
        """
        if self.field("content-type") != _JSON:
            raise DecodeError(f"not exactly {_JSON}", code=Code.FRAME_MALFORMED)
        if any(name in ("content-encoding", "trailer") for name, _ in self.fields):
            raise DecodeError("a coding or trailers", code=Code.FRAME_MALFORMED)

    async def read(
        self,
        *,
        max_bytes: int,
        timeout_s: float,
        take: Callable[[int], None] = lambda _: None,
    ) -> RequestMessage:
        """Read the whole body.

        Args:
            max_bytes: how long it may be.
            timeout_s: for all of it.
            take: told how many bytes each piece has; what it raises ends the reading.

        Raises:
            DecodeError: longer than ``max_bytes`` (``size.exceeded``).
            DeadlineExceeded: it did not arrive within ``timeout_s``.
            ConnectionLost: the client left.
        """
        announced = self.content_length
        if announced is not None and announced > max_bytes:
            raise _too_long(max_bytes)
        body = await within(
            timeout_s, self._read(max_bytes, take), "waiting for a body"
        )
        return self._message(body)

    def trust(self) -> None:
        """Let the connection be idle for longer, now that its peer is known."""
        vouch(self._scope)

    async def respond(
        self, status: int, fields: tuple[tuple[str, str], ...], content: bytes
    ) -> None:
        """Send the whole response.

        Raises:
            ConnectionLost: the client left.
        """
        lines = [
            (name.lower().encode("ascii"), value.encode("latin-1"))
            for name, value in fields
        ]
        lines.append((b"content-length", str(len(content)).encode("ascii")))
        lines.append((b"cache-control", b"no-store"))
        try:
            await self._send(
                {"type": "http.response.start", "status": status, "headers": lines}
            )
            await self._send({"type": "http.response.body", "body": content})
        except OSError as exc:
            raise ConnectionLost("the client left") from exc

    def _message(self, content: bytes | None) -> RequestMessage:
        return RequestMessage(
            method=self._scope["method"],
            target_uri=self.target_uri,
            fields=self.fields,
            content=content,
        )

    async def _read(self, max_bytes: int, take: Callable[[int], None]) -> bytes:
        body = bytearray()
        while True:
            event = await self._receive()
            if event["type"] != "http.request":
                raise ConnectionLost("the client left")
            piece = event.get("body", b"")
            take(len(piece))
            body += piece
            if len(body) > max_bytes:
                raise _too_long(max_bytes)
            if not event.get("more_body", False):
                return bytes(body)


def _encoded(path: str) -> bytes:
    try:
        return path.encode()
    except UnicodeEncodeError:  # a server that lets lone surrogates through
        raise DecodeError("not a path", code=Code.FRAME_MALFORMED) from None


def _too_long(max_bytes: int) -> DecodeError:
    return DecodeError(f"a body over {max_bytes} bytes", code=Code.SIZE_EXCEEDED)
