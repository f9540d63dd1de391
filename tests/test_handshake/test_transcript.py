from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage._crypto import x25519_generate, x25519_load_private, x25519_public_bytes
from sage.encoding import jcs
from sage.errors import Code, ProtocolError
from sage.handshake import transcript
from sage.handshake.derive import extract

SECRET = b"\x01" * 32
TH = b"\x02" * 32


def unhex(worked, name):
    return bytes.fromhex(worked[f"{name}_hex"])


def test_worked_info_and_export_context(worked):
    info = transcript.hpke_info(worked["binding"])
    assert info == worked["info"].encode()
    assert transcript.export_context(info) == unhex(worked, "export_context")


def test_worked_transcript_hash(worked):
    assert jcs(worked["transcript"]) == worked["transcript_jcs"].encode()
    assert transcript.transcript_hash(worked["transcript"]) == unhex(worked, "th")


def test_worked_combiner(worked):
    exporter, shared = unhex(worked, "exporter"), unhex(worked, "ss_e2e")
    th = unhex(worked, "th")
    assert extract(th, exporter + shared) == unhex(worked, "prk")
    assert transcript.derive_seed(exporter, shared, th) == unhex(worked, "seed")


def test_worked_agreement_from_both_ends(worked, worked_keys):
    client, server = worked_keys["ephC"], worked_keys["ephS"]
    for private, peer in ((client, server), (server, client)):
        seed = transcript.agree(
            unhex(worked, "exporter"),
            private,
            x25519_public_bytes(peer),
            unhex(worked, "th"),
        )
        assert seed == unhex(worked, "seed")


def test_worked_acknowledgement(worked):
    seed, th = unhex(worked, "seed"), unhex(worked, "th")
    assert transcript.derive_ack_key(seed, th) == unhex(worked, "ack_key")
    assert transcript.ack_tag(seed, th) == unhex(worked, "ack_tag")


def test_worked_session_id(worked):
    assert transcript.session_id(unhex(worked, "th")) == worked["sid"]


@pytest.mark.parametrize(
    "wrong", [bytes(32), bytes(31), b"\x01" * 31, b"\x01" * 33, b""]
)
def test_unusable_combiner_input(wrong):
    for secrets in ((wrong, SECRET), (SECRET, wrong)):
        with pytest.raises(ProtocolError) as raised:
            transcript.derive_seed(*secrets, TH)
        assert raised.value.code == Code.HANDSHAKE_INVALID_COMBINER_INPUT


@pytest.mark.parametrize(
    "public", [bytes(32), b"\x01" + bytes(31), bytes(31), bytes(33)]
)
def test_unusable_ephemeral_key(public):
    with pytest.raises(ProtocolError) as raised:
        transcript.agree(SECRET, x25519_generate(), public, TH)
    assert raised.value.code == Code.HANDSHAKE_INVALID_DH


@given(
    st.integers(0, 31), st.integers(1, 255), st.sampled_from(["exporter", "dh", "th"])
)
def test_every_byte_of_every_input_matters(index, change, which):
    inputs = {"exporter": b"\x11" * 32, "dh": b"\x22" * 32, "th": b"\x33" * 32}
    seed = transcript.derive_seed(*inputs.values())
    changed = bytearray(inputs[which])
    changed[index] ^= change
    other = transcript.derive_seed(*(inputs | {which: bytes(changed)}).values())
    assert other != seed
    assert transcript.ack_tag(other, inputs["th"]) != transcript.ack_tag(
        seed, inputs["th"]
    )


def test_the_two_secrets_do_not_change_places():
    one, two = b"\x11" * 32, b"\x22" * 32
    assert transcript.derive_seed(one, two, TH) != transcript.derive_seed(two, one, TH)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_sort_of_buffer(kind):
    expected = transcript.derive_seed(SECRET, b"\x05" * 32, TH)
    assert transcript.derive_seed(kind(SECRET), kind(b"\x05" * 32), TH) == expected
    private = x25519_load_private(b"\x06" * 32)
    public = x25519_public_bytes(x25519_load_private(b"\x07" * 32))
    expected = transcript.agree(SECRET, private, public, TH)
    assert transcript.agree(kind(SECRET), private, kind(public), TH) == expected


def test_what_is_returned_can_be_wiped():
    seed = transcript.derive_seed(SECRET, SECRET, TH)
    assert isinstance(seed, bytearray)
    assert isinstance(transcript.derive_ack_key(seed, TH), bytearray)
