"""What must not work, tried on the real wire.

Each attack is made with what its attacker would have: a copy of what went over the
wire, a place on the way, or keys of one's own. The answer is always the same generic
refusal; what was wrong stands in the service's log only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from ... import service
from ...encoding import b64u_encode
from ...envelope import Request, sign
from ...errors import AuthenticationError, Code, SageError
from ...identity import MemoryResolver, Resolver, SigningKey
from ...limits import SEND_TIMEOUT_S
from ...service.socket_courier import SocketCourier
from ...transport import WebSocket, within
from ..exits import describe
from ..receipts import Part
from .impostor import impersonating
from .stage import Stage

__all__ = ["Verdict", "Wire", "attack"]

_WAIT_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How one attack ended.

    Attributes:
        attack: what was tried.
        ours: what this side saw.
        theirs: the code in the service's log; ``None`` where it logged nothing.
        refused: whether it was refused, and for the right reason.
    """

    attack: str
    ours: str
    theirs: str | None
    refused: bool


class Wire(WebSocket):
    """A WebSocket with somebody on it who copies, and may alter, what is sent.

    Attributes:
        sent: the last message.
        alter: changes each message before it is sent.
    """

    sent: bytes = b""
    alter: Callable[[bytes], bytes] | None = None

    async def send(self, message: bytes, *, timeout_s: float = SEND_TIMEOUT_S) -> None:
        """Send, after altering; see `WebSocket.send`."""
        self.sent = message if self.alter is None else self.alter(message)
        await super().send(self.sent, timeout_s=timeout_s)


async def attack(stage: Stage) -> AsyncIterator[Verdict]:
    """Try everything, one after the other, and yield how each attempt ended."""
    for title, attempt, code in _ATTACKS_ON_GRACE:
        mark = stage.server.mark()
        error = await _error_of(attempt(stage))
        theirs = await stage.server.refusal_since(mark)
        yield Verdict(
            attack=title,
            ours=_seen(error),
            theirs=theirs,
            refused=error is not None and theirs == code,
        )
    error = await _error_of(_meet_impostor(stage))
    yield Verdict(
        attack="impostor of Grace: other keys in her place",
        ours=_seen(error),
        theirs=None,
        refused=isinstance(error, AuthenticationError),
    )


async def _replay_handshake(stage: Stage) -> None:
    """Send a copy of a genuine, accepted handshake on a connection of one's own."""
    async with _connected(stage) as (_, wire):
        copy = wire.sent
    await _play(stage, copy)


async def _replay_request(stage: Stage) -> None:
    """Send a copy of a genuine, accepted request on a connection of one's own."""
    async with _connected(stage) as (channel, wire):
        await _ask(channel)
        copy = wire.sent
    await _play(stage, copy)


async def _replay_in_place(stage: Stage) -> None:
    """Send a genuine, accepted request again, right where it was sent before."""
    async with _connected(stage) as (channel, wire):
        await _ask(channel)
        await wire.send(wire.sent)
        # Grace ends a connection on which something is wrong.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_S):
                while not channel.closed:
                    await asyncio.sleep(0.01)
        await _ask(channel)


async def _tamper(stage: Stage) -> None:
    """Flip one bit of a request on its way."""
    async with _connected(stage) as (channel, wire):
        wire.alter = _flipped
        await _ask(channel)


async def _tamper_and_sign(stage: Stage) -> None:
    """Flip one bit, and sign the rest anew with the sender's very own key."""
    async with _connected(stage) as (channel, wire):
        wire.alter = lambda message: _flipped(message, key=stage.ada.signing_key)
        await _ask(channel)


async def _impersonate(stage: Stage) -> None:
    """Shake hands under Ada's name, with keys and a record of one's own making."""
    mallory = service.Agent.generate(stage.ada.did)
    lies = MemoryResolver([mallory.record, stage.grace.record])
    async with _connected(stage, agent=mallory, resolver=lies):
        pass


async def _meet_impostor(stage: Stage) -> None:
    """Connect, as Ada, to somebody who signs as Grace, with other keys."""
    async with impersonating(stage) as url, _connected(stage, url=url):
        pass


_ATTACKS_ON_GRACE: Final[
    tuple[tuple[str, Callable[[Stage], Awaitable[None]], Code], ...]
] = (
    ("replay of a handshake", _replay_handshake, Code.SIG_REPLAY),
    ("replay of a request, on a new connection", _replay_request, Code.SESSION_UNKNOWN),
    ("replay of a request, in its session", _replay_in_place, Code.SESSION_REPLAY),
    ("one bit flipped", _tamper, Code.SIG_BAD),
    ("one bit flipped, signed anew", _tamper_and_sign, Code.SESSION_AEAD),
    ("impostor of Ada: her name, other keys", _impersonate, Code.SIG_BAD),
)


@asynccontextmanager
async def _connected(
    stage: Stage,
    *,
    agent: service.Agent | None = None,
    resolver: Resolver | None = None,
    url: str | None = None,
) -> AsyncIterator[tuple[service.Channel, Wire]]:
    """Connect to Grace and shake hands, with somebody on the wire."""
    wire = await _wire(url or stage.server.url, stage)
    channel = service.Channel(
        SocketCourier(wire),
        agent=agent or stage.ada,
        peer=stage.grace.did,
        resolver=resolver or stage.resolver,
        config=service.ClientConfig(),
        clock=service.Clock(),
    )
    try:
        await channel.handshake()
        yield channel, wire
    finally:
        await channel.close()


async def _wire(url: str, stage: Stage) -> Wire:
    wire = await Wire.open(url, tls=stage.tls)
    assert isinstance(wire, Wire)  # noqa: S101  (open() is a classmethod)
    return wire


async def _play(stage: Stage, message: bytes) -> None:
    """Send a message on a new connection, and wait for an answer."""
    wire = await _wire(stage.server.url, stage)
    try:
        await wire.send(message)
        await within(_WAIT_S, wire.receive(), "the answer")
    finally:
        await wire.close()


async def _ask(channel: service.Channel) -> bytes:
    part = Part(transfer=b64u_encode(os.urandom(16)), path="note", offset=0, size=0)
    return await channel.request(part.encode())


def _flipped(message: bytes, *, key: SigningKey | None = None) -> bytes:
    """Flip one bit of a request's record; sign it where there is a key."""
    request = Request.decode(message)
    record = bytearray(request.payload)
    record[len(record) // 2] ^= 1
    altered = request.with_payload(bytes(record))
    if key is not None:
        return sign(altered, key).encode()
    return replace(altered, signature=request.signature).encode()


async def _error_of(attempt: Awaitable[None]) -> SageError | None:
    try:
        await attempt
    except SageError as exc:
        return exc
    return None


def _seen(error: SageError | None) -> str:
    if error is None:
        return "accepted"
    return describe(error).partition(";")[0].removeprefix("the channel failed: ")
