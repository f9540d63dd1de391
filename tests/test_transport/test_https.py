"""The pooled client on real sockets: against good servers, bad ones and none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from contextlib import asynccontextmanager

import pytest

from sage.errors import (
    Code,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    UsageError,
)
from sage.transport import HttpsPool, HttpsPoolConfig

from ..ports import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers each request with the next of its answers, and remembers it all."""

    def __init__(self, *answers: bytes, again: bool = False) -> None:
        self.answers, self.again = list(answers), again
        self.requests: list[bytes] = []
        self.connections = self.open = 0
        self.held = asyncio.Event()
        self.held.set()

    async def __call__(self, reader, writer) -> None:
        self.connections += 1
        self.open += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                body = await reader.readexactly(length)
                self.requests.append(head + body)
                await self.held.wait()
                answer = self.answers[0] if self.again else self.answers.pop(0)
                if not answer:
                    break
                writer.write(answer)
                await writer.drain()
        self.open -= 1
        writer.transport.abort()


@pytest.fixture
def served(tls):
    @asynccontextmanager
    async def run(server: Server):
        listening = await asyncio.start_server(server, "127.0.0.1", 0, ssl=tls.server)
        port = listening.sockets[0].getsockname()[1]
        try:
            yield f"https://localhost:{port}/sage"
        finally:
            listening.close()

    return run


@pytest.fixture
async def pooled(tls):
    """Return a pool by its options; all are closed in the end."""
    pools = []

    def make(**options) -> HttpsPool:
        pools.append(HttpsPool(HttpsPoolConfig(**options), tls=tls.client))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


async def post(pool: HttpsPool, url: str, content: bytes = b"{}", **options):
    return await pool.post(
        url, headers=[("Content-Type", "application/json")], content=content, **options
    )


async def test_an_exchange_goes_out_and_comes_back_as_it_is(served, pooled):
    answer = (
        b"HTTP/1.1 503 Busy\r\nX-One: 1\r\nx-one: 2\r\nSet-Cookie: a=b\r\n"
        b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nraw"
    )
    server = Server(answer, OK)
    async with served(server) as url:
        pool = pooled()
        lines = [("X-SAGE-DID", "did:x"), ("Signature", "sig1=:AA==:"), ("A", "1")]
        response = await pool.post(url + "?a=%2f", headers=lines, content=b"body")
        assert response.status == 503
        assert response.body == b"raw"
        assert [v for k, v in response.headers if k.lower() == "x-one"] == ["1", "2"]
        await post(pool, url)
    first, second = server.requests
    assert first.startswith(b"POST /sage?a=%2f HTTP/1.1\r\n")
    assert b"X-SAGE-DID: did:x\r\nSignature: sig1=:AA==:\r\nA: 1\r\n" in first
    assert first.endswith(b"\r\n\r\nbody")
    assert not {b"cookie:", b"accept-encoding:"} & set(second.lower().split())
    assert server.connections == 1


async def test_a_redirect_is_an_answer(served, pooled):
    elsewhere = b"HTTP/1.1 307 Go\r\nLocation: https://localhost:1/\r\n"
    elsewhere += b"Content-Length: 0\r\n\r\n"
    server = Server(elsewhere)
    async with served(server) as url:
        assert (await post(pooled(), url)).status == 307
    assert len(server.requests) == 1


