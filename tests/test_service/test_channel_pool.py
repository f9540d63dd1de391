"""A pool of channels on real sockets, and what goes wrong with those."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from contextlib import asynccontextmanager

import pytest

import sage
from sage.errors import (
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    PeerError,
    RemoteFailure,
    ResolutionError,
    SessionClosed,
    UsageError,
)
from sage.identity import revoke_key
from sage.service import ChannelPoolConfig, ClientConfig, ServiceConfig, serving

from ..ports import free_port
from .conftest import GRACE, echo


class Proxy:
    """Stands between: forwards bytes, or does what a bad network does."""

    def __init__(self, target: int) -> None:
        self.target, self.connections = target, 0
        self.refuse_next = 0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.writers: list[asyncio.StreamWriter] = []
        self.times: list[float] = []

    async def __call__(self, reader, writer) -> None:
        self.connections += 1
        self.times.append(time.monotonic())
        if self.refuse_next:
            self.refuse_next -= 1
            writer.transport.abort()
            return
        there = await asyncio.open_connection("127.0.0.1", self.target)
        self.writers += [writer, there[1]]
        await asyncio.gather(
            self.forward(reader, there[1]), self.forward(there[0], writer)
        )

    async def forward(self, reader, writer) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await self.flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()


@pytest.fixture
def proxied(running):
    """Return a service behind a proxy of ours: its URL and the proxy."""

    @asynccontextmanager
    async def run(**options):
        async with running(**options) as url:
            proxy = Proxy(int(url.split(":")[2].split("/")[0]))
            listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
            port = listening.sockets[0].getsockname()[1]
            try:
                yield f"wss://localhost:{port}/sage", proxy
            finally:
                listening.close()
                proxy.cut()

    return run


@pytest.fixture
async def pooled(ada, resolver, tls):
    """Return a pool by its options; all are closed in the end."""
    pools = []

    def make(channels=None, **options) -> sage.ChannelPool:
        pool = sage.ChannelPool(
            agent=ada,
            resolver=resolver,
            tls=tls.client,
            config=ChannelPoolConfig(**options),
            channels=channels,
        )
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        await pool.close()


async def test_requests_share_a_channel(running, pooled):
    async with running() as url:
        pool = pooled()
        answers = await asyncio.gather(
            *(pool.request(url, b"%d" % n, peer=GRACE) for n in range(16))
        )
        assert answers == [b"echo:%d" % n for n in range(16)]
        assert pool.statistics.attempts == 1
        assert pool.statistics.open == pool.statistics.idle == 1


async def test_more_requests_take_more_channels_up_to_their_number(running, pooled):
    going_on = asyncio.Event()

    async def handler(message):
        await going_on.wait()
        return b"done"

    async with running(handler) as url:
        pool = pooled(shared_requests=2, max_per_endpoint=3)
        asking = [
            asyncio.create_task(pool.request(url, b"x", peer=GRACE)) for _ in range(9)
        ]
        async with asyncio.timeout(5):
            while pool.statistics.waiting != 3 or pool.statistics.open != 3:
                await asyncio.sleep(0.01)
        going_on.set()
        assert await asyncio.gather(*asking) == [b"done"] * 9
        assert pool.statistics.attempts == 3


async def test_a_lent_channel_belongs_to_nobody_else(running, pooled):
    async with running() as url:
        pool = pooled(max_per_endpoint=1, wait_s=0.2)
        async with pool.channel(url, peer=GRACE) as channel:
            assert await channel.request(b"mine") == b"echo:mine"
            with pytest.raises(DeadlineExceeded, match="no channel"):
                await pool.request(url, b"x", peer=GRACE)
            with pytest.raises(DeadlineExceeded, match=r"0\.1 s"):
                async with pool.channel(url, peer=GRACE, timeout_s=0.1):
                    pass
        async with pool.channel(url, peer=GRACE) as again:
            assert again is channel


async def test_a_lent_channel_carries_a_stream(running, pooled):
    async def count(stream):
        total = 0
        while data := await stream.receive():
            total += len(data)
        await stream.send(b"%d" % total)

    async with running(stream_handler=count) as url:
        pool = pooled()
        for _ in range(2):
            async with (
                pool.channel(url, peer=GRACE) as channel,
                channel.stream() as stream,
            ):
                await stream.send(b"12345")
                await stream.end()
                assert await stream.receive() == b"5"
        assert pool.statistics.attempts == 1


async def test_a_channel_that_its_user_closed_is_not_lent_again(running, pooled):
    async with running() as url:
        pool = pooled()
        async with pool.channel(url, peer=GRACE) as channel:
            await channel.close()
        assert pool.statistics.open == 0
        assert await pool.request(url, b"x", peer=GRACE) == b"echo:x"
        assert pool.statistics.attempts == 2


async def test_an_idle_channel_is_dropped(running, pooled):
    async with running() as url:
        pool = pooled(idle_s=0.2)
        await pool.request(url, b"x", peer=GRACE)
        assert pool.statistics.idle == 1
        async with asyncio.timeout(3):
            while pool.statistics.open:
                await asyncio.sleep(0.02)
        assert pool.statistics.dropped == 1
        # Nothing is remembered of an endpoint that nobody uses.
        assert not pool._endpoints


async def test_a_busy_channel_is_not_dropped(running, pooled):
    async with running() as url:
        pool = pooled(idle_s=0.1)
        async with pool.channel(url, peer=GRACE) as channel:
            await asyncio.sleep(0.4)
            assert await channel.request(b"x") == b"echo:x"


async def test_the_idlest_channel_gives_way_to_another_endpoint(running, pooled):
    async with running() as one, running() as two, running() as three:
        pool = pooled(max_channels=2)
        for url in (one, two, three):
            await pool.request(url, b"x", peer=GRACE)
        assert pool.statistics.open == 2
        assert pool.statistics.dropped == 1
        await pool.request(two, b"x", peer=GRACE)
        assert pool.statistics.attempts == 3


async def test_where_all_channels_are_busy_another_endpoint_waits(running, pooled):
    async with running() as one, running() as two:
        pool = pooled(max_channels=1)
        async with pool.channel(one, peer=GRACE):
            waiting = asyncio.create_task(pool.request(two, b"x", peer=GRACE))
            await asyncio.sleep(0.1)
            assert not waiting.done()
        assert await waiting == b"echo:x"
        assert pool.statistics.open == 1


async def test_a_live_channel_is_used_again_after_a_pause(proxied, pooled):
    async with proxied() as (url, proxy):
        pool = pooled(check_after_s=0.01)
        for _ in range(3):
            await pool.request(url, b"x", peer=GRACE)
            await asyncio.sleep(0.05)
        assert proxy.connections == 1


async def test_a_half_open_channel_is_found_out_before_it_is_used(proxied, pooled):
    async with proxied() as (url, proxy):
        pool = pooled(check_after_s=0.01, check_timeout_s=0.3)
        await pool.request(url, b"x", peer=GRACE)
        await asyncio.sleep(0.05)
        # Nothing comes through any more, and no end of the connection shows.
        proxy.flowing.clear()
        asking = asyncio.create_task(pool.request(url, b"y", peer=GRACE))
        await asyncio.sleep(0.6)
        proxy.flowing.set()
        assert await asking == b"echo:y"
        assert proxy.connections == 2
        assert pool.statistics.dropped == 1


async def test_a_connection_that_broke_in_a_pause_is_replaced(proxied, pooled):
    async with proxied() as (url, proxy):
        pool = pooled()
        await pool.request(url, b"x", peer=GRACE)
        proxy.cut()
        await asyncio.sleep(0.1)
        assert await pool.request(url, b"y", peer=GRACE) == b"echo:y"
        assert proxy.connections == 2


async def test_nobody_there(pooled):
    pool = pooled(attempts=3, reconnect_s=0.05)
    with pytest.raises(ConnectFailed) as failed:
        await pool.request(f"wss://localhost:{free_port()}/sage", b"x", peer=GRACE)
    assert not failed.value.may_have_run
    assert pool.statistics.attempts == pool.statistics.failures == 3
    assert pool.statistics.open == pool.statistics.waiting == 0


async def test_a_crowd_meets_an_outage_as_one(proxied, pooled):
    async with proxied() as (url, proxy):
        pool = pooled(attempts=1)
        proxy.refuse_next = 10_000
        asking = [pool.request(url, b"x", peer=GRACE) for _ in range(200)]
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(result) for result in results} == {ConnectFailed}
        assert proxy.connections == 1


async def test_a_crowd_comes_back_as_one(proxied, pooled):
    async with proxied() as (url, proxy):
        pool = pooled(attempts=20, reconnect_s=0.02, reconnect_max_s=0.1)
        proxy.refuse_next = 3
        asking = [pool.request(url, b"%d" % n, peer=GRACE) for n in range(100)]
        assert await asyncio.gather(*asking) == [b"echo:%d" % n for n in range(100)]
        # Three that failed, and as many channels as a hundred requests may take.
        assert 4 <= proxy.connections <= 3 + ChannelPoolConfig().max_per_endpoint


async def test_a_service_that_flaps(proxied, pooled):
    async with proxied() as (url, proxy):
        pool = pooled(reconnect_s=0.02, reconnect_max_s=0.05, attempts=10)
        served = 0
        for _ in range(6):
            proxy.refuse_next = 1
            assert await pool.request(url, b"x", peer=GRACE) == b"echo:x"
            served += 1
            proxy.cut()
            await asyncio.sleep(0.05)
        assert served == 6
        assert proxy.connections == 12


async def test_attempts_stand_apart_by_the_back_off(proxied, ada, resolver, tls):
    async with proxied() as (url, proxy):
        pool = sage.ChannelPool(
            agent=ada,
            resolver=resolver,
            tls=tls.client,
            config=ChannelPoolConfig(attempts=4, reconnect_s=0.1),
            # The longest wait that full jitter may draw.
            entropy=lambda count: b"\xff" * count,
        )
        proxy.refuse_next = 3
        async with pool:
            await pool.request(url, b"x", peer=GRACE)
        gaps = [b - a for a, b in zip(proxy.times, proxy.times[1:], strict=False)]
        for gap, bound in zip(gaps, (0.1, 0.2, 0.4), strict=True):
            assert gap > bound * 0.95


async def test_a_wait_for_a_silent_service_has_an_end(pooled):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"wss://localhost:{silent.getsockname()[1]}/sage"
        pool = pooled(wait_s=0.3)
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded) as late:
            await pool.request(url, b"x", peer=GRACE)
        assert not late.value.may_have_run
        assert time.monotonic() - began < 3


async def test_a_request_whose_answer_was_lost_is_not_sent_again(proxied, pooled):
    calls = []
    async with proxied(handler=_lose(calls)) as (url, proxy):
        pool = pooled()
        calls.append(proxy)
        with pytest.raises(ConnectionLost) as lost:
            await pool.request(url, b"x", peer=GRACE)
        assert lost.value.may_have_run
        assert len(calls) == 2


async def test_unless_that_does_no_harm(proxied, pooled):
    calls = []
    async with proxied(handler=_lose(calls)) as (url, proxy):
        pool = pooled()
        calls.append(proxy)
        answer = await pool.request(url, b"x", peer=GRACE, idempotent=True)
        assert answer == b"done"
        assert len(calls) == 3


def _lose(calls):
    """The first answer gets lost on the way; ``calls`` begins with the proxy."""

    async def handler(message):
        calls.append(message.payload)
        if len(calls) == 2:
            calls[0].cut()
        return b"done"

    return handler


async def test_a_failure_of_the_peer_is_no_reason_to_send_again(running, pooled):
    calls = []

    async def handler(message):
        calls.append(message)
        raise RemoteFailure("policy_denied")

    async with running(handler) as url:
        with pytest.raises(RemoteFailure) as refused:
            await pooled().request(url, b"x", peer=GRACE, idempotent=True)
        assert refused.value.reason == "policy_denied"
        assert len(calls) == 1


async def test_somebody_else_at_the_other_end(running, pooled, resolver):
    other = sage.Agent.generate("did:sage:web:agents.example:other")
    resolver.publish(other.record)
    async with running() as url:
        pool = pooled(attempts=3, reconnect_s=0.05)
        with pytest.raises((PeerError, ConnectionLost)):
            await pool.request(url, b"x", peer=other.did)
        assert pool.statistics.open == 0


async def test_a_revoked_key_ends_the_wait_at_once(running, pooled, resolver, ada):
    name = ada.signing_key.kid.partition("#")[2]
    resolver.publish(revoke_key(ada.record, name, unix_time=int(time.time())))
    async with running() as url:
        pool = pooled(attempts=5)
        with pytest.raises(ResolutionError):
            await pool.request(url, b"x", peer=GRACE)
        assert pool.statistics.attempts == 1


async def test_a_peer_is_a_did(pooled):
    with pytest.raises(DecodeError):
        await pooled().request("wss://localhost/sage", b"x", peer="grace")


@pytest.mark.parametrize("url", [5, b"wss://localhost/sage", ["wss://x"]])
async def test_an_endpoint_is_text(pooled, url):
    with pytest.raises(UsageError, match="url must be str, not "):
        await pooled().request(url, b"x", peer=GRACE)


async def test_an_endpoint_is_a_secure_url(pooled):
    pool = pooled()
    with pytest.raises(UsageError):
        await pool.request("ws://localhost/sage", b"x", peer=GRACE)
    assert pool.statistics.attempts == 1


async def test_the_same_peer_elsewhere_is_another_endpoint(running, pooled):
    async with running() as one, running() as two:
        pool = pooled()
        await pool.request(one, b"x", peer=GRACE)
        await pool.request(two, b"x", peer=GRACE)
        assert pool.statistics.open == 2


async def test_closing_ends_channels_waits_and_attempts(running, pooled):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with running() as url:
            pool = pooled(max_per_endpoint=1)
            entered = asyncio.Event()

            async def hold():
                async with pool.channel(url, peer=GRACE) as channel:
                    entered.set()
                    while not channel.closed:
                        await asyncio.sleep(0.01)

            holding = asyncio.create_task(hold())
            await entered.wait()
            waiting = asyncio.create_task(pool.request(url, b"x", peer=GRACE))
            dead = f"wss://localhost:{silent.getsockname()[1]}/sage"
            connecting = asyncio.create_task(pool.request(dead, b"x", peer=GRACE))
            await asyncio.sleep(0.05)
            began = time.monotonic()
            for _ in range(2):
                await pool.close()
            assert time.monotonic() - began < 2
            await holding
            for task in (waiting, connecting):
                with pytest.raises(SessionClosed):
                    await task
            with pytest.raises(SessionClosed):
                await pool.request(url, b"x", peer=GRACE)
            assert pool.closed
            assert pool.statistics.open == 0


async def test_a_cancelled_request_gives_its_place_back(running, pooled):
    started = asyncio.Event()

    async def handler(message):
        if message.payload == b"slow":
            started.set()
            await asyncio.sleep(30)
        return b"done"

    async with running(handler) as url:
        pool = pooled(shared_requests=1, max_per_endpoint=1)
        asking = asyncio.create_task(pool.request(url, b"slow", peer=GRACE))
        await started.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await pool.request(url, b"fast", peer=GRACE) == b"done"
        assert pool.statistics.attempts == 1


async def test_requests_have_their_time_limit(running, pooled):
    async def handler(message):
        await asyncio.sleep(30)
        return b""

    async with running(handler) as url:
        pool = pooled(channels=ClientConfig(request_timeout_s=0.2))
        with pytest.raises(DeadlineExceeded) as late:
            await pool.request(url, b"x", peer=GRACE)
        assert late.value.may_have_run
        with pytest.raises(DeadlineExceeded, match=r"0\.1 s"):
            await pool.request(url, b"x", peer=GRACE, timeout_s=0.1)


async def test_three_hundred_requests_through_a_small_pool(running, pooled):
    async with running() as url:
        pool = pooled(shared_requests=4, max_per_endpoint=2)
        answers = await asyncio.gather(
            *(pool.request(url, b"%d" % n, peer=GRACE) for n in range(300))
        )
        assert answers == [b"echo:%d" % n for n in range(300)]
        assert pool.statistics.open <= 2
        assert pool.statistics.waiting == 0


async def test_channels_over_https_share_their_connections(
    pooled, grace, resolver, tls
):
    url = f"https://localhost:{free_port()}/sage"
    service = sage.Service(
        agent=grace,
        resolver=resolver,
        handler=echo,
        config=ServiceConfig(https_endpoints=frozenset({url})),
    )
    port = int(url.split(":")[2].split("/")[0])
    async with serving(service, certificate=tls.certificate, port=port):
        pool = pooled()
        answers = await asyncio.gather(
            *(pool.request(url, b"%d" % n, peer=GRACE) for n in range(20))
        )
        assert answers == [b"echo:%d" % n for n in range(20)]
        await pool.close()


async def test_attempts_over_https_stand_apart_too(ada, grace, resolver, tls):
    url = f"https://localhost:{(port := free_port())}/sage"
    service = sage.Service(
        agent=grace,
        resolver=resolver,
        handler=echo,
        config=ServiceConfig(https_endpoints=frozenset({url})),
    )
    async with sage.ChannelPool(
        agent=ada,
        resolver=resolver,
        tls=tls.client,
        config=ChannelPoolConfig(attempts=3, reconnect_s=0.1),
        entropy=lambda size: b"\xff" * size,  # the whole bound
    ) as pool:
        async with serving(service, certificate=tls.certificate, port=port):
            assert await pool.request(url, b"x", peer=GRACE) == b"echo:x"
        began = time.monotonic()
        with pytest.raises(ConnectFailed):
            await pool.request(url, b"x", peer=GRACE)
        assert time.monotonic() - began >= 0.3 - 0.01


async def test_what_is_no_time_limit(pooled):
    pool = pooled()
    with pytest.raises(UsageError, match="timeout_s"):
        async with pool.channel("wss://x/", peer=GRACE, timeout_s=float("nan")):
            pass
    assert not pool.statistics.attempts
