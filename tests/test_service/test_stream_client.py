"""The client's end: opening, renewing in time, and what happens when that fails."""

from __future__ import annotations

import asyncio

import pytest

from sage.errors import (
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    ProtocolError,
    RemoteFailure,
    UsageError,
)
from sage.service import ClientConfig, Clock, Stream
from sage.service.initiation import Established
from sage.service.stream import StreamHandler
from sage.service.stream_client import StreamClient
from sage.service.stream_host import StreamHost
from sage.service.stream_opening import CONTINUES, StreamOpening
from sage.session import Session
from sage.types import Did, Role

ADA, GRACE = (Did(f"did:sage:web:agents.example:{name}") for name in ("ada", "grace"))


async def echo(stream: Stream) -> None:
    async for data in stream:
        await stream.send(data)


class Carrier:
    """Hands each record to the other end."""

    def __init__(self) -> None:
        self.peer, self.given_up = None, None

    async def send_records(self, records):
        await self.peer.feed(records)

    async def give_up(self, error):
        self.given_up = error


class Pair:
    """Both ends of a stream without envelopes: an exchange is a call."""

    def __init__(self, handler: StreamHandler = echo, **config: object) -> None:
        carriers = Carrier(), Carrier()
        self.carrier = carriers[0]
        self.host = StreamHost(handler, carrier=carriers[1], clock=Clock())
        self.client = StreamClient(
            self.exchange,
            self.handshake,
            carrier=carriers[0],
            peer=GRACE,
            config=ClientConfig(**config),
            clock=Clock(),
        )
        carriers[0].peer, carriers[1].peer = self.host, self.client
        self.handshakes, self.openings, self.seed = 0, [], bytes(32)
        self.errors: list[Exception] = []
        self.answer = None

    async def handshake(self) -> None:
        await asyncio.sleep(0)
        self.handshakes += 1
        self.seed = self.handshakes.to_bytes(32, "big")

    async def exchange(self, payload, metadata, *, before_sending):
        ours, theirs = (Session.v0_10(self.seed, bytes(32), role) for role in Role)
        before_sending(Established(ours, None, made_at=0.0, used_at=0.0))
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        opening = StreamOpening.decode_request(payload)
        self.openings.append(opening.id)
        asked = {"session": theirs, "peer": ADA, "continues": metadata.get(CONTINUES)}
        self.host.grant(opening, **asked)()
        return self.answer or opening.encode_answer()


async def test_every_renewal_continues_the_first_stream():
    pair = Pair(stream_renew_after_records=10)
    async with pair.client.open("aes-256-gcm") as stream:
        for n in range(100):
            await stream.send(b"%d" % n)
            assert await stream.receive() == b"%d" % n
            await asyncio.sleep(0)
    assert stream.id == pair.openings[0]
    assert len(set(pair.openings)) == len(pair.openings) <= pair.handshakes + 1
    assert pair.handshakes >= 5


@pytest.mark.parametrize(
    "error", [RemoteFailure("unavailable"), ConnectFailed("no"), ValueError("theirs")]
)
async def test_a_failed_renewal_is_tried_again(error, monkeypatch):
    monkeypatch.setattr("sage.service.stream_client.RENEW_RETRY_S", 0.01)
    pair = Pair(stream_renew_after_records=10)
    async with pair.client.open("chacha20poly1305") as stream:
        pair.errors = [error, error]
        for n in range(50):
            await stream.send(b"%d" % n)
            assert await stream.receive() == b"%d" % n
            await asyncio.sleep(0.002)
    assert not pair.errors
    assert pair.handshakes >= 3
    assert len(pair.openings) >= 2


async def test_a_refused_opening_leaves_the_channel_alone():
    pair = Pair()
    pair.errors = [RemoteFailure("policy_denied")]
    with pytest.raises(RemoteFailure):
        await pair.client.open("chacha20poly1305").__aenter__()
    assert pair.carrier.given_up is None
    with pytest.raises(ProtocolError) as failure:
        await pair.client.feed([bytes(36)])
    assert failure.value.code == "frame.malformed"
    async with pair.client.open("chacha20poly1305") as stream:
        await stream.send(b"x")
        assert await stream.receive() == b"x"


async def test_a_handler_that_never_ends_costs_the_next_stream_a_time_limit(
    monkeypatch,
):
    monkeypatch.setattr("sage.service.stream.CLOSE_TIMEOUT_S", 0.01)
    go_on = asyncio.Event()

    async def handler(stream: Stream) -> None:
        await go_on.wait()

    pair = Pair(handler, request_timeout_s=0.05)
    async with pair.client.open("chacha20poly1305"):
        pass
    with pytest.raises(DeadlineExceeded, match="the last stream") as failure:
        await pair.client.open("chacha20poly1305").__aenter__()
    assert not failure.value.may_have_run
    assert pair.carrier.given_up is None
    go_on.set()
    async with pair.client.open("chacha20poly1305") as stream:
        assert len(pair.openings) == 2
        assert stream.id == pair.openings[1]


@pytest.mark.parametrize("answer", [None, b"{}"])
async def test_an_opening_in_doubt_ends_the_connection(answer):
    """The peer may have opened it, and would send records of no stream."""
    pair = Pair()
    if answer is None:
        pair.errors = [ConnectionLost("no answer", may_have_run=True)]
    pair.answer = answer
    with pytest.raises((ConnectionLost, ProtocolError)):
        await pair.client.open("chacha20poly1305").__aenter__()
    assert pair.carrier.given_up is not None
    await pair.host.finish(limit_s=0.1)


@pytest.mark.parametrize(("ended", "left"), [(0, ConnectionLost), (1, UsageError)])
async def test_leaving_that_is_cancelled_leaves_nothing_open(ended, left):
    """Else the channel would carry this stream for ever, and never another one."""
    pair, streams = Pair(), []

    async def use() -> None:
        async with pair.client.open("chacha20poly1305") as stream:
            await stream.send(b"x")
            if ended:
                await stream.end()
            streams.append(stream)

    task = asyncio.create_task(use())
    while not streams:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (pair.carrier.given_up is None) is bool(ended)
    with pytest.raises(left):
        await streams[0].receive()
    await pair.host.finish(limit_s=0.1)
    async with pair.client.open("chacha20poly1305") as stream:
        assert not stream.closed
