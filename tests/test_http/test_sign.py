"""Signing: what is added, what is covered, what cannot be signed."""

from __future__ import annotations

from typing import Any

import pytest

from sage.errors import UsageError
from sage.http import (
    HttpKey,
    Policy,
    RequestMessage,
    ResponseMessage,
    encode_digest,
    sign_request,
    sign_response,
    verify_request,
    verify_response,
)
from sage.identity import PublicKey, SigningKey

from .conftest import NOW, changed, field_of, without

TIMES: dict[str, Any] = {"created": NOW, "expires": NOW + 60, "nonce": "n"}
BASIC = '("@method" "@target-uri" "@authority"'


def covered(fields: Any) -> str:
    text = dict(fields)["Signature-Input"]
    return str(text[text.index("(") : text.index(")") + 1])


@pytest.mark.parametrize(
    ("fields", "content", "list_"),
    [
        ((), b"", f"{BASIC})"),
        ((("Content-Type", "a/b"),), b"", f"{BASIC})"),
        ((), b"x", f'{BASIC} "content-digest")'),
        ((("content-type", "a/b"),), b"x", f'{BASIC} "content-type" "content-digest")'),
        ((("Date", "now"),), b"", f'{BASIC} "date")'),
        (
            (("Date", "now"), ("X-Sage-Did", "did:x"), ("Accept", "c")),
            b"",
            f'{BASIC} "x-sage-did" "date")',
        ),
        (
            (("Content-Digest", encode_digest(b"")),),
            b"",
            f'{BASIC} "content-digest")',
        ),
        (
            (("Content-Digest", encode_digest(b"x")),),
            None,
            f'{BASIC} "content-digest")',
        ),
    ],
)
def test_what_a_request_covers(
    fields: Any, content: bytes | None, list_: str, key: SigningKey
) -> None:
    request = RequestMessage(
        method="POST", target_uri="https://a.example/", fields=fields, content=content
    )
    added = sign_request(request, key, **TIMES)
    assert covered(added) == list_
    has_digest = any(name == "Content-Digest" for name, _ in fields)
    names = [name for name, _ in added]
    assert names[-2:] == ["Signature-Input", "Signature"]
    assert ("Content-Digest" in names) is (bool(content) and not has_digest)


def test_what_a_response_covers(key: SigningKey, signed: RequestMessage) -> None:
    bound = '("@status" "@method";req "@target-uri";req "@authority";req'
    response = ResponseMessage(status=200, fields=(("Content-Type", "a/b"),))
    assert covered(sign_response(response, key, request=signed, **TIMES)) == (
        f'{bound} "content-digest";req "signature";req)'
    )
    full = changed(response, content=b"x")
    bare = without(signed, "signature", "signature-input", "content-digest")
    assert covered(sign_response(full, key, request=bare, **TIMES)) == (
        f'{bound} "content-type" "content-digest")'
    )


def test_a_caller_may_choose(
    key: SigningKey, public_key: PublicKey, request_message: RequestMessage
) -> None:
    added = sign_request(
        request_message,
        key,
        **TIMES,
        label="mine",
        tag="app",
        components=(
            "@method",
            "@target-uri",
            "@authority",
            '"@query-param";name="page"',
            '"content-type";bs',
            "content-digest",
            '"example";key="a"',
        )[:6],
    )
    assert dict(added)["Signature-Input"] == (
        f'mine={BASIC} "@query-param";name="page" "content-type";bs "content-digest")'
        f';keyid="{key.kid}";alg="ed25519";created={NOW};expires={NOW + 60}'
        ';nonce="n";tag="app"'
    )
    proof = verify_request(
        request_message.with_fields(*added),
        public_key,
        policy=Policy(label="mine", tag="app"),
        unix_time=NOW,
    )
    assert (proof.label, proof.tag) == ("mine", "app")


def test_half_of_a_signature_takes_its_label(
    key: SigningKey, request_message: RequestMessage
) -> None:
    for half in ("sig1=:YQ==:", "a=:YQ==:, sig1=:YQ==:", "sig1"):
        with pytest.raises(UsageError):
            sign_request(request_message.with_fields(("Signature", half)), key, **TIMES)
    other = request_message.with_fields(("Signature", "a=:YQ==:"))
    assert sign_request(other, key, **TIMES)


def test_a_general_signature_lives_as_long_as_it_says(
    key: SigningKey, request_message: RequestMessage
) -> None:
    times = {**TIMES, "expires": NOW + 3600}
    assert f";expires={NOW + 3600}" in sign_request(request_message, key, **times)[1][1]


def test_a_second_signature_has_a_label_of_its_own(
    key: SigningKey, public_key: PublicKey, signed: RequestMessage
) -> None:
    with pytest.raises(UsageError, match="already"):
        sign_request(signed, key, **TIMES)
    covers = ("@method", "@target-uri", "@authority", '"signature";key="sig1"')
    added = sign_request(
        signed,
        key,
        **TIMES,
        label="proxy",
        components=(*covers, "content-digest"),
    )
    both = signed.with_fields(*added)
    # Behind a proxy: two lines of each field, and another label beside ours.
    policy = Policy(label="sig1", allow_other_signatures=True)
    verify_request(both, public_key, policy=policy, unix_time=NOW)
    # Covered as it was when it was signed, before another joined it.
    proof = verify_request(
        both, public_key, policy=policy.replace(label="proxy"), unix_time=NOW
    )
    assert proof.covered[3] == '"signature";key="sig1"'


