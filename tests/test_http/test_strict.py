"""Each rejection of 0.10.0 on HTTP (MSG-01..05), provoked one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sage.errors import AuthenticationError, Code, PeerError, UsageError
from sage.http import (
    V10,
    HttpKey,
    Policy,
    RequestMessage,
    ResponseMessage,
    begin_request,
    encode_digest,
    sign_request,
    sign_response,
    verify_request,
    verify_response,
)
from sage.http.base import MessageView
from sage.http.parameters import SignatureParameters
from sage.http.strict import check_strict
from sage.identity import PublicKey, SigningKey

from .conftest import NOW, changed, field_of, outcome, with_field, without

URI = "https://grace.example/sage/messages"
NONCE = "ABEiM0RVZneImaq7zN3u_w"
BODY = b'{"version":"0.10.0"}'
POLICY = Policy.v10(URI)
OTHER, LONG = encode_digest(b"another"), encode_digest(BODY, "sha-512")


def unsigned(did: str, content: bytes = BODY, **what: Any) -> RequestMessage:
    return RequestMessage(
        **{
            "method": "POST",
            "target_uri": URI,
            "fields": (
                ("Host", "grace.example"),
                ("Content-Type", "application/json"),
                ("X-SAGE-DID", did),
                ("X-SAGE-Version", "0.10.0"),
            ),
            "content": content,
        }
        | what
    )


@pytest.fixture(scope="module")
def did(key: SigningKey) -> str:
    return key.kid.partition("#")[0]


@pytest.fixture(scope="module")
def sent(key: SigningKey, did: str) -> RequestMessage:
    request = unsigned(did)
    added = sign_request(
        request, key, profile=V10, created=NOW, expires=NOW + 300, nonce=NONCE
    )
    return request.with_fields(*added)


def code_of(request: RequestMessage, public_key: PublicKey, **policy: Any) -> object:
    return outcome(
        lambda: verify_request(
            request, public_key, policy=POLICY.replace(**policy), unix_time=NOW + 1
        )
    )


def test_what_is_sent_is_what_the_profile_says(
    sent: RequestMessage, key: SigningKey, public_key: PublicKey
) -> None:
    assert [name for name, _ in sent.fields[4:]] == [
        "Content-Digest",
        "Signature-Input",
        "Signature",
    ]
    assert field_of(sent, "signature-input") == (
        'sig1=("@method" "@target-uri" "@authority" "content-type" "content-digest"'
        f' "x-sage-did" "x-sage-version");keyid="{key.kid}";alg="ed25519"'
        f';created={NOW};expires={NOW + 300};nonce="{NONCE}";tag="sage-0.10.0"'
    )
    proof = verify_request(sent, public_key, policy=POLICY, unix_time=NOW + 329)
    assert proof.peer == key.kid.partition("#")[0]


def test_the_received_order_of_parameters_is_kept(
    sent: RequestMessage, key: SigningKey, public_key: PublicKey
) -> None:
    listed = field_of(sent, "signature-input").partition(")")[0] + ")"
    given = (
        f'{listed};tag="sage-0.10.0";nonce="{NONCE}";expires={NOW + 60}'
        f';created={NOW};alg="ed25519";keyid="{key.kid}"'
    )
    other = with_field(sent, "Signature-Input", given)
    base = begin_request(other, policy=POLICY, unix_time=NOW).base
    assert base.decode().endswith(given.removeprefix("sig1="))
    signature = sign_text(key, base)
    verify_request(
        with_field(other, "Signature", signature),
        public_key,
        policy=POLICY,
        unix_time=NOW,
    )


def sign_text(key: SigningKey, base: bytes) -> str:
    from sage.http.signature_input import encode_signature

    return encode_signature("sig1", key.sign(base))


Change = Callable[[RequestMessage], RequestMessage]


def parameter(old: str, new: str) -> Change:
    """Return what replaces one piece of the signature's parameters."""

    def change(sent: RequestMessage) -> RequestMessage:
        text = field_of(sent, "signature-input")
        assert old in text
        return with_field(sent, "Signature-Input", text.replace(old, new))

    return change


def field(name: str, value: str) -> Change:
    return lambda sent: with_field(sent, name, value)


