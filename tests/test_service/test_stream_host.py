"""The service's end: what it grants, and what it does with what it must not take."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest

from sage.encoding import b64u_encode, jcs
from sage.errors import ConnectionLost, ProtocolError, RemoteFailure
from sage.limits import RECORD_MIN_BYTES
from sage.service import Clock, Stream
from sage.service.stream_host import StreamHost
from sage.service.stream_opening import StreamOpening
from sage.session import Session
from sage.types import Did, Role

ADA, EVE = (
    Did("did:sage:web:agents.example:ada"),
    Did("did:sage:web:agents.example:eve"),
)
SEED, HASH = bytes(range(32)), bytes(32)
MIB = 1024 * 1024


class Wire:
    """Keeps what is sent; remembers why it was given up."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.given_up: list[str] = []

    async def send_records(self, records):
        self.sent.extend(records)

    async def give_up(self, error):
        self.given_up.append(str(error))


async def drain(stream: Stream) -> None:
    async for _ in stream:
        pass


def v10(role: Role = Role.RESPONDER) -> Session:
    return Session.v0_10(SEED, HASH, role)


def opening() -> StreamOpening:
    return StreamOpening(os.urandom(16), "chacha20poly1305")


def make_host(handler=drain) -> tuple[StreamHost, Wire]:
    wire = Wire()
    return StreamHost(handler, carrier=wire, clock=Clock()), wire


def refusal(host: StreamHost, **options: object) -> str:
    with pytest.raises(RemoteFailure) as failure:
        host.grant(opening(), **{"session": v10(), "peer": ADA} | options)
    return failure.value.reason


async def test_no_handler_no_stream():
    host, _ = make_host(None)
    assert refusal(host) == "policy_denied"
    assert host.expires_at is None
    with pytest.raises(ProtocolError) as failure:
        await host.feed([bytes(36)])
    assert failure.value.code == "frame.malformed"


async def test_one_stream_and_its_continuations():
    host, _ = make_host()
    first = opening()
    assert refusal(host, continues=first.id) == "policy_denied"
    host.grant(first, session=v10(), peer=ADA)()
    assert host.expires_at is not None
    assert refusal(host) == "policy_denied"
    assert refusal(host, continues=opening().id) == "policy_denied"
    assert refusal(host, continues=first.id, peer=EVE) == "policy_denied"
    # A peer that makes successors for ever makes us hold a few of them.
    for _ in range(10):
        host.grant(opening(), session=v10(), peer=ADA, continues=first.id)()
    await host.finish(limit_s=1)
    assert host.expires_at is None


async def test_an_id_is_granted_once_in_a_session():
    host, _ = make_host()
    session, asked = v10(), opening()
    host.grant(asked, session=session, peer=ADA)
    for continues in (asked.id, None):
        with pytest.raises(RemoteFailure, match="policy_denied"):
            host.grant(asked, session=session, peer=ADA, continues=continues)
        host.fail(ConnectionLost("gone"))  # no stream is open any more


async def test_a_successor_that_comes_after_the_end_is_wiped():
    host, _ = make_host()
    first = opening()
    host.grant(first, session=v10(), peer=ADA)
    stream = host._stream
    host.fail(ConnectionLost("gone"))
    successor = v10().derive_stream(os.urandom(16))
    stream.expect(successor)
    assert successor.closed


async def test_a_handler_takes_what_arrived_before_the_connection_ended():
    received = []

    async def handler(stream: Stream) -> None:
        await asyncio.sleep(0.01)
        received.extend([data async for data in stream])

    host, wire = make_host(handler)
    asked = opening()
    host.grant(asked, session=v10(), peer=ADA)()
    client = v10(Role.INITIATOR).derive_stream(asked.stream_id, asked.aead)
    for data in (b"1", b"2", b""):
        await host.feed([client.seal(data)])
    await host.finish(limit_s=1)
    assert received == [b"1", b"2"]
    assert not wire.given_up


async def test_a_handler_that_does_not_stop_is_cancelled():
    stopped = []

    async def handler(stream: Stream) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append(True)

    host, _ = make_host(handler)
    host.grant(opening(), session=v10(), peer=ADA)()
    await asyncio.sleep(0)
    await host.finish(limit_s=0.01)
    await asyncio.sleep(0)
    assert stopped


