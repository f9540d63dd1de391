"""Channels over HTTPS: the same as any other, but for streams."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from contextlib import asynccontextmanager

import hypercorn.asyncio
import hypercorn.config
import pytest

import sage
from sage.envelope import sign
from sage.errors import (
    AuthenticationError,
    Code,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    PeerError,
    ProtocolError,
    RemoteFailure,
    SessionClosed,
    UsageError,
)
from sage.identity import SigningKey
from sage.limits import MAX_REQUESTS_IN_FLIGHT
from sage.service import ClientConfig, Message, Rotation, ServiceConfig, serving
from sage.service.courier import Progress
from sage.service.https_courier import HttpsCourier
from sage.transport import HttpResponse, HttpsPool, HttpsPoolConfig

from ..ports import free_port
from .conftest import CLOCK, GRACE, echo, header


@pytest.fixture
def secure(grace, resolver, tls):
    """Return a context manager that runs Grace over HTTPS and yields her URL."""

    @asynccontextmanager
    async def run(handler=echo, *, port=None, wrap=lambda app: app, **options):
        port = port or free_port()
        url = f"https://localhost:{port}/sage"
        service = sage.Service(
            agent=grace,
            resolver=resolver,
            handler=handler,
            config=ServiceConfig(https_endpoints=frozenset({url}), **options),
        )
        app = wrap(service)
        files = {"certificate": tls.certificate}
        async with serving(app, port=port, stop_timeout_s=0.5, **files):
            yield url

    return run


async def test_a_request_and_its_answer(secure, connecting):
    async with secure() as url, connecting(url) as channel:
        assert await channel.request(b"hello") == b"echo:hello"
        assert channel.peer == GRACE
        assert channel.session_id is not None
        await channel.check()


async def test_metadata_arrives(secure, connecting):
    seen = []

    async def handler(message: Message) -> bytes:
        seen.append((message.peer, dict(message.metadata)))
        return b""

    async with secure(handler) as url, connecting(url) as channel:
        await channel.request(b"", metadata={"purpose": "test"})
    assert seen[0][1] == {"purpose": "test"}


async def test_many_requests_at_once_share_a_few_connections(secure, connecting):
    clients = set()

    def watched(app):
        async def serve(scope, receive, send):
            if scope["type"] == "http":
                clients.add(scope["client"])
            await app(scope, receive, send)

        return serve

    async with secure(wrap=watched) as url, connecting(url) as channel:
        asking = (channel.request(b"%d" % n) for n in range(MAX_REQUESTS_IN_FLIGHT))
        answers = await asyncio.gather(*asking)
        assert answers == [b"echo:%d" % n for n in range(MAX_REQUESTS_IN_FLIGHT)]
        assert len(clients) <= HttpsPoolConfig().max_per_host


async def test_long_requests_and_answers(secure, connecting):
    async with secure() as url, connecting(url) as channel:
        answer = await channel.request(bytes(3_000_000))
        assert len(answer) == 3_000_005


async def test_channels_may_share_a_client(secure, connecting, tls):
    client = HttpsPool(tls=tls.client)
    async with secure() as url:
        for _ in range(2):
            async with connecting(url, https=client) as channel:
                assert await channel.request(b"x") == b"echo:x"
    await client.close()
    with pytest.raises(UsageError):
        await client.post("https://localhost/", headers=[], content=b"")


async def test_a_busy_channel_keeps_its_session_while_others_come_and_go(
    secure, connecting
):
    limits = {"max_https_sessions_per_peer": 3}
    async with secure(**limits) as url, connecting(url) as busy:
        for _ in range(6):
            assert await busy.request(b"busy") == b"echo:busy"
            async with connecting(url) as channel:
                await channel.request(b"x")


@pytest.mark.parametrize("shared", [False, True])
async def test_closing_fails_what_is_under_way(secure, connecting, tls, shared):
    entered = asyncio.Event()

    async def handler(message: Message) -> bytes:
        if message.payload == b"slow":
            entered.set()
            await asyncio.sleep(30)
        return b""

    one = HttpsPoolConfig(max_per_host=1)
    client = HttpsPool(one, tls=tls.client)
    async with secure(handler) as url, connecting(url, https=client) as another:
        channel = await connecting(
            url, https=client if shared else None, config=ClientConfig(https=one)
        )
        asking = [asyncio.create_task(channel.request(b"slow")) for _ in range(3)]
        slow, waiting, leaving = asking
        await entered.wait()
        leaving.cancel()
        await channel.close()
        async with asyncio.timeout(5):
            await asyncio.wait(asking)
        for task in (slow, waiting):
            with pytest.raises(ConnectionLost, match="the channel was closed"):
                await task
        assert slow.exception().may_have_run
        # A client that goes on does not say how far the request came.
        assert waiting.exception().may_have_run is shared
        assert leaving.cancelled()
        # What is shared is not closed.
        assert await another.request(b"x") == b""
    await client.close()


async def test_a_channel_that_fails_fails_what_is_under_way(secure, connecting, tls):
    meddler = Meddler(tls)

    async def handler(message: Message) -> bytes:
        if message.payload == b"slow":
            await asyncio.sleep(30)
        return b""

    async with secure(handler) as url:
        channel = await connecting(url, https=meddler)
        slow = asyncio.create_task(channel.request(b"slow"))
        await asyncio.sleep(0.05)
        meddler.bend = lambda response: _with(response, status=201)
        with pytest.raises(PeerError):
            await channel.request(b"x")
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionLost, match="failed") as lost:
                await slow
        assert lost.value.may_have_run
    await meddler.close()


async def test_a_channel_renews_its_session(secure, connecting):
    config = ClientConfig(renew_after_records=3)
    async with secure() as url, connecting(url, config=config) as channel:
        first = channel.session_id
        for n in range(10):
            assert await channel.request(b"%d" % n) == b"echo:%d" % n
            await asyncio.sleep(0.01)
        assert channel.session_id != first


async def test_channels_outlive_a_rotation(secure, connecting, ada, grace, resolver):
    def rotation_of(agent):
        return Rotation(agent, save=lambda _: None, publish=resolver.publish)

    async with secure() as url, connecting(url) as channel:
        session = channel.session_id
        for rotation in (rotation_of(grace), rotation_of(ada)):
            for _ in range(3):  # the fourth step revokes the keys of this session
                rotation.step(unix_time=CLOCK.unix_time(), early=True)
                assert await channel.request(b"x") == b"echo:x"
        assert channel.session_id == session
        async with connecting(url) as another:
            assert await another.request(b"y") == b"echo:y"


async def test_streams_need_a_websocket(secure, connecting):
    async with secure() as url, connecting(url) as channel:
        with pytest.raises(UsageError, match="WebSocket"):
            channel.stream()
        with pytest.raises(UsageError, match="WebSocket"):
            await channel.send_records([b""])
        assert await channel.request(b"x") == b"echo:x"


async def test_a_failure_of_the_handler(secure, connecting):
    async def handler(message: Message) -> bytes:
        raise RemoteFailure("policy_denied")

    async with secure(handler) as url, connecting(url) as channel:
        with pytest.raises(RemoteFailure) as refused:
            await channel.request(b"x")
        assert refused.value.reason == "policy_denied"
        assert not channel.closed


async def test_a_service_that_forgot_the_session(secure, connecting):
    port = free_port()
    async with secure(port=port) as url:
        channel = await connecting(url)
        first = channel.session_id
    async with secure(port=port):
        # What came of this one nobody can say: a bare status proves nothing.
        with pytest.raises(ConnectionLost) as lost:
            await channel.request(b"x")
        assert lost.value.may_have_run
        # The next one finds a new session.
        assert await channel.request(b"y") == b"echo:y"
        assert channel.session_id != first
        await channel.close()


async def test_nobody_there(connecting):
    with pytest.raises(ConnectFailed) as failed:
        await connecting(f"https://localhost:{free_port()}/sage")
    assert not failed.value.may_have_run


async def test_somebody_else_answers(secure, connecting, resolver):
    other = sage.Agent.generate("did:sage:web:agents.example:other")
    resolver.publish(other.record)
    async with secure() as url:
        with pytest.raises(ConnectionLost):
            await connecting(url, peer=other.did)


async def test_a_service_without_https(running, connecting):
    async with running() as url:
        with pytest.raises(ConnectionLost, match="404"):
            await connecting(url.replace("wss", "https"))


async def test_a_request_has_its_time_limit(secure, connecting):
    async def handler(message: Message) -> bytes:
        await asyncio.sleep(30)
        return b""

    async with secure(handler) as url, connecting(url) as channel:
        with pytest.raises(DeadlineExceeded) as late:
            await channel.request(b"x", timeout_s=0.3)
        assert late.value.may_have_run


async def test_a_closed_channel(secure, connecting):
    async with secure() as url:
        channel = await connecting(url)
        for _ in range(2):
            await channel.close()
        assert channel.closed
        with pytest.raises(SessionClosed):
            await channel.request(b"x")


@pytest.mark.parametrize("url", ["https://", "https://[", "https://a@localhost/"])
async def test_not_a_url(connecting, url):
    with pytest.raises(UsageError):
        await connecting(url)


async def test_a_key_that_http_does_not_allow(secure, connecting, resolver):
    """CRYPTO-02: no other key takes its place, and nothing is sent unsigned."""
    posted = []

    class Never:
        async def post(self, *args, **kwargs):
            posted.append(args)

        async def close(self):
            pass

    ada = sage.Agent.generate("did:sage:web:agents.example:ada")
    key = SigningKey.generate(ada.signing_key.kid, "sage-secp256k1-keccak256")
    courier = HttpsCourier(
        "https://localhost/sage",
        client=Never(),
        owned=False,
        find_key=lambda _: key,
        unix_time=CLOCK.unix_time,
    )
    with pytest.raises(UsageError):
        await courier.ask(sign(header(ada), key), Progress())
    assert not posted


async def test_over_http_2(grace, ada, resolver, tls):
    port = free_port()
    url = f"https://localhost:{port}/sage"
    versions = set()
    service = sage.Service(
        agent=grace,
        resolver=resolver,
        handler=echo,
        config=ServiceConfig(https_endpoints=frozenset({url})),
    )

    async def app(scope, receive, send):
        if scope["type"] == "http":
            versions.add(scope["http_version"])
        await service(scope, receive, send)

    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.certfile = config.keyfile = str(tls.certificate)
    config.errorlog = None
    config.graceful_timeout = 0.1
    ending = asyncio.Event()
    running = asyncio.create_task(
        hypercorn.asyncio.serve(app, config, shutdown_trigger=ending.wait)
    )
    try:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            await asyncio.sleep(0.01)
        async with sage.connect(
            url,
            agent=ada,
            peer=GRACE,
            resolver=resolver,
            tls=ssl.create_default_context(cafile=str(tls.authority)),
            config=ClientConfig(https=HttpsPoolConfig(http2=True)),
        ) as channel:
            asking = (channel.request(b"%d" % n) for n in range(20))
            assert await asyncio.gather(*asking) == [b"echo:%d" % n for n in range(20)]
    finally:
        ending.set()
        await running
    assert versions == {"2"}


# --- whoever stands between -------------------------------------------------------


class Meddler:
    """Changes what comes back, as whoever ends TLS in front of Grace could."""

    def __init__(self, tls) -> None:
        self.pool = HttpsPool(tls=tls.client)
        self.bend = lambda response: response
        self.kept: list[HttpResponse] = []

    async def post(self, url, *, headers, content, timeout_s=None):
        response = await self.pool.post(
            url, headers=headers, content=content, timeout_s=timeout_s
        )
        self.kept.append(response)
        return self.bend(response)

    async def close(self) -> None:
        await self.pool.close()


@pytest.fixture
async def meddled(secure, connecting, tls):
    """Return the error that a request ends with when its answer is bent."""

    async def run(bend):
        meddler = Meddler(tls)
        try:
            async with secure() as url:
                channel = await connecting(url, https=meddler)
                assert await channel.request(b"well") == b"echo:well"
                earlier = meddler.kept[-1]
                meddler.bend = lambda response: bend(response, earlier)
                with pytest.raises(Exception) as failed:  # noqa: PT011  (the caller looks)
                    await channel.request(b"x")
                await channel.close()
                return failed.value, channel
        finally:
            await meddler.close()

    return run


def _with(response: HttpResponse, *more, without=(), status=None, body=None):
    kept = [line for line in response.headers if line[0].lower() not in without]
    return HttpResponse(
        status or response.status,
        (*kept, *more),
        (),
        response.body if body is None else body,
    )


def _altered(text: str) -> str:
    at = text.index(":") + 5
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


BENT = {
    "another status": lambda r, _: _with(r, status=201),
    "a status that HTTP has not": lambda r, _: _with(r, status=99),
    "another body": lambda r, _: _with(r, body=r.body + b" "),
    "another signature": lambda r, _: _with(
        r,
        ("signature", _altered(dict(r.headers)["signature"])),
        without={"signature"},
    ),
    "no digest": lambda r, _: _with(r, without={"content-digest"}),
    "no signature input": lambda r, _: _with(r, without={"signature-input"}),
    "another sender": lambda r, _: _with(
        r, ("x-sage-did", "did:sage:web:a.example:x"), without={"x-sage-did"}
    ),
    "a line twice": lambda r, _: _with(r, ("x-sage-did", GRACE)),
    "metadata in the head": lambda r, _: _with(r, ("x-sage-meta-a", "b")),
    "another id in the head": lambda r, _: _with(r, ("x-sage-message-id", "x")),
    "a content coding": lambda r, _: _with(r, ("content-encoding", "identity")),
    "an earlier answer": lambda r, earlier: earlier,
}


@pytest.mark.parametrize("name", BENT)
async def test_an_answer_that_was_bent(meddled, name):
    error, channel = await meddled(BENT[name])
    assert isinstance(error, PeerError)
    assert error.may_have_run
    assert channel.closed


async def test_an_answer_without_a_signature_is_none(meddled):
    error, _ = await meddled(
        lambda r, _: _with(r, without={"signature", "signature-input"})
    )
    assert isinstance(error, ConnectionLost)
    assert error.may_have_run
    error, _ = await meddled(lambda r, _: HttpResponse(200, (), (), b"{}"))
    assert isinstance(error, ConnectionLost)


async def test_the_outer_signature_of_somebody_else(meddled, grace, resolver):
    """The envelope is Grace's, and the status around it is Mallory's."""
    mallory = sage.Agent.generate("did:sage:web:agents.example:mallory")
    resolver.publish(mallory.record)

    def bend(response, _):
        lines = tuple(
            (name, value.replace(GRACE, mallory.did))
            for name, value in response.headers
        )
        return HttpResponse(response.status, lines, (), response.body)

    error, _ = await meddled(bend)
    assert isinstance(error, AuthenticationError | ProtocolError)
    assert error.code is Code.SIG_BINDING
