"""The closed schema of REG-01: everything that a record must not be."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sage.encoding import b64u_decode, b64u_encode, jcs, parse_strict
from sage.errors import Code, ResolutionError, UsageError
from sage.identity import (
    AgentRecord,
    KemKey,
    ServiceEntry,
    SigningKey,
    activate,
    create_record,
    parse_record,
)
from sage.limits import AGENT_RECORD_MAX_BYTES

Make = Callable[..., dict[str, Any]]
CODES = {
    Code.RECORD_INVALID,
    Code.SIZE_EXCEEDED,
    Code.POP_BAD,
}


def refusal(value: Any) -> Code:
    with pytest.raises(ResolutionError) as caught:
        parse_record(value if isinstance(value, bytes | dict) else jcs(value))
    return caught.value.code


@pytest.fixture
def good(ada: SimpleNamespace) -> dict[str, Any]:
    """Ada's record as an object that may be changed."""
    value = parse_strict(ada.record.encode())
    assert isinstance(value, dict)
    return copy.deepcopy(value)


# --- the whole ----------------------------------------------------------


def test_bytes_and_objects_read_alike(
    ada: SimpleNamespace, good: dict[str, Any]
) -> None:
    assert parse_record(good) == ada.record
    assert parse_record(jcs(good)) == ada.record
    assert parse_record(bytearray(jcs(good))) == ada.record
    assert parse_record(memoryview(jcs(good))) == ada.record


def test_a_record_need_not_be_canonical(
    ada: SimpleNamespace, good: dict[str, Any]
) -> None:
    text = jcs(good).decode().replace(",", " ,\n ").replace('"ops"', '"\\u006fps"')
    assert parse_record(text.encode()) == ada.record


@pytest.mark.parametrize("data", ["{}", None, 5, [], object()])
def test_a_record_is_a_buffer_or_an_object(data: Any) -> None:
    with pytest.raises((UsageError, ResolutionError)):
        parse_record(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b'"record"',
        b"{",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"id":1e999}',
        b"[" * 2000,
    ],
)
def test_what_is_no_object_of_json_is_invalid(data: bytes) -> None:
    assert refusal(data) is Code.RECORD_INVALID


def test_trailing_data_and_duplicate_names_are_refused(good: dict[str, Any]) -> None:
    data = jcs(good)
    assert refusal(data + b"{}") is Code.RECORD_INVALID
    twice = data.replace(b'"state":"active"', b'"state":"active","st\\u0061te":"x"')
    assert twice != data
    assert refusal(twice) is Code.RECORD_INVALID


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("keys", 0),
        ("keys", 0, "proof"),
        ("services", 0),
    ],
    ids=str,
)
def test_every_object_is_closed(good: dict[str, Any], path: tuple[Any, ...]) -> None:
    target: Any = good
    for step in path:
        target = target[step]
    for name in list(target):
        missing, null = copy.deepcopy(good), copy.deepcopy(good)
        for changed, act in ((missing, dict.pop), (null, None)):
            inner: Any = changed
            for step in path:
                inner = inner[step]
            if act is None:
                inner[name] = None
            else:
                act(inner, name)
            assert refusal(changed) is Code.RECORD_INVALID
    target["extra"] = 1
    assert refusal(good) is Code.RECORD_INVALID


@pytest.mark.parametrize(
    "member", ["id", "controller", "keys", "services", "state", "version"]
)
@pytest.mark.parametrize("value", [None, True, 1, 1.5, "", "\0", [], {}, [[]], [1]])
def test_every_member_has_its_type(
    good: dict[str, Any], member: str, value: Any
) -> None:
    if member == "services" and value == []:
        parse_record(good | {"services": []})
        return
    assert refusal(good | {member: value}) is Code.RECORD_INVALID


def fill(signing_key: Callable[..., SigningKey], entry_json: Make) -> dict[str, Any]:
    services = [
        {"name": f"s{i:02}", "type": "T", "uri": "https://a.example/" + "x" * 2030}
        for i in range(16)
    ]
    keys = [entry_json(signing_key(f"k{i:03}")) for i in range(128)]
    return {"keys": keys, "services": services, "controller": "o"}


