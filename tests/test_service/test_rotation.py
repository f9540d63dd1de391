"""Rotation under traffic, across crashes, and in its own time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sage
from sage.encoding import parse_strict
from sage.errors import ConfigError, ResolutionError, SageError, UsageError
from sage.identity import (
    AgentRecord,
    deactivate,
    parse_record,
    revoke_key,
    write_record_file,
)
from sage.limits import (
    ROTATION_OVERLAP_MAX_S,
    ROTATION_OVERLAP_S,
    ROTATION_SETTLE_S,
    SESSION_MAX_AGE_S,
)
from sage.service import Agent, Clock, KeyRing, Rotation, Stage

DID = "did:sage:web:agents.example:ada"
ROOT = Path(__file__).parents[2]
CHEAP = 2
STAGES = [Stage.PREPARED, Stage.ANNOUNCED, Stage.SWITCHED, Stage.SETTLED]
# The times that one rotation saves or publishes.
ACTS = 14


class House:
    """An agent file and a registry's folder, as a process would find them."""

    def __init__(self, top: Path) -> None:
        self.file, self.folder = top / "ada.sage", top / "records"
        self.published: list[AgentRecord] = []
        agent = Agent.generate(DID)
        agent.save(self.file, passphrase="p", scrypt_n=CHEAP)
        self.publish(agent.record)

    def load(self) -> Agent:
        return Agent.load(self.file, passphrase="p")

    def save(self, agent: Agent) -> None:
        agent.save(self.file, passphrase="p", scrypt_n=CHEAP)

    def publish(self, record: AgentRecord) -> None:
        write_record_file(self.folder, record)
        self.published.append(record)

    def on_file(self) -> AgentRecord:
        (path,) = self.folder.rglob("*.json")
        return parse_record(path.read_bytes())

    def rotation(self, agent: Agent | None = None, **options: object) -> Rotation:
        return Rotation(
            agent if agent is not None else self.load(),
            **{"save": self.save, "publish": self.publish, **options},  # type: ignore[arg-type]
        )


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def names(record: AgentRecord, state: str = "accepted") -> list[str]:
    return [entry.name for entry in record.keys if entry.state == state]


# --- the steps ------------------------------------------------------------------


def test_four_steps_change_the_keys(house: House) -> None:
    agent = house.load()
    old = agent.ring.current
    rotation = house.rotation(agent)
    now, seen = 1_000_000, []
    assert rotation.stage is Stage.SETTLED
    for _ in STAGES:
        now = max(now, rotation.not_before)
        seen.append(rotation.step(unix_time=now))
    assert seen == STAGES
    assert agent.signing_key.kid == f"{DID}#sign-0999"
    assert agent.kem_key.kid == f"{DID}#kem-0999"
    assert names(agent.record) == ["kem-0999", "sign-0999"]
    assert names(agent.record, "revoked") == ["kem-1", "sign-1"]
    assert house.on_file() == agent.record == house.load().record
    assert house.load().ring.pairs[0].signing_key.kid == agent.signing_key.kid
    with pytest.raises(UsageError):
        old.signing_key.sign(b"x")  # wiped
    with pytest.raises(ResolutionError):
        agent.find_signing_key(f"{DID}#sign-1")


def test_each_publication_is_one_version_more(house: House) -> None:
    rotation = house.rotation()
    for _ in STAGES * 3:
        rotation.step(unix_time=1, early=True)
    versions = sorted({record.version for record in house.published})
    assert versions == list(range(2, versions[-1] + 1))
    assert len(versions) == 1 + 3 * 3


def test_new_pairs_sort_first_time_after_time(house: House) -> None:
    agent = house.load()
    rotation = house.rotation(agent)
    for number in (999, 998, 997):
        for _ in STAGES[:2]:
            rotation.step(unix_time=1, early=True)
        # From the announcement on, peers choose the new one of each.
        record = house.on_file()
        assert record.select_kem_key(1).kid == f"{DID}#kem-0{number}"
        assert record.select_signing_key(1).kid == f"{DID}#sign-0{number}"
        assert agent.find_kem_key(f"{DID}#kem-0{number}")
        for _ in STAGES[2:]:
            rotation.step(unix_time=1, early=True)


