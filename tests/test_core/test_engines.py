"""Engine against engine: each seals, each opens, and all say the same.

Sizes lie around what the compiled core treats differently: nothing, a cipher's block,
what is copied rather than viewed, from where on others get the GIL meanwhile, and from
where on the associated data has no room on the stack.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage.errors import AuthenticationError
from sage.session import DRAFT1, STREAM, STREAM_AES, V0_10
from sage.types import Role

from .engines import KERNELS
from .test_twins import PROFILES, SEED, TH, Wire

SIZES = (0, 1, 63, 64, 65, 2047, 2048, 2049, 4095, 4096, 8191, 8192, 70_000)
AAD_SIZES = (0, 1, 100, 134, 135, 136, 147, 148, 184, 185, 192, 4096, 5000)
KINDS = {
    "V10": (V0_10, TH, None, Role),
    "stream": (STREAM, TH, TH[:16], Role),
    "AES stream": (STREAM_AES, TH, TH[:16], Role),
    "draft1": (DRAFT1, None, TH[:16], Role),
    "draft1, shared": (DRAFT1, None, TH[:16], (None, None)),
}
# As the house's own, but with keys that soon change and room for long data.
SMALL = {
    name: (
        replace(profile, generation_records=3, max_records=1000)
        if profile.layout == "stream"
        else replace(
            profile,
            generation_records=3,
            max_records=1000,
            caller_aad_max_bytes=max(AAD_SIZES),
        ),
        *rest,
    )
    for name, (profile, *rest) in KINDS.items()
}
ROUTES = list(itertools.product(KERNELS, KERNELS))
IDS = [f"{one} to {other}" for one, other in ROUTES]


def text(size: int) -> bytes:
    return bytes(at * 7 & 255 for at in range(size))


def ends(kind: tuple[Any, ...], here: Any, there: Any) -> tuple[Any, Any]:
    profile, th, name, roles = kind
    ada, grace = (
        core.SessionCore(profile, SEED, th, role, session_id=name, now=0.0)
        for core, role in zip((here, there), roles, strict=True)
    )
    return ada, grace


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("here", "there"), ROUTES, ids=IDS)
def test_each_opens_what_each_seals(kind, here, there):
    ada, grace = ends(KINDS[kind], here, there)
    for size in SIZES:
        for sender, receiver in ((ada, grace), (grace, ada)):
            record = sender.seal(text(size), b"aad", now=1.0)
            assert receiver.authenticate(record, b"aad", now=1.0)[1] == text(size)
            for place in (8, 20, -1):  # the nonce, the ciphertext, the tag
                forged = bytearray(record)
                forged[place] ^= 0x80
                with pytest.raises(AuthenticationError):
                    receiver.open(bytes(forged), b"aad", now=1.0)
            with pytest.raises(AuthenticationError):
                receiver.open(record, b"AAD", now=1.0)
            assert receiver.open(record, b"aad", now=1.0) == text(size)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("here", "there"), ROUTES, ids=IDS)
def test_data_on_and_off_the_stack(kind, here, there):
    ada, grace = ends(SMALL[kind], here, there)
    for aad_size in AAD_SIZES:
        if aad_size > ada.profile.caller_aad_max_bytes:
            continue
        for size in (0, 100, 5000):
            aad = text(aad_size)
            record = ada.seal(text(size), aad, now=1.0)
            if aad:
                with pytest.raises(AuthenticationError):
                    grace.open(record, aad[:-1] + b"?", now=1.0)
            assert grace.open(record, aad, now=1.0) == text(size)
            records = ada.seal_many([text(size)] * 2, aad, threads=2, now=1.0)
            assert grace.open_many(records, aad, threads=2, now=1.0) == [text(size)] * 2


@pytest.mark.parametrize("kind", [k for k in SMALL if k != "draft1, shared"])
@pytest.mark.parametrize("size", [0, 10, 2500, 5000])
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_all_seal_alike_across_generations(kind, size, threads):
    """Record for record: singly, in lists, in arrays, and in shares of them."""
    rows = np.frombuffer(text(11 * size), np.uint8).reshape(11, size)
    texts = [bytes(row) for row in rows]
    found = []
    for core in KERNELS:
        one, many, batch = (ends(SMALL[kind], core, core)[0] for _ in range(3))
        singly = [one.seal(row, b"aad", now=1.0) for row in texts]
        listed = many.seal_many(texts, b"aad", threads=threads, now=1.0)
        array = batch.seal_batch(rows, aad=b"aad", threads=threads, now=1.0)
        assert listed == singly
        assert [bytes(row) for row in array] == singly
        found.append(singly)
    assert found == [found[0]] * len(KERNELS)
    for core in KERNELS:
        grace = ends(SMALL[kind], core, core)[1]
        # The newest generation first: the others' keys are not kept.
        opened = grace.open_many(found[0][::-1], b"aad", threads=threads, now=1.0)
        assert opened == texts[::-1]


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize(("here", "there"), ROUTES, ids=IDS)
def test_generations_that_alternate(kind, here, there):
    """As nobody honest sends them: each row takes another key than the last."""
    ada, grace = ends(SMALL[kind], here, there)
    texts = [bytes([number]) * 4100 for number in range(24)]
    records = ada.seal_many(texts, now=1.0)
    order = [(number * 7) % 24 for number in range(24)]
    opened = grace.open_many([records[at] for at in order], threads=3, now=1.0)
    assert opened == [texts[at] for at in order]


def test_an_engine_is_chosen_when_a_session_is_made():
    """Sessions that are there stay on theirs; all go on."""
    kind = KINDS["V10"]
    pairs = [ends(kind, *route) for route in ROUTES]
    for number in range(300):  # with more than one generation
        for ada, grace in pairs:
            record = ada.seal(b"%d" % number, now=1.0)
            assert grace.open(record, now=1.0) == b"%d" % number


# Longer than what the machinery's own profiles allow: the GIL is let go of, and threads
# share the work.
LONG = [
    replace(profile, record_max_bytes=36 + 9000, caller_aad_max_bytes=200)
    for profile in PROFILES
]
TEXT = st.sampled_from([0, 1, 64, 2048, 2049, 4095, 4096, 9000, 9001]).map(text)
AAD = st.sampled_from([0, 1, 136, 137, 200, 201]).map(text)
TIME = st.integers(0, 45)
COUNT = st.sampled_from([1, 1, 2, 3, 64])
PLACE = st.integers(0, 20)
LONG_STEP = st.one_of(
    st.tuples(st.just("seal"), TEXT, AAD, TIME),
    st.tuples(
        st.just("seal_into"), TEXT, st.integers(8000, 9100).map(bytearray), AAD, TIME
    ),
    st.tuples(st.just("seal_many"), st.lists(TEXT, max_size=5), AAD, TIME, COUNT),
    st.tuples(
        st.just("seal_batch"),
        st.tuples(st.integers(0, 5), st.sampled_from([0, 64, 2500, 5000])).map(
            lambda shape: np.full(shape, 7, np.uint8)
        ),
        st.none(),
        AAD,
        TIME,
        COUNT,
    ),
    st.tuples(
        st.just("open_into"), PLACE, st.integers(0, 9000).map(bytearray), AAD, TIME
    ),
    st.tuples(st.just("open_many"), st.lists(PLACE, max_size=8), TIME, COUNT),
    st.tuples(st.just("deliver"), PLACE, TIME),
    st.tuples(st.just("authenticate"), PLACE, TIME),
    st.tuples(st.just("damage"), PLACE, st.integers(0, 10**6), TIME),
)


class LongWire(Wire):
    """The same machinery for profiles that are like its own."""

    def __init__(self, core: Any, profile: Any) -> None:
        th = None if profile.layout == "draft1" else TH
        name = None if profile.layout == "transcript" else TH[:16]
        self.ada, self.grace = (
            core.SessionCore(profile, SEED, th, role, session_id=name, now=0.0)
            for role in Role
        )
        self.sent = [b""]


@settings(max_examples=150, deadline=None)
@given(profile=st.sampled_from(LONG), steps=st.lists(LONG_STEP, max_size=30))
def test_sessions_with_long_records(profile, steps):
    wires = [LongWire(core, profile) for core in KERNELS]
    for step in steps:
        first, *others = (wire.do(step) for wire in wires)
        for core, other in zip(KERNELS[1:], others, strict=True):
            assert first == other, (core, step)
