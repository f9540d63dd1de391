"""Verifying: the way through, the proofs, and what is refused by default."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any

import pytest

from sage.envelope import MemoryReplayGuard, Reservation
from sage.errors import (
    AuthenticationError,
    Code,
    ProtocolError,
    ReplayError,
    ResolutionError,
    StaleError,
    UsageError,
)
from sage.http import (
    V10,
    HttpKey,
    PendingSignature,
    Policy,
    RequestMessage,
    ResponseMessage,
    VerifiedSignature,
    begin_request,
    begin_response,
    encode_digest,
    sign_request,
    sign_response,
    verify_request,
    verify_response,
)
from sage.http.signature_input import encode_signature
from sage.identity import PublicKey, SigningKey

from .conftest import NOW, changed, field_of, outcome, with_field, without


def code_of(request: RequestMessage, key: Any, **policy: Any) -> object:
    """Verify under the default policy, or with what is named of it."""
    return outcome(
        lambda: verify_request(request, key, policy=Policy(**policy), unix_time=NOW)
    )


# --- the way through ------------------------------------------------------------


def test_a_proof_says_what_was_proven(
    signed: RequestMessage, public_key: PublicKey
) -> None:
    proof = verify_request(signed, public_key, unix_time=NOW)
    assert proof.message is signed
    assert proof.key is public_key
    assert proof.keyid == public_key.kid
    assert proof.peer == "did:sage:web:agents.example:ada"
    assert (proof.label, proof.algorithm, proof.tag) == ("sig1", "ed25519", None)
    assert (proof.created, proof.expires) == (NOW, NOW + 60)
    assert proof.nonce == "one-use"
    assert proof.covered == (
        '"@method"',
        '"@target-uri"',
        '"@authority"',
        '"content-type"',
        '"content-digest"',
    )
    assert set(proof.digests) == {"sha-256"}


def test_the_halves_are_the_whole(
    signed: RequestMessage, public_key: PublicKey
) -> None:
    pending = begin_request(signed, unix_time=NOW)
    assert pending.keyid == public_key.kid
    assert (pending.algorithm, pending.nonce) == ("ed25519", "one-use")
    assert pending.finish(public_key).covered == pending.covered
    asked: list[str | None] = []

    def lookup(keyid: str | None) -> PublicKey:
        asked.append(keyid)
        return public_key

    verify_request(signed, lookup, unix_time=NOW)
    assert asked == [public_key.kid]


def test_a_lookup_may_fail(signed: RequestMessage) -> None:
    def lookup(keyid: str | None) -> PublicKey:
        raise ResolutionError("nobody", code=Code.RECORD_NOT_FOUND)

    with pytest.raises(ResolutionError):
        verify_request(signed, lookup, unix_time=NOW)


def test_no_key_is_looked_up_for_what_is_refused_anyway(
    signed: RequestMessage,
) -> None:
    def lookup(keyid: str | None) -> PublicKey:
        pytest.fail("a key was looked up")

    for other in (
        changed(signed, content=b"other"),
        without(signed, "signature"),
        with_field(signed, "signature", "sig1=:YQ==:, b=:YQ==:"),
        signed.with_fields(("x", "x" * 40_000)),
    ):
        assert code_of(other, lookup) in list(Code)


def test_only_verifying_makes_a_proof(
    signed: RequestMessage, public_key: PublicKey
) -> None:
    proof = verify_request(signed, public_key, unix_time=NOW)
    pending = begin_request(signed, unix_time=NOW)
    for made in (proof, pending):
        names = [n for n in _fields(made) if n != "token"]
        values = {n: getattr(made, n) for n in names}
        with pytest.raises(UsageError):
            type(made)(**values, token=object())
        for leave in (copy.copy, pickle.dumps):
            with pytest.raises(TypeError):
                leave(made)
        with pytest.raises(AttributeError):
            made.label = "other"  # type: ignore[misc]


def _fields(made: PendingSignature | VerifiedSignature) -> list[str]:
    return [n for n in type(made).__dataclass_fields__ if hasattr(made, n)]


# --- refused by default ------------------------------------------------------------


def test_a_request_played_again(signed: RequestMessage, public_key: PublicKey) -> None:
    guard = MemoryReplayGuard(assume_no_history=True)

    def accept(message: RequestMessage, recipient: str, at: int) -> None:
        proof = verify_request(message, public_key, unix_time=at)
        asyncio.run(guard.reserve(proof.reservation(recipient), now=0.0, unix_time=at))

    accept(signed, "grace.example", NOW)
    with pytest.raises(ReplayError) as caught:
        accept(signed, "grace.example", NOW + 1)
    assert caught.value.code is Code.SIG_REPLAY
    accept(signed, "another.example", NOW + 1)
    # As long as it is fresh the guard knows it; from then on it is stale.
    with pytest.raises(ReplayError):
        accept(signed, "grace.example", NOW + 89)
    with pytest.raises(StaleError):
        accept(signed, "grace.example", NOW + 90)


def test_what_a_request_uses_up(signed: RequestMessage, public_key: PublicKey) -> None:
    proof = verify_request(signed, public_key, unix_time=NOW)
    assert proof.reservation("me") == Reservation(
        sender=public_key.kid,
        recipient="me",
        id=None,
        nonce="one-use",
        expires=NOW + 60,
    )
    assert proof.reservation("me").until == NOW + 90
    # A signature that outlives what the policy takes is kept for that long only.
    aged = verify_request(
        signed, public_key, policy=Policy(max_age_s=20, skew_s=5), unix_time=NOW
    )
    assert aged.reservation("me").until == NOW + 25


def test_a_nonce_of_v10_is_the_agents_and_not_the_keys() -> None:
    did = "did:sage:web:agents.example:ada"
    request = RequestMessage(
        method="POST",
        target_uri="https://grace.example/inbox",
        fields=(
            ("Content-Type", "application/json"),
            ("X-SAGE-DID", did),
            ("X-SAGE-Version", "0.10.0"),
        ),
        content=b"{}",
    )
    reservations = []
    for name in ("sign-1", "sign-2"):
        key = SigningKey.generate(f"{did}#{name}")
        added = sign_request(
            request, key, profile=V10, created=NOW, expires=NOW + 9, nonce="A" * 22
        )
        public = PublicKey(key.kid, key.algorithm, key.public_key)
        proof = verify_request(
            request.with_fields(*added), public, policy=Policy.v10(), unix_time=NOW
        )
        reservations.append(proof.reservation("me"))
    assert [one.sender for one in reservations] == [did, did]
    assert reservations[0].keys() == reservations[1].keys()


def test_a_body_altered(signed: RequestMessage, public_key: PublicKey) -> None:
    other = changed(signed, content=b'{"hello": "World"}')
    assert code_of(other, public_key) is Code.DIGEST_MISMATCH
    both = with_field(other, "content-digest", encode_digest(other.content))
    assert code_of(both, public_key) is Code.SIG_BAD
    assert code_of(changed(signed, content=b""), public_key) is Code.DIGEST_MISMATCH


def test_a_body_added(key: SigningKey, public_key: PublicKey) -> None:
    bare = RequestMessage(method="GET", target_uri="https://a.example/")
    added = sign_request(bare, key, created=NOW, expires=NOW + 60, nonce="n")
    request = bare.with_fields(*added)
    assert code_of(request, public_key) not in list(Code)
    fat = changed(request, content=b"x")
    assert code_of(fat, public_key) is Code.DIGEST_MISSING
    digest = ("Content-Digest", encode_digest(b"x"))
    assert code_of(fat.with_fields(digest), public_key) is Code.SIG_COVERAGE
    assert code_of(changed(request, content=None), public_key) is Code.DIGEST_MISSING
    assert code_of(fat, public_key, require_digest=False) not in list(Code)


@pytest.mark.parametrize(
    "component", ["@method", "@target-uri", "@authority", "content-digest"]
)
def test_a_component_dropped(
    component: str,
    key: SigningKey,
    public_key: PublicKey,
    request_message: RequestMessage,
    signed: RequestMessage,
) -> None:
    text = field_of(signed, "signature-input")
    shorter = text.replace(f'"{component}"', "").replace(
        'content-type" )', 'content-type")'
    )
    assert (
        code_of(with_field(signed, "signature-input", shorter), public_key)
        is Code.SIG_COVERAGE
    )
    # Nor from a signer who never covered it.
    names = ["@method", "@target-uri", "@authority", "content-digest"]
    names.remove(component)
    digest = ("Content-Digest", encode_digest(request_message.content or b""))
    whole = request_message.with_fields(digest)
    added = sign_request(
        whole, key, created=NOW, expires=NOW + 60, nonce="n", components=names
    )
    assert code_of(whole.with_fields(*added), public_key) is Code.SIG_COVERAGE


def test_a_covered_field_dropped(signed: RequestMessage, public_key: PublicKey) -> None:
    assert code_of(without(signed, "content-type"), public_key) is (
        Code.SIG_BASE_MISMATCH
    )
    assert code_of(without(signed, "content-digest"), public_key) is (
        Code.DIGEST_MISSING
    )
    assert code_of(without(signed, "host"), public_key) not in list(Code)


def test_a_foreign_label(signed: RequestMessage, public_key: PublicKey) -> None:
    foreign = changed(
        signed,
        fields=tuple((n, v.replace("sig1=", "other=")) for n, v in signed.fields),
    )
    assert code_of(foreign, public_key) is Code.SIG_UNKNOWN_LABEL
    assert code_of(foreign, public_key, label="other") not in list(Code)
    assert code_of(foreign, public_key, label=None) not in list(Code)
    beside = with_field(
        signed, "signature", field_of(signed, "signature") + ", b=:YQ==:"
    )
    assert code_of(beside, public_key) is Code.SIG_UNKNOWN_LABEL
    assert code_of(beside, public_key, label=None) is Code.SIG_UNKNOWN_LABEL
    assert code_of(beside, public_key, allow_other_signatures=True) not in list(Code)


@pytest.mark.parametrize(
    "raw",
    [
        bytes([1]) + bytes(31),
        bytes(32),
        bytes([0xEC]) + b"\xff" * 30 + b"\x7f",
        bytes.fromhex(
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
        ),
        bytes([1]) + bytes(30) + b"\x80",
    ],
)
def test_a_small_order_key(signed: RequestMessage, key: SigningKey, raw: bytes) -> None:
    """With such a key R = identity, S = 0 signs every message at once."""
    forged = with_field(
        signed, "signature", encode_signature("sig1", bytes([1]) + bytes(63))
    )
    small = PublicKey(key.kid, "ed25519", raw)
    for message in (signed, forged):
        with pytest.raises(AuthenticationError) as caught:
            verify_request(message, small, unix_time=NOW)
        assert caught.value.code is Code.SIG_BAD


@pytest.mark.parametrize(
    "name", ["Signature", "Signature-Input", "Content-Digest", "Content-Type"]
)
def test_a_duplicated_field(
    name: str, signed: RequestMessage, public_key: PublicKey
) -> None:
    for value in (field_of(signed, name), "", "other"):
        for more in ((name, value), (name.lower(), value)):
            twice = signed.with_fields(more)
            assert code_of(twice, public_key) is Code.SIG_MALFORMED
            first = changed(signed, fields=(more, *signed.fields))
            assert code_of(first, public_key) is Code.SIG_MALFORMED


def test_a_field_that_is_covered_may_not_come_twice_either(
    signed: RequestMessage, public_key: PublicKey
) -> None:
    twice = signed.with_fields(("Host", "eve.example"))
    assert code_of(twice, public_key) not in list(Code)  # the target is what counts
    joined = signed.with_fields(("content-type", "text/plain"))
    assert code_of(joined, public_key, allow_repeated_fields=True) is Code.SIG_BAD


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"method": "post"},
        {"target_uri": "https://grace.example/inbox?page=2"},
        {"target_uri": "https://grace.example/inbox"},
        {"target_uri": "http://grace.example/inbox?page=1"},
        {"target_uri": "https://eve.example/inbox?page=1"},
        {"target_uri": "https://grace.example:444/inbox?page=1"},
    ],
)
def test_anything_covered_altered(
    change: dict[str, Any], signed: RequestMessage, public_key: PublicKey
) -> None:
    assert code_of(changed(signed, **change), public_key) is Code.SIG_BAD


def test_a_request_for_somebody_else(
    signed: RequestMessage, public_key: PublicKey
) -> None:
    """A server that believes the Host field must say who it is."""
    here, there = frozenset({"grace.example"}), frozenset({"eve.example"})
    assert code_of(signed, public_key, authorities=here) not in list(Code)
    assert code_of(signed, public_key, authorities=there) is Code.SIG_BINDING


@pytest.mark.parametrize("name", ["created", "expires", "nonce", "keyid"])
def test_a_parameter_dropped(
    name: str, signed: RequestMessage, public_key: PublicKey
) -> None:
    text = field_of(signed, "signature-input")
    kept = [p for p in text.split(";") if not p.startswith(f"{name}=")]
    other = with_field(signed, "signature-input", ";".join(kept))
    assert code_of(other, public_key) is Code.SIG_COVERAGE
    waived: dict[str, Any] = {f"require_{name}": False}
    assert code_of(other, public_key, **waived) is Code.SIG_BAD


def test_an_unsigned_request(
    request_message: RequestMessage, public_key: PublicKey
) -> None:
    assert code_of(request_message, public_key) is Code.SIG_MISSING


# --- keys ---------------------------------------------------------------------


def test_the_key_is_the_one_that_is_named(
    signed: RequestMessage, key: SigningKey, public_key: PublicKey
) -> None:
    other = PublicKey(public_key.kid + "2", "ed25519", public_key.key)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError) as caught:
        verify_request(signed, other, unix_time=NOW)
    assert caught.value.code is Code.SIG_BINDING
    stranger = SigningKey.generate(key.kid)
    assert (
        code_of(signed, PublicKey(key.kid, "ed25519", stranger.public_key))
        is Code.SIG_BAD
    )


@pytest.mark.parametrize(
    "algorithm",
    [
        "ecdsa-p256-sha256",
        "hmac-sha256",
        "x25519",
        "sage-secp256k1-keccak256",
        "none",
    ],
)
def test_the_key_decides_the_algorithm(
    algorithm: str, signed: RequestMessage, public_key: PublicKey
) -> None:
    """A public key is never taken for a shared secret, whatever ``alg`` says."""
    other = PublicKey(public_key.kid, algorithm, public_key.key)
    assert code_of(signed, other) is Code.SIG_ALG_MISMATCH
    said = with_field(
        signed,
        "signature-input",
        field_of(signed, "signature-input").replace("ed25519", algorithm),
    )
    assert code_of(said, public_key) is Code.SIG_ALG_MISMATCH
    unsaid = with_field(
        signed,
        "signature-input",
        field_of(signed, "signature-input").replace(';alg="ed25519"', ""),
    )
    assert code_of(unsaid, public_key) is Code.SIG_BAD
    assert code_of(unsaid, public_key, require_alg=True) is Code.SIG_COVERAGE


def test_a_policy_names_its_algorithms(
    signed: RequestMessage, public_key: PublicKey
) -> None:
    only = frozenset({"rsa-pss-sha512"})
    assert code_of(signed, public_key, algorithms=only) is Code.SIG_ALG_MISMATCH


def test_without_a_keyid_the_caller_knows_the_key(
    request_message: RequestMessage,
) -> None:
    key = HttpKey.generate("ours")
    names = ("@method", "@target-uri", "@authority")
    bare = changed(request_message, content=b"")
    added = dict(
        sign_request(
            bare, key, created=NOW, expires=NOW + 1, nonce="n", components=names
        )
    )
    text = added["Signature-Input"].replace(';keyid="ours"', "")
    request = bare.with_fields(("Signature-Input", text), ("Signature", "sig1=:YQ==:"))
    policy = Policy(require_keyid=False)
    pending = begin_request(request, policy=policy, unix_time=NOW)
    assert pending.keyid is None
    signature = encode_signature("sig1", key.sign(pending.base))
    whole = with_field(request, "signature", signature)
    proof = verify_request(whole, key.verification_key(), policy=policy, unix_time=NOW)
    assert proof.reservation("me").sender == "ours"


@pytest.mark.parametrize(
    "algorithm", ["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha512"]
)
def test_what_is_not_taken_is_refused_though_it_is_genuine(
    request_message: RequestMessage, algorithm: str
) -> None:
    """Nothing in the request says which algorithm it is: only the key does."""
    key = HttpKey.generate("ours", algorithm)
    added = dict(
        sign_request(request_message, key, created=NOW, expires=NOW + 1, nonce="n")
    )
    text = added["Signature-Input"].replace(f';alg="{algorithm}"', "")
    assert "alg" not in text
    unsaid = request_message.with_fields(
        *(added | {"Signature-Input": text, "Signature": "sig1=:YQ==:"}).items()
    )
    base = begin_request(unsaid, unix_time=NOW).base
    genuine = with_field(unsaid, "signature", encode_signature("sig1", key.sign(base)))
    public = key.verification_key()
    assert verify_request(genuine, public, unix_time=NOW).key is public
    only = frozenset({"ed25519"})
    assert code_of(genuine, public, algorithms=only) is Code.SIG_ALG_MISMATCH


# --- streams ------------------------------------------------------------------


def test_streamed_content_is_compared_at_its_end(
    signed: RequestMessage, public_key: PublicKey
) -> None:
    streamed = changed(signed, content=None)
    for source in (
        begin_request(streamed, unix_time=NOW),
        verify_request(streamed, public_key, unix_time=NOW),
    ):
        right, wrong = source.content_digester(), source.content_digester()
        for byte in signed.content or b"":
            right.update(bytes([byte]))
        right.finish()
        wrong.update(b"other")
        with pytest.raises(AuthenticationError) as caught:
            wrong.finish()
        assert caught.value.code is Code.DIGEST_MISMATCH
    limited = verify_request(
        streamed, public_key, policy=Policy(max_content_bytes=3), unix_time=NOW
    )
    assert outcome(lambda: limited.content_digester().update(b"1234")) is (
        Code.SIZE_EXCEEDED
    )


# --- responses ----------------------------------------------------------------


@pytest.fixture(scope="module")
def answer(signed: RequestMessage, key: SigningKey) -> ResponseMessage:
    response = ResponseMessage(
        status=200, fields=(("Content-Type", "text/plain"),), content=b"well"
    )
    added = sign_response(
        response, key, request=signed, created=NOW, expires=NOW + 60, nonce="r"
    )
    return response.with_fields(*added)


def test_a_response_answers_its_request(
    signed: RequestMessage,
    answer: ResponseMessage,
    key: SigningKey,
    public_key: PublicKey,
    request_message: RequestMessage,
) -> None:
    def read(
        response: ResponseMessage, request: RequestMessage | None, **policy: Any
    ) -> object:
        return outcome(
            lambda: verify_response(
                response,
                public_key,
                request=request,
                policy=Policy(**policy),
                unix_time=NOW,
            )
        )

    proof = verify_response(answer, public_key, request=signed, unix_time=NOW)
    assert '"signature";req' in proof.covered
    again = request_message.with_fields(
        *sign_request(
            request_message, key, created=NOW, expires=NOW + 60, nonce="another"
        )
    )
    assert read(answer, again) is Code.SIG_BAD
    assert read(answer, changed(signed, method="PUT")) is Code.SIG_BAD
    assert read(answer, request_message) is Code.SIG_BASE_MISMATCH
    assert read(changed(answer, status=201), signed) is Code.SIG_BAD
    assert read(changed(answer, content=b"ill"), signed) is Code.DIGEST_MISMATCH
    with pytest.raises(UsageError, match="request"):
        read(answer, None)
    assert read(answer, None, require_request=False) is Code.SIG_BASE_MISMATCH


def test_a_response_that_binds_nothing_is_refused(
    signed: RequestMessage, key: SigningKey, public_key: PublicKey
) -> None:
    response = ResponseMessage(status=200)
    added = sign_response(
        response,
        key,
        request=signed,
        created=NOW,
        expires=NOW + 60,
        nonce="r",
        components=("@status",),
    )
    loose = response.with_fields(*added)
    with pytest.raises(ProtocolError) as caught:
        begin_response(loose, request=signed, unix_time=NOW)
    assert caught.value.code is Code.SIG_COVERAGE
    weak = Policy(require_request=False)
    for request in (signed, None):
        verify_response(loose, public_key, request=request, policy=weak, unix_time=NOW)