def test_a_new_algorithm(house: House) -> None:
    agent = house.load()
    rotation = house.rotation(agent)
    rotation.step(unix_time=1, algorithm="ecdsa-p256-sha256")
    for _ in STAGES[1:]:
        rotation.step(unix_time=1, early=True)
    assert agent.signing_key.algorithm == "ecdsa-p256-sha256"


def test_steps_have_their_time(house: House) -> None:
    agent = house.load()
    rotation = house.rotation(agent)
    assert rotation.not_before == 0
    rotation.step(unix_time=100)
    assert rotation.not_before == 0
    rotation.step(unix_time=200)
    assert rotation.not_before == 200 + ROTATION_SETTLE_S
    with pytest.raises(UsageError, match="in 1 s"):
        rotation.step(unix_time=199 + ROTATION_SETTLE_S)
    assert rotation.stage is Stage.ANNOUNCED
    rotation.step(unix_time=300)
    # Another process reads the same time from the file.
    assert house.rotation().not_before == 300 + ROTATION_OVERLAP_S
    assert house.rotation(overlap_s=60).not_before == 360
    with pytest.raises(UsageError):
        rotation.step(unix_time=299 + ROTATION_OVERLAP_S)
    rotation.step(unix_time=300 + ROTATION_OVERLAP_S)
    assert rotation.not_before == 0
    assert ROTATION_OVERLAP_S >= SESSION_MAX_AGE_S
    for overlap_s in (-1, ROTATION_OVERLAP_MAX_S + 1, 10**30, 1.5, True, "1", None):
        with pytest.raises(UsageError, match="overlap_s is 0 to 31536000 s"):
            house.rotation(overlap_s=overlap_s)


@pytest.mark.parametrize("unix_time", [1.5, float("nan"), True, "1", None, -1])
def test_a_step_at_no_whole_second_is_refused_before_it_is_saved(
    house: House, unix_time: object
) -> None:
    """A file with such a time could not be read again, and would hold all the keys."""
    rotation = house.rotation()
    with pytest.raises(UsageError, match="unix_time is an int"):
        rotation.step(unix_time=unix_time)  # type: ignore[arg-type]
    assert rotation.stage is Stage.SETTLED
    assert house.rotation().step(unix_time=1) is Stage.PREPARED


def test_a_record_that_cannot_be_rotated(house: House) -> None:
    agent = house.load()
    gone = agent.with_record(deactivate(agent.record))
    with pytest.raises(UsageError):
        house.rotation(gone).step(unix_time=1)
    assert house.load().ring.following is None


def test_a_full_record_says_so(house: House) -> None:
    """128 keys are 63 rotations; the 64th is refused before anything is saved."""
    agent = house.load()
    record = agent.record
    extra = [sage.identity.SigningKey.generate(f"{DID}#extra-{n}") for n in range(125)]
    agent.adopt(agent.with_record(sage.identity.add_keys(record, extra)).ring)
    with pytest.raises(UsageError):
        house.rotation(agent).step(unix_time=1)
    assert agent.ring.following is None


