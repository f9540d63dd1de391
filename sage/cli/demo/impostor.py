"""A service that says it is Grace, with keys of its own."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ... import service
from ...envelope import Request, Response, sign
from ...errors import ConnectionLost
from ...handshake.identifiers import new_nonce, new_uuid4
from ...transport import AsgiWebSocket
from ...transport.asgi import AsgiReceive, AsgiScope, AsgiSend
from .stage import Stage

__all__ = ["impersonating"]


@asynccontextmanager
async def impersonating(stage: Stage) -> AsyncIterator[str]:
    """Run the impostor in this process, and yield its URL.

    It has a certificate that Ada's TLS accepts, as somebody with a foot in the door
    may have, and answers every request in proper form, signed under Grace's name.
    """
    impostor = service.Agent.generate(stage.grace.did)

    async def app(scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        if scope["type"] != "websocket":
            return
        socket = AsgiWebSocket(scope, receive, send)
        await socket.accept()
        try:
            while True:
                request = Request.decode(await socket.receive())
                await socket.send(_answer(request, impostor).encode())
        except ConnectionLost:
            return

    async with service.serving(app, certificate=stage.certificate) as port:
        yield f"wss://127.0.0.1:{port}/sage"


def _answer(request: Request, impostor: service.Agent) -> Response:
    """Return a refusal that Grace might have given, but for the key that signs it."""
    unix_time = int(time.time())
    response = Response.answer(
        request,
        id=new_uuid4(os.urandom),
        kid=impostor.signing_key.kid,
        created=unix_time,
        expires=unix_time + 30,
        nonce=new_nonce(os.urandom),
        error="operation_failed",
    )
    return sign(response, impostor.signing_key)