async def test_proxies_of_the_environment_are_not_used(served, pooled, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with served(Server(OK)) as url:
        assert (await post(pooled(), url)).body == b"ok"


async def test_connections_are_shared_up_to_their_number(served, pooled):
    server = Server(OK, again=True)
    async with served(server) as url:
        pool = pooled(max_per_host=3)
        await asyncio.gather(*(post(pool, url) for _ in range(30)))
        assert server.connections <= 3
        assert len(server.requests) == 30


async def test_all_hosts_share_the_greater_number(served, pooled):
    one, two = Server(OK, again=True), Server(OK, again=True)
    async with served(one) as first, served(two) as second:
        pool = pooled(max_connections=2, pool_timeout_s=0.2)
        one.held.clear()
        busy = [asyncio.create_task(post(pool, first)) for _ in range(2)]
        while len(one.requests) < 2:
            await asyncio.sleep(0.01)
        with pytest.raises(DeadlineExceeded, match="free connection"):
            await post(pool, second)
        one.held.set()
        await asyncio.gather(*busy)
        assert (await post(pool, second)).body == b"ok"


async def test_waiting_for_a_connection_has_its_own_limit(served, pooled):
    server = Server(OK, again=True)
    async with served(server) as url:
        pool = pooled(max_per_host=1, pool_timeout_s=0.2, total_timeout_s=5)
        server.held.clear()
        first = asyncio.create_task(post(pool, url))
        while not server.requests:
            await asyncio.sleep(0.01)
        with pytest.raises(DeadlineExceeded, match="free connection") as late:
            await post(pool, url)
        assert not late.value.may_have_run
        server.held.set()
        assert (await first).body == b"ok"
        # Whoever gets one in time has the whole limit for the rest.
        assert (await post(pool, url)).body == b"ok"
    assert len(server.requests) == 2


async def test_an_idle_connection_is_dropped(served, pooled):
    server = Server(OK, again=True)
    async with served(server) as url:
        pool = pooled(idle_s=0.2)
        await post(pool, url)
        await asyncio.sleep(0.5)
        await post(pool, url)
    assert server.connections == 2


async def test_a_kept_connection_that_the_server_closed_is_not_used(served, pooled):
    server = Server(OK[:17] + b"Connection: close\r\n" + OK[17:], OK)
    async with served(server) as url:
        pool = pooled()
        await post(pool, url)
        assert (await post(pool, url)).body == b"ok"
    assert server.connections == 2


async def test_connecting_has_its_own_limit(pooled):
    # Accepts, and says nothing: TLS never comes about.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://localhost:{silent.getsockname()[1]}/"
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="connecting") as late:
            await post(pooled(connect_timeout_s=0.2), url)
        assert time.monotonic() - began < 2
        assert not late.value.may_have_run


async def test_reading_has_its_own_limit(served, pooled):
    server = Server(OK, again=True)
    async with served(server) as url:
        server.held.clear()
        with pytest.raises(DeadlineExceeded, match="reading") as late:
            await post(pooled(read_timeout_s=0.2), url)
        assert late.value.may_have_run


@pytest.mark.parametrize("asked", [None, 0.3])
async def test_the_whole_has_a_limit(served, pooled, asked):
    server = Server(OK, again=True)
    async with served(server) as url:
        server.held.clear()
        pool = pooled(total_timeout_s=0.3 if asked is None else 30)
        with pytest.raises(DeadlineExceeded, match=r"0\.3 s") as late:
            await post(pool, url, timeout_s=asked)
        assert late.value.may_have_run


async def test_a_body_that_trickles_ends_with_the_whole(served, pooled):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"

    async def trickle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        with contextlib.suppress(OSError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)

    async with served(trickle) as url:
        with pytest.raises(DeadlineExceeded):
            await post(pooled(total_timeout_s=0.4, read_timeout_s=0.2), url)


async def test_nobody_there(pooled):
    with pytest.raises(ConnectFailed) as failed:
        await post(pooled(), f"https://localhost:{free_port()}/")
    assert not failed.value.may_have_run


async def test_a_stranger_to_our_authorities(served):
    server = Server(OK)
    async with served(server) as url:
        pool = HttpsPool()
        with pytest.raises(ConnectFailed, match="certificate"):
            await post(pool, url)
        await pool.close()
    assert not server.requests


async def test_a_certificate_for_another_name(served, tls, pooled):
    server = Server(OK)
    async with served(server) as url:
        with pytest.raises(ConnectFailed):
            await post(pooled(), url.replace("localhost", "127.0.0.2"))
    assert not server.requests


