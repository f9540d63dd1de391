from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from sage.errors import Code, ProtocolError
from sage.handshake import Binding, PinnedKeys, SessionSecrets
from sage.handshake.transcript import session_id
from sage.identity.keys import KemKey, PublicKey, SigningKey
from sage.types import Role

PINNED = [
    "v",
    "ctx",
    "init_did",
    "resp_did",
    "init_kid",
    "resp_kid",
    "kem_kid",
    "suite",
    "combiner",
    "kid",
    "transcript_hash",
    "session_id",
    "role",
    "init_key",
    "resp_key",
    "kem_key",
]


def changed_keys(key):
    """The same key but for one thing."""
    kem = key.algorithm == "x25519"
    other = (KemKey if kem else SigningKey).generate(key.kid)
    yield dataclasses.replace(key, key=other.public_key)
    yield dataclasses.replace(key, key=key.key[:-1] + bytes([key.key[-1] ^ 1]))
    yield dataclasses.replace(key, algorithm="ecdsa-p256-sha256")
    yield dataclasses.replace(key, kid=key.kid + "2")


def test_the_tuple_has_every_pinned_value(pair):
    of_initiator, of_responder = (secrets.binding for secrets in pair.run())
    assert list(Binding._fields) == PINNED
    initiation = pair.initiator.initiation
    for name in PINNED[:9]:
        assert getattr(of_initiator, name) == getattr(initiation, name)
    assert of_initiator.session_id == session_id(of_initiator.transcript_hash)
    assert {k: getattr(of_initiator, k) for k in pair.keys} == pair.keys
    assert of_initiator.role is Role.INITIATOR
    assert of_responder.role is Role.RESPONDER
    assert of_responder._replace(role=Role.INITIATOR) == of_initiator


def test_the_tuple_cannot_be_changed(pair):
    binding = pair.run()[0].binding
    with pytest.raises(AttributeError):
        binding.kid = "other"


@pytest.mark.parametrize("which", ["init_key", "resp_key", "kem_key"])
def test_any_change_of_a_key_is_noticed(pair, which):
    binding = pair.run()[0].binding
    binding.require_current(**pair.keys)
    for changed in changed_keys(pair.keys[which]):
        with pytest.raises(ProtocolError) as raised:
            binding.require_current(**pair.keys | {which: changed})
        assert raised.value.code == Code.HANDSHAKE_BINDING


def test_equal_keys_in_other_objects_are_current(pair):
    pinned = PinnedKeys(**pair.keys)
    again = [PublicKey(key.kid, key.algorithm, bytes(key.key)) for key in pinned]
    pinned.require(PinnedKeys(*again))


def test_secrets_hide_and_stay_here(pair):
    secrets, _ = pair.run()
    assert secrets.seed.hex() not in repr(secrets)
    assert str(bytes(secrets.seed)) not in repr(secrets)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(secrets)
    twin = SessionSecrets(secrets.seed, secrets.transcript_hash, secrets.binding)
    assert secrets != twin


def test_wiping_secrets(pair):
    secrets, _ = pair.run()
    assert len(secrets.seed) == 32
    assert any(secrets.seed)
    secrets.wipe()
    secrets.wipe()
    assert secrets.seed == bytes(32)
    assert len(secrets.transcript_hash) == 32
