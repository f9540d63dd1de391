"""Agents: made, saved, loaded, and never leaking."""

from __future__ import annotations

import json
import os
import pickle
import stat

import pytest

import sage
from sage.errors import ConfigError, DecodeError, ResolutionError, UsageError
from sage.identity import (
    KemKey,
    SigningKey,
    add_keys,
    encrypt_secret,
    parse_record,
    revoke_key,
    verify,
)
from sage.service import KeyPair, KeyRing

DID = "did:sage:web:agents.example:ada"
CHEAP = 2**4


def test_a_new_agent_has_an_active_proven_record():
    agent = sage.Agent.generate(DID)
    record = parse_record(agent.record.encode())
    assert (record.id, record.state, record.version) == (DID, "active", 2)
    assert agent.is_new
    key = record.select_signing_key(unix_time=1)
    assert key.kid == agent.signing_key.kid
    verify(key.algorithm, key.key, b"m", agent.signing_key.sign(b"m"))
    assert record.select_kem_key(unix_time=1).key == agent.kem_key.public_key


@pytest.mark.parametrize(
    "algorithm", ["ed25519", "ecdsa-p256-sha256", "sage-secp256k1-keccak256"]
)
def test_every_suite_can_be_saved_and_loaded(tmp_path, algorithm):
    agent = sage.Agent.generate(DID, algorithm=algorithm)
    path = tmp_path / "ada.sage"
    agent.save(path, passphrase="correct horse", scrypt_n=CHEAP)
    again = sage.Agent.load(path, passphrase="correct horse")
    assert again.record == agent.record
    assert not again.is_new
    agent.record.select_signing_key(unix_time=1).verify(
        b"m", again.signing_key.sign(b"m")
    )
    assert again.kem_key.private_bytes() == agent.kem_key.private_bytes()


def test_the_file_is_private_and_shows_nothing(tmp_path):
    agent = sage.Agent.generate(DID)
    path = tmp_path / "ada.sage"
    agent.save(path, passphrase="p", scrypt_n=CHEAP)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    data = path.read_bytes()
    assert agent.signing_key.private_bytes() not in data
    assert b"ada" not in data
    assert os.listdir(tmp_path) == ["ada.sage"]


def test_a_wrong_passphrase_and_a_changed_file(tmp_path):
    path = tmp_path / "ada.sage"
    sage.Agent.generate(DID).save(path, passphrase="right", scrypt_n=CHEAP)
    with pytest.raises(ConfigError):
        sage.Agent.load(path, passphrase="wrong")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ConfigError):
        sage.Agent.load(path, passphrase="right")


def test_a_file_that_is_missing_or_open_to_others(tmp_path):
    path = tmp_path / "ada.sage"
    with pytest.raises(ConfigError):
        sage.Agent.load(path, passphrase="p")
    sage.Agent.generate(DID).save(path, passphrase="p", scrypt_n=CHEAP)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        sage.Agent.load(path, passphrase="p")


def test_an_empty_passphrase(tmp_path):
    with pytest.raises(ConfigError):
        sage.Agent.generate(DID).save(tmp_path / "x", passphrase="")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format":"other"}',
        b'{"format":"sage-agent-1"}',
        b'{"format":"sage-agent-1","record":1,"signing":{},"kem":{}}',
        b'{"format":"sage-agent-1","record":"e30","signing":{},"kem":{}}',
    ],
)
def test_an_encrypted_file_that_holds_no_agent(tmp_path, content):
    path = tmp_path / "ada.sage"
    path.write_bytes(encrypt_secret(content, "p", entropy=os.urandom, n=CHEAP))
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="does not hold an agent"):
        sage.Agent.load(path, passphrase="p")


def test_keys_that_do_not_belong_to_the_record(tmp_path):
    agent, other = sage.Agent.generate(DID), sage.Agent.generate(DID)
    with pytest.raises(UsageError):
        agent.with_record(other.record)


