"""What a refused client is told: one of four statuses, and nothing about the reason."""

from __future__ import annotations

import logging
from typing import Final

from ..errors import Code, ConfigError, Overloaded, SageError
from ..types import AsgiSend

__all__ = ["refuse", "status_of"]

logger = logging.getLogger("sage.http")

_TEXTS: Final = {
    400: b"bad request",
    401: b"authentication failed",
    413: b"content too large",
    503: b"unavailable",
}
_STATUSES: Final = {
    Code.FRAME_MALFORMED: 400,
    Code.SIZE_EXCEEDED: 413,
    Code.REPLAY_STATE_LOST: 503,
}


def status_of(error: SageError) -> int:
    """Return the status that tells of an error (MSG-06).

    400 and 413 for framing and size. 503 where the replay guard could not be asked,
    which only a proven sender ever learns. 401 for everything else.
    """
    if isinstance(error, Overloaded | ConfigError):
        return 503
    code = getattr(error, "code", None)
    return _STATUSES.get(code, 401) if isinstance(code, Code) else 401


async def refuse(send: AsgiSend, error: SageError) -> None:
    """Answer a request that did not pass, and log why, by the code alone."""
    status = status_of(error)
    code = getattr(error, "code", type(error).__name__)
    logger.info("refused a request with %d: %s", status, code)
    text = _TEXTS[status]
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", str(len(text)).encode("ascii")),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
