"""uvicorn with the protocol's settings, and its failures as errors of ours."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed

import sage
from sage.errors import ConfigError, ConnectionLost, TransportError, UsageError
from sage.limits import HTTP_HEAD_MAX_BYTES, UNAUTHENTICATED_MAX_BYTES
from sage.service import ServiceConfig, hosting, serve, serving
from sage.service.clock import Clock
from sage.service.respond import respond_text

from ..ports import free_port

pytestmark = pytest.mark.every_loop


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return


async def test_a_free_port_is_found_and_given_back(tls):
    async with serving(app, certificate=tls.certificate) as port:
        assert port > 0
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
    with pytest.raises(OSError, match=r"refused|failed"):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_port_that_is_taken(tls, caplog):
    async with serving(app, certificate=tls.certificate) as port:
        with pytest.raises(ConfigError):
            async with serving(app, certificate=tls.certificate, port=port):
                pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
async def test_nobody_waits_for_a_pipe(tmp_path, tls):
    os.mkfifo(tmp_path / "pipe")
    for files in (
        {"certificate": tmp_path / "pipe"},
        {"certificate": tls.certificate, "key": tmp_path / "pipe"},
    ):
        with pytest.raises(ConfigError, match="not a regular file"):
            async with serving(app, **files):
                pass


async def test_a_certificate_that_is_none(tmp_path):
    for name in ("missing.pem", "empty.pem"):
        if name == "empty.pem":
            (tmp_path / name).write_text("")
        with pytest.raises(ConfigError, match=name):
            async with serving(app, certificate=tmp_path / name):
                pass


def test_serve_refuses_what_it_cannot_read(tmp_path):
    with pytest.raises(ConfigError):
        serve(app, certificate=tmp_path / "none", key=None, host="127.0.0.1", port=0)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_returns_and_is_no_error(tls, caplog, times):
    async def tells(scope, receive, send):
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        await app(scope, receive, send)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        serve(tells, certificate=tls.certificate, port=0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not [r.message for r in caplog.records if r.levelno > logging.INFO]


TOLD = """
import signal
import sys

from sage.service import serve


async def app(scope, receive, send):
    signal.raise_signal(int(sys.argv[1]))
    for kind in ("startup", "shutdown"):
        await receive()
        print(kind, flush=True)
        await send({"type": f"lifespan.{kind}.complete"})


if len(sys.argv) > 3:  # as `nohup` wants it
    signal.signal(int(sys.argv[1]), signal.SIG_IGN)
    signal.alarm(1)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGTERM))
