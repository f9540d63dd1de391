"""Compression between a channel and a service: agreed to, signed, bounded."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sage
from sage.errors import Code, DecodeError, ProtocolError, RemoteFailure, UsageError
from sage.service import ClientConfig, Message, ServiceConfig
from sage.service.compression import (
    ACCEPT_ENCODING,
    CONTENT_ENCODING,
    pack_answer,
    pack_request,
    unpack,
    without_encodings,
)
from sage.transport import ENCODINGS

TEXT = json.dumps([{"id": n, "name": f"agent {n * n}"} for n in range(2000)]).encode()
BOMB = gzip.compress(bytes(100_000_000))

both = pytest.mark.parametrize("encoding", ENCODINGS)


def client(*encodings: str) -> ClientConfig:
    return ClientConfig(compression=encodings)


def service(*encodings: str) -> ServiceConfig:
    return ServiceConfig(compression=encodings)


class Seen:
    """A handler that keeps what it gets, and answers it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, message: Message) -> bytes:
        self.messages.append(message)
        return message.payload


@pytest.fixture
def on_the_wire(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every envelope that a client sends or gets, whole."""
    from sage.transport import WebSocket

    seen: list[str] = []
    send, receive = WebSocket.send, WebSocket.receive_many

    async def noting_send(self: WebSocket, text: str) -> None:
        seen.append(text)
        await send(self, text)

    async def noting_receive(self: WebSocket) -> list[str | bytes]:
        messages = await receive(self)
        seen.extend(map(str, messages))
        return messages

    monkeypatch.setattr(WebSocket, "send", noting_send)
    monkeypatch.setattr(WebSocket, "receive_many", noting_receive)
    return seen


# --- two ends -----------------------------------------------------------------


@both
async def test_both_directions_shrink(
    encoding: str,
    running: Callable,
    connecting: Callable,
    on_the_wire: list[str],
) -> None:
    seen = Seen()
    async with (
        running(seen, config=service(*ENCODINGS)) as url,
        connecting(url, config=client(encoding)) as channel,
    ):
        answer = await channel.request(TEXT, metadata={"topic": "agents"})
    assert answer == TEXT
    (message,) = seen.messages
    assert message.payload == TEXT
    assert dict(message.metadata) == {"topic": "agents"}
    request, response = (json.loads(text) for text in on_the_wire[2:])
    assert request["metadata"] == {
        "topic": "agents",
        CONTENT_ENCODING: encoding,
        ACCEPT_ENCODING: encoding,
    }
    assert response["metadata"] == {CONTENT_ENCODING: encoding}
    assert len(request["payload"]) < len(TEXT) / 3
    assert len(response["data"]) < len(TEXT) / 3


async def test_off_by_default(
    running: Callable, connecting: Callable, on_the_wire: list[str]
) -> None:
    async with running(Seen()) as url, connecting(url) as channel:
        assert await channel.request(TEXT) == TEXT
    for text in on_the_wire[2:]:
        assert "metadata" not in json.loads(text)


async def test_a_service_that_did_not_agree_refuses_and_says_so(
    running: Callable, connecting: Callable
) -> None:
    """A typed refusal, and not compressed bytes for the handler."""
    seen = Seen()
    async with running(seen) as url, connecting(url, config=client("gzip")) as channel:
        with pytest.raises(RemoteFailure) as caught:
            await channel.request(TEXT)
        assert caught.value.reason == "policy_denied"
        assert not seen.messages
        # The channel goes on, and what is too short to shrink gets through.
        assert await channel.request(b"short") == b"short"
    assert dict(seen.messages[0].metadata) == {}


async def test_a_service_never_compresses_what_was_not_asked_for(
    running: Callable, connecting: Callable, on_the_wire: list[str]
) -> None:
    async with (
        running(Seen(), config=service(*ENCODINGS)) as url,
        connecting(url) as channel,
    ):
        assert await channel.request(TEXT) == TEXT
    assert "metadata" not in json.loads(on_the_wire[-1])


async def test_each_answer_is_in_what_its_request_accepts(
    running: Callable, connecting: Callable, on_the_wire: list[str]
) -> None:
    async with (
        running(Seen(), config=service("zstd", "gzip")) as url,
        connecting(url, config=client("gzip", "zstd")) as channel,
    ):
        assert await channel.request(TEXT) == TEXT
    request, response = (json.loads(text) for text in on_the_wire[2:])
    assert request["metadata"][CONTENT_ENCODING] == "gzip"
    assert response["metadata"][CONTENT_ENCODING] == "zstd"


class Forging:
    """Says what it likes about a payload, under its own good signature."""

    def __init__(self, data: bytes, encoding: str) -> None:
        self.data, self.encoding = data, encoding

    async def pack_request(self, *_: object) -> tuple[bytes, dict[str, str]]:
        return self.data, {CONTENT_ENCODING: self.encoding}

    async def pack_answer(self, *_: object) -> tuple[bytes, dict[str, str]]:
        return self.data, {CONTENT_ENCODING: self.encoding}


@pytest.mark.parametrize(
    ("data", "encoding", "reason"),
    [
        (BOMB, "gzip", "operation_failed"),
        (gzip.compress(TEXT)[:-1], "gzip", "operation_failed"),
        (TEXT, "gzip", "operation_failed"),
        (TEXT, "br", "policy_denied"),
        (TEXT, "", "policy_denied"),
    ],
    ids=["bomb", "cut", "not compressed", "unknown", "empty name"],
)
async def test_a_hostile_client_gets_an_answer_and_the_handler_nothing(
    data: bytes,
    encoding: str,
    reason: str,
    running: Callable,
    connecting: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = Seen()
    async with (
        running(seen, config=service(*ENCODINGS)) as url,
        connecting(url) as channel,
    ):
        with monkeypatch.context() as patch:
            forging = Forging(data, encoding)
            patch.setattr("sage.service.channel.pack_request", forging.pack_request)
            with pytest.raises(RemoteFailure) as caught:
                await channel.request(TEXT)
        assert caught.value.reason == reason
        assert not seen.messages
        assert await channel.request(b"still here") == b"still here"


@pytest.mark.parametrize(
    ("data", "encoding", "kind", "code"),
    [
        (BOMB, "gzip", DecodeError, Code.SIZE_EXCEEDED),
        (TEXT, "gzip", DecodeError, Code.PAYLOAD_MALFORMED),
        (gzip.compress(TEXT), "zstd", ProtocolError, Code.PAYLOAD_ENCODING),
    ],
    ids=["bomb", "not compressed", "not agreed to"],
)
async def test_a_hostile_service_ends_the_channel(
    data: bytes,
    encoding: str,
    kind: type[Exception],
    code: Code,
    running: Callable,
    connecting: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forging = Forging(data, encoding)
    monkeypatch.setattr("sage.service.acceptance.pack_answer", forging.pack_answer)
    async with (
        running(Seen()) as url,
        connecting(url, config=client("gzip")) as channel,
    ):
        with pytest.raises(kind) as caught:
            await channel.request(b"short")
        assert caught.value.code is code  # type: ignore[attr-defined]
        assert channel.closed


async def test_the_two_names_are_ours(running: Callable, connecting: Callable) -> None:
    async with running() as url, connecting(url) as channel:
        for name in (CONTENT_ENCODING, ACCEPT_ENCODING):
            with pytest.raises(UsageError):
                await channel.request(b"x", metadata={name: "gzip"})


async def test_a_stream_opens_beside_compression(
    running: Callable, connecting: Callable
) -> None:
    async def answering(stream: sage.Stream) -> None:
        async for record in stream:
            await stream.send(record)

    async with (
        running(Seen(), stream_handler=answering, config=service(*ENCODINGS)) as url,
        connecting(url, config=client(*ENCODINGS)) as channel,
    ):
        async with channel.stream() as stream:
            await stream.send(TEXT)
            assert await stream.receive() == TEXT
        assert await channel.request(TEXT) == TEXT


# --- the pieces ---------------------------------------------------------------


@both
@given(payload=st.binary(max_size=50), times=st.integers(0, 400))
async def test_what_is_packed_unpacks(
    encoding: str, payload: bytes, times: int
) -> None:
    data = payload * times
    packed, metadata = await pack_request(data, {}, (encoding,))
    assert await unpack(bytes(packed), metadata, (encoding,)) == data
    packed, answered = await pack_answer(data, metadata, ENCODINGS)
    assert await unpack(packed, answered or {}, (encoding,)) == data


async def test_other_buffers_are_payloads_too() -> None:
    packed, _ = await pack_request(memoryview(TEXT), {}, ("gzip",))
    assert await unpack(bytes(packed), {CONTENT_ENCODING: "gzip"}, ("gzip",)) == TEXT
    with pytest.raises(UsageError):
        await pack_request(12, {}, ("gzip",))  # type: ignore[arg-type]


@pytest.mark.parametrize("accepts", ["", ",", "br", "GZIP", "gzip ,x", "gzip;q=1"])
async def test_an_answer_stays_as_it_is(accepts: str) -> None:
    asked = {ACCEPT_ENCODING: accepts} if accepts else {}
    assert await pack_answer(TEXT, asked, ENCODINGS) == (TEXT, None)


def test_a_handler_sees_its_own_names_only() -> None:
    metadata = {CONTENT_ENCODING: "gzip", ACCEPT_ENCODING: "gzip", "topic": "x"}
    assert without_encodings(metadata) == {"topic": "x"}