def drop(name: str) -> Change:
    return lambda sent: without(sent, name)


def extra(name: str, value: str) -> Change:
    return lambda sent: sent.with_fields((name, value))


def also(name: str, value: str) -> Change:
    return lambda sent: with_field(sent, name, f"{field_of(sent, name)}, {value}")


REJECTED: dict[str, tuple[Change, Code]] = {
    # Exactly one member sig1 in each.
    "no input": (drop("signature-input"), Code.SIG_MISSING),
    "no signature": (drop("signature"), Code.SIG_MISSING),
    "other label": (parameter("sig1=", "sig2="), Code.SIG_UNKNOWN_LABEL),
    "further input": (also("Signature-Input", 'a=("date")'), Code.SIG_UNKNOWN_LABEL),
    "further signature": (also("Signature", "a=:YQ==:"), Code.SIG_UNKNOWN_LABEL),
    "signature with a parameter": (
        lambda m: with_field(m, "Signature", field_of(m, "signature") + ";a"),
        Code.SIG_MALFORMED,
    ),
    "signature unpadded": (
        lambda m: with_field(m, "Signature", _unpadded(field_of(m, "signature"))),
        Code.SIG_MALFORMED,
    ),
    # All six parameters, none other, none twice.
    "no keyid": (lambda m: _without_parameter(m, "keyid"), Code.SIG_COVERAGE),
    "no alg": (lambda m: _without_parameter(m, "alg"), Code.SIG_COVERAGE),
    "no created": (lambda m: _without_parameter(m, "created"), Code.SIG_COVERAGE),
    "no expires": (lambda m: _without_parameter(m, "expires"), Code.SIG_COVERAGE),
    "no nonce": (lambda m: _without_parameter(m, "nonce"), Code.SIG_COVERAGE),
    "no tag": (lambda m: _without_parameter(m, "tag"), Code.SIG_BINDING),
    "other parameter": (parameter(";tag", ";x=1;tag"), Code.SIG_COVERAGE),
    "twice the same": (parameter(";tag", f";created={NOW};tag"), Code.SIG_MALFORMED),
    "other tag": (parameter("sage-0.10.0", "sage-0.9.0"), Code.SIG_BINDING),
    # Key names, algorithms, nonces, times.
    "bare DID": (parameter("#sign-1", ""), Code.ID_MALFORMED),
    "upper-case DID": (parameter("did:sage", "DID:sage"), Code.ID_MALFORMED),
    "other method": (parameter("did:sage:web", "did:sage:btcr"), Code.ID_UNKNOWN_KIND),
    "other alg": (parameter("ed25519", "rsa-pss-sha512"), Code.SIG_ALG_MISMATCH),
    "hmac": (parameter("ed25519", "hmac-sha256"), Code.SIG_ALG_MISMATCH),
    "secp256k1": (
        parameter("ed25519", "sage-secp256k1-keccak256"),
        Code.SIG_ALG_MISMATCH,
    ),
    "another of the two": (
        parameter("ed25519", "ecdsa-p256-sha256"),
        Code.SIG_ALG_MISMATCH,
    ),
    "short nonce": (parameter(NONCE, NONCE[:-1]), Code.SIG_MALFORMED),
    "long nonce": (parameter(NONCE, NONCE + "A"), Code.SIG_MALFORMED),
    "nonce with bits": (parameter(NONCE, NONCE[:-1] + "x"), Code.SIG_MALFORMED),
    "nonce not base64url": (parameter(NONCE, NONCE[:-1] + "+"), Code.SIG_MALFORMED),
    "lives too long": (
        parameter(f"expires={NOW + 300}", f"expires={NOW + 301}"),
        Code.SIG_STALE,
    ),
    "lives for nothing": (
        parameter(f"expires={NOW + 300}", f"expires={NOW}"),
        Code.SIG_STALE,
    ),
    "from the future": (
        lambda m: _with_times(m, NOW + 32, NOW + 60),
        Code.SIG_STALE,
    ),
    "from the past": (lambda m: _with_times(m, NOW - 60, NOW - 29), Code.SIG_STALE),
    "negative time": (parameter(f"created={NOW}", "created=-1"), Code.SIG_MALFORMED),
    "fraction of a second": (
        parameter(f"created={NOW}", f"created={NOW}.5"),
        Code.SIG_MALFORMED,
    ),
    # Exactly these components in this order.
    "component dropped": (parameter('"@authority" ', ""), Code.SIG_COVERAGE),
    "component added": (
        parameter('"@authority" ', '"@authority" "host" '),
        Code.SIG_COVERAGE,
    ),
    "components swapped": (
        parameter('"@method" "@target-uri"', '"@target-uri" "@method"'),
        Code.SIG_COVERAGE,
    ),
    "component with a parameter": (
        parameter('"content-type"', '"content-type";bs'),
        Code.SIG_COVERAGE,
    ),
    # The message around it.
    "content coding": (extra("Content-Encoding", "identity"), Code.SIG_COVERAGE),
    "trailers": (lambda m: changed(m, trailers=(("A", "b"),)), Code.SIG_COVERAGE),
    "multipart": (field("Content-Type", "multipart/mixed"), Code.SIG_COVERAGE),
    "media parameters": (
        field("Content-Type", "application/json; charset=utf-8"),
        Code.SIG_COVERAGE,
    ),
    "media in upper case": (
        field("Content-Type", "Application/json"),
        Code.SIG_COVERAGE,
    ),
    "no media type": (drop("content-type"), Code.SIG_COVERAGE),
    "other version": (field("X-SAGE-Version", "0.9.0"), Code.VERSION_UNSUPPORTED),
    "no version": (drop("x-sage-version"), Code.VERSION_UNSUPPORTED),
    "other DID": (field("X-SAGE-DID", "did:sage:web:a.example:eve"), Code.SIG_BINDING),
    "no DID": (drop("x-sage-did"), Code.SIG_BINDING),
    "no digest": (drop("content-digest"), Code.DIGEST_MISSING),
    "other digest": (
        field("Content-Digest", OTHER),
        Code.DIGEST_MISMATCH,
    ),
    "other content": (lambda m: changed(m, content=b"{}"), Code.DIGEST_MISMATCH),
    "no content": (lambda m: changed(m, content=b""), Code.DIGEST_MISMATCH),
    "two digests": (
        also("Content-Digest", LONG),
        Code.DIGEST_MISMATCH,
    ),
    "SHA-512": (
        field("Content-Digest", LONG),
        Code.DIGEST_MISMATCH,
    ),
    "digest of another sort": (
        field("Content-Digest", "md5=:YQ==:"),
        Code.DIGEST_MISSING,
    ),
    "too much content": (
        lambda m: changed(m, content=bytes(16 * 1024 * 1024 + 1)),
        Code.SIZE_EXCEEDED,
    ),
    "too many fields": (extra("X", "x" * 32_768), Code.SIZE_EXCEEDED),
    "input too long": (
        lambda m: with_field(
            m, "Signature-Input", field_of(m, "signature-input").ljust(8193)
        ),
        Code.SIZE_EXCEEDED,
    ),
    "signature too long": (
        also("Signature", f"a=:{'YWFh' * 2048}:"),
        Code.SIZE_EXCEEDED,
    ),
    # Repeated lines are refused, not joined.
    **{
        f"{name} twice": (
            lambda m, name=name: m.with_fields((name, field_of(m, name))),  # type: ignore[misc]
            Code.SIG_MALFORMED,
        )
        for name in (
            "Signature",
            "Signature-Input",
            "Content-Digest",
            "Content-Type",
            "X-SAGE-DID",
            "X-SAGE-Version",
        )
    },
    "x-sage-other twice": (
        lambda m: m.with_fields(("X-SAGE-Task-ID", "a"), ("x-sage-task-id", "a")),
        Code.SIG_MALFORMED,
    ),
    # Aimed at somebody else; the target is ours by configuration.
    "other target": (lambda m: changed(m, target_uri=URI + "2"), Code.SIG_BINDING),
    "other host": (
        lambda m: changed(m, target_uri=URI.replace("grace", "eve")),
        Code.SIG_BINDING,
    ),
    "other method of HTTP": (lambda m: changed(m, method="PUT"), Code.SIG_BAD),
}


