"""The client's WebSocket against servers with and without manners."""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import serve

from sage.errors import (
    Code,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    ProtocolError,
    UsageError,
)
from sage.transport import WebSocket


@asynccontextmanager
async def server(handler, tls, **options):
    async with serve(handler, "localhost", 0, ssl=tls.server, **options) as running:
        port = running.sockets[0].getsockname()[1]
        yield f"wss://localhost:{port}/"


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def test_text_goes_and_comes(tls):
    async with server(echo, tls) as url:
        socket = await WebSocket.open(url, tls=tls.client)
        await socket.send("grüß dich".encode())
        assert await socket.receive() == "grüß dich"
        await socket.close()
        await socket.close()
        with pytest.raises(ConnectionLost):
            await socket.send(b"x")
        with pytest.raises(ConnectionLost):
            await socket.receive()


async def test_no_compression_is_offered(tls):
    offers = []

    async def handler(connection):
        offers.append(connection.request.headers.get("Sec-WebSocket-Extensions"))

    async with server(handler, tls) as url:
        socket = await WebSocket.open(url, tls=tls.client)
        with pytest.raises(ConnectionLost):
            await socket.receive()
    assert offers == [None]


async def test_binary_is_refused(tls):
    async def handler(connection):
        await connection.send(b"binary")

    async with server(handler, tls) as url:
        socket = await WebSocket.open(url, tls=tls.client)
        with pytest.raises(ProtocolError) as refusal:
            await socket.receive()
        await socket.close()
    assert refusal.value.code is Code.FRAME_MALFORMED


async def test_fragments_up_to_16_mib_and_not_a_byte_more(tls):
    piece = "x" * (1024 * 1024)

    async def handler(connection):
        await connection.send(iter([piece] * 16))
        await connection.send(iter([*([piece] * 16), "x"]))

    async with server(handler, tls) as url:
        socket = await WebSocket.open(url, tls=tls.client)
        assert len(await socket.receive()) == 16 * 1024 * 1024
        with pytest.raises(ConnectionLost, match="1009"):
            await socket.receive()
        await socket.close()


@pytest.mark.parametrize(
    "url",
    [
        *("ws://localhost:1/", "https://localhost/", "", "wss:", "wss://localhost:0/"),
        *("wss://[::1/", None, 443, b"wss://localhost/"),
    ],
)
async def test_only_wss_urls(url):
    with pytest.raises(UsageError):
        await WebSocket.open(url)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("ws://ada:sec@ret@localhost/", UsageError),
        ("wss://ada:sec@ret@localhost/#here", UsageError),
        ("wss://ada:sec@ret@localhost:1/", ConnectFailed),
        ("wss://ada:sec@ret@localhost:1/", DeadlineExceeded),
    ],
)
async def test_a_password_does_not_stand_in_an_error(url, error):
    limit = -1 if error is DeadlineExceeded else 30
    with pytest.raises(error, match="//localhost") as refused:
        await WebSocket.open(url, timeout_s=limit)
    assert "ret" not in str(refused.value)


@pytest.mark.parametrize("limit", ["5", None, True, math.nan])
async def test_a_time_limit_is_a_number(limit):
    with pytest.raises(UsageError, match="timeout_s must be seconds"):
        await WebSocket.open("wss://localhost/", timeout_s=limit)


async def test_the_peers_words_stay_on_one_line(tls):
    async def handler(connection):
        await connection.close(1008, "bye\n2026 WARNING all is \x1b[1mwell")

    async with server(handler, tls) as url:
        socket = await WebSocket.open(url, tls=tls.client)
        with pytest.raises(ConnectionLost) as lost:
            await socket.receive()
        await socket.close()
    assert str(lost.value).isprintable()


async def test_a_redirect_is_not_followed(tls):
    def redirect(connection, request):
        response = connection.respond(302, "")
        response.headers["Location"] = "wss://localhost:1/elsewhere"
        return response

    async with server(echo, tls, process_request=redirect) as url:
        with pytest.raises(ConnectFailed, match="302"):
            await WebSocket.open(url, tls=tls.client)


async def test_an_unknown_authority(tls):
    async with server(echo, tls) as url:
        with pytest.raises(ConnectFailed):
            await WebSocket.open(url, tls=ssl.create_default_context())


async def raw_server(handler, context):
    running = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
    return running, running.sockets[0].getsockname()[1]


async def test_a_server_that_says_nothing(tls):
    async def silent(reader, writer):
        with contextlib.suppress(asyncio.CancelledError):
            await reader.read()
        writer.close()

    running, port = await raw_server(silent, tls.server)
    with pytest.raises(DeadlineExceeded) as late:
        await WebSocket.open(f"wss://localhost:{port}/", tls=tls.client, timeout_s=0.2)
    assert not late.value.may_have_run
    running.close()
    await running.wait_closed()


async def test_a_server_that_is_none(tls):
    async def nonsense(reader, writer):
        writer.write(b"220 smtp ready\r\n\r\n")
        writer.close()

    running, port = await raw_server(nonsense, tls.server)
    with pytest.raises(ConnectFailed):
        await WebSocket.open(f"wss://localhost:{port}/", tls=tls.client)
    running.close()
    await running.wait_closed()


async def test_a_peer_that_does_not_read_holds_a_sender_for_its_limit_only(tls):
    over = asyncio.Event()

    async def deaf(connection):
        connection.transport.pause_reading()
        await over.wait()

    async with server(deaf, tls, close_timeout=0.1) as url:
        socket = await WebSocket.open(url, tls=tls.client)
        with pytest.raises(DeadlineExceeded) as late:
            await flood(socket)
        assert late.value.may_have_run
        async with asyncio.timeout(5):
            await socket.close()
        over.set()


async def flood(socket):
    for _ in range(100):
        await socket.send(b"x" * 1024 * 1024, timeout_s=0.2)


async def test_a_sign_of_life(tls):
    async with server(echo, tls) as url:
        socket = await WebSocket.open(url, tls=tls.client)
        await socket.ping(timeout_s=2)
        await socket.close()
        with pytest.raises(ConnectionLost):
            await socket.ping(timeout_s=2)