@pytest.mark.parametrize("key", ["sign", "kem"])
@pytest.mark.parametrize("stage", [Stage.ANNOUNCED, Stage.SWITCHED])
def test_a_new_pair_that_was_revoked_is_given_up(
    house: House, stage: Stage, key: str
) -> None:
    """Going on with it would end the agent, or leave it without a key for peers."""
    rotation = house.rotation()
    while rotation.stage is not stage:
        rotation.step(unix_time=1, early=True)
    agent = house.load()
    revoked = revoke_key(agent.record, f"{key}-0999", unix_time=1)
    house.save(agent.with_record(revoked))
    rotation = house.rotation()
    while rotation.stage is not Stage.SETTLED:
        rotation.step(unix_time=1, early=True)
    agent, record = house.load(), house.on_file()
    assert record == agent.record
    assert record.state == "active"
    assert names(record) == ["kem-1", "sign-1"]
    assert agent.signing_key.kid == f"{DID}#sign-1"
    assert agent.kem_key.kid == f"{DID}#kem-1"
    assert len(agent.ring.pairs) == 1
    # And the next rotation is as any other.
    for _ in STAGES:
        house.rotation().step(unix_time=1, early=True)
    assert names(house.on_file()) == ["kem-0998", "sign-0998"]


def test_going_back_does_not_wait_but_what_follows_does(house: House) -> None:
    """Until then, whatever the agent begins is refused."""
    agent = house.load()
    rotation = house.rotation(agent)
    for _ in STAGES[:3]:
        rotation.step(unix_time=1000, early=True)
    agent.adopt(
        agent.with_record(revoke_key(agent.record, "sign-0999", unix_time=1001)).ring
    )
    assert rotation.not_before == 0
    assert rotation.step(unix_time=1002) is Stage.SWITCHED
    assert agent.signing_key.kid == f"{DID}#sign-1"
    assert rotation.not_before == 1002 + ROTATION_OVERLAP_S
    assert rotation.step(unix_time=rotation.not_before) is Stage.SETTLED


def test_a_rotation_does_not_end_the_agent(house: House) -> None:
    """A key of each pair was revoked: whoever wants that has to ask for it."""
    agent = house.load()
    rotation = house.rotation(agent)
    for _ in STAGES[:3]:
        rotation.step(unix_time=1, early=True)
    record = agent.record
    for name in ("sign-0999", "kem-1"):
        record = revoke_key(record, name, unix_time=1)
        house.publish(record)
    agent.adopt(agent.with_record(record).ring)
    with pytest.raises(UsageError, match="last signing key"):
        rotation.step(unix_time=1, early=True)
    assert agent.record.state == house.on_file().state == "active"


@pytest.mark.parametrize(
    ("steps", "gone", "last"),
    [(2, ("sign-0999", "kem-1"), "kem-0999"), (3, ("sign-1", "kem-0999"), "kem-1")],
)
def test_a_rotation_leaves_a_key_for_peers(
    house: House, steps: int, gone: tuple[str, str], last: str
) -> None:
    agent = house.load()
    rotation = house.rotation(agent)
    for _ in STAGES[:steps]:
        rotation.step(unix_time=1, early=True)
    record = agent.record
    for name in gone:
        record = revoke_key(record, name, unix_time=1)
        house.publish(record)
    agent.adopt(agent.with_record(record).ring)
    with pytest.raises(UsageError, match=f"{last} is the last KEM key"):
        rotation.step(unix_time=1, early=True)
    assert house.on_file().select_kem_key(1).kid == f"{DID}#{last}"
    # Whoever asks for it gets it, and the rotation is over.
    record = revoke_key(record, last, unix_time=1)
    agent.adopt(agent.with_record(record).ring)
    assert rotation.step(unix_time=1, early=True) is Stage.SETTLED


# --- crashes ---------------------------------------------------------------------


class Crash(Exception):
    """Nothing of ours catches it."""