def _unpadded(text: str) -> str:
    assert text.endswith("==:")
    return text.removesuffix("==:") + ":"


def _without_parameter(sent: RequestMessage, name: str) -> RequestMessage:
    listed, closing, rest = field_of(sent, "signature-input").partition(")")
    kept = [p for p in rest.split(";")[1:] if not p.startswith(f"{name}=")]
    assert len(kept) == 5
    return with_field(sent, "Signature-Input", listed + closing + ";" + ";".join(kept))


def _with_times(sent: RequestMessage, created: int, expires: int) -> RequestMessage:
    change = parameter(
        f"created={NOW};expires={NOW + 300}", f"created={created};expires={expires}"
    )
    return change(sent)


@pytest.mark.parametrize("name", REJECTED)
def test_every_rejection(
    name: str, sent: RequestMessage, public_key: PublicKey
) -> None:
    change, code = REJECTED[name]
    assert code_of(sent, public_key) not in list(Code)
    assert code_of(change(sent), public_key) is code


def test_the_head_alone(sent: RequestMessage, public_key: PublicKey) -> None:
    """It is verified as such, and says what the content is compared with."""
    head = changed(sent, content=None)
    proof = verify_request(head, public_key, policy=POLICY, unix_time=NOW)
    digester = proof.content_digester()
    digester.update(BODY)
    digester.finish()
    other = proof.content_digester()
    other.update(BODY + b" ")
    with pytest.raises(AuthenticationError) as caught:
        other.finish()
    assert caught.value.code is Code.DIGEST_MISMATCH