def test_a_record_has_at_most_65536_bytes(
    signing_key: Callable[..., SigningKey], entry_json: Make, record_json: Make
) -> None:
    full = record_json() | fill(signing_key, entry_json)
    excess = len(jcs(full)) - AGENT_RECORD_MAX_BYTES
    assert 0 < excess < 1900 * 16
    for service in full["services"]:
        cut = min(excess, 1900)
        service["uri"] = service["uri"][: len(service["uri"]) - cut]
        excess -= cut
    data = jcs(full)
    assert len(data) == AGENT_RECORD_MAX_BYTES
    assert parse_record(data).encode() == data
    assert parse_record(full).encode() == data
    full["controller"] = "oo"
    assert refusal(jcs(full)) is Code.SIZE_EXCEEDED
    assert refusal(full) is Code.SIZE_EXCEEDED
    # Blanks count, too: the limit is on what is received.
    assert refusal(data + b" ") is Code.SIZE_EXCEEDED


# --- members of the record ----------------------------------------------------------


@pytest.mark.parametrize(
    "did",
    [
        "did:sage:web:agents.example",
        "did:sage:web:agents.example:ada#sign-1",
        "did:sage:web:agents.example:eve",
        "did:sage:solana:x:ada",
        "DID:sage:web:agents.example:ada",
    ],
)
def test_the_id_is_the_identifier_that_the_proofs_are_for(
    good: dict[str, Any], did: str
) -> None:
    assert refusal(good | {"id": did}) in {Code.RECORD_INVALID, Code.POP_BAD}


@pytest.mark.parametrize("controller", ["a", "~" * 256, "did:web:ops.example", "a b"])
def test_controllers(good: dict[str, Any], controller: str) -> None:
    assert parse_record(good | {"controller": controller}).controller == controller


@pytest.mark.parametrize("controller", ["", "a" * 257, "\u00e9", "a\n", "a\0", "\x7f"])
def test_bad_controllers(good: dict[str, Any], controller: str) -> None:
    assert refusal(good | {"controller": controller}) is Code.RECORD_INVALID


@pytest.mark.parametrize("state", ["created", "active", "deactivated"])
def test_states(good: dict[str, Any], state: str) -> None:
    assert parse_record(good | {"state": state}).state == state


@pytest.mark.parametrize("state", ["Active", "revoked", "active ", "suspended"])
def test_bad_states(good: dict[str, Any], state: str) -> None:
    assert refusal(good | {"state": state}) is Code.RECORD_INVALID


@pytest.mark.parametrize("version", [1, 9, 10, 2**53 + 1, 2**63, 2**64 - 1])
def test_versions(good: dict[str, Any], version: int) -> None:
    record = parse_record(good | {"version": str(version)})
    assert record.version == version
    assert f'"version":"{version}"'.encode() in record.encode()


@pytest.mark.parametrize(
    "version",
    [
        "0",
        "01",
        "-1",
        "+1",
        "1.0",
        "1e3",
        " 1",
        "1 ",
        "1\n",
        "1_0",
        "\u0661",
        str(2**64),
        "9" * 20,
        "9" * 5000,
        2,
    ],
)
def test_bad_versions(good: dict[str, Any], version: Any) -> None:
    assert refusal(good | {"version": version}) is Code.RECORD_INVALID


# --- keys ----------------------------------------------------------


def test_128_keys_are_the_most(
    signing_key: Callable[..., SigningKey], entry_json: Make, record_json: Make
) -> None:
    keys = [
        entry_json(signing_key(f"k{i:03}"), state="revoked" if i % 2 else "accepted")
        for i in range(129)
    ]
    assert len(parse_record(record_json(*keys[:128])).keys) == 128
    assert refusal(record_json(*keys)) is Code.RECORD_INVALID
    assert refusal(record_json()) is Code.RECORD_INVALID


