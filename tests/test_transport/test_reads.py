"""Who gets a place to read, who gives way, and that everybody who waits is told."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import Code, ResolutionError
from sage.transport.reads import Read, Reads

PLACES = 8
DONE = ResolutionError("answered", code=Code.RECORD_NOT_FOUND)


class Registry:
    """Answers when it is told to; until then, all its reads hang."""

    def __init__(self) -> None:
        self.reads = Reads(PLACES)
        self.gate = asyncio.Event()
        self.asked: list[str] = []

    async def ask(self, read: Read) -> ResolutionError:
        self.asked.append(read.did)
        await self.gate.wait()
        return DONE

    async def begin(self, did: str, *, known: bool = False) -> asyncio.Task[object]:
        """Begin a read, and have somebody wait for it."""
        read = self.reads.begin(did, self.ask, now=1.0, known=known)
        task = asyncio.create_task(read.wait())
        await asyncio.sleep(0)
        return task

    async def fill(self, registry: str, *, known: bool = False) -> list[asyncio.Task]:
        return [
            await self.begin(f"{registry}:{number}", known=known)
            for number in range(PLACES)
        ]


async def refused(registry: Registry, did: str, *, known: bool = False) -> bool:
    before = len(registry.reads)
    with pytest.raises(ResolutionError, match="8 reads are under way") as caught:
        await registry.begin(did, known=known)
    assert caught.value.code is Code.RECORD_UNREACHABLE
    return len(registry.reads) == before


async def told(task: asyncio.Task[object]) -> str:
    return str(await asyncio.wait_for(task, 5))


async def test_a_registry_that_hangs_gives_way_to_others():
    world = Registry()
    slow = await world.fill("slow")
    others = [await world.begin(f"d{number}:a") for number in range(4)]
    assert await refused(world, "slow:more")
    assert [await told(task) for task in slow[:4]] == [
        "its place went to another read"
    ] * 4
    world.gate.set()
    assert [await task for task in slow[4:] + others] == [DONE] * 8


async def test_one_each_and_the_next_registry_gets_the_oldest_place():
    world = Registry()
    waiting = [await world.begin(f"d{number}:a") for number in range(PLACES)]
    newest = await world.begin("new:a")
    assert "went to another" in await told(waiting[0])
    assert await refused(world, "d1:b")
    world.gate.set()
    assert [await task for task in [*waiting[1:], newest]] == [DONE] * PLACES


async def test_strangers_never_end_a_read_for_a_known_agent():
    world = Registry()
    known = await world.fill("home", known=True)
    assert await refused(world, "anywhere:else")
    world.gate.set()
    assert [await task for task in known] == [DONE] * PLACES


async def test_strangers_give_way_to_a_known_agent_of_their_own_registry():
    world = Registry()
    strangers = await world.fill("home")
    known = await world.begin("home:known", known=True)
    assert "went to another" in await told(strangers[0])
    world.gate.set()
    assert await known is DONE


async def test_known_agents_share_fairly_too():
    world = Registry()
    crowd = await world.fill("crowd", known=True)
    other = await world.begin("other:a", known=True)
    assert "went to another" in await told(crowd[0])
    assert await refused(world, "crowd:more", known=True)
    world.gate.set()
    assert await other is DONE
    await asyncio.gather(*crowd)


async def test_what_nobody_waits_for_gives_way_first():
    world = Registry()
    waiting = await world.fill("home")
    waiting[5].cancel()
    await asyncio.sleep(0)
    newest = await world.begin("home:new")
    world.gate.set()
    left = [task for task in waiting if task is not waiting[5]]
    assert [await task for task in [*left, newest]] == [DONE] * PLACES


async def test_one_that_has_not_begun_is_told():
    world = Registry()
    reads = [
        world.reads.begin(f"slow:{number}", world.ask, now=1.0, known=False)
        for number in range(PLACES)
    ]
    waiting = [asyncio.create_task(read.wait()) for read in reads]
    # Not one turn of the loop yet: nobody waits, and no task has run.
    await world.begin("new:a")
    assert "went to another" in await told(waiting[0])
    assert "slow:0" not in world.asked
    await world.reads.close()
    await asyncio.gather(*waiting)


async def test_the_current_one_is_the_last_and_found_until_it_ends():
    world = Registry()
    early = await world.begin("home:a")
    first = world.reads.get("home:a")
    late = await world.begin("home:a")
    second = world.reads.get("home:a")
    assert first is not second
    assert not world.reads.is_current(first)
    assert world.reads.is_current(second)
    world.reads.forget("home:a")
    assert world.reads.get("home:a") is None
    assert len(world.reads) == 2
    world.gate.set()
    assert (await early, await late) == (DONE, DONE)
    assert not world.reads


async def test_a_read_that_is_cancelled_from_outside_is_told():
    world = Registry()

    async def gone(read: Read) -> ResolutionError:
        raise asyncio.CancelledError

    read = world.reads.begin("home:a", gone, now=1.0, known=False)
    outcome = await read.wait()
    assert outcome.code is Code.RECORD_UNREACHABLE
    assert not world.reads
    assert world.reads.get("home:a") is None


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.booleans(), st.booleans()), max_size=60
    )
)
def test_whatever_comes_places_are_bounded_and_shared(asks):
    """Each ask: the registry, whether the agent is known, whether anybody waits."""

    async def scenario() -> None:
        world, tasks = Registry(), []
        for number, (registry, known, waits) in enumerate(asks):
            before = list(world.reads._under_way)
            try:
                read = world.reads.begin(
                    f"{registry}:{number}", world.ask, now=1.0, known=known
                )
            except ResolutionError:
                mine = Counter(r.registry for r in before if known or not r.known)
                assert len(before) == PLACES
                assert all(r.waiting for r in before if known or not r.known)
                assert not mine or mine[registry] == max(mine.values())
                assert not known or all(r.known for r in before)
                continue
            gone = set(before) - set(world.reads._under_way)
            assert len(gone) == (len(before) == PLACES)
            assert known or not any(r.known for r in gone)
            if waits:
                tasks.append(asyncio.create_task(read.wait()))
                await asyncio.sleep(0)
            assert len(world.reads) <= PLACES
        await world.reads.close()
        outcomes = await asyncio.wait_for(asyncio.gather(*tasks), 5)
        assert {outcome.code for outcome in outcomes} <= {Code.RECORD_UNREACHABLE}
        assert not world.reads

    asyncio.run(scenario())