serve(app, certificate=sys.argv[2], port=0)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminals to go here")
@pytest.mark.parametrize(
    ("name", "more", "end"),
    [
        ("SIGTERM", (), "SIGTERM"),
        ("SIGHUP", (), "SIGHUP"),
        ("SIGHUP", ("ignored",), "SIGTERM"),
    ],
)
def test_a_signal_stops_it_and_then_ends_the_process(tls, name, more, end):
    words = str(int(getattr(signal, name))), str(tls.certificate), *more
    done = subprocess.run(
        [sys.executable, "-c", TOLD, *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == -getattr(signal, end), done.stderr
    assert done.stdout.split() == ["startup", "shutdown"]


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_nothing_is_left_of_a_connection_that_was_cut(tls):
    requests = []

    async def answering(scope, receive, send):
        if scope["type"] == "http":
            requests.append(weakref.ref(receive.__self__))
            await respond_text(send, 200, "here")
        else:
            await app(scope, receive, send)

    async with serving(answering, certificate=tls.certificate) as port:
        reader, writer = await asyncio.open_connection(
            "localhost", port, ssl=tls.client
        )
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"here")
        writer.transport.abort()
        # Sooner than a connection would be kept for the next request.
        async with asyncio.timeout(2):
            while requests[0]() is not None:
                await asyncio.sleep(0.05)
                gc.collect()


# --- strangers ----------------------------------------------------------------------


async def test_a_request_head_without_an_end(tls):
    async with serving(app, certificate=tls.certificate) as port:
        reader, writer = await asyncio.open_connection(
            "localhost", port, ssl=tls.client
        )
        sent = 0
        with contextlib.suppress(ConnectionError):
            writer.write(b"GET / HTTP/1.1\r\n")
            while not reader.at_eof() and sent < 64 * HTTP_HEAD_MAX_BYTES:
                writer.write(b"a: " + b"x" * 4000 + b"\r\n")
                sent += 4000
                await writer.drain()
                await asyncio.sleep(0.001)
        writer.close()
    assert sent < 64 * HTTP_HEAD_MAX_BYTES


@pytest.mark.parametrize("begun", [b"", b"GET / HT"])
async def test_a_request_that_never_comes(tls, monkeypatch, begun):
    monkeypatch.setattr(hosting, "FIRST_MESSAGE_TIMEOUT_S", 0.2)
    async with serving(app, certificate=tls.certificate) as port:
        reader, writer = await asyncio.open_connection(
            "localhost", port, ssl=tls.client
        )
        writer.write(begun)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("method", [b"POST", b"HEAD"])
@pytest.mark.parametrize("answered", [None, "begun", "whole"])
async def test_what_is_no_content_is_answered_once(tls, caplog, answered, method):
    """And a stranger who sends it fills no log with tracebacks."""
    heard = []

    async def answering(scope, receive, send):
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
        elif answered is None:
            await respond_text(send, 202, "ok")
        else:
            headers, begun = [(b"content-length", b"2")], answered == "begun"
            start = {"type": "http.response.start", "status": 202, "headers": headers}
            part = {"type": "http.response.body", "body": b"o" if begun else b"ok"}
            await send(start)
            await send(part | {"more_body": begun})
            heard.append((await receive())["type"])
            if begun:
                await send({"type": "http.response.body", "body": b"k"})

    async with serving(answering, certificate=tls.certificate) as port:
        reader, writer = await asyncio.open_connection(
            "localhost", port, ssl=tls.client
        )
        head = method + b" / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        async with asyncio.timeout(5):
            if answered is not None:
                writer.write(head)
                assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 202 Accepted\r\n"
                head = b""
            writer.write(head + b"no number\r\n")
            rest = await reader.read()
        writer.close()
    if answered is None:
        assert rest.startswith(b"HTTP/1.1 400 ")
        rest = rest[1:]
    assert b"HTTP/1.1" not in rest
    assert heard == ([] if answered is None else ["http.disconnect"])
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_slow_second_request(tls, monkeypatch):
    monkeypatch.setattr(hosting, "FIRST_MESSAGE_TIMEOUT_S", 0.4)
    service = hosting_app([])
    async with serving(service, certificate=tls.certificate) as port:
        reader, writer = await asyncio.open_connection(
            "localhost", port, ssl=tls.client
        )
        async with asyncio.timeout(5):
            for _ in range(3):  # longer than the limit, all together
                writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert b"204" in await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(0.2)
            writer.write(b"GET / HT")
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


async def test_an_upgrade_that_came_with_a_request_lasts(tls, monkeypatch):
    """The time limit is of the next request, and there is none to come."""
    monkeypatch.setattr(hosting, "FIRST_MESSAGE_TIMEOUT_S", 0.2)
    async with serving(hosting_app([]), certificate=tls.certificate) as port:
        reader, writer = await asyncio.open_connection(
            "localhost", port, ssl=tls.client
        )
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + UPGRADE)
        async with asyncio.timeout(5):
            assert b" 204 " in await reader.readuntil(b"\r\n\r\n")
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.4)
            writer.write(b"\x89\x80" + bytes(4))  # a ping, and its pong
            assert await reader.readexactly(2) == b"\x8a\x00"
        writer.close()


