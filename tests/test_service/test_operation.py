"""Fresh views: read at the start, read again at a late gate, compared with the pin."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import sage
from sage.errors import Code, ResolutionError
from sage.identity import (
    SigningKey,
    activate,
    add_keys,
    create_record,
    revoke_key,
)
from sage.service import Clock
from sage.service.operation import Operation


class Counting:
    def __init__(self, inner):
        self.inner, self.reads = inner, []

    async def resolve(self, did, *, now):
        self.reads.append((did, now))
        return await self.inner.resolve(did, now=now)


@pytest.fixture
def time():
    return SimpleNamespace(now=100.0)


@pytest.fixture
def counting(resolver):
    return Counting(resolver)


@pytest.fixture
def operation(counting, time, ada, grace):
    clock = Clock(monotonic=lambda: time.now, wall=lambda: 1000.0)
    return Operation(counting, clock, init_did=ada.did, resp_did=grace.did)


def binding_of(ada, grace):
    init, resp = ada.record, grace.record
    keys = (
        init.select_signing_key(unix_time=1),
        resp.select_signing_key(unix_time=1),
        resp.select_kem_key(unix_time=1),
    )
    return SimpleNamespace(
        init_kid=keys[0].kid,
        resp_kid=keys[1].kid,
        kem_kid=keys[2].kid,
        init_key=keys[0],
        resp_key=keys[1],
        kem_key=keys[2],
    )


async def test_both_records_are_read(operation, counting, ada, grace):
    await operation.observe()
    assert counting.reads == [(ada.did, 100.0), (grace.did, 100.0)]
    assert operation.init_record == ada.record
    assert operation.resp_record == grace.record
    operation.require_current(binding_of(ada, grace))


async def test_the_gate_reads_again_only_after_five_seconds(operation, counting, time):
    await operation.observe()
    time.now = 105.0
    await operation.pass_gate()
    assert len(counting.reads) == 2
    time.now = 105.1
    await operation.pass_gate()
    assert len(counting.reads) == 4


async def test_a_gate_without_a_reading_reads(operation, counting):
    await operation.pass_gate()
    assert len(counting.reads) == 2


async def test_a_revoked_key_is_not_current(operation, resolver, ada, grace):
    extra = SigningKey.generate(f"{ada.did}#sign-2")
    more = add_keys(ada.record, [extra], (), endorser=ada.signing_key)
    resolver.publish(more)
    await operation.observe()
    # Another key beside it changes nothing (SESSION-06).
    binding = binding_of(ada, grace)
    operation.require_current(binding)
    resolver.publish(revoke_key(more, "sign-1", unix_time=1))
    await operation.observe()
    # What was found good in this very second was found in another reading.
    with pytest.raises(ResolutionError) as refusal:
        operation.require_current(binding)
    assert refusal.value.code is Code.KEY_REVOKED


async def test_another_key_under_the_same_name_is_not_current(operation, ada, grace):
    await operation.observe()
    binding = binding_of(ada, grace)
    binding.kem_key = binding_of(ada, sage.Agent.generate(grace.did)).kem_key
    with pytest.raises(ResolutionError):
        operation.require_current(binding)


async def test_a_key_that_expires_within_the_operation_is_not_current(ada, grace):
    keys = [ada.signing_key], [ada.kem_key]
    record = activate(create_record(ada.did, ada.did, *keys, expires=1002), unix_time=1)
    resolver = sage.MemoryResolver([record, grace.record])
    wall = SimpleNamespace(now=1000.0)
    clock = Clock(monotonic=lambda: 100.0, wall=lambda: wall.now)
    operation = Operation(resolver, clock, init_did=ada.did, resp_did=grace.did)
    await operation.observe()
    binding = binding_of(ada, grace)
    for wall.now in (1000.0, 1000.5, 1001.9):
        operation.require_current(binding)
    wall.now = 1002.0
    with pytest.raises(ResolutionError) as refusal:
        operation.require_current(binding)
    assert refusal.value.code is Code.KEY_EXPIRED


async def test_what_was_current_for_one_session_is_not_for_another(
    operation, ada, grace
):
    await operation.observe()
    operation.require_current(binding_of(ada, grace))
    with pytest.raises(ResolutionError):
        operation.require_current(
            binding_of(ada, sage.Agent.generate(grace.did)),
        )


async def test_records_in_memory_are_read_without_a_task(resolver, time, ada, grace):
    clock = Clock(monotonic=lambda: time.now, wall=lambda: 1000.0)
    operation = Operation(resolver, clock, init_did=ada.did, resp_did=grace.did)
    # Runs to its end where nothing is waited for.
    with pytest.raises(StopIteration):
        operation.observe().send(None)
    assert (operation.init_record, operation.resp_record) == (ada.record, grace.record)


async def test_a_registry_of_ones_own_is_asked_as_it_wants_to_be(time, ada, grace):
    class Own(sage.MemoryResolver):
        asked = 0

        async def resolve(self, did, *, now):
            self.asked += 1
            return await super().resolve(did, now=now)

    own = Own([ada.record, grace.record])
    clock = Clock(monotonic=lambda: time.now, wall=lambda: 1000.0)
    operation = Operation(own, clock, init_did=ada.did, resp_did=grace.did)
    await operation.observe()
    assert own.asked == 2


async def test_an_unreadable_record_ends_the_operation(ada, time):
    only_ada = sage.MemoryResolver([ada.record])
    operation = Operation(
        only_ada, Clock(), init_did=ada.did, resp_did="did:sage:web:a.example:none"
    )
    with pytest.raises(ResolutionError) as refusal:
        await operation.observe()
    assert refusal.value.code is Code.RECORD_NOT_FOUND


@pytest.mark.parametrize(("late_s", "early_s"), [(5.1, 0.0), (0.0, 0.1)])
async def test_a_reading_that_is_not_of_this_operation(
    resolver, time, ada, grace, late_s, early_s
):
    """A resolver that takes too long, or that answers from memory (REG-05)."""

    class Stale:
        async def resolve(self, did, *, now):
            time.now = 100.0 + late_s
            return await resolver.resolve(did, now=now - early_s)

    clock = Clock(monotonic=lambda: time.now, wall=lambda: 1000.0)
    operation = Operation(Stale(), clock, init_did=ada.did, resp_did=grace.did)
    with pytest.raises(ResolutionError) as refusal:
        await operation.observe()
    assert refusal.value.code is Code.RECORD_STALE


@pytest.mark.parametrize(
    ("announced_s", "early_s", "accepted"),
    [
        (4.0, 4.0, True),
        (4.0, 4.1, False),
        (60.0, 5.0, True),  # capped at what the protocol allows
        (60.0, 5.1, False),
        (0.0, 0.1, False),
        (float("nan"), 0.1, False),
        (-1.0, 0.0, False),
    ],
)
async def test_a_resolver_may_announce_that_it_reuses_readings(
    resolver, time, ada, grace, announced_s, early_s, accepted
):
    class Reusing:
        reuse_s = announced_s

        async def resolve(self, did, *, now):
            return await resolver.resolve(did, now=now - early_s)

    clock = Clock(monotonic=lambda: time.now, wall=lambda: 1000.0)
    operation = Operation(Reusing(), clock, init_did=ada.did, resp_did=grace.did)
    if accepted:
        await operation.observe()
        assert operation.resp_record == grace.record
        return
    with pytest.raises(ResolutionError) as refusal:
        await operation.observe()
    assert refusal.value.code is Code.RECORD_STALE


class Reusing:
    """Reuses a reading of Grace's, and reads Ada's slowly."""

    reuse_s = 4.0

    def __init__(self, inner, time, *, takes_s):
        self.inner, self.time, self.takes_s = inner, time, takes_s
        self.kept = None

    async def resolve(self, did, *, now):
        if did.endswith("ada"):
            seen = await self.inner.resolve(did, now=now)
            self.time.now += self.takes_s
            return seen
        if self.kept is None or now - self.kept.observed_at > self.reuse_s:
            self.kept = await self.inner.resolve(did, now=now)
        return self.kept


async def test_what_grew_old_beside_a_slow_reading_is_read_again(
    resolver, time, ada, grace
):
    reusing = Reusing(resolver, time, takes_s=2.5)
    reusing.kept = await resolver.resolve(grace.did, now=97.0)
    clock = Clock(monotonic=lambda: time.now, wall=lambda: 1000.0)
    operation = Operation(reusing, clock, init_did=ada.did, resp_did=grace.did)
    await operation.observe()
    assert reusing.kept.observed_at == 102.5
    assert operation.resp_record == grace.record


async def test_what_took_too_long_itself_is_not(resolver, time, ada, grace):
    reusing = Reusing(resolver, time, takes_s=5.1)
    clock = Clock(monotonic=lambda: time.now, wall=lambda: 1000.0)
    operation = Operation(reusing, clock, init_did=ada.did, resp_did=grace.did)
    with pytest.raises(ResolutionError) as refused:
        await operation.observe()
    assert refused.value.code is Code.RECORD_STALE
