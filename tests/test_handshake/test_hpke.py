from __future__ import annotations

import json
import pickle
import secrets
from pathlib import Path

import cryptography_vectors
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKeyPair

from sage._crypto import (
    private_bytes,
    x25519_exchange,
    x25519_generate,
    x25519_load_private,
    x25519_public_bytes,
)
from sage.errors import Code, ProtocolError, UsageError
from sage.handshake import hpke
from sage.handshake.derive import extract
from sage.handshake.hpke import setup_recipient, setup_sender

with cryptography_vectors.open_vector_file(
    str(Path("HPKE") / "test-vectors.json"), "r"
) as file:
    SETS = json.load(file)

X25519 = 0x0020
OURS = [
    case
    for case in SETS
    if (case["mode"], case["kem_id"], case["kdf_id"], case["aead_id"])
    == (0, X25519, 1, 3)
]
# The KEM does not know the KDF and AEAD that follow, nor whether there is a PSK.
SAME_KEM = [
    case for case in SETS if case["kem_id"] == X25519 and case["mode"] in (0, 1)
]
PYHPKE = CipherSuite.new(
    KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.CHACHA20_POLY1305
)
UNUSABLE = {
    "zero": bytes(32),
    "one": b"\x01" + bytes(31),
    "order 8": bytes.fromhex(
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"
    ),
    "minus one": bytes.fromhex("ec" + "ff" * 30 + "7f"),
    "short": bytes(31),
    "long": bytes(33),
    "empty": b"",
}


def raw(case, name):
    return bytes.fromhex(case[name])


def test_the_vectors_hold_our_suite():
    assert len(OURS) == 1
    assert len(OURS[0]["exports"]) == 3
    assert len(SAME_KEM) == 16


@pytest.mark.parametrize("case", OURS)
def test_rfc9180_exports(case):
    sender_key = x25519_load_private(raw(case, "skEm"))
    enc, sender = setup_sender(
        raw(case, "pkRm"), raw(case, "info"), ephemeral=sender_key
    )
    assert enc == raw(case, "enc")
    recipient = setup_recipient(enc, raw(case, "skRm"), raw(case, "info"))
    for export in case["exports"]:
        context, expected = (
            raw(export, "exporter_context"),
            raw(export, "exported_value"),
        )
        assert sender.export(context, export["L"]) == expected
        assert recipient.export(context, export["L"]) == expected


@pytest.mark.parametrize("case", OURS)
def test_rfc9180_key_schedule(case):
    shared = raw(case, "shared_secret")
    context = hpke.key_schedule_context(raw(case, "info"))
    assert context == raw(case, "key_schedule_context")
    assert extract(shared, hpke._SECRET) == raw(case, "secret")
    exporter = hpke.exporter_secret(shared, raw(case, "info"))
    assert exporter == raw(case, "exporter_secret")


@pytest.mark.parametrize("case", SAME_KEM)
def test_rfc9180_shared_secret(case):
    private = x25519_load_private(raw(case, "skRm"))
    dh = x25519_exchange(private, raw(case, "enc"))
    kem_context = raw(case, "enc") + raw(case, "pkRm")
    assert hpke.extract_and_expand(dh, kem_context) == raw(case, "shared_secret")


def test_worked_example(worked, worked_keys):
    info = worked["info"].encode()
    public = x25519_public_bytes(worked_keys["kem"])
    enc, sender = setup_sender(public, info, ephemeral=worked_keys["enc"])
    shared = hpke.extract_and_expand(
        x25519_exchange(worked_keys["enc"], public), enc + public
    )
    assert shared.hex() == worked["kem_shared_secret_hex"]
    assert hpke.key_schedule_context(info).hex() == worked["key_schedule_context_hex"]
    assert extract(shared, hpke._SECRET).hex() == worked["hpke_secret_hex"]
    assert hpke.exporter_secret(shared, info).hex() == worked["exporter_secret_hex"]
    context = bytes.fromhex(worked["export_context_hex"])
    recipient = setup_recipient(enc, worked_keys["kem"], info)
    assert sender.export(context, 32).hex() == worked["exporter_hex"]
    assert recipient.export(context, 32).hex() == worked["exporter_hex"]


def test_pyhpke_agrees_in_both_directions():
    for size in range(100):
        private, info, context = (
            x25519_generate(),
            secrets.token_bytes(size),
            secrets.token_bytes(100 - size),
        )
        public, length = x25519_public_bytes(private), 1 + size * 80
        theirs = PYHPKE.kem.deserialize_public_key(public)
        enc, sender = PYHPKE.create_sender_context(theirs, info)
        ours = setup_recipient(enc, private_bytes(private), info)
        assert ours.export(context, length) == sender.export(context, length)
        enc, ours = setup_sender(public, info)
        theirs = PYHPKE.kem.deserialize_private_key(private_bytes(private))
        recipient = PYHPKE.create_recipient_context(enc, theirs, info)
        assert ours.export(context, length) == recipient.export(context, length)