async def test_an_answer_takes_as_long_as_it_takes(tls, monkeypatch):
    """Also one in parts, and one to a request that came with the one before."""
    monkeypatch.setattr(hosting, "FIRST_MESSAGE_TIMEOUT_S", 0.2)

    async def slow(scope, receive, send):
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        await asyncio.sleep(0.3)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await asyncio.sleep(0.15)
            part = {"type": "http.response.body", "body": b"part", "more_body": True}
            await send(part)
        await send({"type": "http.response.body"})

    get, post = b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST / HTTP/1.1\r\nHost: a\r\n"
    async with serving(slow, certificate=tls.certificate) as port:
        reader, writer = await asyncio.open_connection(
            "localhost", port, ssl=tls.client
        )
        writer.write(get + b"\r\n" + post + b"Content-Length: 4\r\n\r\nbody")
        async with asyncio.timeout(10):
            for _ in range(2):
                assert (await reader.readuntil(b"0\r\n\r\n")).count(b"part") == 3
        writer.close()


async def test_a_strangers_content_that_never_comes(tls, monkeypatch):
    monkeypatch.setattr(hosting, "FIRST_MESSAGE_TIMEOUT_S", 0.2)

    async def reading(scope, receive, send):
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        while (await receive()).get("more_body"):
            pass

    async with serving(reading, certificate=tls.certificate) as port:
        reader, writer = await asyncio.open_connection(
            "localhost", port, ssl=tls.client
        )
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbod")
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


async def test_a_stranger_cannot_make_the_server_hold_a_long_message(tls):
    got: list[int] = []
    async with (
        serving(hosting_app(got), certificate=tls.certificate) as port,
        open_websocket(f"wss://localhost:{port}/", ssl=tls.client) as client,
    ):
        await client.send("x" * UNAUTHENTICATED_MAX_BYTES)
        await client.send("lift")
        assert await client.recv() == "lifted"
        await client.send("x" * (UNAUTHENTICATED_MAX_BYTES + 1))
        await client.send("end")
        await client.wait_closed()
        assert client.close_code == 1000
    assert got == [UNAUTHENTICATED_MAX_BYTES, 4, UNAUTHENTICATED_MAX_BYTES + 1, 3]

    got.clear()
    async with (
        serving(hosting_app(got), certificate=tls.certificate) as port,
        open_websocket(f"wss://localhost:{port}/", ssl=tls.client) as client,
    ):
        with contextlib.suppress(ConnectionClosed):
            await client.send("x" * (UNAUTHENTICATED_MAX_BYTES + 1))
        await client.wait_closed()
        assert client.close_code == 1009
    assert got == []


async def test_a_peer_that_reads_no_pongs_is_not_read(tls):
    limit = 64 * 1024 * 1024
    async with serving(hosting_app([]), certificate=tls.certificate) as port:
        reader, writer = await asyncio.open_connection(
            "localhost", port, ssl=tls.client, limit=4096
        )
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        pings = (b"\x89\xfd" + bytes(4) + bytes(125)) * 2000
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < limit:
                writer.write(pings)
                sent += len(pings)
                async with asyncio.timeout(0.5):
                    await writer.drain()
        writer.transport.abort()
    assert sent < limit


async def test_stopping_waits_for_nobody_who_is_not_there(tls):
    """uvicorn alone would take a tenth of a second or two."""
    took = []
    for _ in range(5):
        async with serving(hosting_app([]), certificate=tls.certificate) as port:
            reader, writer = await asyncio.open_connection(
                "localhost", port, ssl=tls.client
            )
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"204" in await reader.readuntil(b"\r\n\r\n")
            begun = time.perf_counter()
        took.append(time.perf_counter() - begun)
        assert await reader.read() == b""
        writer.close()
    assert min(took) < 0.08