def test_names_are_unique_and_sorted_by_ascii(
    signing_key: Callable[..., SigningKey], entry_json: Make, record_json: Make
) -> None:
    names = ["-", "0", "A", "Z", "_", "a", "a-", "a0", "aa"]
    keys = [entry_json(signing_key(name)) for name in names]
    record = parse_record(record_json(*keys))
    assert [entry.name for entry in record.keys] == names
    for index in range(len(names) - 1):
        swapped = keys.copy()
        swapped[index : index + 2] = reversed(swapped[index : index + 2])
        assert refusal(record_json(*swapped)) is Code.RECORD_INVALID
        doubled = [*keys[: index + 1], keys[index], *keys[index + 1 :]]
        assert refusal(record_json(*doubled)) is Code.RECORD_INVALID


def test_key_bytes_are_never_reused(
    ada: SimpleNamespace,
    entry_json: Make,
    record_json: Make,
) -> None:
    raw = ada.sign.private_bytes()
    twin = SigningKey.from_private_bytes(f"{ada.did}#sign-2", "ed25519", raw)
    for state in ("accepted", "revoked"):
        keys = [entry_json(ada.sign, state=state), entry_json(twin)]
        assert refusal(record_json(*keys)) is Code.RECORD_INVALID
        assert parse_record(record_json(entry_json(twin)))
    # Not under another algorithm either.
    kem = KemKey.from_private_bytes(f"{ada.did}#kem-1", raw)
    posing = entry_json(kem, ada.sign, key=b64u_encode(ada.sign.public_key))
    assert refusal(record_json(posing, entry_json(ada.sign))) is Code.RECORD_INVALID


@pytest.mark.parametrize(
    "members",
    [
        {"name": ""},
        {"name": "a" * 33},
        {"name": "a.b"},
        {"name": "sign-1\n"},
        {"name": "\u0661"},
        {"alg": "Ed25519"},
        {"alg": "es256k"},
        {"alg": "x-ed25519"},
        {"alg": "rsa-pss-sha256"},
        {"alg": ""},
        {"alg": "x25519"},
        {"alg": "ecdsa-p256-sha256"},
        {"alg": "sage-secp256k1-keccak256"},
        {"key": ""},
        {"key": "A" * 42},
        {"key": "A" * 43},
        {"key": "A" * 43 + "="},
        {"key": "/" * 43},
        {"key": "A" * 87},
        {"key": "A" * 4000},
        {"key": 7},
        {"state": "created"},
        {"state": "Accepted"},
        {"state": ""},
        {"expires": -1},
        {"expires": 1.5},
        {"expires": "1"},
        {"expires": True},
        {"expires": None},
        {"private": "A" * 43},
        {"d": "A" * 43},
        {"proof": None},
        {"proof": []},
        {"proof": {"signer": "did:sage:web:agents.example:ada#sign-1"}},
    ],
    ids=str,
)
def test_bad_key_entries(
    ada: SimpleNamespace, entry_json: Make, record_json: Make, members: dict[str, Any]
) -> None:
    assert refusal(record_json(entry_json(ada.sign, **members))) is Code.RECORD_INVALID


@pytest.mark.parametrize("expires", [0, 1, 2**53 - 1])
def test_expiry_times(
    ada: SimpleNamespace, entry_json: Make, record_json: Make, expires: int
) -> None:
    record = parse_record(record_json(entry_json(ada.sign, expires=expires)))
    assert record.keys[0].expires == expires
    assert parse_record(record.encode()) == record


@pytest.mark.parametrize("text", ["9007199254740992", "1e999", "-0", "-0.0", "1e3"])
def test_expiry_times_are_exact_integers(
    ada: SimpleNamespace, entry_json: Make, record_json: Make, text: str
) -> None:
    data = jcs(record_json(entry_json(ada.sign, expires=7)))
    changed = data.replace(b'"expires":7', f'"expires":{text}'.encode())
    assert changed != data
    assert refusal(changed) is Code.RECORD_INVALID


@pytest.mark.parametrize(
    "members",
    [
        {"signer": ""},
        {"signer": "did:sage:web:agents.example:ada"},
        {"signer": "#sign-1"},
        {"signer": 7},
        {"value": "A" * 88},
        {"value": "A" * 85},
        {"value": "A" * 86 + "=="},
        {"value": "A" * 85 + "B"},
        {"value": 7},
        {"extra": 1},
    ],
    ids=str,
)
def test_bad_proofs(
    ada: SimpleNamespace, entry_json: Make, record_json: Make, members: dict[str, Any]
) -> None:
    entry = entry_json(ada.sign)
    entry["proof"] |= members
    assert refusal(record_json(entry)) is Code.RECORD_INVALID


