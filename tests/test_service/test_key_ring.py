"""What an agent file holds, with and without a rotation."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sage.encoding import b64u_encode, jcs, parse_strict
from sage.errors import SageError
from sage.identity import KemKey, SigningKey
from sage.service import Agent, KeyPair, KeyRing

DID = "did:sage:web:agents.example:ada"


def pair(number: int) -> KeyPair:
    return KeyPair(
        SigningKey.generate(f"{DID}#sign-{number}"),
        KemKey.generate(f"{DID}#kem-{number}"),
    )


@pytest.fixture
def ring() -> KeyRing:
    return Agent.generate(DID).ring


def secrets_of(ring: KeyRing) -> list[tuple[str, bytes]]:
    return [(key.kid, key.private_bytes()) for one in ring.pairs for key in one]


@pytest.mark.parametrize("other", ["following", "retired"])
def test_what_was_encoded_comes_back(ring: KeyRing, other: str) -> None:
    for whole in (ring, replace(ring, moved_at=7, **{other: pair(2)})):
        again = KeyRing.from_json(parse_strict(whole.encode()))
        assert again.record == whole.record
        assert secrets_of(again) == secrets_of(whole)
        assert (again.following is None) == (whole.following is None)
        assert (again.retired is None) == (whole.retired is None)
        assert again.moved_at == whole.moved_at


def test_a_publication_that_is_known_of_comes_back(ring: KeyRing) -> None:
    following = replace(ring, following=pair(2), moved_at=7)
    for announced in (False, True):
        whole = replace(following, announced=announced)
        again = KeyRing.from_json(parse_strict(whole.encode()))
        assert again.announced is announced
    # A file from before that was saved says nothing of it, and still loads.
    assert "announced" not in json.loads(following.encode())
    # It is about the pair that follows.
    assert "announced" not in json.loads(replace(ring, announced=True).encode())


def test_without_a_rotation_it_is_the_format_that_every_version_reads(
    ring: KeyRing,
) -> None:
    def private(key: SigningKey | KemKey) -> dict[str, str]:
        return {
            "name": key.kid.partition("#")[2],
            "alg": key.algorithm,
            "private": b64u_encode(key.private_bytes()),
        }

    assert ring.encode() == jcs(
        {
            "format": "sage-agent-1",
            "record": b64u_encode(ring.record.encode()),
            "signing": private(ring.current.signing_key),  # type: ignore[dict-item]
            "kem": private(ring.current.kem_key),  # type: ignore[dict-item]
        }
    )


def test_a_version_that_would_lose_a_key_refuses_the_file(ring: KeyRing) -> None:
    rotating = replace(ring, following=pair(2))
    assert json.loads(rotating.encode())["format"] == "sage-agent-2"


@pytest.mark.parametrize(
    "change",
    [
        {"format": "sage-agent-3"},
        {"format": None},
        {"moved_at": None},
        {"moved_at": "1"},
        {"announced": None},
        {"announced": 1},
        {"record": "e30"},
        {"record": 1},
        {"following": None},
        {"following": {}},
        {"following": []},
        {"following": {"signing": 1, "kem": 1}},
        {"signing": {}},
        {"signing": {"name": "x", "alg": "rot13", "private": ""}},
        {"kem": {"name": "x", "alg": "x25519", "private": "AA"}},
    ],
    ids=repr,
)
def test_what_is_no_ring(ring: KeyRing, change: dict[str, Any]) -> None:
    value = json.loads(replace(ring, following=pair(2)).encode())
    with pytest.raises((SageError, KeyError, TypeError)):
        KeyRing.from_json({**value, **change})


def test_nothing_leaks_and_wiped_keys_are_gone(ring: KeyRing) -> None:
    whole = replace(ring, retired=pair(2))
    for _, secret in secrets_of(whole):
        assert secret.hex() not in repr(whole)
    assert len(whole.pairs) == 2
    for one in whole.pairs:
        one.wipe()
        for key in one:
            with pytest.raises(SageError):
                key.private_bytes()
    with pytest.raises(SageError):
        whole.encode()