async def test_stopping_beside_a_client_that_is_leaving(tls):
    """It said goodbye and reads no more, so that its connection cannot end yet."""
    async with asyncio.timeout(5):
        async with serving(hosting_app([]), certificate=tls.certificate) as port:
            reader, writer = await asyncio.open_connection(
                "localhost", port, ssl=tls.client
            )
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.pause_reading()
            writer.write(b"\x88\x82" + bytes(4) + (1000).to_bytes(2, "big"))
            await asyncio.sleep(0.2)
        writer.transport.abort()


def hosting_app(got: list[int]):
    """Answer every request, and note the length of every message."""

    async def run(scope, receive, send):
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
        else:
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                text = message["text"]
                got.append(len(text))
                if text == "lift":
                    scope["extensions"]["sage.message-limit"]["lift"]()
                    await send({"type": "websocket.send", "text": "lifted"})
                elif text == "end":
                    await send({"type": "websocket.close", "code": 1000})

    return run


async def test_small_answers_do_not_wait_for_an_acknowledgement(tls):
    """Head and body are two writes; 40 ms each would lie between them."""

    async def answering(scope, receive, send):
        if scope["type"] == "http":
            await respond_text(send, 200, "ok")
        else:
            await app(scope, receive, send)

    async with serving(answering, certificate=tls.certificate) as port:
        reader, writer = await asyncio.open_connection(
            "localhost", port, ssl=tls.client
        )
        took = []
        for _ in range(9):
            begun = time.perf_counter()
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"\r\n\r\nok")
            took.append(time.perf_counter() - begun)
        writer.close()
    assert sorted(took)[4] < 0.03


# --- the end ------------------------------------------------------------------------


class Slow:
    """A handler that answers when it is told to, and counts what it is given."""

    def __init__(self) -> None:
        self.entered, self.leave = asyncio.Event(), asyncio.Event()
        self.taken: list[bytes] = []

    async def __call__(self, message):
        self.taken.append(message.payload)
        self.entered.set()
        await self.leave.wait()
        return b"done"


@pytest.mark.parametrize("scheme", ["wss", "https"])
async def test_a_stop_lets_answers_out_and_takes_no_more_requests(
    scheme, connecting, grace, resolver, tls
):
    handler, port = Slow(), free_port()
    url = f"{scheme}://localhost:{port}/sage"
    service = sage.Service(
        agent=grace,
        resolver=resolver,
        handler=handler,
        config=ServiceConfig(https_endpoints=(f"https://localhost:{port}/sage",)),
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            serving(service, certificate=tls.certificate, port=port)
        )
        channel, idle = await connecting(url), await connecting(url)
        asked = asyncio.create_task(channel.request(b"asked"))
        await handler.entered.wait()
        stopped = asyncio.create_task(stack.aclose())
        await asyncio.sleep(0.1)
        assert not stopped.done()
        late = asyncio.create_task(channel.request(b"late"))
        await asyncio.sleep(0.1)
        handler.leave.set()
        assert await asked == b"done"
        await stopped
        with pytest.raises(TransportError):
            await late
        with pytest.raises(TransportError):
            await idle.request(b"later")
        await channel.close()
        await idle.close()
    assert handler.taken == [b"asked"]


class Gated:
    """A resolver that can be made to wait, as one that asks a registry does."""

    def __init__(self, resolver) -> None:
        self._resolver = resolver
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()

    async def resolve(self, did, *, now):
        self.asked.set()
        await self.go.wait()
        return await self._resolver.resolve(did, now=now)


@pytest.mark.parametrize("closes", [False, True])
async def test_an_answer_right_before_the_goodbye_is_judged_as_ever(
    connecting, grace, resolver, tls, closes
):
    handler, gated, passed_s = Slow(), Gated(resolver), 0.0
    clock = Clock(monotonic=lambda: time.monotonic() + passed_s)
    service = sage.Service(agent=grace, resolver=resolver, handler=handler)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(
            serving(service, certificate=tls.certificate)
        )
        url = f"wss://localhost:{port}/sage"
        channel = await connecting(url, resolver=gated, clock=clock)
        asked = asyncio.create_task(channel.request(b"asked"))
        await handler.entered.wait()
        passed_s = 6.0  # so that the records are read again for the answer
        gated.asked.clear()
        gated.go.clear()
        handler.leave.set()
        await stack.aclose()
        async with asyncio.timeout(5):
            await gated.asked.wait()
            while not channel.closed:
                await asyncio.sleep(0.01)
        if closes:
            await channel.close()
        gated.go.set()
        if closes:
            with pytest.raises(ConnectionLost) as lost:
                await asked
            assert lost.value.may_have_run
        else:
            assert await asked == b"done"
            await channel.close()


