"""The server's WebSocket against an ASGI server that we play ourselves."""

from __future__ import annotations

import asyncio

import pytest

from sage.errors import (
    Code,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    ProtocolError,
)
from sage.transport import AsgiWebSocket
from sage.transport.asgi import LIFT_LIMIT, STOPPING, TAKE_OVER


def socket(*incoming, fail=None, scheme="wss"):
    messages, sent = list(incoming), []

    async def receive():
        return messages.pop(0)

    async def send(message):
        if fail is not None:
            raise fail
        sent.append(message)

    headers = [(b"origin", b"https://a.example"), (b"origin", b"https://b.example")]
    scope = {"type": "websocket", "scheme": scheme, "headers": headers}
    return AsgiWebSocket(scope, receive, send), sent


CONNECT = {"type": "websocket.connect"}
LEFT = {"type": "websocket.disconnect", "code": 1001}


def text(value):
    return {"type": "websocket.receive", "text": value}


async def test_a_conversation():
    ws, sent = socket(CONNECT, text("hello"))
    await ws.accept()
    assert await ws.receive() == "hello"
    await ws.send("grüß dich".encode())
    await ws.close(1008, "refused")
    await ws.close()
    assert sent == [
        {"type": "websocket.accept"},
        {"type": "websocket.send", "text": "grüß dich"},
        {"type": "websocket.close", "code": 1008, "reason": "refused"},
    ]


async def test_what_the_scope_says():
    ws, _ = socket()
    assert ws.is_encrypted
    assert not socket(scheme="ws")[0].is_encrypted
    assert ws.header(b"origin") == "https://a.example"
    assert ws.header(b"cookie") is None


async def test_a_client_that_leaves():
    ws, sent = socket(LEFT)
    with pytest.raises(ConnectionLost):
        await ws.accept()
    ws, sent = socket(CONNECT, LEFT)
    await ws.accept()
    with pytest.raises(ConnectionLost, match="1001"):
        await ws.receive()
    with pytest.raises(ConnectionLost):
        await ws.send(b"x")
    await ws.close()
    assert sent == [{"type": "websocket.accept"}]


async def test_binary_and_oversized_messages():
    ws, _ = socket({"type": "websocket.receive", "bytes": b"x", "text": None})
    with pytest.raises(ProtocolError) as refusal:
        await ws.receive()
    assert refusal.value.code is Code.FRAME_MALFORMED
    ws, _ = socket(text("x" * (16 * 1024 * 1024 + 1)))
    with pytest.raises(DecodeError) as refusal:
        await ws.receive()
    assert refusal.value.code is Code.SIZE_EXCEEDED


async def test_nothing_is_read_after_closing():
    ws, _ = socket(text("sent before the close arrived"))
    await ws.close(1008)
    with pytest.raises(ConnectionLost):
        await ws.receive()


async def test_a_wait_has_an_end():
    async def never():
        await asyncio.sleep(3600)

    ws = AsgiWebSocket({"type": "websocket"}, never, never)
    with pytest.raises(DeadlineExceeded):
        await ws.receive(timeout_s=0.01)


async def test_nothing_is_waited_for_after_closing():
    async def never(*message):
        await asyncio.sleep(3600)

    async def sink(message):
        pass

    ws = AsgiWebSocket({"type": "websocket"}, never, sink)
    await ws.close(1008)
    async with asyncio.timeout(30):
        with pytest.raises(ConnectionLost):
            await ws.receive()


async def test_closing_ends_a_wait_that_the_server_would_not():
    async def never(*message):
        await asyncio.sleep(60)

    ws = AsgiWebSocket({"type": "websocket"}, never, never)
    waiting = asyncio.create_task(ws.receive())
    await asyncio.sleep(0)
    async with asyncio.timeout(2):
        await ws.close(1008)
        with pytest.raises(ConnectionLost):
            await waiting


async def test_closing_ends_the_wait_behind_one_that_was_cancelled():
    async def never(*message):
        await asyncio.sleep(60)

    ws = AsgiWebSocket({"type": "websocket"}, never, never)
    given_up = asyncio.create_task(ws.receive())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(
        0.05, lambda: asyncio.create_task(ws.close(1008))
    )
    given_up.cancel()
    async with asyncio.timeout(30):
        with pytest.raises(ConnectionLost):
            await ws.receive()


async def test_closing_in_the_turn_in_which_a_wait_ends():
    sent = []

    async def receive():
        await asyncio.sleep(60)

    async def send(message):
        sent.append(message["type"])

    loop = asyncio.get_running_loop()
    ws = AsgiWebSocket({"type": "websocket"}, receive, send)
    waiting = asyncio.create_task(ws.receive(timeout_s=0.05))
    await asyncio.sleep(0)
    now = asyncio.Event()

    async def close():
        await now.wait()
        await ws.close(1008)

    closing = asyncio.create_task(close())
    await asyncio.sleep(0)
    # Both are due when the loop gets its turn: whoever closes is woken first, and finds
    # a limit that has passed and has not been noticed.
    loop.call_later(0.01, now.set)
    until = loop.time() + 0.1
    while loop.time() < until:
        pass
    with pytest.raises((DeadlineExceeded, ConnectionLost)):
        await waiting
    await closing
    assert sent == ["websocket.close"]


async def test_a_server_that_hands_its_connection_over_and_says_when_it_stops():
    class Wire:
        flushed = False

        async def receive(self, *, timeout_s=None):
            return "from the connection itself"

        async def flush(self):
            self.flushed = True

    async def receive():
        return CONNECT

    async def send(message):
        pass

    told, wire = [], Wire()
    extensions = {
        TAKE_OVER: {"take": lambda: wire},
        STOPPING: {"tell": told.append},
    }
    scope = {"type": "websocket", "extensions": extensions}
    ws = AsgiWebSocket(scope, receive, send)
    await ws.accept(on_stop=told.clear)
    assert told == [told.clear]
    assert await ws.receive() == "from the connection itself"
    await ws.flush()
    assert wire.flushed
    # Who does not ask is not told, and a server that says nothing is not asked.
    await AsgiWebSocket(scope, receive, send).accept()
    assert told == [told.clear]
    await AsgiWebSocket({}, receive, send).accept(on_stop=told.clear)


async def test_lifting_the_limit_of_a_server_that_has_one():
    lifted = []
    scope = {
        "type": "websocket",
        "extensions": {LIFT_LIMIT: {"lift": lambda: lifted.append(1)}},
    }
    AsgiWebSocket(scope, None, None).lift_limit()  # type: ignore[arg-type]
    assert lifted == [1]
    socket()[0].lift_limit()  # a server that has none


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("closed")])
async def test_a_server_that_says_the_client_left(error):
    ws, _ = socket(fail=error)
    with pytest.raises(ConnectionLost):
        await ws.send(b"x")
    await ws.close()


async def test_closing_does_not_wait_for_the_server():
    async def never(message):
        await asyncio.sleep(60)

    ws = AsgiWebSocket({"type": "websocket"}, None, never)  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        await ws.close()
