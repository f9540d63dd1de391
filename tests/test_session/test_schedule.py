"""The session id, against the worked example."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sage.errors import UsageError
from sage.session import (
    DRAFT1,
    STREAM,
    draft1_seed,
    draft1_session_id,
    session_id,
)
from sage.session.schedule import DRAFT1_LABELS

VECTORS = Path(__file__).parents[1] / "vectors" / "worked-example-0.10.0.json"
EXAMPLES = json.loads(VECTORS.read_text())["examples"]


@pytest.mark.parametrize("example", EXAMPLES, ids=["first", "second"])
def test_the_worked_examples_ids(example):
    th = bytes.fromhex(example["th_hex"])
    assert session_id(th) == session_id(bytearray(th)) == example["sid"]


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33), "t" * 32, None, 32])
def test_what_is_no_transcript_hash(wrong):
    with pytest.raises(UsageError, match="transcript_hash must be"):
        session_id(wrong)


@pytest.mark.parametrize("profile", [STREAM, DRAFT1, None, "0.10.0"], ids=str)
def test_whose_id_does_not_follow_from_the_hash(profile):
    with pytest.raises(UsageError, match="only the id of a transcript's session"):
        session_id(bytes(32), profile=profile)


GOLDEN = json.loads((VECTORS.parent / "draft1/session.json").read_text())["vectors"]


def draft1_input():
    (vector,) = (v for v in GOLDEN if v["name"] == "seed-and-id")
    given = vector["input"]
    keys = [bytes.fromhex(given[name]) for name in ("eph_a", "eph_b", "shared_secret")]
    return (given["label"], given["context_id"], *keys), vector["output"]


def test_the_drafts_golden_seed_and_id():
    arguments, expected = draft1_input()
    label, context_id, one, other, secret = arguments
    seed = draft1_seed(*arguments)
    assert seed.hex() == expected["seed"]
    assert draft1_seed(label, context_id, other, bytearray(one), secret) == seed
    assert draft1_session_id(label, seed) == expected["session_id"]


def test_no_label_is_the_oldest_label():
    (_, *rest), _ = draft1_input()
    seed = draft1_seed("a2a/handshake v1", *rest)
    assert draft1_seed("", *rest) == seed
    assert draft1_session_id("", seed) == draft1_session_id("a2a/handshake v1", seed)
    assert len({draft1_seed(label, *rest) for label in DRAFT1_LABELS.values()}) == 3


@pytest.mark.parametrize(
    ("place", "wrong", "text"),
    [
        (0, b"label", "label must be text"),
        (0, "\ud800", "label must be text"),
        (1, None, "context_id must be text"),
        (2, bytes(31), "ephemeral_a must be 32 bytes, not 31"),
        (3, "text", "ephemeral_b must be bytes-like, not str"),
        (4, None, "shared_secret must be bytes-like, not NoneType"),
    ],
)
def test_what_gives_no_seed(place, wrong, text):
    arguments = list(draft1_input()[0])
    arguments[place] = wrong
    with pytest.raises(UsageError, match=text):
        draft1_seed(*arguments)
    with pytest.raises(UsageError, match="seed must be 32 bytes, not 3"):
        draft1_session_id("", b"abc")
