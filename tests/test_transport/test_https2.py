"""The client over HTTP/2: the same interface, against a real HTTP/2 server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from contextlib import asynccontextmanager

import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config

from sage.errors import (
    Code,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    UsageError,
)
from sage.transport import Http2Pool, HttpsPoolConfig, https2

from ..ports import free_port


class App:
    """An ASGI application that answers with what a test wants."""

    def __init__(self, status=200, headers=(), body=b"ok") -> None:
        self.status, self.headers, self.body = status, list(headers), body
        self.scopes: list[dict] = []
        self.bodies: list[bytes] = []
        self.held = asyncio.Event()
        self.held.set()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            return
        body, more = b"", True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        self.scopes.append(scope)
        self.bodies.append(body)
        await self.held.wait()
        await send(
            {
                "type": "http.response.start",
                "status": self.status,
                "headers": self.headers,
            }
        )
        await send({"type": "http.response.body", "body": self.body})


@pytest.fixture
def pools() -> list[Http2Pool]:
    return []


@pytest.fixture
def served(tls, pools):
    @asynccontextmanager
    async def run(app: App, protocols=("h2",)):
        port = free_port()
        config = Config()
        config.bind = [f"127.0.0.1:{port}"]
        config.certfile = config.keyfile = str(tls.certificate)
        config.alpn_protocols = list(protocols)
        config.graceful_timeout = 0.1
        config.errorlog = None
        ending = asyncio.Event()
        running = asyncio.create_task(serve(app, config, shutdown_trigger=ending.wait))
        while True:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), timeout=1),
            ):
                break
            await asyncio.sleep(0.01)
        try:
            yield f"https://localhost:{port}/sage"
        finally:
            # An open connection would hold the server's end back.
            for pool in pools:
                await pool.close()
            ending.set()
            await running

    return run


@pytest.fixture
async def pooled(tls, pools):
    def make(**options) -> Http2Pool:
        context = ssl.create_default_context(cafile=str(tls.authority))
        pools.append(Http2Pool(HttpsPoolConfig(**options), tls=context))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


async def post(pool: Http2Pool, url: str, content: bytes = b"{}", **options):
    return await pool.post(
        url, headers=[("Content-Type", "application/json")], content=content, **options
    )


async def test_an_exchange_goes_out_and_comes_back_as_it_is(served, pooled):
    app = App(
        503,
        [(b"x-one", b"1"), (b"x-one", b"2"), (b"set-cookie", b"a=b"), (b"a", b"b")],
        b"raw",
    )
    async with served(app) as url:
        pool = pooled()
        response = await post(pool, url + "?a=%2f", b"body")
        await post(pool, url)
    assert response.status == 503
    assert response.body == b"raw"
    assert [v for k, v in response.headers if k == "x-one"] == ["1", "2"]
    first, second = app.scopes
    assert first["http_version"] == "2"
    assert first["method"] == "POST"
    assert first["query_string"] == b"a=%2f"
    assert (b"content-type", b"application/json") in first["headers"]
    assert app.bodies == [b"body", b"{}"]
    names = {name for name, _ in second["headers"]}
    assert not names & {b"cookie", b"accept-encoding", b"user-agent"}


async def test_many_requests_share_one_connection(served, pooled):
    app = App()
    async with served(app) as url:
        pool = pooled()
        await post(pool, url)
        await asyncio.gather(*(post(pool, url) for _ in range(20)))
    assert len({scope["client"] for scope in app.scopes}) == 1
    assert len(app.scopes) == 21


async def test_a_long_body_comes_through(served, pooled):
    app = App(body=b"x" * 1_000_000)
    async with served(app) as url:
        response = await post(pooled(), url, b"y" * 1_000_000)
    assert len(response.body) == 1_000_000
    assert app.bodies == [b"y" * 1_000_000]


async def test_a_redirect_is_an_answer(served, pooled):
    app = App(307, [(b"location", b"https://localhost:1/")])
    async with served(app) as url:
        assert (await post(pooled(), url)).status == 307
    assert len(app.scopes) == 1


async def test_a_body_over_its_limit(served, pooled):
    async with served(App(body=b"x" * 101)) as url:
        with pytest.raises(DecodeError) as refused:
            await post(pooled(max_response_bytes=100), url)
    assert refused.value.code is Code.SIZE_EXCEEDED


async def test_the_whole_has_a_limit(served, pooled):
    app = App()
    async with served(app) as url:
        app.held.clear()
        with pytest.raises(DeadlineExceeded, match=r"0\.3 s") as late:
            await post(pooled(), url, timeout_s=0.3)
        assert late.value.may_have_run
        app.held.set()


async def test_reading_has_its_own_limit(served, pooled):
    app = App()
    async with served(app) as url:
        app.held.clear()
        with pytest.raises(DeadlineExceeded, match="ReadTimeout") as late:
            await post(pooled(read_timeout_s=0.2), url)
        assert late.value.may_have_run
        app.held.set()


async def test_connecting_has_its_own_limit(pooled):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://localhost:{silent.getsockname()[1]}/"
        with pytest.raises(DeadlineExceeded) as late:
            await post(pooled(connect_timeout_s=0.2), url)
        assert not late.value.may_have_run


async def test_nobody_there(pooled):
    with pytest.raises(ConnectFailed) as failed:
        await post(pooled(), f"https://localhost:{free_port()}/")
    assert not failed.value.may_have_run


async def test_a_stranger_to_our_authorities(served):
    app = App()
    async with served(app) as url:
        pool = Http2Pool()
        with pytest.raises(ConnectFailed):
            await post(pool, url)
        await pool.close()
    assert not app.scopes


async def test_a_server_that_speaks_http_1_only(tls, pooled):
    async def serve_http_1(reader, writer):
        await reader.read(24)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve_http_1, "127.0.0.1", 0, ssl=tls.server)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
    with pytest.raises((ConnectFailed, ConnectionLost)):
        await post(pooled(), url)
    server.close()


async def test_whoever_gives_up_takes_nothing_from_the_others(served, pooled):
    """They share its connection, which the library would give up with it."""
    async with served(App()) as url:
        pool = pooled()
        for number in range(30):
            leaving = asyncio.create_task(post(pool, url, bytes(300_000)))
            staying = asyncio.create_task(post(pool, url, bytes(50_000)))
            await asyncio.sleep(number * 0.0007)
            if number % 2:
                leaving.cancel()
            else:
                with contextlib.suppress(DeadlineExceeded):
                    await post(pool, url, bytes(300_000), timeout_s=0.001)
            assert (await staying).status == 200
            assert (await post(pool, url)).status == 200
            await asyncio.wait([leaving])


async def test_what_was_given_up_is_not_sent_later(served, pooled):
    app = App()
    async with served(app) as url:
        pool = pooled()
        leaving = asyncio.create_task(post(pool, url, b"left"))
        await asyncio.sleep(0.001)  # it connects
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        with pytest.raises(DeadlineExceeded) as late:
            await post(pool, url, b"late", timeout_s=0)
        assert not late.value.may_have_run
        await post(pool, url, b"sent")
        await asyncio.sleep(0.05)
    assert app.bodies == [b"sent"]


@pytest.mark.parametrize("pause_s", [0, 0.001, 0.002, 0.003, 0.005])
async def test_nothing_is_sent_after_closing(served, pooled, pause_s):
    app = App()
    async with served(app) as url:
        app.held.clear()
        pool = pooled()
        posting = asyncio.create_task(post(pool, url, timeout_s=10))
        await asyncio.sleep(pause_s)  # it connects, or has sent
        await pool.close()
        async with asyncio.timeout(5):
            await asyncio.wait([posting])
        app.held.set()
        await asyncio.sleep(0.05)
    error = posting.exception()
    assert isinstance(error, ConnectFailed | ConnectionLost)
    assert error.may_have_run is isinstance(error, ConnectionLost)
    assert error.may_have_run or not app.bodies


async def test_closing_ends_a_tls_handshake(pooled):
    began, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader, writer):
        await reader.read(1)
        began.set()
        await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
    pool = pooled()
    posting = asyncio.create_task(post(pool, url))
    await began.wait()
    await pool.close()
    async with asyncio.timeout(5):
        with pytest.raises(ConnectFailed, match="closed"):
            await posting
        await gone.wait()
    server.close()


async def test_closing_fails_what_was_sent_and_cancels_nobody(served, pooled):
    app = App()
    async with served(app) as url:
        app.held.clear()
        pool = pooled()
        staying, leaving = (asyncio.create_task(post(pool, url)) for _ in range(2))
        while len(app.bodies) < 2:
            await asyncio.sleep(0.01)
        leaving.cancel()
        await pool.close()
        await asyncio.wait([staying, leaving])
        app.held.set()
    assert isinstance(staying.exception(), ConnectionLost)
    assert staying.exception().may_have_run
    assert leaving.cancelled()


async def test_few_are_left_behind_and_none_for_long(served, pooled, monkeypatch):
    monkeypatch.setattr(https2, "_LEFT_MAX", 1)
    app = App()
    async with served(app) as url:
        pool = pooled(read_timeout_s=0.3)
        await post(pool, url)
        app.held.clear()
        waiting = [asyncio.create_task(post(pool, url)) for _ in range(2)]
        await asyncio.sleep(0.05)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert len(pool._left) == 1
        async with asyncio.timeout(5):
            while pool._left:
                await asyncio.sleep(0.01)
        app.held.set()


async def test_only_https(pooled):
    with pytest.raises(UsageError, match="https"):
        await post(pooled(), "http://localhost/")


async def test_what_is_no_time_limit(pooled):
    with pytest.raises(UsageError, match="timeout_s"):
        await post(pooled(), "https://localhost/", timeout_s=float("nan"))


@pytest.mark.parametrize(
    "url",
    [
        "https://.:1/",
        "https://[::1]x:1/",
        "https://a&xn--b:1/",
        "https://" + "a" * 300,
        "https://[::1%25" + "a" * 64 + "]/",
    ],
)
async def test_what_the_library_takes_for_no_url(pooled, url):
    with pytest.raises((UsageError, ConnectFailed)):
        await post(pooled(), url)


async def test_a_closed_pool(pooled):
    pool = pooled()
    for _ in range(2):
        await pool.close()
    with pytest.raises(UsageError, match="closed"):
        await post(pool, "https://localhost/")
