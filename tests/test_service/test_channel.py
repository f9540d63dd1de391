"""Channels and services on real sockets, from the first byte to the last."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

import sage
from sage.errors import (
    AuthenticationError,
    Code,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    ResolutionError,
    SessionClosed,
    UsageError,
)
from sage.identity import revoke_key
from sage.limits import ENVELOPE_TTL_S, OBSERVATION_MAX_AGE_S
from sage.service import (
    Channel,
    ClientConfig,
    Clock,
    Message,
    ServiceConfig,
    serving,
)
from sage.service.acceptance import Acceptance
from sage.service.accepted import ConnectionSessions
from sage.service.courier import Reply
from sage.service.initiation import initiate
from sage.service.socket_courier import SocketCourier
from sage.service.stream_opening import StreamOpening
from sage.transport import WebSocket
from sage.transport.metrics import Carriage


async def test_a_request_is_answered(running, connecting):
    async with running() as url, connecting(url) as channel:
        assert await channel.request(b"hello") == b"echo:hello"
        assert channel.peer.endswith(":grace")
        assert not channel.closed
    assert channel.closed


async def test_a_payload_may_be_released_once_the_service_has_it(running, connecting):
    payload = memoryview(b"hello")

    async def handler(message: sage.Message) -> bytes:
        payload.release()
        return message.payload

    async with running(handler=handler) as url, connecting(url) as channel:
        assert await channel.request(payload) == b"hello"


@pytest.mark.parametrize("renewed", [False, True])
async def test_a_pause_before_a_session_is_used_costs_no_request(
    running, connecting, renewed
):
    """The service would refuse its first record, and end the connection over it."""
    real, ahead = Clock(), [0.0]
    clock = Clock(
        monotonic=lambda: real.now() + ahead[0], wall=lambda: real.wall() + ahead[0]
    )
    async with running(clock=clock) as url, connecting(url, clock=clock) as channel:
        if renewed:
            await channel.request(b"before")
            await channel.handshake()
        unused = channel.session_id
        ahead[0] = ENVELOPE_TTL_S + 60
        assert await channel.request(b"hello") == b"echo:hello"
        assert channel.session_id != unused


async def test_a_handshake_waits_for_a_request_in_its_own_time(running, connecting):
    """A service drops old sessions: the next one waits for who uses the oldest."""
    going = asyncio.Event()

    async def handler(message: Message) -> bytes:
        if message.payload == b"slow":
            await going.wait()
        return message.payload

    config = ClientConfig(handshake_timeout_s=1.0)
    async with running(handler) as url, connecting(url, config=config) as channel:
        slow = asyncio.create_task(channel.request(b"slow"))
        await channel.request(b"x")
        for _ in range(3):
            await channel.handshake()
        async with asyncio.timeout(10):
            with pytest.raises(DeadlineExceeded, match="an old session"):
                await channel.handshake()
            assert await channel.request(b"y") == b"y"
            going.set()
            assert await slow == b"slow"
            await channel.handshake()


async def test_requests_may_overlap(running, connecting):
    async def slow_first(message: Message) -> bytes:
        await asyncio.sleep(0.05 if message.payload == b"0" else 0)
        return message.payload

    async with running(slow_first) as url, connecting(url) as channel:
        bodies = [str(n).encode() for n in range(50)]
        assert await asyncio.gather(*map(channel.request, bodies)) == bodies


async def test_empty_and_large_payloads(running, connecting):
    async with running() as url, connecting(url) as channel:
        assert await channel.request(b"") == b"echo:"
        large = bytes(6 * 1024 * 1024)
        assert await channel.request(large) == b"echo:" + large


async def test_metadata_and_peer_reach_the_handler(running, connecting, ada):
    seen = []

    async def handler(message: Message) -> bytes:
        seen.append(message)
        return b""

    async with running(handler) as url, connecting(url) as channel:
        await channel.request(b"x", metadata={"purpose": "test"})
        assert seen[0].peer == ada.did
        assert dict(seen[0].metadata) == {"purpose": "test"}
        assert seen[0].session_id == channel.session_id


async def test_the_session_is_renewed_before_its_last_record(running, connecting):
    async with running() as url, connecting(url) as channel:
        first = channel.session_id
        replies = [await channel.request(b"%d" % n) for n in range(1005)]
        assert replies == [b"echo:%d" % n for n in range(1005)]
        assert channel.session_id != first


async def test_many_requests_at_once_across_a_renewal(running, connecting):
    async with running() as url, connecting(url) as channel:
        bodies = [b"%d" % n for n in range(2100)]
        replies = await asyncio.gather(*map(channel.request, bodies))
        assert replies == [b"echo:" + body for body in bodies]


async def test_a_failing_handler_is_an_authentic_failure(running, connecting):
    async def handler(message: Message) -> bytes:
        if message.payload == b"deny":
            raise sage.RemoteFailure("policy_denied")
        kind = BaseException if message.payload == b"odd" else ValueError
        raise kind("secret detail")

    async with running(handler) as url, connecting(url) as channel:
        with pytest.raises(sage.RemoteFailure) as failure:
            await channel.request(b"deny")
        assert failure.value.reason == "policy_denied"
        for payload in (b"crash", b"odd"):
            with pytest.raises(sage.RemoteFailure) as failure:
                await channel.request(payload, timeout_s=5)
            assert failure.value.reason == "operation_failed"
            assert "secret" not in str(failure.value)
        assert not channel.closed


async def test_a_handler_whose_helper_was_cancelled_has_failed(running, connecting):
    async def handler(message):
        helper = asyncio.create_task(asyncio.sleep(60))
        helper.cancel()
        await helper

    async with running(handler) as url, connecting(url) as channel:
        async with asyncio.timeout(5):
            with pytest.raises(sage.RemoteFailure) as failure:
                await channel.request(b"x")
        assert failure.value.reason == "operation_failed"


async def test_a_slow_handler_is_unavailable(running, connecting):
    async def handler(message: Message) -> bytes:
        await asyncio.sleep(60)
        return b""

    config = ServiceConfig(handler_timeout_s=0.05)
    async with running(handler, config=config) as url, connecting(url) as channel:
        with pytest.raises(sage.RemoteFailure) as failure:
            await channel.request(b"x")
        assert failure.value.reason == "unavailable"


async def test_a_handler_that_waited_for_somebody_else_has_failed(
    running, connecting, caplog
):
    async def handler(message: Message) -> bytes:
        raise TimeoutError("the database")

    async with running(handler) as url, connecting(url) as channel:
        with pytest.raises(sage.RemoteFailure) as failure:
            await channel.request(b"x")
        assert failure.value.reason == "operation_failed"
    assert "the database" in caplog.text


async def test_a_payload_that_would_open_a_stream_is_not_sent(running, connecting):
    opening = StreamOpening(bytes(16), "chacha20poly1305").encode_request()
    half = b'{"task":"sage-stream/open@1"}'
    async with running() as url, connecting(url) as channel:
        for payload in (opening, bytearray(opening), memoryview(opening), half):
            with pytest.raises(UsageError, match="stream"):
                await channel.request(payload)
        longer = opening + b" " * 300
        assert await channel.request(longer) == b"echo:" + longer


async def test_a_request_times_out(running, connecting):
    async def handler(message: Message) -> bytes:
        await asyncio.sleep(0.5)
        return message.payload

    async with running(handler) as url, connecting(url) as channel:
        with pytest.raises(DeadlineExceeded) as failure:
            await channel.request(b"late", timeout_s=0.1)
        assert failure.value.may_have_run
        # The late answer is dropped, and the channel goes on.
        assert await channel.request(b"again") == b"again"


@pytest.mark.parametrize("limit", [float("nan"), "1", True])
async def test_what_is_no_time_limit_reaches_no_loop(running, connecting, limit):
    async with running() as url, connecting(url) as channel:
        for use in (lambda **limit: channel.request(b"x", **limit), channel.check):
            with pytest.raises(UsageError, match="timeout_s"):
                await use(timeout_s=limit)
        with pytest.raises(DeadlineExceeded):
            await channel.request(b"x", timeout_s=-1)
        with pytest.raises(UsageError, match="metadata"):
            await channel.request(b"x", metadata="text")
        assert await channel.request(b"x", timeout_s=float("inf")) == b"echo:x"


async def test_closing_is_idempotent_and_quick(running, connecting):
    async def handler(message: Message) -> bytes:
        await asyncio.sleep(60)
        return b""

    async with running(handler) as url:
        channel = await connecting(url)
        waiting = asyncio.create_task(channel.request(b"x"))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            await channel.close()
            await channel.close()
        with pytest.raises(ConnectionLost):
            await waiting
        with pytest.raises(SessionClosed):
            await channel.request(b"x")


async def test_a_stopping_service_ends_its_channels(running, connecting):
    async with running() as url:
        channel = await connecting(url)
    with pytest.raises(ConnectionLost):
        await channel.request(b"x")
    await channel.close()


async def test_an_unknown_initiator_is_refused(running, connecting, caplog):
    stranger = sage.Agent.generate("did:sage:web:agents.example:stranger")
    everyone = sage.MemoryResolver([stranger.record])

    class Both:
        async def resolve(self, did, *, now):
            return await everyone.resolve(did, now=now)

    async with running() as url:
        with pytest.raises((ConnectionLost, ResolutionError)):
            await connecting(url, agent=stranger, resolver=Both())


async def test_an_impostor_is_refused(running, connecting, grace, caplog):
    impostor = sage.Agent.generate("did:sage:web:agents.example:ada")
    lies = sage.MemoryResolver([impostor.record, grace.record])
    async with running() as url:
        with pytest.raises(ConnectionLost, match="refused"):
            await connecting(url, agent=impostor, resolver=lies)
    assert "sig.bad" in caplog.text


async def test_a_false_service_is_refused(running, connecting, ada, resolver):
    false_grace = sage.Agent.generate("did:sage:web:agents.example:grace")
    lies = sage.MemoryResolver([ada.record, false_grace.record])
    async with running(agent=false_grace, resolver=lies) as url:
        # It cannot decapsulate what was sealed to Grace's key: the initiation
        # opens nothing, and the answer is not signed by her.
        with pytest.raises((AuthenticationError, ConnectionLost)):
            await connecting(url)


async def test_a_revoked_key_closes_the_session(running, connecting, ada, resolver):
    async with running() as url, connecting(url) as channel:
        assert await channel.request(b"1")
        gone = revoke_key(ada.record, "sign-1", unix_time=1)
        resolver.publish(gone)
        with pytest.raises(ResolutionError):
            await channel.request(b"2")
        # The session is gone, and no new one can be had with that key.
        with pytest.raises(ResolutionError):
            await channel.request(b"3")


class Failing:
    """A resolver that can be made to fail, or to wait."""

    def __init__(self, inner, error=None):
        self.inner, self.fails, self.gate = inner, False, asyncio.Event()
        self.gate.set()
        unreachable = ResolutionError("no answer", code=Code.RECORD_UNREACHABLE)
        self.error = error or unreachable

    async def resolve(self, did, *, now):
        await self.gate.wait()
        if self.fails:
            raise self.error
        return await self.inner.resolve(did, now=now)


async def test_a_key_that_cannot_be_seen_closes_the_session(
    running, connecting, resolver
):
    failing = Failing(resolver)
    async with running() as url, connecting(url, resolver=failing) as channel:
        first = channel._renewal.current.session
        failing.fails = True
        with pytest.raises(ResolutionError):
            await channel.request(b"1")
        assert first.closed
        failing.fails = False
        assert await channel.request(b"2") == b"echo:2"
        assert channel._renewal.current.session is not first


async def test_a_resolver_that_timed_out_is_not_a_late_answer(
    running, connecting, resolver
):
    failing = Failing(resolver, TimeoutError("the name server"))
    async with running() as url, connecting(url, resolver=failing) as channel:
        failing.fails = True
        with pytest.raises(TimeoutError, match="the name server") as failure:
            await channel.request(b"1")
        assert type(failure.value) is TimeoutError
        failing.fails = False
        assert await channel.request(b"2") == b"echo:2"


async def test_a_request_beside_the_one_that_closed_the_session(
    running, connecting, resolver
):
    async def slow(message: Message) -> bytes:
        await asyncio.sleep(0.3)
        return b""

    failing = Failing(resolver)
    async with running(slow) as url, connecting(url, resolver=failing) as channel:
        under_way = asyncio.create_task(channel.request(b"1"))
        await asyncio.sleep(0.1)
        failing.fails = True
        with pytest.raises(ResolutionError):
            await channel.request(b"2")
        with pytest.raises(ConnectionLost) as lost:
            await under_way
        assert lost.value.may_have_run


async def test_a_channel_that_ends_as_a_handshake_does_keeps_no_session(
    running, connecting, monkeypatch
):
    made, closing = [], []

    async def initiate_and_close(*args, **options):
        made.append(await initiate(*args, **options))
        closing.append(asyncio.create_task(channel.close()))
        return made[-1]

    async with running() as url, connecting(url) as channel:
        monkeypatch.setattr("sage.service.channel.initiate", initiate_and_close)
        with contextlib.suppress(SessionClosed):
            await channel.handshake()
        await closing[0]
        assert made[0].session.closed
        assert channel.session_id is None


async def test_a_channel_that_ends_during_a_handshake_says_so(running, connecting):
    async with running() as url, connecting(url) as channel:
        renewing = asyncio.create_task(channel.handshake())
        await asyncio.sleep(0)
        await channel.close()
        with pytest.raises(SessionClosed):
            await renewing
        assert channel.session_id is None


async def test_a_reader_that_breaks_ends_the_channel(running, connecting, monkeypatch):
    def broken(text):
        raise ValueError("not one of ours")

    async with running() as url, connecting(url) as channel:
        monkeypatch.setattr("sage.service.socket_courier.decode_envelope", broken)
        async with asyncio.timeout(2):
            with pytest.raises(ConnectionLost):
                await channel.request(b"1")
        assert channel.closed


async def test_closing_waits_for_a_goodbye_under_way(connecting, tls):
    """A service that sends nonsense, and then reads nothing."""

    async def nonsense(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            await send({"type": "websocket.send", "text": "{"})
            await asyncio.sleep(60)

    async with serving(nonsense, certificate=tls.certificate) as port:
        url = f"wss://localhost:{port}/sage"
        socket = await WebSocket.open(url, tls=tls.client)
        options = connecting(url)
        courier = SocketCourier(socket)
        channel = Channel(
            courier,
            agent=options._agent,
            peer=options._peer,
            resolver=options._resolver,
            config=ClientConfig(),
            clock=Clock(),
        )
        with pytest.raises(ConnectionLost):
            await channel.handshake()
        async with asyncio.timeout(5):
            await channel.close()
        assert courier._reader.done()


@pytest.mark.parametrize("url", ["ws://localhost:1/sage", "wss://[", "wss:///sage"])
async def test_only_wss(connecting, url):
    with pytest.raises(UsageError):
        await connecting(url)


async def test_nobody_listens(connecting):
    with pytest.raises(ConnectFailed):
        await connecting("wss://localhost:1/sage")


async def test_an_untrusted_certificate(running, connecting):
    async with running() as url:
        with pytest.raises(ConnectFailed):
            await connecting(url, tls=None)


async def test_a_wrong_path_is_refused(running, connecting):
    async with running() as url:
        with pytest.raises(ConnectFailed):
            await connecting(url + "/other")


async def test_a_silent_service_does_not_hold_us(connecting, tls):
    async def accept_and_wait(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass

    async with serving(accept_and_wait, certificate=tls.certificate) as port:
        config = ClientConfig(handshake_timeout_s=0.2)
        with pytest.raises(DeadlineExceeded):
            await connecting(f"wss://localhost:{port}/sage", config=config)


# --- answers that are not quite right ---------------------------------------------


class Bending:
    """Carries requests straight to a service's acceptance, and bends its answers."""

    carriage, has_streams, is_bound = Carriage.WEBSOCKET, False, True

    def __init__(self, acceptance):
        self._acceptance, self.bend = acceptance, lambda response: response

    def start(self, **_):
        pass

    async def ask(self, request, progress):
        progress.sent = True
        response, _ = await self._acceptance.answer(request)
        return Reply(self.bend(response))

    async def stop(self, error, code):
        pass

    async def wait_stopped(self):
        pass