def test_keys_are_points_that_their_algorithm_accepts(
    ada: SimpleNamespace, entry_json: Make, record_json: Make
) -> None:
    small = b"\x01" + bytes(31)
    p256 = ada.p256.public_key
    compressed = bytes([2 + (p256[64] & 1)]) + p256[1:33]
    for key, raw in [
        (ada.sign, small),
        (ada.sign, bytes(32)),
        (ada.sign, b"\xff" * 32),
        (ada.p256, compressed),
        (ada.p256, ada.eth.public_key),
        (ada.p256, bytes(65)),
        (ada.eth, p256),
        (ada.eth, p256[:64] + bytes([p256[64] ^ 1])),
    ]:
        entry = entry_json(key, key=b64u_encode(raw))
        assert refusal(record_json(entry)) is Code.RECORD_INVALID
    for raw in (small, bytes(32), bytes(31), b"\xff" * 33):
        kem = entry_json(ada.kem, ada.sign, key=b64u_encode(raw))
        code = refusal(record_json(kem, entry_json(ada.sign)))
        assert code is Code.RECORD_INVALID


@pytest.mark.parametrize("state", ["created", "active"])
def test_a_live_record_has_an_accepted_signing_key(
    ada: SimpleNamespace, entry_json: Make, record_json: Make, state: str
) -> None:
    revoked = entry_json(ada.sign, state="revoked")
    kem = entry_json(ada.kem, ada.sign)
    assert refusal(record_json(kem, revoked, state=state)) is Code.RECORD_INVALID
    record = parse_record(record_json(kem, revoked, state="deactivated"))
    assert record.state == "deactivated"
    # Expiry is another matter: without a clock it cannot be known.
    parse_record(record_json(entry_json(ada.sign, expires=0), state=state))


# --- services ----------------------------------------------------------


def with_service(good: dict[str, Any], **members: Any) -> dict[str, Any]:
    service = {"name": "inbox", "type": "SageInbox", "uri": "https://a.example"}
    return good | {"services": [service | members]}


@pytest.mark.parametrize(
    "uri",
    [
        "https://a",
        "https://a.example/",
        "https://a.example:8443/x/y?z=%20&w",
        "HTTPS://a.example?query",
        "https://[2001:db8::1]:443/x",
        "https://a.example/~b/;c=d,e!$&'()*+@:",
        "https://a.example/" + "x" * 2030,
    ],
)
def test_service_uris(good: dict[str, Any], uri: str) -> None:
    assert parse_record(with_service(good, uri=uri)).services[0].uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://",
        "https:///path",
        "https:a.example",
        "//a.example",
        "/path",
        "http://a.example",
        "wss://a.example",
        "javascript:alert(1)",
        "https://user@a.example",
        "https://user:pass@a.example/",
        "https://a.example/#fragment",
        "https://a.example#",
        "https://a.example\\@b.example",
        "https://a.example/ x",
        "https://a.example/x\n",
        "https://a.example/\0",
        "https://a.example/%zz",
        "https://a.example/%2",
        "https://b\u00fccher.example",
        "https://a.example:port/",
        "https://a.example:123456/",
        "https://a.example/" + "x" * 2031,
        7,
    ],
)
def test_bad_service_uris(good: dict[str, Any], uri: Any) -> None:
    assert refusal(with_service(good, uri=uri)) is Code.RECORD_INVALID


@pytest.mark.parametrize(
    "members",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "x" * 33},
        {"name": "kem-1"},
        {"name": "sign-1"},
        {"type": ""},
        {"type": "x" * 65},
        {"type": "\u00e9"},
        {"type": "a\n"},
        {"extra": 1},
    ],
    ids=str,
)
def test_bad_services(good: dict[str, Any], members: dict[str, Any]) -> None:
    assert refusal(with_service(good, **members)) is Code.RECORD_INVALID


