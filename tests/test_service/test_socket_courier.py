"""A channel's requests over one WebSocket."""

from __future__ import annotations

import asyncio
import gc

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


@pytest.mark.parametrize("cancelled", [False, True])
async def test_stopping_leaves_no_error_behind(ada, cancelled):
    """A request that is still being sent never comes to look at its answer."""

    class Busy:
        """Takes nothing, until it is closed."""

        def __init__(self) -> None:
            self.closed = asyncio.Event()

        async def send(self, text):
            await self.closed.wait()
            raise ConnectionLost("while sending")

        async def close(self, code):
            self.closed.set()

    left = []
    asyncio.get_running_loop().set_exception_handler(lambda _, why: left.append(why))
    courier, progress = SocketCourier(Busy()), Progress()
    request = sign(header(ada), ada.signing_key)
    asking = asyncio.create_task(courier.ask(request, progress))
    while not progress.sent:
        await asyncio.sleep(0)
    if cancelled:
        asking.cancel()
    await courier.stop(SessionClosed("enough"), 1000)
    await asyncio.wait([asking])
    assert asking.cancelled() or isinstance(asking.exception(), ConnectionLost)
    del asking
    gc.collect()
    await asyncio.sleep(0)
    assert not left


async def test_waiting_for_one_that_never_began(courier):
    await courier.wait_stopped()
