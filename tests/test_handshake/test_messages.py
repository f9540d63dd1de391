from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.encoding import b64u_encode, jcs, parse_strict
from sage.errors import Code, DecodeError, PeerError, ProtocolError, UsageError
from sage.handshake.messages import Completion, Initiation, Terms

ADA = "did:sage:web:agents.example:ada"
GRACE = "did:sage:web:agents.example:grace"
INITIATION = {
    "v": "0.10.0",
    "ctx": "5f0c3b52-8a1e-4c55-9d3a-000000000001",
    "initDid": ADA,
    "respDid": GRACE,
    "initKid": f"{ADA}#sign-1",
    "respKid": f"{GRACE}#sign-1",
    "kemKid": f"{GRACE}#kem-1",
    "suite": "hpke-base+x25519+hkdf-sha256",
    "combiner": "e2e-x25519-hkdf-v1",
    "nonce": b64u_encode(bytes(range(16))),
    "task": "hpke/init@0.10.0",
    "enc": b64u_encode(b"e" * 32),
    "ephC": b64u_encode(b"c" * 32),
}
TRANSCRIPT = INITIATION | {
    "ephS": b64u_encode(b"s" * 32),
    "kid": "9b1d7c10-2f4e-4a77-8c21-000000000001",
}
COMPLETION = {
    "v": "0.10.0",
    "task": "hpke/complete@0.10.0",
    "transcript": TRANSCRIPT,
    "ackTagB64": b64u_encode(b"a" * 32),
    "sigB64": b64u_encode(b"g" * 64),
}
FIXED = ("v", "suite", "combiner")
NOT_TEXT = [None, 5, 1.5, True, [], ["x"], {}]


def without(members, name):
    return {key: value for key, value in members.items() if key != name}


def refused(message, data, code, kind=DecodeError):
    with pytest.raises(PeerError) as raised:
        message.decode(data)
    assert type(raised.value) is kind
    assert raised.value.code == code


def test_initiation_there_and_back():
    data = jcs(INITIATION)
    initiation = Initiation.decode(data)
    assert initiation.encode() == data
    assert initiation.to_json() == INITIATION
    assert initiation.ctx == INITIATION["ctx"]
    assert (initiation.enc, initiation.eph_c) == (b"e" * 32, b"c" * 32)
    assert initiation.nonce == INITIATION["nonce"]


def test_b_is_the_initiation_without_task_and_keys():
    initiation = Initiation.decode(jcs(INITIATION))
    b = {k: v for k, v in INITIATION.items() if k not in ("task", "enc", "ephC")}
    assert len(b) == 10
    assert initiation.binding() == b
    terms = Terms(
        ctx=initiation.ctx,
        init_did=initiation.init_did,
        resp_did=initiation.resp_did,
        init_kid=initiation.init_kid,
        resp_kid=initiation.resp_kid,
        kem_kid=initiation.kem_kid,
        nonce=initiation.nonce,
    )
    assert terms.binding() == b
    assert Initiation.of(terms, enc=b"e" * 32, eph_c=b"c" * 32) == initiation


def test_completion_there_and_back():
    data = jcs(COMPLETION)
    completion = Completion.decode(data)
    assert completion.encode() == data
    assert completion.echo == INITIATION
    assert completion.transcript() == TRANSCRIPT
    assert completion.kid == TRANSCRIPT["kid"]
    assert (completion.eph_s, completion.ack_tag) == (b"s" * 32, b"a" * 32)
    assert completion.signature == b"g" * 64
    unsigned = jcs(without(COMPLETION, "sigB64"))
    assert completion.signing_input() == b"sage-hpke-complete|0.10.0\n" + unsigned


def test_worked_messages(worked):
    transcript = worked["transcript"]
    initiation = without(without(transcript, "ephS"), "kid")
    assert Initiation.decode(jcs(initiation)).binding() == worked["binding"]
    completion = COMPLETION | {"transcript": transcript}
    assert jcs(Completion.decode(jcs(completion)).transcript()) == (
        worked["transcript_jcs"].encode()
    )


def test_a_recoverable_signature_is_longer():
    data = jcs(COMPLETION | {"sigB64": b64u_encode(b"g" * 65)})
    assert Completion.decode(data).signature == b"g" * 65


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_sort_of_buffer(kind):
    assert Initiation.decode(kind(jcs(INITIATION))).to_json() == INITIATION
    assert Completion.decode(kind(jcs(COMPLETION))).transcript() == TRANSCRIPT


@pytest.mark.parametrize("wrong", [None, 5, "{}", ["x"]])
@pytest.mark.parametrize("message", [Initiation, Completion])
def test_what_is_no_buffer(message, wrong):
    with pytest.raises(UsageError):
        message.decode(wrong)


