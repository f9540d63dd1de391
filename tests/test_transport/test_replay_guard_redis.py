"""One memory for many processes: exactly once, closed on failure, loud about losses."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import re
import subprocess
import sys
import time
import uuid
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

import sage
from sage.envelope import Reservation
from sage.errors import (
    Code,
    ConfigError,
    Overloaded,
    ReplayError,
    SageError,
    StaleError,
    UsageError,
)
from sage.service import serving

ADA, GRACE = (f"did:sage:web:agents.example:{name}" for name in ("ada", "grace"))
STATE = "sage:replay:state"


def reservation(**changes: object) -> Reservation:
    fresh = {
        "sender": ADA,
        "recipient": GRACE,
        "id": str(uuid.uuid4()),
        "nonce": uuid.uuid4().hex[:22],
        "expires": int(time.time()) + 60,
    }
    return Reservation(**{**fresh, **changes})  # type: ignore[arg-type]


async def reserve(guard, wanted: Reservation | None = None, skew_s: int = 0) -> None:
    await guard.reserve(
        wanted or reservation(),
        now=time.monotonic(),
        unix_time=int(time.time()) + skew_s,
    )


async def refusal(guard, wanted: Reservation | None = None) -> SageError:
    with pytest.raises(SageError) as caught:
        await reserve(guard, wanted)
    return caught.value


# A second is long for a server, but not on a machine that does other things too.
PATIENT = {"assume_no_history": True, "timeout_s": 10}


@asynccontextmanager
async def guarding(server, **options):
    guard = sage.RedisReplayGuard(server.url, **{**PATIENT, **options})
    try:
        yield guard
    finally:
        await guard.aclose()


@asynccontextmanager
async def talking(server, **options):
    client = Redis.from_url(server.url, **options)
    try:
        yield client
    finally:
        await client.aclose()


@pytest.fixture
def running(redis_server):
    redis_server.start()
    return redis_server


# --- once -----------------------------------------------------------------------------


async def test_what_was_used_is_used(running):
    used = reservation(session_id="S" * 22, seq=7)
    async with guarding(running) as guard, guarding(running) as other:
        await reserve(guard, used)
        for again, code in (
            (used, Code.SIG_REPLAY),
            (reservation(id=used.id), Code.SIG_REPLAY),
            (reservation(nonce=used.nonce), Code.SIG_REPLAY),
            (reservation(session_id="S" * 22, seq=7), Code.SESSION_REPLAY),
        ):
            for anybody in (guard, other):
                error = await refusal(anybody, again)
                assert isinstance(error, ReplayError)
                assert error.code is code
        # The scope is the pair of sender and recipient, and the session.
        await reserve(other, reservation(id=used.id, nonce=used.nonce, sender=GRACE))
        await reserve(other, reservation(session_id="S" * 22, seq=8))


async def test_all_or_nothing(running):
    used, fresh = reservation(), reservation()
    async with guarding(running) as guard:
        await reserve(guard, used)
        error = await refusal(guard, reservation(id=fresh.id, nonce=used.nonce))
        assert error.code is Code.SIG_REPLAY
        await reserve(guard, fresh)  # its id was not taken along


async def test_entries_live_until_thirty_seconds_after_their_envelope(running):
    wanted = reservation(session_id="S" * 22, seq=0)
    async with guarding(running) as guard, talking(running) as client:
        await reserve(guard, wanted)
        entries = wanted.keys()
        keys = [b"sage:replay:" + key for key in entries]
        assert sorted(await client.keys("*")) == sorted([STATE.encode(), *keys])
        for key in keys:
            assert await client.expiretime(key) == wanted.expires + 30
        assert await client.ttl(STATE) == -1


async def test_prefixes_are_worlds_apart(running):
    used = reservation()
    async with guarding(running) as one, guarding(running, prefix="other") as two:
        await reserve(one, used)
        await reserve(two, used)
        assert (await refusal(two, used)).code is Code.SIG_REPLAY


@pytest.mark.parametrize("seconds", [-31, -1000, 335, 10**6, 10**30])
async def test_what_is_outside_its_time(running, seconds):
    async with guarding(running) as guard:
        wanted = reservation(expires=int(time.time()) + seconds)
        error = await refusal(guard, wanted)
        assert isinstance(error, StaleError)
        assert error.code is Code.SIG_STALE


@asynccontextmanager
async def in_between(server, change):
    """Stand on the wire: ``change`` gets each answer; ``None`` cuts the connection."""
    ends: list[asyncio.StreamWriter] = []

    async def pass_on(reader, writer, change):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                data = change(data)
                if data is None:
                    break
                writer.write(data)
                await writer.drain()
        for end in ends:
            end.close()

    async def serve(reader, writer):
        to_server, from_server = await asyncio.open_connection("127.0.0.1", server.port)
        ends.extend((writer, from_server))
        await asyncio.gather(
            pass_on(reader, from_server, lambda data: data),
            pass_on(to_server, writer, change),
        )

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{proxy.sockets[0].getsockname()[1]}/0"
    finally:
        proxy.close()
        for end in ends:
            end.close()
        await asyncio.sleep(0.01)


async def test_an_answer_that_is_lost_is_asked_for_again(running):
    """The second call finds its own entries, and they are no replay."""
    wanted, cuts = reservation(), []

    def cut(data):
        if cuts or b"accepted" not in data or not armed:
            return data
        cuts.append(data)
        return None

    armed = False
    async with in_between(running, cut) as url:
        guard = sage.RedisReplayGuard(url, assume_no_history=True)
        await reserve(guard)
        armed = True
        await reserve(guard, wanted)
        assert len(cuts) == 1
        assert (await refusal(guard, wanted)).code is Code.SIG_REPLAY
        await guard.aclose()


async def test_an_answer_that_is_lost_again_is_a_refusal(running):
    armed = False
    async with in_between(running, lambda data: None if armed else data) as url:
        guard = sage.RedisReplayGuard(url, assume_no_history=True)
        await reserve(guard)
        armed = True
        assert isinstance(await refusal(guard), Overloaded)
        armed = False
        await reserve(guard)
        await guard.aclose()


async def test_the_answer_to_another_question_is_none(running):
    held: list[bytes] = []

    def confuse(data):
        """Answer each reservation with what was said to the one before."""
        if b"accepted" not in data:
            return data
        held.append(data)
        return held[0]

    async with in_between(running, confuse) as url:
        guard = sage.RedisReplayGuard(url, assume_no_history=True)
        await reserve(guard)
        error = await refusal(guard)
        assert isinstance(error, ConfigError)
        assert "something else" in str(error)
        await guard.aclose()


@pytest.mark.parametrize(
    "answer", [b"+OK\r\n", b"*0\r\n", b":1\r\n", b"junk\r\n", b"$-1\r\n"]
)
async def test_a_server_that_talks_nonsense(running, answer):
    armed = False
    async with in_between(running, lambda data: answer if armed else data) as url:
        guard = sage.RedisReplayGuard(url, assume_no_history=True, timeout_s=5)
        await reserve(guard)
        armed = True
        assert isinstance(await refusal(guard), ConfigError | Overloaded)
        await guard.aclose()


async def test_a_client_of_ones_own(running):
    used = reservation()
    async with talking(running, decode_responses=True) as client:
        guard = sage.RedisReplayGuard(client, assume_no_history=True)
        await reserve(guard, used)
        assert (await refusal(guard, used)).code is Code.SIG_REPLAY
        await guard.aclose()
        assert await client.ping()  # still open


# --- two processes --------------------------------------------------------------------

# Reserves the same list of envelopes as its twin, in steps that both begin at once.
RACER = """
import asyncio, json, sys, time
import sage
from sage.envelope import Reservation
from sage.errors import ReplayError