def test_a_newer_record_of_its_own():
    agent = sage.Agent.generate(DID)
    extra = SigningKey.generate(f"{DID}#sign-2")
    newer = add_keys(agent.record, [extra], (), endorser=agent.signing_key)
    assert agent.with_record(newer).record.version == 3
    assert agent.with_record(newer).is_new
    with pytest.raises(UsageError, match="version 3 already"):
        agent.with_record(newer).with_record(agent.record)


def test_names_that_are_none():
    for did in ("", "did:sage:web:localhost", DID + "#x", "did:web:x"):
        with pytest.raises(DecodeError):
            sage.Agent.generate(did)
    with pytest.raises(UsageError):
        sage.Agent.generate(DID, algorithm="rsa")


def test_nothing_leaks():
    agent = sage.Agent.generate(DID)
    assert agent.signing_key.private_bytes().hex() not in repr(agent)
    with pytest.raises(TypeError):
        pickle.dumps(agent)
    with pytest.raises(TypeError):
        json.dumps(agent)


def test_wiped_keys_do_nothing_more():
    agent = sage.Agent.generate(DID)
    agent.wipe()
    with pytest.raises(UsageError):
        agent.signing_key.sign(b"x")


def test_a_revoked_agent_can_be_loaded_but_not_used(tmp_path):
    agent = sage.Agent.generate(DID)
    gone = revoke_key(agent.record, "sign-1", unix_time=1)
    path = tmp_path / "ada.sage"
    agent.with_record(gone).save(path, passphrase="p", scrypt_n=CHEAP)
    assert sage.Agent.load(path, passphrase="p").record.state == "deactivated"


def test_keys_are_found_by_the_name_that_a_session_was_pinned_to():
    agent = sage.Agent.generate(DID)
    assert agent.find_signing_key(f"{DID}#sign-1") is agent.signing_key
    assert agent.find_kem_key(f"{DID}#kem-1") is agent.kem_key
    for find in (agent.find_signing_key, agent.find_kem_key):
        with pytest.raises(ResolutionError) as caught:
            find(f"{DID}#sign-2")
        assert caught.value.code == "key.not-in-record"


def test_other_keys_are_adopted_in_one_step():
    agent = sage.Agent.generate(DID)
    old = agent.ring
    pair = KeyPair(
        SigningKey.generate(f"{DID}#sign-2"), KemKey.generate(f"{DID}#kem-2")
    )
    record = add_keys(agent.record, [pair.signing_key], [pair.kem_key])
    agent.adopt(KeyRing(record, pair, retired=old.current))
    assert (agent.signing_key, agent.kem_key) == tuple(pair)
    assert agent.find_signing_key(f"{DID}#sign-1") is old.current.signing_key
    assert agent.record.version == 3
    # Not back, not to what the record does not hold, not to another agent's.
    wrong = KeyPair(SigningKey.generate(f"{DID}#sign-3"), pair.kem_key)
    other = sage.Agent.generate(DID.replace("ada", "eve")).ring
    for ring in (old, KeyRing(record, wrong), other):
        with pytest.raises(UsageError):
            agent.adopt(ring)
    agent.wipe()
    with pytest.raises(UsageError):
        old.current.signing_key.sign(b"x")


def test_a_file_of_a_rotation_can_be_loaded(tmp_path):
    agent = sage.Agent.generate(DID)
    following = KeyPair(
        SigningKey.generate(f"{DID}#sign-2"), KemKey.generate(f"{DID}#kem-2")
    )
    ring = KeyRing(agent.record, agent.ring.current, following, moved_at=9)
    agent.with_ring(ring).save(tmp_path / "a", passphrase="p", scrypt_n=CHEAP)
    again = sage.Agent.load(tmp_path / "a", passphrase="p")
    assert again.find_kem_key(f"{DID}#kem-2").public_key == following.kem_key.public_key
    assert again.ring.moved_at == 9