async def test_old_tls(pooled, tls):
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(tls.certificate)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    server = await asyncio.start_server(Server(OK), "127.0.0.1", 0, ssl=old)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
    strict = ssl.create_default_context(cafile=str(tls.authority))
    strict.minimum_version = ssl.TLSVersion.TLSv1_3
    pool = HttpsPool(tls=strict)
    with pytest.raises(ConnectFailed):
        await post(pool, url)
    await pool.close()
    assert (await post(pooled(), url)).body == b"ok"
    server.close()


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"HTTP/1.1 200"],
    ids=["nothing", "half a body", "half a head"],
)
async def test_a_server_that_dies_in_between(served, pooled, answer):
    server = Server(answer, b"")

    async def once(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        server.requests.append(b"")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with served(once) as url:
        with pytest.raises(ConnectionLost) as lost:
            await post(pooled(), url)
        assert lost.value.may_have_run
    # Whatever may have run is never sent again.
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
    ],
    ids=["ssh", "no status", "a long line", "many lines", "no colon"],
)
async def test_what_is_not_http(served, pooled, answer):
    async with served(Server(answer)) as url:
        with pytest.raises(DecodeError) as refused:
            await post(pooled(), url)
        assert refused.value.code is Code.FRAME_MALFORMED


async def test_a_head_over_32_kib(served, pooled):
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 4000) for n in range(10))
    answer = b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 0\r\n\r\n"
    async with served(Server(answer)) as url:
        with pytest.raises(DecodeError) as refused:
            await post(pooled(), url)
        assert refused.value.code is Code.SIZE_EXCEEDED


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_its_limit(served, pooled, chunked):
    announced = b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101
    streamed = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n"
    )
    server = Server(streamed if chunked else announced, OK)
    async with served(server) as url:
        pool = pooled(max_response_bytes=100)
        with pytest.raises(DecodeError) as refused:
            await post(pool, url)
        assert refused.value.code is Code.SIZE_EXCEEDED
        assert (await post(pool, url)).body == b"ok"


async def test_a_body_at_its_limit(served, pooled):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100
    async with served(Server(answer)) as url:
        response = await post(pooled(max_response_bytes=100), url)
        assert response.body == b"x" * 100


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
        "https://a..b:1/",
        "https://[::1]x:1/",
        "https://lo[::1]calhost:1/",
        "https://a\\b:1/",
    ],
)
async def test_what_the_library_takes_for_no_url(pooled, url):
    with pytest.raises((UsageError, ConnectFailed)):
        await post(pooled(), url)


async def test_a_closed_pool(served, pooled):
    server = Server(OK, again=True)
    async with served(server) as url:
        pool = pooled()
        await post(pool, url)
        for _ in range(2):
            await pool.close()
        with pytest.raises(UsageError, match="closed"):
            await post(pool, url)
        while server.open:
            await asyncio.sleep(0.01)


async def test_closing_fails_what_waits_and_cancels_nobody(served, pooled):
    server = Server(OK, again=True)
    async with served(server) as url:
        pool = pooled(max_per_host=1)
        server.held.clear()
        sent = asyncio.create_task(post(pool, url))
        while not server.requests:
            await asyncio.sleep(0.01)
        waiting = asyncio.create_task(post(pool, url))
        leaving = asyncio.create_task(post(pool, url))
        await asyncio.sleep(0.01)
        leaving.cancel()
        await pool.close()
        await asyncio.wait([sent, waiting, leaving])
        server.held.set()
    assert isinstance(sent.exception(), ConnectionLost)
    assert sent.exception().may_have_run
    assert isinstance(waiting.exception(), ConnectFailed)
    assert not waiting.exception().may_have_run
    assert leaving.cancelled()
    assert len(server.requests) == 1


async def test_closing_fails_what_connects(pooled):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://localhost:{silent.getsockname()[1]}/"
        # The one looks the name up, the other waits for TLS.
        for pause_s in (0, 0.1):
            pool = pooled()
            connecting = asyncio.create_task(post(pool, url, timeout_s=2))
            await asyncio.sleep(pause_s)
            await pool.close()
            with pytest.raises(ConnectFailed):
                await connecting


async def test_a_cancelled_request_spoils_nothing(served, pooled):
    server = Server(OK, again=True)
    async with served(server) as url:
        pool = pooled(max_per_host=1)
        server.held.clear()
        task = asyncio.create_task(post(pool, url))
        while not server.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.held.set()
        assert (await post(pool, url)).body == b"ok"