@pytest.mark.parametrize("address", [{"port": -1}, {"port": 99_999}, {"host": "a..b"}])
async def test_what_is_no_address_is_refused(tls, address):
    with pytest.raises(ConfigError, match="cannot listen"):
        async with serving(app, certificate=tls.certificate, **address):
            pass


async def test_an_application_that_never_starts_can_be_given_up(tls):
    async def hanging(scope, receive, send):
        await asyncio.Event().wait()

    serving_it = serving(hanging, certificate=tls.certificate)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(serving_it.__aenter__(), 0.2)


@pytest.mark.parametrize("limit", [None, "1", math.nan, True])
async def test_a_stop_has_a_time_limit(tls, limit):
    with pytest.raises(UsageError, match="stop_timeout_s"):
        async with serving(app, certificate=tls.certificate, stop_timeout_s=limit):
            pass


@pytest.mark.parametrize(
    "wrong", [{"port": "8443"}, {"port": None}, {"port": True}, {"host": None}]
)
async def test_an_address_is_a_text_and_a_number(tls, wrong):
    with pytest.raises(UsageError, match="host is a text and port an int"):
        async with serving(app, certificate=tls.certificate, **wrong):
            pass


@contextlib.asynccontextmanager
async def slow_link(port):
    """Pass on what a server says, 2 MB a second; yield the port to connect to."""

    async def passing(reader, writer):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        there, back = await asyncio.open_connection(sock=sock, limit=8192)

        async def ask():
            while data := await reader.read(65536):
                back.write(data)
                await back.drain()

        async def answer():
            while data := await there.read(8192):
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(len(data) / 2e6)
            writer.close()

        with contextlib.suppress(ConnectionError):
            await asyncio.gather(ask(), answer())
        back.close()

    async with await asyncio.start_server(passing, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("scheme", ["wss", "https"])
async def test_a_stop_lets_an_answer_out_that_takes_its_time(
    connecting, grace, resolver, tls, scheme
):
    answer = bytes(4 << 20)
    asked = asyncio.Event()

    async def handler(message):
        asked.set()
        return answer

    port = free_port()
    async with slow_link(port) as near:
        url = f"{scheme}://localhost:{near}/sage"
        config = ServiceConfig(https_endpoints={url} if scheme == "https" else set())
        service = sage.Service(
            agent=grace, resolver=resolver, handler=handler, config=config
        )
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(
                serving(service, certificate=tls.certificate, port=port)
            )
            channel = await connecting(url)
            answering = asyncio.create_task(channel.request(b"asked"))
            await asked.wait()
            await asyncio.sleep(0.3)
            await stack.aclose()
            assert await answering == answer
            await channel.close()


async def test_a_stop_waits_only_so_long(connecting, grace, resolver, tls):
    handler = Slow()
    service = sage.Service(agent=grace, resolver=resolver, handler=handler)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(
            serving(service, certificate=tls.certificate, stop_timeout_s=0.3)
        )
        channel = await connecting(f"wss://localhost:{port}/sage")
        asked = asyncio.create_task(channel.request(b"asked"))
        await handler.entered.wait()
        began = time.monotonic()
        await stack.aclose()
        assert 0.3 <= time.monotonic() - began < 3
        with pytest.raises(ConnectionLost, match="1012") as caught:
            await asked
        assert caught.value.may_have_run
        await channel.close()