@pytest.fixture
def bent(ada, resolver, host):
    """Return a channel after its handshake, its courier, and how to set time on."""

    async def make():
        ahead = [0.0]
        real = Clock()
        courier = Bending(Acceptance(host, ConnectionSessions(8)))
        channel = Channel(
            courier,
            agent=ada,
            peer=host.agent.did,
            resolver=resolver,
            config=ClientConfig(),
            clock=Clock(monotonic=lambda: real.now() + ahead[0]),
        )
        await channel.handshake()
        return channel, courier, ahead

    return make


async def test_an_answer_that_only_the_session_vouches_for(bent):
    """Its record opens, but nobody has signed what stands around it."""
    channel, courier, _ = await bent()
    assert await channel.request(b"hello") == b"echo:hello"
    courier.bend = lambda response: replace(response, signature=bytes(64))
    with pytest.raises(AuthenticationError) as refused:
        await channel.request(b"hello")
    assert refused.value.code is Code.SIG_BAD
    assert channel.closed


async def test_an_answer_under_a_key_that_was_revoked_meanwhile(bent, grace, resolver):
    channel, courier, ahead = await bent()

    def revoke(response):
        resolver.publish(revoke_key(grace.record, "sign-1", unix_time=1))
        ahead[0] = OBSERVATION_MAX_AGE_S + 1
        return response

    courier.bend = revoke
    with pytest.raises(ResolutionError) as refused:
        await channel.request(b"hello")
    assert refused.value.may_have_run
    session = channel._renewal.current.session
    assert session.closed
    assert session.received == 0
    await channel.close()
