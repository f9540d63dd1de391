"""Records, keys and session ids, against the worked example and the formulas."""

from __future__ import annotations

import copy
import ctypes
import json
import pickle
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sage._crypto import ChaCha20Poly1305, hkdf_expand
from sage.errors import AuthenticationError, Code, ReplayError, UsageError
from sage.session import V0_10
from sage.types import Role

VECTORS = Path(__file__).parents[1] / "vectors" / "worked-example-0.10.0.json"
EXAMPLES = json.loads(VECTORS.read_text())["examples"]
SEED, TH = bytes(range(32)), bytes(range(100, 132))


def worked(twin: Any, example: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    seed, th = (bytes.fromhex(example[name]) for name in ("seed_hex", "th_hex"))
    ada = twin.SessionCore(V0_10, seed, th, Role.INITIATOR, now=0.0)
    grace = twin.SessionCore(V0_10, seed, th, Role.RESPONDER, now=0.0)
    return {"c2s": (ada, grace), "s2c": (grace, ada)}


@pytest.mark.parametrize("example", EXAMPLES, ids=["first", "second"])
def test_the_worked_examples_records(twin, example):
    ends = worked(twin, example)
    assert {end.id for end in ends["c2s"]} == {example["sid"]}
    assert {record["direction"] for record in example["records"]} == {"c2s", "s2c"}
    for item in example["records"]:
        sender, receiver = ends[item["direction"]]
        plaintext, aad, record = (
            bytes.fromhex(item[f"{name}_hex"])
            for name in ("plaintext", "caller_aad", "record")
        )
        while sender.sent < item["seq"]:
            sender.seal(b"", now=1.0)
        assert sender.seal(plaintext, aad, now=1.0) == record
        with pytest.raises(AuthenticationError):
            receiver.open(record, aad + b"x", now=1.0)
        assert receiver.open(record, aad, now=1.0) == plaintext
        with pytest.raises(ReplayError):
            receiver.open(record, aad, now=1.0)


@pytest.mark.parametrize("example", EXAMPLES, ids=["first", "second"])
def test_the_worked_examples_keys(twin, example):
    """Each record opens under the example's key and whole AAD, given to the engine."""
    ends = worked(twin, example)
    for item in example["records"]:
        sender, _ = ends[item["direction"]]
        while sender.sent < item["seq"]:
            sender.seal(b"", now=1.0)
        plaintext, aad = (
            bytes.fromhex(item[f"{name}_hex"]) for name in ("plaintext", "caller_aad")
        )
        record = sender.seal(plaintext, aad, now=1.0)
        engine = ChaCha20Poly1305(bytes.fromhex(item["key_hex"]))
        whole_aad = bytes.fromhex(item["aad_hex"])
        assert engine.decrypt(record[8:20], record[20:], whole_aad) == plaintext


def block_of(session: Any) -> bytes:
    """Return the key block: the seed's place in the object begins it."""
    if type(session).__module__ == "sage._core_py":
        return bytes(session._block)
    memory = ctypes.string_at(id(session), type(session).__basicsize__)
    start = memory.index(SEED)
    return memory[start : start + 192]


def key(direction: str, generation: int) -> bytes:
    info = f"sage-{direction}-key|0.10.0".encode() + TH + generation.to_bytes(8, "big")
    return hkdf_expand(SEED, info, 32)


def test_one_block_holds_the_keys(ends):
    ada, grace = ends()
    empty = bytes(32)
    assert block_of(ada) == b"".join(
        [SEED, TH, key("c2s", 0), key("s2c", 0), empty, empty]
    )
    records = [ada.seal(b"", now=1.0) for _ in range(600)]
    grace.open(records[300], now=1.0)
    assert block_of(grace) == b"".join(
        [SEED, TH, key("s2c", 0), key("c2s", 1), key("c2s", 0), empty]
    )
    grace.open(records[599], now=1.0)
    grace.open(records[0], now=1.0)  # derived into scratch, which is wiped
    assert block_of(grace) == b"".join(
        [SEED, TH, key("s2c", 0), key("c2s", 2), key("c2s", 1), empty]
    )
    assert block_of(ada)[64:96] == key("c2s", 2)


def test_generations_in_any_order(ends):
    ada, grace = ends()
    records = [ada.seal(b"%d" % seq, now=1.0) for seq in range(1000)]
    order = [0, 999, 256, 255, 998, 512, 1, 511, 257, 767, 768, 254, 600]
    order += [seq for seq in range(1000) if seq not in order]
    for seq in order:
        assert grace.open(records[seq], now=1.0) == b"%d" % seq
    assert grace.received == 1000
    for record in records:
        with pytest.raises(ReplayError):
            grace.open(record, now=1.0)


def test_generations_are_accepted_in_another_order_than_authenticated(ends):
    ada, _ = ends()
    records = ada.seal_many([b"%d" % seq for seq in range(1000)], now=1.0)
    for order in permutations((300, 600, 900)):
        _, grace = ends()
        for seq in order:
            assert grace.authenticate(records[seq], now=1.0) == (seq, b"%d" % seq)
        for seq in (600, 300, 900):
            grace.accept(seq, now=1.0)
            assert grace.open(records[seq + 1], now=1.0) == b"%d" % (seq + 1)


def test_a_skipped_generation_takes_the_place_of_an_older_one(ends):
    ada, grace = ends()
    records = [ada.seal(b"%d" % seq, now=1.0) for seq in range(1000)]
    for seq in (0, 999, 600):  # 2 displaces 0 as the one before 3
        assert grace.open(records[seq], now=1.0) == b"%d" % seq
    assert block_of(grace)[96:160] == key("c2s", 3) + key("c2s", 2)


def test_directions_do_not_mix(ends):
    ada, grace = ends()
    record = ada.seal(b"hello", now=1.0)
    with pytest.raises(AuthenticationError) as caught:
        ada.open(record, now=1.0)
    assert caught.value.code is Code.SESSION_AEAD
    assert grace.open(record, now=1.0) == b"hello"


def test_authenticate_then_accept(ends, snapshot):
    ada, grace = ends()
    grace.open(ada.seal(b"", now=1.0), now=1.0)
    record = ada.seal(b"hello", b"aad", now=1.0)
    before = snapshot(grace)
    for _ in range(3):
        assert grace.authenticate(record, b"aad", now=2.0) == (1, b"hello")
    assert snapshot(grace) == before
    grace.accept(1, now=2.0)
    assert grace.received == 2
    for again in (
        lambda: grace.accept(1, now=2.0),
        lambda: grace.authenticate(record, b"aad", now=2.0),
        lambda: grace.open(record, b"aad", now=2.0),
    ):
        with pytest.raises(ReplayError) as caught:
            again()
        assert caught.value.code is Code.SESSION_REPLAY


@pytest.mark.parametrize(
    "wrap",
    [
        bytes,
        bytearray,
        memoryview,
        lambda data: memoryview(bytearray(data)),
        lambda data: memoryview(data).cast("c"),
        lambda data: np.frombuffer(data, np.uint8),
        lambda data: np.frombuffer(data, np.dtype(">i2")),
        lambda data: np.frombuffer(data, np.uint8).reshape(2, -1),
        type("Bytes", (bytes,), {}),
    ],
    ids=["bytes", "bytearray", "view", "writable", "char", "u8", "i2", "2d", "sub"],
)
@pytest.mark.parametrize("size", [2, 64, 4096])
def test_every_kind_of_buffer(ends, wrap, size):
    ada, grace = ends()
    reference, _ = ends()
    plaintext, aad = bytes(range(256)) * 16, b"associated"
    plaintext = plaintext[:size]
    expected = reference.seal(plaintext, aad, now=1.0)
    record = ada.seal(wrap(plaintext), wrap(aad), now=1.0)
    assert (type(record), record) == (bytes, expected)
    opened = grace.open(wrap(record), wrap(aad), now=1.0)
    assert (type(opened), opened) == (bytes, plaintext)


def test_seed_and_transcript_hash_are_copied(twin):
    seed, th = bytearray(SEED), bytearray(TH)
    first = twin.SessionCore(V0_10, seed, th, Role.INITIATOR, now=0.0)
    seed[:] = th[:] = bytes(32)
    second = twin.SessionCore(V0_10, SEED, TH, Role.INITIATOR, now=0.0)
    assert first.seal(b"x", now=1.0) == second.seal(b"x", now=1.0)


def test_what_a_session_says_of_itself(ends):
    ada, grace = ends()
    for end, role in ((ada, Role.INITIATOR), (grace, Role.RESPONDER)):
        assert end.role is role
        assert end.profile is V0_10
        assert (end.sent, end.received, end.records_left) == (0, 0, 1000)
        assert end.closed is False
        assert len(end.id) == 22
    grace.open(ada.seal(b"", now=1.0), now=1.0)
    assert (ada.sent, ada.received, ada.records_left) == (1, 0, 999)
    assert (grace.sent, grace.received, grace.records_left) == (0, 1, 1000)
    text = f"<SessionCore 0.10.0 initiator {ada.id}, 1 sent, 0 received>"
    assert repr(ada) == text
    ada.close()
    assert repr(ada) == text.replace(">", ", closed>")
    with pytest.raises(AttributeError):
        ada.sent = 0


def test_a_session_stays_where_it_is(twin, ends):
    ada, _ = ends()
    for value, noun in ((ada, "session"), (twin.ReplayWindow(), "replay window")):
        text = f"a {noun} cannot be pickled or copied"
        for act in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=text):
                act(value)
    other, _ = ends()
    assert ada != other
    assert hash(ada) != hash(other)
    assert not hasattr(ada, "__dict__")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            (None, SEED, TH, Role.INITIATOR),
            "profile must be a sage Profile, not NoneType",
        ),
        (([], SEED, TH, Role.INITIATOR), "profile must be a sage Profile, not list"),
        ((V0_10, SEED[1:], TH, Role.INITIATOR), "seed must be 32 bytes, not 31"),
        ((V0_10, "s" * 32, TH, Role.INITIATOR), "seed must be bytes-like, not str"),
        ((V0_10, SEED, TH + b"x", Role.INITIATOR), "transcript_hash must be 32 bytes"),
        ((V0_10, SEED, None, Role.INITIATOR), "transcript_hash must be bytes-like"),
        ((V0_10, SEED, TH, "initiator"), "role must be a sage.Role, not str"),
    ],
)
def test_wrong_arguments_make_no_session(twin, arguments, text):
    with pytest.raises(UsageError, match=text):
        twin.SessionCore(*arguments)
    with pytest.raises(UsageError, match="now must be finite"):
        twin.SessionCore(V0_10, SEED, TH, Role.INITIATOR, now=float("nan"))