url, expires = sys.argv[1], int(sys.argv[2])

async def main():
    guard = sage.RedisReplayGuard(url, assume_no_history=True)

    async def attempt(number, unique):
        wanted = Reservation(
            sender="did:sage:web:agents.example:ada",
            recipient="did:sage:web:agents.example:grace",
            id=f"{sys.argv[3]}-{number}" if unique else f"both-{number}",
            nonce=f"nonce-{number}",
            expires=expires,
        )
        try:
            await guard.reserve(
                wanted, now=time.monotonic(), unix_time=int(time.time())
            )
        except ReplayError:
            return False
        return True

    await attempt(f"warm-{sys.argv[3]}", True)
    print("ready", flush=True)
    for line in sys.stdin:
        first, last = json.loads(line)
        tries = (attempt(n, n % 2) for n in range(first, last))
        print(json.dumps(await asyncio.gather(*tries)), flush=True)
    await guard.aclose()

asyncio.run(main())
"""


@pytest.mark.parametrize("total", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_two_processes_get_the_same_nonce_at_the_same_moment(running, total):
    expires = str(int(time.time()) + 120)
    racers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RACER, running.url, expires, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    won = [[], []]
    for first in range(0, total, 20):
        for racer in racers:
            racer.stdin.write(json.dumps([first, first + 20]) + "\n")
            racer.stdin.flush()
        for which, racer in enumerate(racers):
            won[which] += json.loads(racer.stdout.readline())
    for racer in racers:
        racer.communicate(timeout=30)
        assert racer.returncode == 0
    winners = [one + two for one, two in zip(*won, strict=True)]
    assert winners == [1] * total
    # Neither was simply first all the time: they did meet.
    assert min(map(sum, won)) > total // 100


# --- lost -----------------------------------------------------------------------------


async def test_a_server_that_knows_nothing_is_in_quarantine(running):
    async with guarding(running, assume_no_history=False) as guard:
        error = await refusal(guard)
        assert isinstance(error, StaleError)
        assert error.code is Code.REPLAY_STATE_LOST
        # For everybody, also for who would have believed the server.
        async with guarding(running) as other, talking(running) as client:
            assert (await refusal(other)).code is Code.REPLAY_STATE_LOST
            assert "under another prefix" in str(error)  # which helps at once
            async with guarding(running, prefix="another") as new:
                await reserve(new)
            over = int(await client.hget(STATE, "over"))
            assert abs(over - time.time() - 360) < 5
            await client.hset(STATE, "over", int(time.time()))  # the time passed
            await reserve(other)
            await reserve(guard)


@pytest.mark.parametrize("loss", ["flushall", "state", "older copy", "clock"])
async def test_a_loss_is_noticed(running, loss):
    async with guarding(running) as guard, talking(running) as client:
        await reserve(guard)
        copy = await client.hgetall(STATE)
        for _ in range(3):
            await reserve(guard)
        if loss == "flushall":
            await client.flushall()
        elif loss == "state":
            await client.delete(STATE)
        elif loss == "older copy":
            await client.hset(STATE, mapping=copy)
        else:
            await client.hset(STATE, "clock", int(time.time()) + 31)
        for _ in range(2):
            assert (await refusal(guard)).code is Code.REPLAY_STATE_LOST
        await client.hset(STATE, "over", int(time.time()))
        await reserve(guard)


async def test_a_small_step_of_the_clock_does_no_harm(running):
    async with guarding(running) as guard, talking(running) as client:
        await reserve(guard)
        await client.hset(STATE, "clock", int(time.time()) + 29)
        await reserve(guard)
        # By the highest second seen, this one is stale.
        error = await refusal(guard, reservation(expires=int(time.time()) - 5))
        assert error.code is Code.SIG_STALE


async def test_emptied_behind_a_newcomer_that_believes_it(running):
    """The older process knows that there was more."""
    async with guarding(running) as old, guarding(running) as new:
        await reserve(old)
        async with talking(running) as client:
            await client.flushall()
        await reserve(new)
        assert (await refusal(old)).code is Code.REPLAY_STATE_LOST
        assert (await refusal(new)).code is Code.REPLAY_STATE_LOST


async def test_a_quarantine_is_not_begun_again_by_each_process(running):
    guards = [sage.RedisReplayGuard(running.url) for _ in range(3)]
    async with talking(running) as client:
        await client.hset(STATE, "x", "y")
        await client.delete(STATE)
        for guard in guards:
            await refusal(guard)
        await client.hset(STATE, "over", int(time.time()))
        for guard in itertools.islice(itertools.cycle(guards), 9):
            await reserve(guard)
    for guard in guards:
        await guard.aclose()


async def test_a_restart_without_a_synced_disk_is_a_loss(redis_server):
    redis_server.start(appendonly="yes", appendfsync="everysec")
    async with guarding(redis_server) as guard:
        await reserve(guard)
        redis_server.kill()
        redis_server.start(appendonly="yes", appendfsync="everysec")
        assert (await refusal(guard)).code is Code.REPLAY_STATE_LOST


async def test_a_restart_with_a_synced_disk_is_none(redis_server):
    used = reservation()
    redis_server.start_durable()
    async with guarding(redis_server) as guard:
        await reserve(guard, used)
        redis_server.kill()
        assert isinstance(await refusal(guard), Overloaded)
        redis_server.start_durable()
        await reserve(guard)
        assert (await refusal(guard, used)).code is Code.SIG_REPLAY


async def test_a_server_that_became_durable_only_now_is_not_trusted(redis_server):
    redis_server.start(appendonly="yes", appendfsync="everysec")
    async with guarding(redis_server) as guard:
        await reserve(guard)
    redis_server.kill()
    redis_server.start_durable()
    async with guarding(redis_server) as guard:
        assert (await refusal(guard)).code is Code.REPLAY_STATE_LOST


# --- closed ---------------------------------------------------------------------------


async def test_no_server(redis_server):
    async with guarding(redis_server) as guard:
        assert isinstance(await refusal(guard), Overloaded)
        redis_server.start()
        await reserve(guard)


async def test_a_server_that_hangs(running):
    async with guarding(running, timeout_s=1) as guard, talking(running) as client:
        await reserve(guard)
        await client.client_pause(3000)
        begun = time.monotonic()
        errors = await asyncio.gather(*(refusal(guard) for _ in range(50)))
        assert time.monotonic() - begun < 10  # not one after the other
        assert {type(error) for error in errors} == {Overloaded}
        await client.client_unpause()
        await reserve(guard)


async def test_a_server_that_is_full(redis_server):
    redis_server.start(maxmemory="3mb")
    used = reservation()
    async with guarding(redis_server) as guard, talking(redis_server) as client:
        await reserve(guard, used)
        for size in (100_000, 10_000, 1_000, 100, 10):
            with contextlib.suppress(OutOfMemoryError):
                for number in itertools.count():
                    await client.set(f"blob-{size}-{number}", b"x" * size)
        wanted = reservation()
        assert isinstance(await refusal(guard, wanted), Overloaded)
        await client.delete(*[key async for key in client.scan_iter("blob-*")])
        await reserve(guard, wanted)  # nothing of it was taken
        assert (await refusal(guard, used)).code is Code.SIG_REPLAY


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_evicts_is_refused(redis_server, policy):
    redis_server.start(maxmemory="100mb", maxmemory_policy=policy)
    async with guarding(redis_server) as guard, talking(redis_server) as client:
        error = await refusal(guard)
        assert isinstance(error, ConfigError)
        assert "noeviction" in str(error)
        await client.config_set("maxmemory-policy", "noeviction")
        await reserve(guard)
        # It is looked at again, and again.
        await client.config_set("maxmemory-policy", policy)
        with pytest.raises(ConfigError):
            await guard.reserve(
                reservation(), now=time.monotonic() + 11, unix_time=int(time.time())
            )
        assert isinstance(await refusal(guard), ConfigError)


async def test_a_replica_is_refused(running):
    async with talking(running) as client, guarding(running) as guard:
        await reserve(guard)
        await client.replicaof("127.0.0.1", "1")
        assert isinstance(await refusal(guard), ConfigError)
        assert "replica" in str(await refusal(guard))
        await client.replicaof("no", "one")
        await reserve(guard)


async def test_a_password_that_is_wrong(redis_server):
    redis_server.start(requirepass="hunter2")
    async with guarding(redis_server) as guard:
        assert isinstance(await refusal(guard), ConfigError)
    url = redis_server.url.replace("redis://", "redis://:wrong@")
    guard = sage.RedisReplayGuard(url)
    error = await refusal(guard)
    assert isinstance(error, ConfigError)
    assert "wrong" not in str(error).replace("WRONGPASS", "")
    await guard.aclose()


async def test_a_state_that_is_something_else(running):
    async with guarding(running) as guard, talking(running) as client:
        await client.set(STATE, "text")
        assert isinstance(await refusal(guard), ConfigError)


async def test_a_user_that_may_do_only_what_is_needed(running):
    async with talking(running) as client:
        await client.execute_command(
            *("ACL", "SETUSER", "sage", "on", ">pw", "~sage:replay:*", "-@all"),
            *("+eval", "+evalsha", "+info", "+time", "+get", "+set"),
            *("+hmget", "+hset"),
        )
    guard = sage.RedisReplayGuard(
        running.url.replace("redis://", "redis://sage:pw@"), assume_no_history=True
    )
    await reserve(guard)
    await guard.aclose()


@pytest.mark.parametrize("skew_s", [-32, 32, 10**6])
async def test_clocks_that_disagree(running, skew_s):
    async with guarding(running) as guard:
        with pytest.raises(ConfigError, match="clocks"):
            await reserve(guard, skew_s=skew_s)
        await reserve(guard, skew_s=20)


async def test_closed_is_closed(running):
    guard = sage.RedisReplayGuard(running.url)
    await refusal(guard)
    guard.close()
    guard.close()
    assert isinstance(await refusal(guard), UsageError)
    await guard.aclose()


@pytest.mark.parametrize(
    ("now", "unix_time"),
    [
        (10**400, None),
        (math.nan, None),
        ("1", None),
        (None, math.nan),
        (None, "1"),
        (None, 1.5),
        (None, 2**99),
    ],
)
async def test_a_time_that_is_none_is_refused_and_spoils_nothing(
    now, unix_time, running
):
    async with guarding(running) as guard:
        once = reservation()
        await reserve(guard, once)
        with pytest.raises(UsageError):
            await guard.reserve(
                reservation(),
                now=time.monotonic() if now is None else now,
                unix_time=int(time.time()) if unix_time is None else unix_time,
            )
        await reserve(guard)
        assert isinstance(await refusal(guard, once), ReplayError)


async def test_closing_ends_those_who_wait(running):
    async with guarding(running) as guard, talking(running) as client:
        await reserve(guard)
        await client.client_pause(300)
        waiting = [asyncio.create_task(refusal(guard)) for _ in range(3)]
        await asyncio.sleep(0.05)
        await guard.aclose()
        assert {type(error) for error in await asyncio.gather(*waiting)} == {UsageError}


def test_it_can_be_closed_without_a_loop():
    guard = sage.RedisReplayGuard("redis://127.0.0.1:1/0")
    guard.close()
    guard.close()


@pytest.mark.parametrize("url", ["", "http://127.0.0.1", "redis", "127.0.0.1:6379"])
def test_what_is_no_server(url):
    with pytest.raises(UsageError):
        sage.RedisReplayGuard(url)


@pytest.mark.parametrize("prefix", ["\ud800", b"sage", None])
def test_what_is_no_prefix(prefix):
    with pytest.raises(UsageError, match="prefix"):
        sage.RedisReplayGuard("redis://127.0.0.1", prefix=prefix)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2/@127.0.0.1",
        "redis://:hunter2#@127.0.0.1",
        "redis://ada:hunter2\u2100@127.0.0.1",
        "http://:hunter2@127.0.0.1",
    ],
)
def test_a_password_does_not_stand_in_an_error(url):
    with pytest.raises(UsageError) as caught:
        sage.RedisReplayGuard(url)
    error = caught.value
    assert "hunter2" not in str(error)
    assert error.__cause__ is error.__context__ is None


@pytest.mark.parametrize("limit", [0, -1, math.nan])
def test_a_time_limit_that_is_none(limit):
    with pytest.raises(UsageError):
        sage.RedisReplayGuard("redis://127.0.0.1", timeout_s=limit)


async def test_a_reservation_that_is_cancelled_confuses_nobody(running):
    async with guarding(running) as guard:
        await reserve(guard)
        for number in range(60):
            task = asyncio.create_task(reserve(guard))
            for _ in range(number % 12):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            used = reservation()
            await reserve(guard, used)
            assert (await refusal(guard, used)).code is Code.SIG_REPLAY


# --- through a service ----------------------------------------------------------------


async def test_redis_is_killed_halfway_and_comes_back(redis_server, tls):
    ada, grace = sage.Agent.generate(ADA), sage.Agent.generate(GRACE)
    resolver = sage.MemoryResolver([ada.record, grace.record])
    answered = []

    async def echo(message: sage.Message) -> bytes:
        answered.append(message.payload)
        return b"echo:" + message.payload

    redis_server.start_durable()
    async with guarding(redis_server) as guard:
        service = sage.Service(
            agent=grace, resolver=resolver, handler=echo, guard=guard
        )
        async with serving(service, certificate=tls.certificate) as port:

            def connect():
                return sage.connect(
                    f"wss://localhost:{port}/sage",
                    agent=ada,
                    peer=GRACE,
                    resolver=resolver,
                    tls=tls.client,
                )

            async with connect() as channel:
                assert await channel.request(b"one") == b"echo:one"
                redis_server.kill()
                with pytest.raises(SageError):
                    await channel.request(b"two")
            with pytest.raises(SageError):
                async with connect() as channel:
                    await channel.request(b"three")
            redis_server.start_durable()
            async with connect() as channel:
                assert await channel.request(b"four") == b"echo:four"
    assert answered == [b"one", b"four"]


def test_the_how_to_does_what_it_says(running):
    page = Path(__file__).parents[2] / "docs/howto/share-a-replay-guard.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    assert len(blocks) == 2
    first, new_identity = (
        block.replace("redis://127.0.0.1:6379/0", running.url) for block in blocks
    )
    program = "\n".join([PRELUDE, first, new_identity, FINALE])
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


PRELUDE = """
import sage
grace = sage.Agent.generate("did:sage:web:agents.example:grace")
resolver = sage.MemoryResolver([grace.record])
async def handler(message): return b""
"""
FINALE = """
import asyncio, time, uuid
from sage.envelope import Reservation

async def main():
    wanted = Reservation(
        sender=grace.did, recipient=grace.did, id=str(uuid.uuid4()), nonce="n" * 22,
        expires=int(time.time()) + 60,
    )
    await guard.reserve(wanted, now=time.monotonic(), unix_time=int(time.time()))
    await guard.aclose()

asyncio.run(main())
"""
