"""What is reused and for how long, who waits for whom, and that nothing goes back."""

from __future__ import annotations

import asyncio
import gc
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sage
from sage.errors import Code, ResolutionError, UsageError
from sage.identity import (
    SigningKey,
    VersionFloor,
    add_keys,
    deactivate,
    revoke_key,
)
from sage.limits import RESOLUTION_READS_MAX
from sage.service import Clock, serving
from sage.service.operation import Operation
from sage.transport import CachingResolver

ADA = "did:sage:web:agents.example:ada"
NOBODY = "did:sage:web:agents.example:nobody"


class Source(sage.MemoryResolver):
    """A registry in memory whose answers can be held up, counted and refused."""

    def __init__(self, *records):
        super().__init__(records)
        self.reads: list[float] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def resolve(self, did, *, now):
        self.reads.append(now)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return await super().resolve(did, now=now)


@pytest.fixture
def ada() -> sage.Agent:
    return sage.Agent.generate(ADA)


@pytest.fixture
def source(ada) -> Source:
    return Source(ada.record)


@pytest.fixture
async def cache(source):
    cache = CachingResolver(source)
    yield cache
    await cache.close()


async def turns(count: int = 5) -> None:
    """Let what can run, run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def code_of(waiting) -> Code:
    with pytest.raises(ResolutionError) as caught:
        await waiting
    return caught.value.code


# --- age ------------------------------------------------------------------------------


async def test_a_reading_is_reused_for_four_seconds(cache, source, ada):
    seen = await cache.resolve(ADA, now=100.0)
    assert (seen.record, seen.observed_at) == (ada.record, 100.0)
    assert await cache.resolve(ADA, now=102.0) is seen
    assert len(source.reads) == 1
    source.gate.clear()  # what is read ahead does not come
    assert await cache.resolve(ADA, now=104.0) is seen
    source.gate.set()
    cache.forget(ADA)
    assert (await cache.resolve(ADA, now=104.1)).observed_at == 104.1


async def test_an_operation_never_gets_what_is_older(cache, source):
    await cache.resolve(ADA, now=100.0)
    seen = await cache.resolve(ADA, now=104.1)
    assert seen.observed_at == 104.1
    assert source.reads == [100.0, 104.1]


async def test_others_may_ask_for_something_older(cache, source):
    first = await cache.resolve(ADA, now=100.0)
    assert await cache.resolve(ADA, now=140.0, max_age_s=60.0) is first
    assert len(source.reads) == 1
    assert (await cache.resolve(ADA, now=141.0)).observed_at == 141.0


async def test_nothing_is_older_than_five_minutes(cache, source):
    await cache.resolve(ADA, now=100.0)
    seen = await cache.resolve(ADA, now=401.0, max_age_s=math.inf)
    assert seen.observed_at == 401.0


async def test_a_reading_of_now(cache, source):
    await cache.resolve(ADA, now=100.0)
    seen = await cache.resolve(ADA, now=100.1, max_age_s=0.0)
    assert seen.observed_at == 100.1


@pytest.mark.parametrize("age", [math.nan, -1.0])
async def test_an_age_that_is_none_is_refused(cache, age):
    assert await code_of(cache.resolve(ADA, now=1.0, max_age_s=age)) is (
        Code.RECORD_STALE
    )


async def test_one_that_is_closed_asks_nobody(cache, source):
    await cache.close()
    assert await code_of(cache.resolve(ADA, now=1.0)) is Code.RECORD_UNREACHABLE
    assert source.reads == []


async def test_a_source_that_answers_from_memory_is_found_out(source):
    class Remembering(Source):
        async def resolve(self, did, *, now):
            return await super().resolve(did, now=now - 4.5)

    cache = CachingResolver(Remembering(*source._records.values()))
    assert await code_of(cache.resolve(ADA, now=100.0)) is Code.RECORD_STALE
    await cache.close()


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.floats(0.0, 3.0),
            st.none() | st.sampled_from([0.0, 1.0, 5.0, 60.0, 1e9]),
            st.sampled_from(["ask", "ask", "ask", "forget", "fail", "mend"]),
        ),
        max_size=30,
    ),
    reuse_s=st.sampled_from([0.0, 0.5, 4.0, 5.0]),
)
async def test_no_answer_is_ever_older_than_was_asked(ages_record, steps, reuse_s):
    source = Source(ages_record)
    cache = CachingResolver(source, reuse_s=reuse_s)
    now = 1000.0
    for step_s, max_age_s, act in steps:
        now += step_s
        if act == "forget":
            cache.forget(ADA)
        source.failure = {
            "fail": ResolutionError("down", code=Code.RECORD_UNREACHABLE),
            "mend": None,
        }.get(act, source.failure)
        limit = reuse_s if max_age_s is None else min(max_age_s, 300.0)
        asked = cache.resolve(ADA, now=now, max_age_s=max_age_s)
        (seen,) = await asyncio.gather(asked, return_exceptions=True)
        if isinstance(seen, BaseException):
            assert getattr(seen, "code", seen) is Code.RECORD_UNREACHABLE
            assert source.failure is not None
        else:
            assert now - seen.observed_at <= limit
        await turns()
    await cache.close()


@pytest.fixture(scope="module")
def ages_record():
    return sage.Agent.generate(ADA).record


# --- refusals -------------------------------------------------------------------------


async def test_not_there_is_believed_for_a_second(cache, source, ada):
    for now in (100.0, 100.5, 100.9):
        assert await code_of(cache.resolve(NOBODY, now=now)) is Code.RECORD_NOT_FOUND
    assert source.reads == [100.0]
    assert cache.statistics.negative_hits == 2
    source.publish(sage.Agent.generate(NOBODY).record)
    assert (await cache.resolve(NOBODY, now=101.0)).record.id == NOBODY


async def test_each_refusal_is_an_error_of_its_own(cache):
    caught = []
    for now in (100.0, 100.1, 100.2):
        with pytest.raises(ResolutionError) as refusal:
            await cache.resolve(NOBODY, now=now)
        caught.append(refusal.value)
    assert len({id(error) for error in caught}) == 3
    assert len({str(error) for error in caught}) == 1


async def test_unreachable_is_no_answer(cache, source):
    source.failure = ResolutionError("down", code=Code.RECORD_UNREACHABLE)
    assert await code_of(cache.resolve(ADA, now=100.0)) is Code.RECORD_UNREACHABLE
    source.failure = None
    assert (await cache.resolve(ADA, now=100.0)).observed_at == 100.0


async def test_a_flood_of_unknown_names_drives_nobody_out(source):
    cache = CachingResolver(source, max_entries=4)
    seen = await cache.resolve(ADA, now=100.0)
    for number in range(50):
        did = f"did:sage:web:agents.example:x{number}"
        assert await code_of(cache.resolve(did, now=100.0)) is Code.RECORD_NOT_FOUND
    assert await cache.resolve(ADA, now=101.0) is seen
    await cache.close()


async def test_a_record_that_is_gone_is_not_served_on(cache, source):
    await cache.resolve(ADA, now=100.0)
    source.failure = ResolutionError("gone", code=Code.RECORD_NOT_FOUND)
    # Somebody insists on a fresh reading; what is kept is no longer true.
    asked = cache.resolve(ADA, now=101.0, max_age_s=0.0)
    assert await code_of(asked) is Code.RECORD_NOT_FOUND
    assert await code_of(cache.resolve(ADA, now=101.0)) is Code.RECORD_NOT_FOUND


@pytest.mark.parametrize("did", ["", "did:sage", "did:sage:btc:a.example:ada"])
async def test_a_name_that_is_none(cache, did):
    for _ in range(2):
        code = await code_of(cache.resolve(did, now=1.0))
        assert code in {Code.ID_MALFORMED, Code.ID_UNKNOWN_KIND}
    assert cache.statistics.negative_hits == 0


@pytest.mark.parametrize("did", [None, 7, b"did:sage:web:agents.example:ada"])
async def test_what_is_not_text(cache, did):
    with pytest.raises(UsageError):
        await cache.resolve(did, now=1.0)
    with pytest.raises(UsageError):
        cache.forget(did)


async def test_a_resolver_that_breaks_is_a_refusal(cache, source):
    source.failure = KeyError("a bug")
    assert await code_of(cache.resolve(ADA, now=1.0)) is Code.RECORD_UNREACHABLE


# --- one read for all -----------------------------------------------------------------


async def test_a_hundred_ask_and_one_reads(cache, source):
    source.gate.clear()
    asking = [
        asyncio.create_task(cache.resolve(ADA, now=100.0 + number / 100))
        for number in range(100)
    ]
    await turns()
    source.gate.set()
    seen = await asyncio.gather(*asking)
    assert len({id(observation) for observation in seen}) == 1
    assert source.reads == [100.0]
    assert (cache.statistics.misses, cache.statistics.joins) == (1, 99)


async def test_they_share_a_failure_too(cache, source):
    source.gate.clear()
    source.failure = ResolutionError("down", code=Code.RECORD_UNREACHABLE)
    asking = [asyncio.create_task(cache.resolve(ADA, now=1.0)) for _ in range(10)]
    await turns()
    source.gate.set()
    errors = await asyncio.gather(*asking, return_exceptions=True)
    assert {getattr(error, "code", None) for error in errors} == {
        Code.RECORD_UNREACHABLE
    }
    assert len({id(error) for error in errors}) == 10
    assert len(source.reads) == 1
    assert cache.statistics.failures == 1


async def test_one_who_gives_up_takes_nothing_from_the_others(cache, source):
    source.gate.clear()
    first = asyncio.create_task(cache.resolve(ADA, now=1.0))
    await turns()
    second = asyncio.create_task(cache.resolve(ADA, now=1.0))
    await turns()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.gate.set()
    assert (await second).observed_at == 1.0
    assert len(source.reads) == 1


async def test_all_give_up_and_nothing_is_left_behind(cache, source):
    source.gate.clear()
    source.failure = ResolutionError("down", code=Code.RECORD_UNREACHABLE)
    asking = [asyncio.create_task(cache.resolve(ADA, now=1.0)) for _ in range(3)]
    await turns()
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    source.gate.set()
    await turns()
    gc.collect()  # an error that nobody retrieved would be reported here
    assert not cache._reads


async def test_nobody_waits_for_a_read_that_began_too_early(cache, source):
    source.gate.clear()
    early = asyncio.create_task(cache.resolve(ADA, now=100.0))
    await turns()
    late = asyncio.create_task(cache.resolve(ADA, now=104.5))
    await turns()
    source.gate.set()
    assert (await early).observed_at == 100.0
    assert (await late).observed_at == 104.5
    assert source.reads == [100.0, 104.5]


async def test_a_read_that_hangs_ends(source):
    cache = CachingResolver(source, timeout_s=0.02)
    source.gate.clear()
    assert await code_of(cache.resolve(ADA, now=1.0)) is Code.RECORD_UNREACHABLE
    await cache.close()


async def test_reads_under_way_are_bounded(cache, source):
    source.gate.clear()
    asking = [
        asyncio.create_task(
            cache.resolve(f"did:sage:web:agents.example:x{number}", now=1.0)
        )
        for number in range(RESOLUTION_READS_MAX)
    ]
    await turns()
    last = asyncio.create_task(cache.resolve(ADA, now=1.0))
    await turns()
    assert await code_of(asking[0]) is Code.RECORD_UNREACHABLE
    assert cache.statistics.failures == 1
    source.gate.set()
    codes = [await code_of(task) for task in asking[1:]]
    assert set(codes) == {Code.RECORD_NOT_FOUND}
    assert (await last).record.id == ADA
    assert cache.statistics.failures == RESOLUTION_READS_MAX


# --- ahead ----------------------------------------------------------------------------


async def test_an_agent_in_use_is_read_ahead_and_nobody_waits(cache, source):
    await cache.resolve(ADA, now=100.0)
    source.gate.clear()
    # The registry hangs, and yet this returns.
    assert (await cache.resolve(ADA, now=103.5)).observed_at == 100.0
    await turns()
    assert source.reads == [100.0, 103.5]
    source.gate.set()
    await turns()
    assert (await cache.resolve(ADA, now=106.0)).observed_at == 103.5
    stats = cache.statistics
    assert (stats.misses, stats.hits, stats.refreshes) == (1, 2, 1)


async def test_an_agent_that_nobody_asks_for_is_left_alone(cache, source):
    await cache.resolve(ADA, now=100.0)
    await cache.resolve(ADA, now=102.9)
    await turns()
    assert source.reads == [100.0]


async def test_a_long_age_is_read_ahead_late(cache, source):
    await cache.resolve(ADA, now=100.0)
    for now in (110.0, 144.0):
        await cache.resolve(ADA, now=now, max_age_s=60.0)
    await turns()
    assert len(source.reads) == 1
    await cache.resolve(ADA, now=146.0, max_age_s=60.0)
    await turns()
    assert len(source.reads) == 2


async def test_a_registry_that_fails_is_asked_four_times_a_second(cache, source):
    await cache.resolve(ADA, now=100.0)
    source.failure = ResolutionError("down", code=Code.RECORD_UNREACHABLE)
    for number in range(100):
        await cache.resolve(ADA, now=103.0 + number / 100)
        await turns()
    assert 3 <= len(source.reads) - 1 <= 5
    # And what could not be read again is not served past its end.
    assert await code_of(cache.resolve(ADA, now=104.1)) is Code.RECORD_UNREACHABLE


# --- no way back ----------------------------------------------------------------------


@pytest.fixture
def two_keys(ada):
    extra = SigningKey.generate(f"{ADA}#sign-2")
    return add_keys(ada.record, [extra], (), endorser=ada.signing_key)


@pytest.fixture
def revoked(two_keys):
    return revoke_key(two_keys, "sign-2", unix_time=1)


async def test_a_revocation_is_seen_after_five_seconds_at_most(
    cache, source, two_keys, revoked
):
    source.publish(two_keys)
    await cache.resolve(ADA, now=100.0)
    source.publish(revoked)
    assert (await cache.resolve(ADA, now=102.0)).record == two_keys
    assert (await cache.resolve(ADA, now=105.0)).record == revoked


async def test_a_registry_that_goes_back_is_refused(cache, source, two_keys, revoked):
    source.publish(two_keys)
    source.publish(revoked)
    await cache.resolve(ADA, now=100.0)
    source._records[two_keys.id] = two_keys
    assert await code_of(cache.resolve(ADA, now=110.0)) is Code.RECORD_STALE


@pytest.mark.parametrize("over", ["revoked", "deactivated"])
async def test_what_is_over_never_comes_back(cache, source, two_keys, revoked, over):
    gone = revoked if over == "revoked" else deactivate(two_keys)
    source._records[gone.id] = gone
    await cache.resolve(ADA, now=100.0)
    source._records[gone.id] = replaced(two_keys, 99)
    assert await code_of(cache.resolve(ADA, now=110.0)) is Code.RECORD_INVALID


def replaced(record, version):
    """Return the record as a registry would serve it in another version."""
    from sage.identity.record_schema import parse_record

    return parse_record(replace(record, version=version).encode())


async def test_it_survives_a_restart(source, two_keys, revoked, tmp_path):
    for answer, code in ((revoked, None), (replaced(two_keys, 99), "record.invalid")):
        source._records[answer.id] = answer
        floor = VersionFloor(tmp_path / "floor")
        cache = CachingResolver(source, floor=floor)
        if code is None:
            assert (await cache.resolve(ADA, now=1.0)).record == revoked
        else:
            assert await code_of(cache.resolve(ADA, now=1.0)) == code
        await cache.close()
        floor.close()


@pytest.mark.parametrize("process", ["this", "another"])
async def test_another_source_knows_of_a_revocation(
    source, two_keys, revoked, tmp_path, process
):
    """What is kept ends with it, though its own registry is behind."""
    ours = VersionFloor(tmp_path / "floor")
    theirs = ours if process == "this" else VersionFloor(tmp_path / "floor")
    source.publish(two_keys)
    cache = CachingResolver(source, floor=ours)
    other = CachingResolver(Source(revoked), floor=theirs)
    await cache.resolve(ADA, now=100.0)
    assert (await cache.resolve(ADA, now=100.1)).record == two_keys
    await other.resolve(ADA, now=100.2)
    wait_s = 0.0 if process == "this" else 0.25
    asked = cache.resolve(ADA, now=100.2 + wait_s, max_age_s=300.0)
    assert await code_of(asked) is Code.RECORD_STALE
    for closing in (cache, other):
        await closing.close()
    ours.close()
    theirs.close()


async def test_a_slow_read_that_knows_more_ends_what_is_kept(
    cache, source, two_keys, ada
):
    source.publish(two_keys)
    source.gate.clear()
    slow = asyncio.create_task(cache.resolve(ADA, now=100.0))
    await turns()
    cache.forget(ADA)
    quick = Source(ada.record)  # another replica of the registry, which is behind
    cache._resolver = quick
    assert (await cache.resolve(ADA, now=100.1)).version == ada.record.version
    source.gate.set()
    await slow
    cache._resolver = source
    assert (await cache.resolve(ADA, now=100.2)).version == two_keys.version


# --- forgetting and closing -----------------------------------------------------------


async def test_forgotten_is_read_again(cache, source, ada):
    await cache.resolve(ADA, now=100.0)
    await code_of(cache.resolve(NOBODY, now=100.0))
    cache.forget(ADA)
    cache.forget(NOBODY)
    assert (await cache.resolve(ADA, now=100.1)).observed_at == 100.1
    await code_of(cache.resolve(NOBODY, now=100.1))
    assert len(source.reads) == 4


async def test_a_read_under_way_is_forgotten_with_it(cache, source, ada):
    source.gate.clear()
    asking = asyncio.create_task(cache.resolve(ADA, now=100.0))
    await turns()
    cache.forget(ADA)
    source.gate.set()
    await asking
    assert (await cache.resolve(ADA, now=100.1)).observed_at == 100.1


async def test_closing_ends_those_who_wait(cache, source):
    source.gate.clear()
    waiting = asyncio.create_task(cache.resolve(ADA, now=1.0))
    await turns()
    just_begun = asyncio.create_task(cache.resolve(NOBODY, now=1.0))
    await asyncio.sleep(0)
    await cache.close()
    for task in (waiting, just_begun):
        assert await code_of(task) is Code.RECORD_UNREACHABLE
    await cache.close()
    assert await code_of(cache.resolve(ADA, now=1.0)) is Code.RECORD_UNREACHABLE


async def test_names_that_hang_keep_nobody_waiting_who_is_known(cache, source):
    """Strangers name agents of registries that do not answer, as many as they like."""
    slow = asyncio.Event()

    class Slow(Source):
        async def resolve(self, did, *, now):
            if did != ADA:
                await slow.wait()
            return await super().resolve(did, now=now)

    cache = CachingResolver(Slow(*source._records.values()))
    await cache.resolve(ADA, now=100.0)
    strangers = [
        asyncio.create_task(cache.resolve(f"did:sage:web:d{n % 300}:x{n}", now=104.9))
        for n in range(3 * RESOLUTION_READS_MAX)
    ]
    await turns()
    seen = await cache.resolve(ADA, now=105.0)
    assert seen.observed_at == 105.0
    slow.set()
    codes = {await code_of(task) for task in strangers}
    assert codes == {Code.RECORD_UNREACHABLE, Code.RECORD_NOT_FOUND}
    await cache.close()


@pytest.mark.parametrize(
    "options",
    [
        {"reuse_s": 5.1},
        {"reuse_s": -1},
        {"reuse_s": math.nan},
        {"negative_s": 6},
        {"negative_s": math.nan},
        {"max_entries": 0},
        {"timeout_s": 0},
        {"timeout_s": math.nan},
    ],
)
def test_options_that_are_none(source, options):
    with pytest.raises(UsageError):
        CachingResolver(source, **options)


# --- operations -----------------------------------------------------------------------


async def test_an_operation_honours_it(cache, source, ada):
    at = [100.0]
    clock = Clock(monotonic=lambda: at[0], wall=lambda: 1000.0)
    operation = Operation(cache, clock, init_did=ada.did, resp_did=ada.did)
    await operation.observe()
    at[0] = 104.0
    await operation.observe()
    assert source.reads[:1] == [100.0]
    assert operation.init_record == ada.record
    # A second later, at its gate, the reading of four seconds ago is not read again.
    at[0] = 105.0
    reads = len(source.reads)
    await operation.pass_gate()
    assert len(source.reads) == reads


async def test_a_channel_over_it_and_a_key_that_is_revoked(ada, tls):
    """Both ends reuse readings; within their time the revocation has arrived."""
    grace = sage.Agent.generate("did:sage:web:agents.example:grace")
    source = Source(ada.record, grace.record)
    ours, theirs = (CachingResolver(source, reuse_s=0.3) for _ in range(2))

    async def echo(message: sage.Message) -> bytes:
        return b"echo:" + message.payload

    service = sage.Service(agent=grace, resolver=theirs, handler=echo)
    async with (
        serving(service, certificate=tls.certificate) as port,
        sage.connect(
            f"wss://localhost:{port}/sage",
            agent=ada,
            peer=grace.did,
            resolver=ours,
            tls=tls.client,
        ) as channel,
    ):
        for _ in range(20):
            assert await channel.request(b"hello") == b"echo:hello"
        # Without a cache, twenty requests are eighty readings at the least.
        assert len(source.reads) < 20
        source.publish(deactivate(ada.record))
        await asyncio.sleep(0.35)
        with pytest.raises(sage.SageError):
            await channel.request(b"hello")
    for cache in (ours, theirs):
        await cache.close()
