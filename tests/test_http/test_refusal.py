"""What a refused client is told, and what the log is."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sage.errors import (
    AuthenticationError,
    Code,
    ConfigError,
    DecodeError,
    Overloaded,
    ProtocolError,
    ReplayError,
    ResolutionError,
    StaleError,
)
from sage.http.refusal import refuse, status_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DecodeError("secret", code=Code.FRAME_MALFORMED), 400),
        (DecodeError("secret", code=Code.SIZE_EXCEEDED), 413),
        (DecodeError("secret", code=Code.SIG_MALFORMED), 401),
        (AuthenticationError("secret"), 401),
        (ProtocolError("secret", code=Code.SIG_COVERAGE), 401),
        (ReplayError("secret", code=Code.SIG_REPLAY), 401),
        (StaleError("secret", code=Code.SIG_STALE), 401),
        (ResolutionError("secret", code=Code.RECORD_UNREACHABLE), 401),
        (StaleError("secret", code=Code.REPLAY_STATE_LOST), 503),
        (Overloaded("secret"), 503),
        (ConfigError("secret"), 503),
    ],
)
async def test_the_status_and_nothing_else_is_told(error, status, caplog):
    caplog.set_level(logging.INFO, "sage.http")
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await refuse(send, error)
    head, body = sent
    assert head["status"] == status == status_of(error)
    assert dict(head["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert b"secret" not in body["body"]
    assert "secret" not in caplog.text
    assert str(getattr(error, "code", type(error).__name__)) in caplog.text
