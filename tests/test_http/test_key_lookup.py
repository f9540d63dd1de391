"""Keys from a table, from records, and from nowhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import sage
from sage.errors import (
    AuthenticationError,
    Code,
    DecodeError,
    ResolutionError,
    UsageError,
)
from sage.http import HttpKey, key_lookup
from sage.http.key_lookup import KeyLookup
from sage.identity import Observation, deactivate

ADA = "did:sage:web:agents.example:ada"


async def test_an_agents_key_is_that_of_its_record(ada, resolver):
    found = await KeyLookup(resolver=resolver).find(f"{ADA}#sign-1")
    assert found.did == ADA
    assert found.key.key == ada.signing_key.public_key


async def test_the_table_comes_first_and_knows_no_did(resolver):
    key = HttpKey.generate(f"{ADA}#sign-1").verification_key()
    lookup = KeyLookup(resolver=resolver, keys={key.kid: key})
    found = await lookup.find(key.kid)
    assert (found.key, found.did) == (key, None)


@pytest.mark.parametrize(
    ("keyid", "error", "code"),
    [
        (f"{ADA}#sign-2", ResolutionError, Code.KEY_NOT_IN_RECORD),
        (f"{ADA}#kem-1", AuthenticationError, Code.SIG_ALG_MISMATCH),
        ("did:sage:web:a.example:nobody#k", ResolutionError, Code.RECORD_NOT_FOUND),
        ("did:sage:web:a.example:nobody", DecodeError, Code.ID_MALFORMED),
        ("did:sage:solana:x:y#k", DecodeError, Code.ID_UNKNOWN_KIND),
        ("partner", DecodeError, Code.ID_MALFORMED),
        ("", DecodeError, Code.ID_MALFORMED),
        (None, ResolutionError, Code.KEY_NOT_IN_RECORD),
    ],
)
async def test_what_cannot_be_found_is_refused(resolver, keyid, error, code):
    with pytest.raises(error) as refused:
        await KeyLookup(resolver=resolver).find(keyid)
    assert refused.value.code is code


def test_one_peers_record_needs_a_resolver():
    keys = {"a": HttpKey.generate("a").verification_key()}
    with pytest.raises(UsageError, match="a peer's record needs a resolver"):
        KeyLookup(keys=keys, peer=ADA)


async def test_a_table_alone_resolves_nobody():
    lookup = KeyLookup(keys={"a": HttpKey.generate("a").verification_key()})
    with pytest.raises(ResolutionError) as refused:
        await lookup.find(f"{ADA}#sign-1")
    assert refused.value.code is Code.KEY_NOT_IN_RECORD


async def test_only_the_peer_counts_where_there_is_one(grace, resolver):
    lookup = KeyLookup(resolver=resolver, peer=grace.did)
    assert (await lookup.find(grace.signing_key.kid)).did == grace.did
    with pytest.raises(AuthenticationError) as refused:
        await lookup.find(f"{ADA}#sign-1")
    assert refused.value.code is Code.SIG_BINDING


async def test_a_deactivated_agents_key_is_found_no_more(ada, resolver):
    lookup = KeyLookup(resolver=resolver)
    await lookup.find(ada.signing_key.kid)
    resolver.publish(deactivate(ada.record))
    with pytest.raises(ResolutionError) as refused:
        await lookup.find(ada.signing_key.kid)
    assert refused.value.code is Code.RECORD_INACTIVE


async def test_a_resolver_that_does_not_answer_is_not_awaited(monkeypatch):
    class Silent:
        async def resolve(self, did: str, *, now: float) -> Observation:
            await asyncio.sleep(60)
            raise AssertionError

    monkeypatch.setattr(key_lookup, "RESOLVE_TIMEOUT_S", 0.01)
    with pytest.raises(ResolutionError) as refused:
        await KeyLookup(resolver=Silent()).find(f"{ADA}#sign-1")
    assert refused.value.code is Code.RECORD_UNREACHABLE


async def test_an_old_observation_is_not_believed(resolver):
    class Old:
        async def resolve(self, did: str, *, now: float) -> Observation:
            return await resolver.resolve(did, now=now - 6)

    with pytest.raises(ResolutionError) as refused:
        await KeyLookup(resolver=Old()).find(f"{ADA}#sign-1")
    assert refused.value.code is Code.RECORD_STALE


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({}, UsageError),
        ({"peer": ADA}, UsageError),
        ({"resolver": sage.MemoryResolver(), "peer": "ada"}, DecodeError),
    ],
)
def test_a_lookup_that_finds_nothing_is_refused(settings: dict[str, Any], error):
    with pytest.raises(error):
        KeyLookup(**settings)


@pytest.mark.parametrize("key", [HttpKey.generate("a"), "a", None])
def test_what_does_not_verify_is_refused_at_once(key):
    with pytest.raises(UsageError, match=r"a key verifies, such as .*, not "):
        KeyLookup(keys={"a": key})