def test_streamed_content_is_signed_with_its_digest(
    sent: RequestMessage, did: str, key: SigningKey
) -> None:
    times = {"created": NOW, "expires": NOW + 300, "nonce": NONCE}
    head = changed(unsigned(did), content=None)
    with pytest.raises(UsageError, match="needs its Content-Digest beforehand"):
        sign_request(head, key, profile=V10, **times)
    described = head.with_fields(("Content-Digest", encode_digest(BODY)))
    added = sign_request(described, key, profile=V10, **times)
    assert described.with_fields(*added).fields == sent.fields


def test_an_ecdsa_signature_has_the_low_s(did: str) -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    key = HttpKey.generate(f"{did}#p256", "ecdsa-p256-sha256")
    request = unsigned(did)
    request = request.with_fields(
        *sign_request(
            request, key, profile=V10, created=NOW, expires=NOW + 60, nonce=NONCE
        )
    )
    pending = begin_request(request, policy=POLICY, unix_time=NOW)
    pending.finish(key.verification_key())
    r, s = pending.signature[:32], int.from_bytes(pending.signature[32:], "big")
    high = r + (order - s).to_bytes(32, "big")
    key.verification_key().verify(pending.base, high)  # RFC 9421 has no rule for it
    from sage.http.signature_input import encode_signature

    for signature, code in (
        (high, Code.SIG_BAD),
        (pending.signature[:-1], Code.SIG_MALFORMED),
    ):
        other = with_field(request, "Signature", encode_signature("sig1", signature))
        again = begin_request(other, policy=POLICY, unix_time=NOW)
        assert outcome(lambda again=again: again.finish(key.verification_key())) is code  # type: ignore[misc]


# --- responses ----------------------------------------------------------------


def answered(
    sent: RequestMessage, key: SigningKey, did: str, **what: Any
) -> ResponseMessage:
    response = ResponseMessage(
        status=200,
        fields=(
            ("Content-Type", "application/json"),
            ("X-SAGE-DID", did),
            ("X-SAGE-Version", "0.10.0"),
        ),
        content=BODY,
    )
    added = sign_response(
        response,
        key,
        request=sent,
        profile=V10,
        **{"created": NOW, "expires": NOW + 60, "nonce": NONCE} | what,
    )
    return response.with_fields(*added)


