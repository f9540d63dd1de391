"""A small `web` registry: publishes agent records at their well-known URLs (REG-08)."""

from __future__ import annotations

import logging
import os
from urllib.parse import unquote

from ..errors import Code, DecodeError, ResolutionError
from ..identity import FileResolver, encode_web_response
from ..identity.web import check_lifetime
from ..limits import REGISTRY_RECORD_TTL_S
from ..transport.asgi import AsgiReceive, AsgiScope, AsgiSend
from .clock import Clock
from .logs import Event, fields
from .respond import respond_bytes, respond_lifespan, respond_text

__all__ = ["Registry"]

logger = logging.getLogger("sage.registry")

_PREFIX = "/.well-known/sage/agents/"


class Registry:
    """An ASGI application over a folder of record files.

    ``GET https://<domain>/.well-known/sage/agents/<agent-id>`` answers with the
    record of ``did:sage:web:<domain>:<agent-id>``, read from the folder at that
    moment; the domain is the request's ``Host``. Publish with
    `identity.write_record_file` or ``sage registry publish``.

    Args:
        folder: the records.
        lifetime_s: how long an answer is valid, 1..5 s.
        clock: for tests.

    Raises:
        UsageError: another lifetime, or ``folder`` is no path.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        lifetime_s: int = REGISTRY_RECORD_TTL_S,
        clock: Clock | None = None,
    ) -> None:
        # Else each answer would fail, and none say why.
        check_lifetime(lifetime_s)
        self._records = FileResolver(folder)
        self._lifetime_s = lifetime_s
        self._clock = clock if clock is not None else Clock()

    async def __call__(
        self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend
    ) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await respond_lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    async def _serve(self, scope: AsgiScope, send: AsgiSend) -> None:
        if scope["method"] != "GET":
            await respond_text(send, 405, "method not allowed")
            return
        try:
            body = await self._answer(_did(scope))
        except (ResolutionError, DecodeError) as exc:
            why = fields(Event.NOT_SERVED, exc.code.value)
            logger.info("not served: %s (%s)", exc, exc.code, extra=why)
            found = exc.code not in (Code.RECORD_NOT_FOUND, Code.ID_MALFORMED)
            await respond_text(send, 500 if found else 404, "not available")
        else:
            await respond_bytes(send, 200, body, content_type="application/json")

    async def _answer(self, did: str) -> bytes:
        observation = await self._records.resolve(did, now=self._clock.now())
        return encode_web_response(
            observation.record,
            unix_time=self._clock.unix_time(),
            lifetime_s=self._lifetime_s,
        )


def _did(scope: AsgiScope) -> str:
    """Return the DID that a request asks for, not yet validated."""
    path = str(scope["path"])
    # A percent-encoded path is an alias, and DIDs have none.
    raw = bytes(scope.get("raw_path") or path.encode()).partition(b"?")[0]
    if not path.startswith(_PREFIX) or unquote(path) != raw.decode("latin-1"):
        raise DecodeError("not a well-known agent path", code=Code.ID_MALFORMED)
    headers = dict(scope["headers"])
    host = headers.get(b"host", b"").decode("latin-1").partition(":")[0]
    return f"did:sage:web:{host}:{path.removeprefix(_PREFIX)}"