def test_pyhpke_agrees_on_a_given_ephemeral():
    recipient, ephemeral = x25519_generate(), x25519_generate()
    pair = KEMKeyPair(
        PYHPKE.kem.deserialize_private_key(private_bytes(ephemeral)),
        PYHPKE.kem.deserialize_public_key(x25519_public_bytes(ephemeral)),
    )
    public = x25519_public_bytes(recipient)
    theirs = PYHPKE.create_sender_context(
        PYHPKE.kem.deserialize_public_key(public), b"info", eks=pair
    )
    enc, ours = setup_sender(public, b"info", ephemeral=ephemeral)
    assert enc == theirs[0]
    assert ours.export(b"", 32) == theirs[1].export(b"", 32)


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_other_info_or_context_gives_another_secret(info, context, other):
    private = x25519_load_private(b"\x07" * 32)
    enc, sender = setup_sender(x25519_public_bytes(private), info)
    secret = sender.export(context, 32)
    assert setup_recipient(enc, private, info).export(context, 32) == secret
    same = other == context
    assert (sender.export(other, 32) == secret) is same
    other_info = setup_recipient(enc, private, other).export(context, 32)
    assert (other_info == secret) is (other == info)


def test_the_length_enters_the_export():
    _, sender = setup_sender(x25519_public_bytes(x25519_generate()), b"")
    assert sender.export(b"", 64)[:32] != sender.export(b"", 32)


def test_an_ephemeral_is_fresh_each_time():
    public = x25519_public_bytes(x25519_generate())
    assert setup_sender(public, b"")[0] != setup_sender(public, b"")[0]


@pytest.mark.parametrize("key", UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_keys_are_invalid_kem(key):
    with pytest.raises(ProtocolError) as raised:
        setup_sender(key, b"")
    assert raised.value.code == Code.HANDSHAKE_INVALID_KEM
    with pytest.raises(ProtocolError) as raised:
        setup_recipient(key, x25519_generate(), b"")
    assert raised.value.code == Code.HANDSHAKE_INVALID_KEM


@pytest.mark.parametrize("length", [1, 31, 32, 33, hpke.EXPORT_MAX_BYTES])
def test_lengths_that_work(length):
    enc, sender = setup_sender(x25519_public_bytes(x25519_load_private(b"k" * 32)), b"")
    secret = sender.export(b"c", length)
    assert len(secret) == length
    assert setup_recipient(enc, b"k" * 32, b"").export(b"c", length) == secret
    out = bytearray(length)
    sender.export_into(b"c", out)
    assert out == secret


@pytest.mark.parametrize("length", [0, -1, 8161, 2**64, 1.0, "32", None, True])
def test_lengths_that_do_not(length):
    _, sender = setup_sender(x25519_public_bytes(x25519_generate()), b"")
    with pytest.raises(UsageError):
        sender.export(b"", length)


@pytest.mark.parametrize("size", [0, 8161])
def test_buffers_of_no_such_length(size):
    _, sender = setup_sender(x25519_public_bytes(x25519_generate()), b"")
    with pytest.raises(UsageError, match=r"an export is 1\.\.8160 bytes"):
        sender.export_into(b"", bytearray(size))


@pytest.mark.parametrize("out", [b"x" * 32, [0] * 32, "x" * 32, None, 32])
def test_an_export_goes_into_a_bytearray(out):
    _, sender = setup_sender(x25519_public_bytes(x25519_generate()), b"")
    with pytest.raises(UsageError, match="out is a bytearray, not"):
        sender.export_into(b"", out)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_sort_of_buffer(kind):
    private = b"\x09" * 32
    public = x25519_public_bytes(x25519_load_private(private))
    enc, sender = setup_sender(kind(public), kind(b"info"))
    recipient = setup_recipient(kind(enc), kind(private), kind(b"info"))
    assert recipient.export(kind(b"c"), 32) == sender.export(b"c", 32)


@pytest.mark.parametrize("wrong", [None, 32, "key", ["k"]])
def test_arguments_that_are_no_buffers(wrong):
    key = x25519_generate()
    enc, sender = setup_sender(x25519_public_bytes(key), b"")
    for call in (
        lambda: setup_sender(wrong, b""),
        lambda: setup_sender(enc, wrong),
        lambda: setup_recipient(wrong, key, b""),
        lambda: setup_recipient(enc, wrong, b""),
        lambda: setup_recipient(enc, key, wrong),
        lambda: sender.export(wrong, 32),
    ):
        with pytest.raises(UsageError):
            call()


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_private_key_of_another_length(size):
    enc, _ = setup_sender(x25519_public_bytes(x25519_generate()), b"")
    with pytest.raises(UsageError):
        setup_recipient(enc, bytes(size), b"")


def test_a_wiped_context_exports_nothing():
    _, sender = setup_sender(x25519_public_bytes(x25519_generate()), b"")
    secret = sender._secret
    assert any(secret)
    sender.wipe()
    sender.wipe()
    assert not any(secret)
    with pytest.raises(UsageError, match="was wiped"):
        sender.export(b"", 32)


def test_a_context_is_not_written_down():
    _, sender = setup_sender(x25519_public_bytes(x25519_generate()), b"")
    with pytest.raises(TypeError):
        pickle.dumps(sender)
    assert bytes(sender._secret).hex() not in repr(sender)
    assert sender != setup_sender(x25519_public_bytes(x25519_generate()), b"")[1]
