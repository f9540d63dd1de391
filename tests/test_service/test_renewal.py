"""Sessions that give way to the next, under requests that do not notice."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from contextlib import asynccontextmanager
from math import inf
from types import SimpleNamespace

import pytest

from sage.errors import (
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    SageError,
    SessionClosed,
    TransportError,
)
from sage.service import ClientConfig, Clock, Message
from sage.service.initiation import Established
from sage.service.renewal import Renewal
from sage.session import Session
from sage.types import Role


class Bench:
    """A `Renewal` whose handshakes do as they are told."""

    def __init__(self, **config: object) -> None:
        self.now, self.pending_s = 0.0, inf
        self.made: list[Established] = []
        self.errors: list[SageError] = []
        self.go = asyncio.Event()
        self.go.set()
        self.renewal = Renewal(
            self.shake_hands,
            config=ClientConfig(**config),
            clock=Clock(monotonic=lambda: self.now),
        )

    async def shake_hands(self) -> Established:
        await self.go.wait()
        if self.errors:
            raise self.errors.pop(0)
        session = Session.v0_10(bytes(32), bytes(32), Role.INITIATOR, now=self.now)
        binding = SimpleNamespace(session_id=session.id)
        made = Established(session, binding, made_at=self.now, used_at=self.now)
        made.pending_s = self.pending_s
        self.made.append(made)
        return made

    async def use(self, records: int = 1) -> Established:
        for _ in range(records):
            established = await self.renewal.acquire()
            established.session.seal(b"", now=self.now)
            self.renewal.release(established)
            await asyncio.sleep(0)
        return established


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("pending_s", "good_s"), [(60.0, 30.0), (40.0, 20.0)])
async def test_a_session_whose_first_record_would_be_late_is_not_used(
    pending_s: float, good_s: float
):
    bench = Bench(request_timeout_s=30.0)
    bench.pending_s = pending_s
    await bench.renewal.renew()
    bench.now = good_s - 1
    assert await bench.use() is bench.made[0]
    bench.now = good_s
    assert await bench.use() is bench.made[1]
    assert bench.made[0].session.closed
    # Once the service has answered in it, it is good for as long as any other.
    bench.made[1].session.accept(0, now=bench.now)
    bench.made[1].used_at = bench.now
    bench.now += pending_s
    assert await bench.use() is bench.made[1]


async def test_a_session_that_is_retired_ends_with_its_last_use():
    bench = Bench()
    established = await bench.renewal.acquire()
    for _ in range(2):
        bench.renewal.retire(established)
    assert bench.renewal.current is None
    assert not established.session.closed
    assert await bench.use() is bench.made[1]
    # One that is not in use takes nothing from the one that is.
    bench.renewal.retire(established)
    assert bench.renewal.current is bench.made[1]
    bench.renewal.release(established)
    assert established.session.closed
    assert bench.renewal._live == [bench.made[1]]
    bench.renewal.retire(bench.made[1])
    assert bench.made[1].session.closed
    assert not bench.renewal._live


async def test_a_service_that_hardly_waits_is_asked_all_the_same():
    bench = Bench()
    bench.pending_s = -1.0
    assert await bench.use() is bench.made[0]
    assert await bench.use() is bench.made[1]


async def test_the_next_session_comes_beside_the_running_one():
    bench = Bench(renew_after_records=10)
    await bench.renewal.renew()
    bench.go.clear()
    # Due after ten, but used on while the handshake takes its time.
    assert await bench.use(25) is bench.made[0]
    assert len(bench.made) == 1
    bench.go.set()
    await settle()
    assert await bench.use() is bench.made[1]
    assert bench.made[0].session.closed


async def test_a_request_keeps_the_session_that_it_began_with():
    bench = Bench(renew_after_records=1)
    await bench.renewal.renew()
    under_way = await bench.renewal.acquire()
    await bench.use(2)
    await settle()
    assert bench.renewal.current is not under_way
    assert not under_way.session.closed
    bench.renewal.release(under_way)
    assert under_way.session.closed


async def test_age_is_a_reason_too():
    bench = Bench(renew_after_s=100.0)
    await bench.renewal.renew()
    bench.now = 100.0
    assert await bench.use() is bench.made[0]
    await settle()
    assert await bench.use() is bench.made[1]


@pytest.mark.parametrize("timeout_s", [600, 3600, float("inf")])
async def test_requests_that_may_take_long_share_a_session_all_the_same(timeout_s):
    """Else each would shake hands, and the fifth at once wait for the first."""
    bench = Bench(request_timeout_s=timeout_s)
    async with asyncio.timeout(5):
        under_way = [await bench.renewal.acquire() for _ in range(10)]
    assert under_way == bench.made * 10
    bench.now = 299.0
    assert await bench.use() is bench.made[0]
    bench.now = 300.0
    assert await bench.use() is bench.made[1]


async def test_a_failed_renewal_is_tried_again_ever_more_rarely():
    bench = Bench(renew_after_records=1)
    await bench.renewal.renew()
    bench.errors = [ConnectFailed("no") for _ in range(3)]
    for wait_s, left in ((0, 2), (0.5, 2), (1, 1), (1.5, 1), (2, 0), (3, 0), (4, 0)):
        bench.now += wait_s
        assert await bench.use(2) is not None
        await settle()
        assert len(bench.errors) == left
    assert len(bench.made) == 2


async def test_a_used_up_session_makes_a_last_attempt():
    bench = Bench(renew_after_records=999)
    await bench.renewal.renew()
    bench.errors = [ConnectFailed("background")]
    await bench.use(1000)
    await settle()
    assert not bench.errors
    assert await bench.use() is bench.made[1]
    bench.renewal.retire(bench.made[1])
    bench.errors = [ConnectFailed("last resort")]
    with pytest.raises(ConnectFailed, match="last resort"):
        await bench.use()


async def test_a_failing_background_attempt_is_not_the_last():
    bench = Bench(renew_after_records=1)
    await bench.renewal.renew()
    bench.go.clear()
    bench.errors = [ConnectFailed("background")]
    await bench.use(2)
    bench.renewal.retire(bench.made[0])
    waiting = asyncio.create_task(bench.use())
    await settle()
    bench.go.set()
    assert await waiting is bench.made[1]


async def test_no_more_sessions_than_the_service_keeps():
    """A session in use is always among the newest four that were asked for."""
    bench = Bench()
    await bench.renewal.renew()
    slow = await bench.renewal.acquire()
    for _ in range(3):
        await bench.renewal.renew()
    waiting = asyncio.create_task(bench.renewal.renew())
    await settle()
    assert len(bench.made) == 4
    assert not waiting.done()
    bench.renewal.release(slow)
    await waiting
    assert len(bench.made) == 5


async def oldest_in_use(bench: Bench) -> Established:
    """Leave the bench with a session in use that the next handshake waits for."""
    await bench.renewal.renew()
    slow = await bench.renewal.acquire()
    for _ in range(3):
        await bench.renewal.renew()
    return slow


async def test_the_wait_for_the_oldest_has_an_end():
    bench = Bench()
    slow = await oldest_in_use(bench)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded, match=r"0\.05 s"):
            await bench.renewal.renew(timeout_s=0.05)
    assert len(bench.made) == 4
    # What they waited for goes on, for whoever comes next.
    bench.renewal.release(slow)
    await settle()
    assert await bench.use() is bench.made[4]


async def test_the_wait_and_the_handshake_behind_it_have_one_end():
    bench = Bench()
    slow = await oldest_in_use(bench)
    bench.go.clear()
    waiting = asyncio.create_task(bench.renewal.renew(timeout_s=0.05))
    await settle()
    bench.renewal.release(slow)
    with pytest.raises(DeadlineExceeded):
        await waiting
    bench.go.set()
    await settle()
    assert len(bench.made) == 5


async def test_a_handshake_that_waits_for_nobody_keeps_its_own_limit():
    """It says better what went wrong than whoever waits for it could."""
    bench = Bench()
    bench.go.clear()
    bench.errors = [ConnectFailed("its own")]
    waiting = asyncio.create_task(bench.renewal.renew(timeout_s=0.01))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    bench.go.set()
    with pytest.raises(ConnectFailed, match="its own"):
        await waiting


async def test_a_session_that_is_lost_before_we_wake_is_not_a_closed_channel():
    bench = Bench()
    bench.go.clear()
    waiting = asyncio.create_task(bench.use())
    await settle()
    # As another request does that woke first.
    bench.renewal._task.add_done_callback(
        lambda _: bench.renewal.retire(bench.renewal.current)
    )
    bench.go.set()
    assert await waiting is bench.made[1]


@pytest.mark.parametrize("closed_first", [False, True])
async def test_being_cancelled_while_it_closes_is_being_cancelled(closed_first):
    bench = Bench()
    bench.go.clear()
    waiting = asyncio.create_task(bench.renewal.renew())
    await settle()
    for act in (bench.renewal.close, waiting.cancel)[:: 1 if closed_first else -1]:
        act()
    await asyncio.wait([waiting])
    assert waiting.cancelled()


async def test_closing_ends_everything():
    bench = Bench()
    await bench.renewal.renew()
    bench.go.clear()
    waiting = asyncio.create_task(bench.renewal.renew())
    await settle()
    bench.renewal.close()
    with pytest.raises(SessionClosed):
        await waiting
    assert bench.made[0].session.closed


async def test_finishing_leaves_a_session_to_the_requests_that_use_it():
    bench = Bench()
    established = await bench.renewal.acquire()
    bench.go.clear()
    waiting = asyncio.create_task(bench.renewal.renew())
    await settle()
    bench.renewal.finish()
    with pytest.raises(SessionClosed):
        await waiting
    assert bench.renewal.current is None
    assert not established.session.closed
    bench.renewal.release(established)
    assert established.session.closed


async def test_what_was_left_to_requests_can_still_be_closed():
    bench = Bench()
    established = await bench.renewal.acquire()
    bench.renewal.finish()
    bench.renewal.close()
    assert established.session.closed
    bench.renewal.release(established)


async def test_being_cancelled_is_not_being_closed():
    bench = Bench()
    bench.go.clear()
    waiting = asyncio.create_task(bench.renewal.acquire())
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    # The handshake that it began serves the next one.
    bench.go.set()
    assert await bench.use() is bench.made[0]
    assert len(bench.made) == 1


# --- on real sockets ---------------------------------------------------------------


@asynccontextmanager
async def cutting_proxy(port: int):
    """A way to the service that can be cut at any byte."""
    writers: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def serve(reader, writer):
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()
            return
        writers.update((writer, back))
        for one in (pump(reader, back), pump(there, writer)):
            task = asyncio.create_task(one)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    def cut():
        for writer in writers:
            writer.transport.abort()
        writers.clear()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], cut
    finally:
        server.close()
        cut()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


class Reconnecting:
    """A client that connects again when its connection was cut; it repeats nothing."""

    def __init__(self, connect) -> None:
        self._connect, self._lock, self._channel = connect, asyncio.Lock(), None
        self.connections, self.sessions = 0, set()

    async def request(self, payload: bytes) -> bytes:
        async with self._lock:
            while self._channel is None or self._channel.closed:
                if self._channel is not None:
                    await self._channel.close()
                with contextlib.suppress(TransportError):
                    self._channel = await self._connect()
                    self.connections += 1
            channel = self._channel
        answer = await channel.request(payload)
        self.sessions.add(channel.session_id)
        return answer

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()


@pytest.mark.parametrize(
    "requests", [2000, pytest.param(20_000, marks=pytest.mark.slow)]
)
async def test_renewal_under_load(running, connecting, requests):
    """Random cuts and a session every 50 records: nothing twice, nothing unclear."""
    ran: Counter[bytes] = Counter()
    chance = random.Random(7)

    async def handler(message: Message) -> bytes:
        ran[message.payload] += 1
        return b"done " + message.payload

    config = ClientConfig(renew_after_records=50)
    answered, unclear, not_run = set(), set(), set()
    async with (
        running(handler) as url,
        cutting_proxy(int(url.split(":")[2].split("/")[0])) as (port, cut),
    ):
        client = Reconnecting(
            lambda: connecting(f"wss://localhost:{port}/sage", config=config)
        )
        bodies = iter([b"%d" % n for n in range(requests)])

        async def work() -> None:
            for body in bodies:
                try:
                    assert await client.request(body) == b"done " + body
                except ConnectionLost as exc:
                    (unclear if exc.may_have_run else not_run).add(body)
                else:
                    answered.add(body)

        async def trouble() -> None:
            while True:
                await asyncio.sleep(chance.uniform(0.2, 0.8))
                cut()

        cutting = asyncio.create_task(trouble())
        await asyncio.gather(*(work() for _ in range(24)))
        cutting.cancel()
        await client.close()
    # Each in exactly one of the three.
    assert len(answered | unclear | not_run) == requests
    assert len(answered) + len(unclear) + len(not_run) == requests
    assert all(ran[body] == 1 for body in answered)
    assert all(ran[body] <= 1 for body in unclear)
    assert not any(ran[body] for body in not_run)
    assert client.connections >= 2
    assert len(client.sessions) > requests // 200
