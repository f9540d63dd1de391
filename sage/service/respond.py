"""The two answers that every ASGI application needs: a small body, and lifespan."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..transport.asgi import AsgiReceive, AsgiSend

__all__ = ["respond_bytes", "respond_lifespan", "respond_text"]


async def respond_bytes(
    send: AsgiSend, status: int, body: bytes, *, content_type: str
) -> None:
    """Send a whole HTTP response that no cache may keep."""
    headers = [
        (b"content-type", content_type.encode("ascii")),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def respond_text(
    send: AsgiSend, status: int, text: str, *, content_type: str = "text/plain"
) -> None:
    """Send a whole HTTP response with a text."""
    await respond_bytes(send, status, text.encode("utf-8"), content_type=content_type)


async def respond_lifespan(
    receive: AsgiReceive,
    send: AsgiSend,
    *,
    on_shutdown: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serve the ASGI lifespan protocol."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            if on_shutdown is not None:
                await on_shutdown()
            await send({"type": "lifespan.shutdown.complete"})
            return
