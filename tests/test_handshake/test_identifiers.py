from __future__ import annotations

import secrets
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sage.encoding import b64u_decode
from sage.errors import UsageError
from sage.handshake.identifiers import is_uuid4, new_nonce, new_uuid4

SIXTEEN = st.binary(min_size=16, max_size=16)


@given(SIXTEEN)
@example(bytes(16))
@example(b"\xff" * 16)
def test_uuid4_is_what_the_standard_library_makes_of_the_same_bytes(raw):
    text = new_uuid4(lambda size: raw[:size])
    assert text == str(uuid.UUID(bytes=raw, version=4))
    assert is_uuid4(text)


@given(st.uuids(version=4))
def test_lower_case_uuid4_only(value):
    assert is_uuid4(str(value))
    assert not is_uuid4(f"urn:uuid:{value}")
    assert not is_uuid4(f"{{{value}}}")
    assert not is_uuid4(value.hex)
    assert not is_uuid4(f"{value}\n")
    assert not is_uuid4(value)
    text = str(value)
    assert is_uuid4(text.upper()) is (text == text.upper())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not-a-uuid",
        "5f0c3b52-8a1e-1c55-9d3a-000000000001",  # version 1
        "5f0c3b52-8a1e-4c55-7d3a-000000000001",  # variant of NCS
        "5f0c3b52-8a1e-4c55-cd3a-000000000001",  # variant of Microsoft
        "5F0C3B52-8a1e-4c55-9d3a-000000000001",
        "5f0c3b52-8a1e-4c55-9d3a-00000000000",
        "5f0c3b52-8a1e-4c55-9d3a-0000000000011",
        "٥f0c3b52-8a1e-4c55-9d3a-000000000001",
        None,
        5,
    ],
)
def test_other_texts(text):
    assert not is_uuid4(text)


@given(SIXTEEN)
def test_nonce_is_the_entropy(raw):
    text = new_nonce(lambda size: raw[:size])
    assert len(text) == 22
    assert b64u_decode(text) == raw


def test_they_differ_each_time():
    assert len({new_uuid4(secrets.token_bytes) for _ in range(100)}) == 100
    assert len({new_nonce(secrets.token_bytes) for _ in range(100)}) == 100


@pytest.mark.parametrize("wrong", [b"", bytes(15), bytes(17), "x" * 16, None, 16])
@pytest.mark.parametrize("make", [new_uuid4, new_nonce])
def test_entropy_that_is_none(make, wrong):
    with pytest.raises(UsageError):
        make(lambda size: wrong)