# --- what binds ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("v", "0.9.0"),
        ("v", "1.0.0-draft.1"),
        ("v", 0.1),
        ("v", None),
        ("suite", "other"),
        ("suite", []),
        ("combiner", "other"),
        ("combiner", {}),
        ("unknown", "x"),
        ("task_id", None),
    ],
)
def test_initiation_binding(name, value):
    data = jcs(INITIATION | {name: value})
    refused(Initiation, data, Code.HANDSHAKE_BINDING, ProtocolError)


@pytest.mark.parametrize("name", sorted(INITIATION.keys() - {"task", "enc", "ephC"}))
def test_initiation_without_a_member_of_b(name):
    data = jcs(without(INITIATION, name))
    refused(Initiation, data, Code.HANDSHAKE_BINDING, ProtocolError)


@pytest.mark.parametrize("name", ["initKid", "respKid", "kemKid"])
def test_initiation_with_a_key_of_another_did(name):
    data = jcs(INITIATION | {name: "did:sage:web:agents.example:eve#sign-1"})
    refused(Initiation, data, Code.HANDSHAKE_BINDING, ProtocolError)


# --- what has no shape ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((n, v) for n in INITIATION for v in NOT_TEXT if n not in FIXED),
        ("task", "hpke/init@v1"),
        ("task", "hpke/complete@0.10.0"),
        ("ctx", "not-a-uuid"),
        ("ctx", INITIATION["ctx"].upper()),
        ("ctx", "5f0c3b52-8a1e-1c55-9d3a-000000000001"),
        ("initDid", ADA.upper()),
        ("initDid", f"{ADA}#sign-1"),
        ("initDid", "did:sage:solana:net:ada"),
        ("respDid", ""),
        ("initKid", ADA),
        ("respKid", f"{GRACE}#"),
        ("kemKid", f"{GRACE}#kem#1"),
        ("kemKid", f"{GRACE}#{'k' * 33}"),
        ("nonce", b64u_encode(bytes(15))),
        ("nonce", b64u_encode(bytes(17))),
        ("nonce", INITIATION["nonce"] + "=="),
        ("enc", b64u_encode(bytes(31))),
        ("enc", b64u_encode(bytes(33))),
        ("enc", INITIATION["enc"] + "="),
        ("ephC", b64u_encode(bytes(31))),
        ("ephC", ""),
        ("ephC", INITIATION["ephC"][:-1] + "B"),  # bits behind the last byte
    ],
)
def test_initiation_schema(name, value):
    refused(Initiation, jcs(INITIATION | {name: value}), Code.HANDSHAKE_SCHEMA)


@pytest.mark.parametrize("name", ["task", "enc", "ephC"])
def test_initiation_without_a_member(name):
    refused(Initiation, jcs(without(INITIATION, name)), Code.HANDSHAKE_SCHEMA)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("v", "0.9.0"),
        ("task", "hpke/complete@v1"),
        ("task", "hpke/init@0.10.0"),
        ("extra", "x"),
        ("transcript", TRANSCRIPT | {"extra": "x"}),
        *(("transcript", value) for value in NOT_TEXT),
        ("ackTagB64", b64u_encode(bytes(31))),
        ("ackTagB64", b64u_encode(bytes(33))),
        ("ackTagB64", COMPLETION["ackTagB64"] + "="),
        ("sigB64", COMPLETION["sigB64"] + "=="),
        ("sigB64", ""),
        ("sigB64", b64u_encode(bytes(63))),
        ("sigB64", b64u_encode(bytes(66))),
        *((n, v) for n in without(COMPLETION, "transcript") for v in NOT_TEXT),
    ],
)
def test_completion_schema(name, value):
    refused(Completion, jcs(COMPLETION | {name: value}), Code.HANDSHAKE_SCHEMA)


@pytest.mark.parametrize("name", COMPLETION)
def test_completion_without_a_member(name):
    refused(Completion, jcs(without(COMPLETION, name)), Code.HANDSHAKE_SCHEMA)


@pytest.mark.parametrize("name", TRANSCRIPT)
def test_transcript_without_a_member(name):
    data = jcs(COMPLETION | {"transcript": without(TRANSCRIPT, name)})
    refused(Completion, data, Code.HANDSHAKE_SCHEMA)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kid", "not-a-uuid"),
        ("kid", f"{GRACE}#sign-1"),
        ("kid", TRANSCRIPT["kid"].upper()),
        ("kid", "9b1d7c10-2f4e-1a77-8c21-000000000001"),
        ("ephS", b64u_encode(bytes(31))),
        ("ephS", b64u_encode(bytes(33))),
        ("ephS", TRANSCRIPT["ephS"] + "="),
        *((n, v) for n in ("kid", "ephS") for v in NOT_TEXT),
    ],
)
def test_transcript_schema(name, value):
    data = jcs(COMPLETION | {"transcript": TRANSCRIPT | {name: value}})
    refused(Completion, data, Code.HANDSHAKE_SCHEMA)