@pytest.mark.parametrize(
    "error",
    [ValueError("secret"), RemoteFailure("unavailable"), BaseException("no Exception")],
)
async def test_a_handler_that_fails_ends_the_connection(error, caplog):
    async def handler(stream: Stream) -> None:
        raise error

    host, wire = make_host(handler)
    host.grant(opening(), session=v10(), peer=ADA)()
    await asyncio.sleep(0.01)
    assert wire.given_up == ["the stream was given up"]
    assert "the stream handler failed" in caplog.text


# --- on real sockets ------------------------------------------------------------


async def expect_refused(channel) -> str:
    """The connection ends at once; the peer learns the generic text only."""
    async with asyncio.timeout(2):
        while not channel.closed:
            await asyncio.sleep(0.01)
    with pytest.raises(ConnectionLost, match="refused") as failure:
        await channel.request(b"x")
    return str(failure.value)


async def test_a_binary_message_before_a_stream(running, connecting, caplog):
    async with running(stream_handler=drain) as url:
        channel = await connecting(url)
        await channel._courier._socket.send_binary(bytes(RECORD_MIN_BYTES))
        await expect_refused(channel)
    assert "(frame.malformed)" in caplog.text


def _forge(record: bytes) -> bytes:
    return record[:-1] + bytes([record[-1] ^ 1])


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda records: [_forge(records[0])], "session.aead"),
        (lambda records: [records[0], records[0]], "session.replay"),
        (lambda records: [records[1]], "session.window"),
        (lambda records: [b""], "session.malformed"),
        (lambda records: [os.urandom(35)], "session.malformed"),
        (lambda records: [os.urandom(64)], "session.aead"),
        (lambda records: [bytes(MIB + 37)], "size.exceeded"),
    ],
)
async def test_bad_records_end_the_connection(running, connecting, caplog, spoil, code):
    received = []

    async def handler(stream: Stream) -> None:
        received.extend([data async for data in stream])

    async with running(stream_handler=handler) as url:
        channel = await connecting(url)
        with contextlib.suppress(ConnectionLost):
            async with channel.stream() as stream:
                records = [stream._records.seal(b"%d" % n, now=0.0) for n in range(2)]
                for record in spoil(records):
                    await channel._courier._socket.send_binary(record)
                text = await expect_refused(channel)
                assert code not in text
    assert f"({code})" in caplog.text
    assert b"1" not in received


async def test_a_record_that_somebody_drops_is_missed(running, connecting, caplog):
    async with running(stream_handler=drain) as url:
        channel = await connecting(url)
        sending = channel._courier._socket.send_binary

        async def drop_the_third(record, **options):
            if int.from_bytes(record[:8], "big") != 2:
                await sending(record, **options)

        channel._courier._socket.send_binary = drop_the_third
        async with channel.stream() as stream:
            for n in range(4):
                await stream.send(b"%d" % n)
            await expect_refused(channel)
    assert "(session.window)" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"stream": b64u_encode(bytes(15))},
        {"stream": "A" * 21 + "B"},  # pad bits
        {"stream": 1},
        {"aead": "rot13"},
        {"aead": None},
        {"more": 1},
    ],
)
async def test_malformed_openings_are_ordinary_failures(running, connecting, change):
    members = {
        "task": "sage-stream/open@1",
        "stream": b64u_encode(bytes(16)),
        "aead": "aes-256-gcm",
    }
    async with running(stream_handler=drain) as url, connecting(url) as channel:
        with pytest.raises(RemoteFailure) as failure:
            # Not `request`, which sends no such thing.
            await channel._exchange(jcs(members | change), {})
        assert failure.value.reason == "operation_failed"
        assert await channel.request(b"x") == b"echo:x"


async def test_a_second_opening_is_denied(running, connecting):
    async with running(stream_handler=drain) as url, connecting(url) as channel:
        async with channel.stream() as stream:
            for metadata in ({}, {"continues": b64u_encode(bytes(16))}):
                with pytest.raises(RemoteFailure) as failure:
                    await channel._exchange(opening().encode_request(), metadata)
                assert failure.value.reason == "policy_denied"
            await stream.send(b"goes on")
        assert await channel.request(b"x") == b"echo:x"
