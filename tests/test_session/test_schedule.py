"""The session id, against the worked example."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sage.errors import UsageError
from sage.session import session_id

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