@pytest.mark.parametrize("name", INITIATION)
@pytest.mark.parametrize("value", ["changed", 5, None])
def test_what_is_echoed_is_not_judged_here(name, value):
    data = jcs(COMPLETION | {"transcript": TRANSCRIPT | {name: value}})
    assert Completion.decode(data).echo == INITIATION | {name: value}
    assert Completion.decode(data).encode() == data


# --- the bytes themselves -----------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "members"), [(Initiation, INITIATION), (Completion, COMPLETION)]
)
def test_white_space_and_order_carry_nothing(message, members):
    canonical = jcs(members)
    spaced = json.dumps(members, indent=2).encode()
    backwards = json.dumps(dict(sorted(members.items(), reverse=True))).encode()
    escaped = canonical.replace(b'"v"', b'"\\u0076"')
    for data in (canonical + b" ", b"\n" + canonical, spaced, backwards, escaped):
        assert data != canonical
        assert message.decode(data).encode() == canonical


@pytest.mark.parametrize(
    ("message", "members"), [(Initiation, INITIATION), (Completion, COMPLETION)]
)
def test_only_one_strict_json_object(message, members):
    canonical = jcs(members)
    for data in (
        b"\xef\xbb\xbf" + canonical,
        canonical.replace(b'{"', b'{"v":"0.10.0","', 1),
        canonical[:-1],
        canonical + canonical,
        b"\xff" + canonical,
    ):
        refused(message, data, Code.HANDSHAKE_SCHEMA)


@pytest.mark.parametrize(
    ("message", "members"), [(Initiation, INITIATION), (Completion, COMPLETION)]
)
def test_padding_up_to_the_bound(message, members):
    canonical = jcs(members)
    assert message.decode(canonical.ljust(16_384)).encode() == canonical
    refused(message, canonical.ljust(16_385), Code.HANDSHAKE_BOUNDS)


@pytest.mark.parametrize("message", [Initiation, Completion])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"v"',
        b"0",
        b"-0",
        b"1e999",
        b"NaN",
        b"[" * 16_000,
        b"\x00",
    ],
)
def test_what_is_no_object(message, data):
    refused(message, data, Code.HANDSHAKE_SCHEMA)


@pytest.mark.parametrize("depth", range(60, 70))
def test_deep_nesting(depth):
    deep = b"[" * depth + b"]" * depth
    refused(
        Completion,
        jcs(COMPLETION).replace(b'"0.10.0"}', deep + b"}"),
        Code.HANDSHAKE_SCHEMA,
    )
    data = jcs(INITIATION).replace(b'"0.10.0"}', deep + b"}")
    with pytest.raises(PeerError):
        Initiation.decode(data)


@pytest.mark.parametrize("message", [Initiation, Completion])
def test_size_is_asked_first(message):
    refused(message, b"x" * 16_385, Code.HANDSHAKE_BOUNDS)
    refused(message, b"[" * 1_000_000, Code.HANDSHAKE_BOUNDS)
    refused(message, b"x" * 16_384, Code.HANDSHAKE_SCHEMA)


def test_a_completion_of_16384_bytes():
    def sized(size):
        room = size - len(jcs(COMPLETION | {"transcript": TRANSCRIPT | {"enc": ""}}))
        transcript = TRANSCRIPT | {"enc": "e" * room}
        return jcs(COMPLETION | {"transcript": transcript})

    assert len(sized(16_384)) == 16_384
    assert Completion.decode(sized(16_384)).encode() == sized(16_384)
    refused(Completion, sized(16_385), Code.HANDSHAKE_BOUNDS)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    for message in (Initiation, Completion):
        with pytest.raises(PeerError):
            message.decode(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(TRANSCRIPT)), JSON)
def test_any_member_gives_a_message_or_a_documented_error(name, value):
    codes = set()
    for message, members in (
        (Initiation, INITIATION | {name: value}),
        (Completion, COMPLETION | {"transcript": TRANSCRIPT | {name: value}}),
        (Completion, COMPLETION | {name: value}),
    ):
        data = json.dumps(members, sort_keys=True, separators=(",", ":"))
        try:
            decoded = message.decode(data.encode())
        except (DecodeError, ProtocolError) as exc:
            codes.add(exc.code)
        else:
            assert decoded.encode() == jcs(parse_strict(data))
    assert codes <= {
        Code.HANDSHAKE_SCHEMA,
        Code.HANDSHAKE_BINDING,
        Code.HANDSHAKE_BOUNDS,
    }