def test_a_response_is_bound_to_its_request(
    sent: RequestMessage, key: SigningKey, public_key: PublicKey, did: str
) -> None:
    response = answered(sent, key, did)

    def read(request: RequestMessage, response: ResponseMessage = response) -> object:
        return outcome(
            lambda: verify_response(
                response,
                public_key,
                request=request,
                policy=Policy.v10(),
                unix_time=NOW,
            )
        )

    assert read(sent) not in list(Code)
    again = unsigned(did).with_fields(
        *sign_request(
            unsigned(did),
            key,
            profile=V10,
            created=NOW,
            expires=NOW + 300,
            nonce=NONCE[::-1].replace("w", "A", 1)[:21] + "A",
        )
    )
    for other in (
        again,
        changed(sent, method="PUT"),
        changed(sent, target_uri=URI + "2"),
        with_field(sent, "Content-Digest", encode_digest(b"x")),
    ):
        assert read(other) is Code.SIG_BAD
    assert read(without(sent, "signature")) is Code.SIG_BASE_MISMATCH
    assert read(sent, changed(response, status=201)) is Code.SIG_BAD
    assert read(sent, changed(response, content=b"")) is Code.DIGEST_MISMATCH
    assert read(sent, changed(response, trailers=(("A", "b"),))) is Code.SIG_COVERAGE


# --- sending ------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"expires": NOW + 301},
        {"expires": NOW},
        {"expires": None},
        {"nonce": None},
        {"nonce": "short"},
        {"nonce": NONCE[:-1] + "x"},
        {"tag": "other"},
        {"label": "sig2"},
        {"components": ("@method",)},
    ],
)
def test_we_send_nothing_that_is_refused(
    wrong: dict[str, Any], key: SigningKey, did: str, sent: RequestMessage
) -> None:
    right = {"created": NOW, "expires": NOW + 60, "nonce": NONCE}
    with pytest.raises(UsageError):
        sign_request(unsigned(did), key, profile=V10, **right | wrong)
    with pytest.raises(UsageError):
        answered(sent, key, did, **wrong)


def test_nor_anything_besides(key: SigningKey, did: str) -> None:
    dated = unsigned(did).with_fields(("Date", "Fri, 27 Nov 2026 12:00:00 GMT"))
    right = {"created": NOW, "expires": NOW + 60, "nonce": NONCE}
    assert sign_request(dated, key, profile=V10, **right)
    with pytest.raises(UsageError):
        sign_request(dated, key, profile=V10, **right, also_cover=("date",))


def test_nor_a_message_that_is_refused(key: SigningKey, did: str) -> None:
    def sign(request: RequestMessage, by: Any = key) -> None:
        sign_request(
            request, by, profile=V10, created=NOW, expires=NOW + 60, nonce=NONCE
        )

    right = unsigned(did)
    sign(right)
    for request in (
        without(right, "content-type"),
        without(right, "x-sage-did"),
        without(right, "x-sage-version"),
        with_field(right, "x-sage-did", did + "2"),
        with_field(right, "x-sage-version", "1"),
        right.with_fields(("Content-Encoding", "gzip")),
        right.with_fields(("Content-Digest", encode_digest(b"x"))),
        right.with_fields(("Content-Digest", encode_digest(BODY, "sha-512"))),
        right.with_fields(("X-SAGE-Task-ID", "a"), ("X-SAGE-Task-ID", "a")),
        right.with_fields(("Signature-Input", 'a=("@method")')),
        right.with_fields(("Signature", "a=:YQ==:")),
        changed(right, trailers=(("A", "b"),)),
    ):
        with pytest.raises(UsageError):
            sign(request)
    for name, algorithm in (
        (key.kid, "rsa-pss-sha512"),
        (key.kid, "ecdsa-p384-sha384"),
        ("not-a-key-url", "ed25519"),
    ):
        with pytest.raises(UsageError):
            sign(right, HttpKey.generate(name, algorithm))
    secp = SigningKey.generate(key.kid, "sage-secp256k1-keccak256")
    with pytest.raises(UsageError):
        sign(right, secp)


def test_the_rules_alone(did: str, key: SigningKey) -> None:
    view = MessageView(
        unsigned(did).with_fields(("Content-Digest", encode_digest(BODY)))
    )
    given = dict.fromkeys(V10.parameters)
    parameters = SignatureParameters(keyid=key.kid, nonce=NONCE)
    check_strict(view, parameters, given, V10)
    with pytest.raises(PeerError) as caught:
        check_strict(view, parameters, {**given, "x": 1}, V10)
    assert caught.value.code is Code.SIG_COVERAGE