def test_16_services_sorted_by_name_are_the_most(good: dict[str, Any]) -> None:
    services = [
        {"name": f"s{i:02}", "type": "T" * 64, "uri": "https://a.example"}
        for i in range(17)
    ]
    assert len(parse_record(good | {"services": services[:16]}).services) == 16
    assert refusal(good | {"services": services}) is Code.RECORD_INVALID
    for bad in (services[:2][::-1], [services[0]] * 2):
        assert refusal(good | {"services": bad}) is Code.RECORD_INVALID


# --- any record, any bytes ----------------------------------------------------------

NAMES = st.text("abAB01-_", min_size=1, max_size=32)
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_records_round_trip(
    signing_key: Callable[..., SigningKey],
    kem_key: Callable[..., KemKey],
    data: st.DataObject,
) -> None:
    names = data.draw(st.lists(NAMES, unique=True, min_size=1, max_size=7))
    cut = data.draw(st.integers(1, len(names)))
    algorithms = st.sampled_from(
        ["ed25519", "ecdsa-p256-sha256", "sage-secp256k1-keccak256"]
    )
    record = create_record(
        "did:sage:web:agents.example:ada",
        data.draw(PRINTABLE)[:256],
        [signing_key(name, data.draw(algorithms)) for name in names[:cut]],
        [kem_key(name + "k"[: 32 - len(name)]) for name in names[cut:]]
        if not {name + "k"[: 32 - len(name)] for name in names[cut:]} & set(names)
        else [],
        [ServiceEntry("service-1", data.draw(PRINTABLE)[:64], "https://a.example")]
        if "service-1" not in names
        else [],
        data.draw(st.none() | st.integers(0, 2**53 - 1)),
    )
    for version in (record, activate(record)):
        again = parse_record(version.encode())
        assert again == version
        assert again.encode() == version.encode()
        assert parse_record(version.to_json()) == version


def check_mutant(record: AgentRecord, mutant: bytes) -> None:
    """A changed record is refused, or says the same about every key."""
    try:
        parsed = parse_record(mutant)
    except ResolutionError as exc:
        assert exc.code in CODES  # noqa: PT017
        return
    assert parse_record(parsed.encode()) == parsed
    assert parsed.id == record.id
    assert [(e.name, e.alg, e.key) for e in parsed.keys] == [
        (e.name, e.alg, e.key) for e in record.keys
    ]


def test_no_single_bit_flip_forges_a_key(
    ada: SimpleNamespace, entry_json: Make, record_json: Make
) -> None:
    keys = [entry_json(ada.kem, ada.sign), entry_json(ada.sign, expires=9)]
    data = jcs(record_json(*keys))
    record = parse_record(data)
    for position in range(len(data)):
        for bit in range(8):
            mutant = bytearray(data)
            mutant[position] ^= 1 << bit
            check_mutant(record, bytes(mutant))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_small_edit_forges_a_key(ada: SimpleNamespace, data: st.DataObject) -> None:
    original = ada.record.encode()
    start = data.draw(st.integers(0, len(original)))
    end = min(len(original), start + data.draw(st.integers(0, 8)))
    middle = data.draw(st.binary(max_size=8))
    check_mutant(ada.record, original[:start] + middle + original[end:])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(data=st.binary() | JSON.map(jcs))
def test_any_bytes_give_a_documented_error(data: bytes) -> None:
    assert refusal(data) in CODES


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_value_in_any_place_gives_a_documented_error(
    ada: SimpleNamespace, data: st.DataObject
) -> None:
    value: Any = parse_strict(ada.record.encode())
    target = value
    while True:
        keys = list(target) if isinstance(target, dict) else list(range(len(target)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(target[key], dict | list) or data.draw(st.booleans()):
            break
        if not target[key]:
            break
        target = target[key]
    target[key] = data.draw(JSON)
    check_mutant(ada.record, jcs(value))


def test_binary_members_are_canonical(good: dict[str, Any]) -> None:
    text = good["keys"][0]["key"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = text[:-1] + alphabet[alphabet.index(text[-1]) + 1]
    raw = b64u_decode(text)
    assert len(raw) == 32
    good["keys"][0]["key"] = twin
    assert refusal(good) is Code.RECORD_INVALID
