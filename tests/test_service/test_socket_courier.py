"""A channel's requests over one WebSocket."""

from __future__ import annotations

import asyncio

import pytest

from sage.envelope import sign
from sage.errors import ConnectionLost, DeadlineExceeded, SessionClosed
from sage.service import serving
from sage.service.courier import Progress
from sage.service.socket_courier import SocketCourier
from sage.transport import WebSocket

from .conftest import header


async def silence(scope, receive, send):
    """Accept whatever comes, and never say anything."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass


@pytest.fixture
async def courier(tls):
    async with serving(silence, certificate=tls.certificate) as port:
        socket = await WebSocket.open(f"wss://localhost:{port}/", tls=tls.client)
        courier = SocketCourier(socket)
        yield courier
        await courier.stop(SessionClosed("the end"), 1000)


async def test_what_it_can_do(courier):
    assert courier.has_streams
    assert courier.is_bound


async def test_a_live_connection_is_found_alive(courier):
    async def never(_):
        raise AssertionError

    courier.start(feed=never, fail=never, identifier="1")
    await courier.check(timeout_s=2)


async def test_an_ended_one_is_not(courier):
    await courier._socket.close()
    with pytest.raises((ConnectionLost, DeadlineExceeded)):
        await courier.check(timeout_s=0.5)


async def test_stopping_fails_what_waits(courier, ada):
    failures = []

    async def fail(error):
        failures.append(error)

    async def feed(_):
        raise AssertionError

    courier.start(feed=feed, fail=fail, identifier="1")
    progress = Progress()
    request = sign(header(ada), ada.signing_key)
    asking = asyncio.create_task(courier.ask(request, progress))
    while not progress.sent:
        await asyncio.sleep(0)
    await courier.stop(SessionClosed("enough"), 1000)
    with pytest.raises(ConnectionLost, match="enough"):
        await asking
    await courier.wait_stopped()
    assert not failures


async def test_waiting_for_one_that_never_began(courier):
    await courier.wait_stopped()