def test_parameters_may_be_left_out_by_name(
    key: SigningKey, public_key: PublicKey, request_message: RequestMessage
) -> None:
    added = sign_request(request_message, key, created=NOW, expires=None, nonce=None)
    assert dict(added)["Signature-Input"].endswith(f'alg="ed25519";created={NOW}')
    policy = Policy(require_expires=False, require_nonce=False)
    proof = verify_request(
        request_message.with_fields(*added), public_key, policy=policy, unix_time=NOW
    )
    with pytest.raises(UsageError, match="replay"):
        proof.reservation("me")


def test_a_guard_keeps_nothing_for_ever(
    key: SigningKey, public_key: PublicKey, request_message: RequestMessage
) -> None:
    for expires in (None, NOW + 60):
        added = sign_request(
            request_message, key, created=NOW, expires=expires, nonce="once"
        )
        policy = Policy(require_expires=False, max_age_s=None)
        proof = verify_request(
            request_message.with_fields(*added),
            public_key,
            policy=policy,
            unix_time=NOW,
        )
        if expires is None:
            with pytest.raises(UsageError, match="replay"):
                proof.reservation("me")
        else:
            assert proof.reservation("me").until == expires + policy.skew_s


def test_a_streamed_response_is_signed_without_its_content(
    key: SigningKey, public_key: PublicKey, signed: RequestMessage
) -> None:
    response = ResponseMessage(status=200, content=None)
    with pytest.raises(UsageError, match="Content-Digest"):
        sign_response(response, key, request=signed, **TIMES)
    names = ("@status", '"@method";req', '"@target-uri";req', '"@authority";req')
    bound = ('"content-digest";req', '"signature";req')
    added = sign_response(
        response, key, request=signed, **TIMES, components=(*names, *bound)
    )
    got = response.with_fields(*added)
    policy = Policy(require_digest=False)
    proof = verify_response(
        got, public_key, request=signed, policy=policy, unix_time=NOW
    )
    assert proof.digests == {}
    with pytest.raises(UsageError, match="no digest"):
        proof.content_digester()


@pytest.mark.parametrize(
    "wrong",
    [
        {"created": "1"},
        {"created": -1},
        {"created": True},
        {"created": 10**15},
        {"created": 1.5},
        {"expires": NOW},
        {"expires": NOW - 1},
        {"expires": float(NOW + 60)},
        {"expires": True},
        {"nonce": "ä"},
        {"nonce": b"n"},
        {"tag": "\n"},
        {"label": ""},
        {"label": "Sig1"},
        {"label": "a b"},
        {"components": ("date",)},
        {"components": ("@status",)},
        {"components": ('"@method";req',)},
        {"components": ("@method", "@method")},
        {"components": ("Content-Type",)},
        {"components": ('"content-type";sf',)},
        {"components": ('"content-digest";tr',)},
    ],
)
def test_what_cannot_be_signed(
    wrong: dict[str, Any], key: SigningKey, request_message: RequestMessage
) -> None:
    with pytest.raises(UsageError):
        sign_request(request_message, key, **TIMES | wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"target_uri": "/inbox"},
        {"target_uri": "https://a.example/#x"},
        {"method": "PO\nST"},
        {"fields": (("Date", "a\nb"),)},
        {"fields": (("Date", "ä"),)},
        {"fields": (("\xe4", "b"),)},
        {"fields": (("Content-Digest", encode_digest(b"another")),)},
        {"fields": (("Content-Digest", "nonsense"),)},
        {"fields": (("Signature-Input", "nonsense;"),)},
        {"fields": (("X", "x" * 32_600),)},
        {"content": None},
    ],
)
def test_messages_that_cannot_be_signed(
    change: dict[str, Any], key: SigningKey, request_message: RequestMessage
) -> None:
    with pytest.raises(UsageError):
        sign_request(changed(request_message, **change), key, **TIMES)


def test_keys_that_do_not_sign_http(request_message: RequestMessage) -> None:
    class Key:
        kid = "k"

        def __init__(self, algorithm: str) -> None:
            self.algorithm = algorithm

        def sign(self, message: Any, /) -> bytes:
            return b"signature"

    sign_request(request_message, Key("ed25519"), **TIMES)
    for algorithm in ("rsa-v1_5-sha256", "x25519", "sage-secp256k1-keccak256"):
        with pytest.raises(UsageError):
            sign_request(request_message, Key(algorithm), **TIMES)
    unspeakable = HttpKey.generate("ä")
    with pytest.raises(UsageError):
        sign_request(request_message, unspeakable, **TIMES)


def test_a_structured_field_of_our_own(
    key: SigningKey, public_key: PublicKey, request_message: RequestMessage
) -> None:
    request = request_message.with_fields(("Example", " a=1,   b=2 "))
    components = (
        "@method",
        "@target-uri",
        "@authority",
        "content-digest",
        '"example";sf',
    )
    with pytest.raises(UsageError, match="structured"):
        sign_request(request, key, **TIMES, components=components)
    kinds = {"example": "dictionary"}
    added = sign_request(
        request, key, **TIMES, components=components, structured_fields=kinds
    )
    spaced = changed(
        request,
        fields=tuple((n, v.replace("   ", " ")) for n, v in request.fields),
    )
    policy = Policy(structured_fields=kinds)
    for message in (request, spaced):
        verify_request(
            message.with_fields(*added), public_key, policy=policy, unix_time=NOW
        )
    assert field_of(request, "example") != field_of(spaced, "example")
