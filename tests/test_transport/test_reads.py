"""Who gets a place to read, who gives way, and that everybody who waits is told."""

from __future__ import annotations

import asyncio

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


async def turns() -> None:
    """Let those who were told hear of it."""
    for _ in range(3):
        await asyncio.sleep(0)


async def told(task: asyncio.Task[object]) -> str:
    return str(await asyncio.wait_for(task, 5))


async def test_the_oldest_gives_way():
    world = Registry()
    slow = await world.fill("slow")
    others = [await world.begin(f"d{number}:a") for number in range(3)]
    for task in slow[:3]:
        assert "went to another" in await told(task)
    assert len(world.reads) == PLACES
    world.gate.set()
    assert [await task for task in slow[3:] + others] == [DONE] * PLACES


async def test_what_ends_soon_is_never_the_oldest():
    """However many registries hang: a read has as long as 256 others need to begin."""
    world, ended = Registry(), []
    await world.fill("slow", known=True)

    async def soon(read: Read) -> ResolutionError:
        await asyncio.sleep(0)
        return DONE

    async def ask_soon(number: int) -> object:
        read = world.reads.begin(f"good:{number}", soon, now=1.0, known=True)
        return await read.wait()

    for number in range(50):
        ended.append(asyncio.create_task(ask_soon(number)))
        await asyncio.sleep(0)
        await world.begin(f"evil{number}:x", known=True)
    assert [await task for task in ended] == [DONE] * 50
    await world.reads.close()


async def test_strangers_have_a_quarter_and_give_way_while_they_have_more():
    world = Registry()
    strangers = await world.fill("made-up")
    known = [await world.begin(f"home:{n}", known=True) for n in range(PLACES)]
    await turns()
    # A quarter of the places is left to them, and known agents shared the others.
    assert [task.done() for task in strangers] == [True] * 6 + [False] * 2
    assert [task.done() for task in known] == [True] * 2 + [False] * 6
    more = [await world.begin(f"made-up:more-{n}") for n in range(3)]
    await turns()
    assert [task.done() for task in known] == [True] * 2 + [False] * 6
    assert all(task.done() for task in strangers)
    world.gate.set()
    assert [await task for task in known[2:] + more[1:]] == [DONE] * PLACES


async def test_strangers_find_room_among_known_agents_up_to_their_share():
    world = Registry()
    known = await world.fill("home", known=True)
    strangers = [await world.begin(f"new:{number}") for number in range(5)]
    await turns()
    assert [task.done() for task in known] == [True] * 2 + [False] * 6
    assert [task.done() for task in strangers] == [True] * 3 + [False] * 2
    await world.reads.close()
    await asyncio.gather(*known, *strangers)


async def test_what_nobody_waits_for_gives_way_first():
    world = Registry()
    waiting = await world.fill("home")
    waiting[5].cancel()
    await asyncio.sleep(0)
    newest = await world.begin("home:new")
    world.gate.set()
    left = [task for task in waiting if task is not waiting[5]]
    assert [await task for task in [*left, newest]] == [DONE] * PLACES


async def test_every_failure_is_counted_once():
    failures: list[int] = []
    world = Registry()
    world.reads = Reads(PLACES, lambda: failures.append(1))
    for number in range(PLACES + 3):  # three of them end before their task ran
        world.reads.begin(f"home:{number}", world.ask, now=1.0, known=False)
    assert len(failures) == 3
    await asyncio.sleep(0)
    world.gate.set()
    await asyncio.sleep(0.01)
    assert len(failures) == PLACES + 3
    await world.reads.close()
    assert len(failures) == PLACES + 3


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


async def test_closing_waits_for_what_the_reads_clean_up():
    cleaned = []

    async def ask(read: Read) -> ResolutionError:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(read.did)
        return DONE

    reads = Reads(PLACES)
    for did in ("d:a", "d:b"):
        reads.begin(did, ask, now=1.0, known=False)
    await asyncio.sleep(0)
    await reads.close()
    assert sorted(cleaned) == ["d:a", "d:b"]


async def test_nothing_is_kept_of_a_read_that_has_ended():
    world = Registry()
    tasks = [await world.begin("d:a"), await world.begin("d:b")]
    world.gate.set()
    for task in tasks:
        await task
    await turns()
    assert not world.reads._tasks


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
            read = world.reads.begin(
                f"{registry}:{number}", world.ask, now=1.0, known=known
            )
            (*gone,) = (one for one in before if one not in world.reads._under_way)
            assert len(gone) == (len(before) == PLACES)
            if gone:
                (victim,) = gone
                kind = [one for one in before if one.known == victim.known]
                idle = [one for one in kind if not one.waiting]
                assert victim is (idle or kind)[0]
                strangers = sum(not one.known for one in before)
                assert victim.known == (
                    strangers <= PLACES // 4 if known else strangers < PLACES // 4
                )
            if waits:
                tasks.append(asyncio.create_task(read.wait()))
                await asyncio.sleep(0)
            assert len(world.reads) <= PLACES
        await world.reads.close()
        outcomes = await asyncio.wait_for(asyncio.gather(*tasks), 5)
        assert {outcome.code for outcome in outcomes} <= {Code.RECORD_UNREACHABLE}
        assert not world.reads

    asyncio.run(scenario())