class Failing:
    """Saves and publishes until its time has come, before or after the act."""

    def __init__(self, house: House, at: int, *, after: bool) -> None:
        self.house, self.left, self.after = house, at, after

    def __call__(self, act: Callable[..., None]) -> Callable[..., None]:
        def call(argument: object) -> None:
            self.left -= 1
            if self.left == 0 and not self.after:
                raise Crash
            act(argument)
            if self.left == 0:
                raise Crash

        return call


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, ACTS + 1))
def test_a_crash_anywhere_is_made_good_by_the_same_step(
    house: House, at: int, after: bool
) -> None:
    failing = Failing(house, at, after=after)
    agent, crashed = house.load(), 0
    for _ in range(6):
        rotation = house.rotation(
            agent, save=failing(house.save), publish=failing(house.publish)
        )
        try:
            rotation.step(unix_time=1, early=True)
        except Crash:
            crashed += 1
            agent = house.load()  # another process
            rotation = house.rotation(agent)
        held = {pair.signing_key.kid for pair in house.load().ring.pairs}
        kems = {pair.kem_key.kid for pair in house.load().ring.pairs}
        record = house.on_file()
        # Whatever peers choose now, the file has it.
        assert record.select_signing_key(1).kid in held
        assert record.select_kem_key(1).kid in kems
        assert record.version <= house.load().record.version
        if rotation.stage is Stage.SETTLED and record.version == 5:
            break
    assert crashed == 1
    assert names(house.on_file()) == ["kem-0999", "sign-0999"]
    assert house.load().ring.retired is None


