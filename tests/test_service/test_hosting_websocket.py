"""WebSockets of our own hosting, for an application that only knows ASGI."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from sage.service import hosting, serving


@asynccontextmanager
async def hosted(app, tls):
    async def run(scope, receive, send):
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await app(scope, receive, send)

    async with serving(run, certificate=tls.certificate) as port:
        yield f"wss://localhost:{port}"


@pytest.mark.parametrize("watches", [True, False])
async def test_events_for_whoever_knows_no_more(tls, monkeypatch, watches):
    """On a loop that cannot watch sockets, asyncio's own TLS carries the same."""
    monkeypatch.setattr(hosting, "can_watch_sockets", lambda: watches)
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)
        assert await receive() == {"type": "websocket.connect"}
        await send({"type": "websocket.accept", "subprotocol": "b"})
        while (event := await receive())["type"] == "websocket.receive":
            event = {k: v for k, v in event.items() if k != "type"}
            await send({"type": "websocket.send", **event})
        seen.append(event)

    async with (
        hosted(app, tls) as url,
        connect(f"{url}/a%20b?c=d", ssl=tls.client, subprotocols=["a", "b"]) as client,
    ):
        assert client.subprotocol == "b"
        for message in ("grüß", b"bytes", b""):
            await client.send(message)
            assert await client.recv() == message
        await client.close(1001, "bye")
        await asyncio.sleep(0.1)
    scope, event = seen
    assert (
        scope["scheme"],
        scope["path"],
        scope["raw_path"],
        scope["query_string"],
    ) == (
        "wss",
        "/a b",
        b"/a%20b",
        b"c=d",
    )
    assert scope["subprotocols"] == ["a", "b"]
    assert (event["type"], event["code"]) == ("websocket.disconnect", 1001)


async def test_a_refusal_before_the_upgrade(tls):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.close", "code": 1008})

    async with hosted(app, tls) as url:
        with pytest.raises(InvalidStatus, match="403"):
            await connect(url, ssl=tls.client)


async def test_an_application_that_fails(tls, caplog):
    async def app(scope, receive, send):
        await receive()
        if scope["path"] == "/open":
            await send({"type": "websocket.accept"})
        raise KeyError("broken")

    async with hosted(app, tls) as url:
        with pytest.raises(InvalidStatus, match="500"):
            await connect(f"{url}/", ssl=tls.client)
        async with connect(f"{url}/open", ssl=tls.client) as client:
            await client.wait_closed()
            assert client.close_code == 1011
    assert "the application failed" in caplog.text


async def test_what_is_no_upgrade(tls):
    async def app(scope, receive, send):
        raise AssertionError

    async with hosted(app, tls) as url:
        port = int(url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection(
            "localhost", port, ssl=tls.client
        )
        writer.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 12\r\n\r\n"
        )
        assert b" 400 " in await reader.readline()
        writer.close()


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"a: b\r\n" * 200],
)
async def test_an_upgrade_that_the_library_cannot_read_is_refused(tls, head):
    async def app(scope, receive, send):
        raise AssertionError

    async with hosted(app, tls) as url:
        port = int(url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection(
            "localhost", port, ssl=tls.client
        )
        writer.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + head + b"\r\n"
        )
        async with asyncio.timeout(5):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1") == 1
        writer.close()


async def test_whoever_left_before_the_upgrade(tls, caplog):
    """An application is told as ASGI 2.4 says, and as Starlette understands it."""
    asked, told = asyncio.Event(), []

    async def app(scope, receive, send):
        await receive()
        asked.set()
        while (await receive())["type"] != "websocket.disconnect":
            await asyncio.sleep(0.01)
        try:
            await send({"type": "websocket.accept"})
        except OSError as exc:
            told.append(exc)

    async with hosted(app, tls) as url:
        port = int(url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("localhost", port, ssl=tls.client)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await asked.wait()
        writer.close()
        # And the server stops, which is when it notices.
    assert len(told) == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