KILLED = """
import os, sys
from sage.identity import write_record_file
from sage.service import Agent, Rotation
file, folder, at = sys.argv[1], sys.argv[2], int(sys.argv[3])
left = at
def dying(act):
    def call(argument):
        global left
        left -= 1
        if left == 0:
            os._exit(9)
        act(argument)
    return call
agent = Agent.load(file, passphrase="p")
rotation = Rotation(
    agent,
    save=dying(lambda agent: agent.save(file, passphrase="p", scrypt_n=2)),
    publish=dying(lambda record: write_record_file(folder, record)),
)
for _ in range(4):
    rotation.step(unix_time=1, early=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, ACTS + 1))
def test_a_process_that_is_killed_between_the_steps(house: House, at: int) -> None:
    words = [sys.executable, "-c", KILLED, house.file, house.folder, str(at)]
    done = subprocess.run(words, cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 9
    rotation = house.rotation()
    for _ in range(5):
        if rotation.stage is Stage.SETTLED and house.on_file().version == 5:
            break
        rotation.step(unix_time=1, early=True)
    assert names(house.on_file()) == ["kem-0999", "sign-0999"]


class World:
    """An agent's file and a registry in memory, with time, in which acts may fail.

    Each save and each publication takes the next of ``fates``: ``None`` lets it be.
    Others fail before or after the act, and kill the process or not.
    """

    def __init__(self, fates: list[Fate], *, takes_s: int = 0) -> None:
        self.now, self.takes_s, self.fates = 1_000_000, takes_s, iter(fates)
        self.acts = 0
        self.agent = Agent.generate(DID)
        self.saved = self.agent.ring
        self.public = self.agent.record
        self.known_at: dict[str, int] = {}
        self.switched_at = 0

    def rotation(self) -> Rotation:
        clock = Clock(monotonic=lambda: float(self.now))
        return Rotation(self.agent, save=self.save, publish=self.publish, clock=clock)

    def run_step(self) -> None:
        """Take one step as soon as its time has come, and what comes of it."""
        rotation = self.rotation()
        self.now = max(self.now, rotation.not_before)
        try:
            rotation.step(unix_time=self.now)
        except Crash as exc:
            if exc.args[0]:
                ring = KeyRing.from_json(parse_strict(self.saved.encode()))
                self.agent = Agent(ring.record, *ring.current)
                self.agent.adopt(ring)

    def save(self, agent: Agent) -> None:
        self._act(self._keep, agent.ring)

    def publish(self, record: AgentRecord) -> None:
        self.now += self.takes_s
        self._act(self._show, record)

    def _act(self, act: Callable[..., None], argument: object) -> None:
        self.acts += 1
        fate = next(self.fates, None)
        if fate is None:
            act(argument)
            return
        after, dies = fate
        if after:
            act(argument)
        raise Crash(dies)

    def _keep(self, ring: KeyRing) -> None:
        kid = ring.current.signing_key.kid
        if kid != self.saved.current.signing_key.kid:
            # Nobody can hold a reading of the record without it any more.
            assert self.now >= self.known_at[kid] + ROTATION_SETTLE_S
            self.switched_at = self.now
        self.saved = ring

    def _show(self, record: AgentRecord) -> None:
        assert record.version <= self.saved.record.version  # nothing could be lost
        if record == self.public:
            return
        assert record.version == self.public.version + 1
        held = [key.kid for pair in self.saved.pairs for key in pair]
        assert record.select_signing_key(self.now).kid in held
        assert record.select_kem_key(self.now).kid in held
        if names(record, "revoked"):
            assert self.now >= self.switched_at + ROTATION_OVERLAP_S
        for entry in record.keys:
            self.known_at.setdefault(record.key_url(entry.name), self.now)
        self.public = record


Fate = tuple[bool, bool] | None
FATES: list[Fate] = list(product([False, True], repeat=2))


def rotate_through(fates: list[Fate], *, takes_s: int = 0) -> World:
    """Take steps until the failures are behind and the keys have changed."""
    world = World(fates, takes_s=takes_s)
    for _ in range(len(STAGES) + 2 * len(fates)):
        world.run_step()
        if world.public.version == 5 and world.rotation().stage is Stage.SETTLED:
            break
    assert names(world.public) == ["kem-0999", "sign-0999"]
    assert world.public == world.saved.record
    assert world.saved.retired is None
    return world


@pytest.mark.parametrize("fate", FATES, ids=str)
@pytest.mark.parametrize("at", range(ACTS))
def test_a_failure_anywhere_shortens_no_wait(at: int, fate: Fate) -> None:
    rotate_through([None] * at + [fate])


@given(st.lists(st.sampled_from([None, *FATES]), max_size=30), st.integers(0, 20))
def test_any_failures_shorten_no_wait(fates: list[Fate], takes_s: int) -> None:
    rotate_through(fates, takes_s=takes_s)


def test_without_failures_so_many_acts_are_a_rotation() -> None:
    assert rotate_through([]).acts == ACTS


def test_the_wait_begins_with_the_publication_that_succeeded(house: House) -> None:
    def fail(_: AgentRecord) -> None:
        raise ConfigError("the registry is down")

    published = iter([house.publish, fail])
    agent = house.load()
    house.rotation(agent).step(unix_time=1000)
    with pytest.raises(ConfigError):
        house.rotation(agent, publish=lambda record: next(published)(record)).step(
            unix_time=2000
        )
    # Another process finds it so as well, long after; nobody may have seen the pair.
    for rotation in (house.rotation(agent), house.rotation()):
        assert rotation.stage is Stage.ANNOUNCED
        assert rotation.not_before == 0
    assert rotation.step(unix_time=3000) is Stage.ANNOUNCED
    assert names(house.on_file()) == ["kem-0999", "kem-1", "sign-0999", "sign-1"]
    assert rotation.not_before == 3000 + ROTATION_SETTLE_S
    with pytest.raises(UsageError):
        rotation.step(unix_time=2999 + ROTATION_SETTLE_S)
    assert rotation.step(unix_time=3000 + ROTATION_SETTLE_S) is Stage.SWITCHED


def test_a_slow_publication_is_not_part_of_the_wait(house: House) -> None:
    now = 0.0

    def publish(record: AgentRecord) -> None:
        nonlocal now
        house.publish(record)
        now += 30.5

    clock = Clock(monotonic=lambda: now)
    rotation = house.rotation(publish=publish, clock=clock)
    rotation.step(unix_time=100)
    rotation.step(unix_time=200)
    assert rotation.not_before == 261 + ROTATION_SETTLE_S


def test_a_step_before_its_time_publishes_what_is_saved(house: House) -> None:
    rotation = house.rotation()
    for _ in range(2):
        rotation.step(unix_time=100)
    (path,) = house.folder.rglob("*.json")
    path.unlink()
    with pytest.raises(UsageError):
        rotation.step(unix_time=101)
    assert house.on_file() == house.load().record


def test_a_registry_that_is_ahead_stops_the_rotation(house: House) -> None:
    """Somebody else changed the record: nothing is overwritten."""
    stale = house.load()
    house.rotation().step(unix_time=1)
    house.rotation().step(unix_time=1)
    with pytest.raises(SageError) as caught:
        house.rotation(stale).step(unix_time=1)
    assert isinstance(caught.value, ResolutionError | ConfigError)
    assert house.load().ring.following is not None


# --- traffic ---------------------------------------------------------------------


@pytest.mark.parametrize("who", ["initiator", "responder"])
async def test_a_channel_goes_on_until_its_keys_are_revoked(
    who: str,
    ada: sage.Agent,
    grace: sage.Agent,
    resolver: sage.MemoryResolver,
    running: Callable,
    connecting: Callable,
) -> None:
    agent = ada if who == "initiator" else grace
    rotation = Rotation(agent, save=lambda _: None, publish=resolver.publish)
    async with running() as url:
        async with connecting(url) as old:
            assert await old.request(b"0") == b"echo:0"
            for stage in STAGES[:3]:
                assert rotation.step(unix_time=1, early=True) is stage
                assert await old.request(b"1") == b"echo:1"
                async with connecting(url) as new:
                    assert await new.request(b"2") == b"echo:2"
            assert await new_pair_is_used(connecting, url, agent, who)
            first = old.session_id
            # A new session of the same channel is one of the new keys.
            await old.handshake()
            assert old.session_id != first
            rotation.step(unix_time=1, early=True)
            assert await old.request(b"3") == b"echo:3"
        async with connecting(url) as new:
            assert await new.request(b"4") == b"echo:4"


async def new_pair_is_used(
    connecting: Callable, url: str, agent: sage.Agent, who: str
) -> bool:
    async with connecting(url) as channel:
        assert await channel.request(b"x") == b"echo:x"
        binding = channel._renewal.current.binding
        kid = binding.init_kid if who == "initiator" else binding.resp_kid
        return kid == agent.signing_key.kid


async def test_a_session_of_revoked_keys_ends(
    grace: sage.Agent,
    resolver: sage.MemoryResolver,
    running: Callable,
    connecting: Callable,
) -> None:
    rotation = Rotation(grace, save=lambda _: None, publish=resolver.publish)
    async with running() as url, connecting(url) as channel:
        assert await channel.request(b"0") == b"echo:0"
        for _ in STAGES:
            rotation.step(unix_time=1, early=True)
        with pytest.raises(ResolutionError) as caught:
            await channel.request(b"1")
        assert caught.value.code == "key.revoked"
        assert not caught.value.may_have_run


async def test_requests_under_way_while_the_keys_change(
    ada: sage.Agent,
    grace: sage.Agent,
    resolver: sage.MemoryResolver,
    running: Callable,
    connecting: Callable,
) -> None:
    """Both ends rotate up to the switch under load; nothing fails."""
    rotations = [
        Rotation(agent, save=lambda _: None, publish=resolver.publish)
        for agent in (ada, grace)
    ]
    async with running() as url, connecting(url) as channel:

        async def load() -> int:
            done = 0
            while not stop.is_set():
                assert await channel.request(b"x") == b"echo:x"
                done += 1
            return done

        stop = asyncio.Event()
        loads = [asyncio.create_task(load()) for _ in range(4)]
        for _ in STAGES[:3]:
            for rotation in rotations:
                rotation.step(unix_time=1, early=True)
                async with connecting(url) as other:
                    assert await other.request(b"y") == b"echo:y"
        stop.set()
        assert all(count > 0 for count in await asyncio.gather(*loads))
