"""Each rule of the policy, asked alone."""

from __future__ import annotations

from typing import Any

import pytest

from sage.errors import (
    AuthenticationError,
    Code,
    DecodeError,
    PeerError,
    ProtocolError,
    StaleError,
)
from sage.http import (
    V10,
    Policy,
    RequestMessage,
    ResponseMessage,
    checks,
    encode_digest,
)
from sage.http.base import MessageView
from sage.http.component import named_components
from sage.http.parameters import SignatureParameters

from .conftest import NOW, outcome

TARGET = "https://grace.example/inbox"
FULL = SignatureParameters(
    keyid="k", alg="ed25519", created=NOW, expires=NOW + 60, nonce="n"
)


def request(*fields: tuple[str, str], content: bytes | None = b"") -> MessageView:
    return MessageView(
        RequestMessage(method="POST", target_uri=TARGET, fields=fields, content=content)
    )


def check_raises(kind: type[PeerError], code: Code, call: Any, *args: Any) -> None:
    with pytest.raises(kind) as caught:
        call(*args)
    assert caught.value.code is code


def test_framing() -> None:
    policy = Policy(max_content_bytes=3)
    checks.check_framing(request(content=b"123"), policy)
    checks.check_framing(request(content=None), policy)
    check_raises(
        DecodeError,
        Code.SIZE_EXCEEDED,
        checks.check_framing,
        request(content=b"1234"),
        policy,
    )
    twice = request(("Content-Type", "a"), ("content-type", "a"))
    check_raises(
        ProtocolError, Code.SIG_MALFORMED, checks.check_framing, twice, Policy()
    )
    checks.check_framing(twice, Policy(allow_repeated_fields=True))
    trailers = MessageView(
        RequestMessage(method="GET", target_uri=TARGET, trailers=(("T", "x" * 33_000),))
    )
    check_raises(
        DecodeError, Code.SIZE_EXCEEDED, checks.check_framing, trailers, Policy()
    )


def select(given: str | None, signed: str | None, **policy: Any) -> Any:
    fields = []
    if given is not None:
        fields.append(("Signature-Input", given))
    if signed is not None:
        fields.append(("Signature", signed))
    view = request(*fields)
    return outcome(lambda: checks.select_signature(view, Policy(**policy))[0])


ONE, TWO = 'sig1=("date")', 'sig1=("date"), a=("date")'


@pytest.mark.parametrize(
    ("given", "signed", "policy", "found"),
    [
        (ONE, "sig1=:YQ==:", {}, "sig1"),
        (None, "sig1=:YQ==:", {}, Code.SIG_MISSING),
        (ONE, None, {}, Code.SIG_MISSING),
        ("", "", {}, Code.SIG_MISSING),
        (ONE, "", {}, Code.SIG_MISSING),
        ("", "sig1=:YQ==:", {}, Code.SIG_MISSING),
        (ONE, "a=:YQ==:", {}, Code.SIG_UNKNOWN_LABEL),
        ('a=("date")', "a=:YQ==:", {}, Code.SIG_UNKNOWN_LABEL),
        ('a=("date")', "a=:YQ==:", {"label": None}, "a"),
        ('a=("date")', "a=:YQ==:", {"label": "a"}, "a"),
        (TWO, "sig1=:YQ==:, a=:YQ==:", {}, Code.SIG_UNKNOWN_LABEL),
        (TWO, "sig1=:YQ==:", {}, Code.SIG_UNKNOWN_LABEL),
        (ONE, "sig1=:YQ==:, a=:YQ==:", {}, Code.SIG_UNKNOWN_LABEL),
        (TWO, "sig1=:YQ==:, a=:YQ==:", {"label": None}, Code.SIG_UNKNOWN_LABEL),
        (TWO, "a=:YQ==:, sig1=:YQ==:", {"allow_other_signatures": True}, "sig1"),
        (TWO, "a=:YQ==:", {"allow_other_signatures": True}, Code.SIG_MISSING),
        (
            'a=("date")',
            "a=:YQ==:, sig1=:YQ==:",
            {"allow_other_signatures": True},
            Code.SIG_MISSING,
        ),
        (
            TWO,
            "sig1=:YQ==:, a=:YQ==:",
            {"allow_other_signatures": True, "label": None},
            "a",
        ),
        ("sig1", "sig1=:YQ==:", {}, Code.SIG_MALFORMED),
        (ONE, "sig1", {}, Code.SIG_MALFORMED),
    ],
)
def test_which_signature(
    given: str | None, signed: str | None, policy: dict[str, Any], found: object
) -> None:
    assert select(given, signed, **policy) == found


@pytest.mark.parametrize("name", ["created", "expires", "nonce", "keyid"])
def test_each_parameter_is_required_unless_waived(name: str) -> None:
    values = {n: getattr(FULL, n) for n in SignatureParameters.__dataclass_fields__} | {
        name: None
    }
    lacking = SignatureParameters(**values)
    checks.check_required(FULL, Policy())
    check_raises(
        ProtocolError, Code.SIG_COVERAGE, checks.check_required, lacking, Policy()
    )
    waived: dict[str, Any] = {f"require_{name}": False}
    checks.check_required(lacking, Policy(**waived))


def test_parameters_that_a_policy_adds() -> None:
    bare = SignatureParameters(created=1, expires=2, nonce="n", keyid="k")
    checks.check_required(bare, Policy())
    check_raises(
        ProtocolError,
        Code.SIG_COVERAGE,
        checks.check_required,
        bare,
        Policy(require_alg=True),
    )
    empty = SignatureParameters(created=1, expires=2, nonce="", keyid="k")
    check_raises(
        ProtocolError, Code.SIG_COVERAGE, checks.check_required, empty, Policy()
    )
    for tag in ("mine", ""):
        check_raises(
            ProtocolError,
            Code.SIG_BINDING,
            checks.check_required,
            FULL,
            Policy(tag=tag),
        )


def test_algorithms() -> None:
    checks.check_algorithm("ed25519", Policy())
    for name in ("rsa-v1_5-sha256", "es256k", "ED25519", ""):
        check_raises(
            AuthenticationError,
            Code.SIG_ALG_MISMATCH,
            checks.check_algorithm,
            name,
            Policy(),
        )
    checks.check_algorithm("es256k", Policy(algorithms=frozenset({"es256k"})))


@pytest.mark.parametrize(
    ("created", "expires", "ages", "fresh"),
    [
        (NOW, NOW + 60, {}, True),
        (NOW + 30, NOW + 60, {}, True),
        (NOW + 31, NOW + 60, {}, False),
        (NOW + 1, NOW + 60, {"skew_s": 0}, False),
        (NOW - 60, NOW - 29, {}, True),
        (NOW - 60, NOW - 30, {}, False),
        (NOW - 329, NOW + 60, {}, True),
        (NOW - 330, NOW + 60, {}, False),
        (NOW - 10_000, NOW + 60, {"max_age_s": None}, True),
        (NOW, NOW, {}, False),
        (NOW, NOW - 1, {}, False),
        (NOW, NOW + 301, {}, True),
        (NOW, NOW + 300, {"profile": V10}, True),
        (NOW, NOW + 301, {"profile": V10}, False),
        (NOW, None, {}, True),
        (NOW - 330, None, {}, False),
        (None, NOW + 1, {}, True),
        (None, NOW - 30, {}, False),
        (None, None, {}, True),
    ],
)
def test_times(
    created: int | None, expires: int | None, ages: dict[str, Any], fresh: bool
) -> None:
    parameters = SignatureParameters(created=created, expires=expires)
    policy = Policy(**ages)
    if fresh:
        checks.check_times(parameters, policy, NOW)
    else:
        check_raises(
            StaleError, Code.SIG_STALE, checks.check_times, parameters, policy, NOW
        )


@pytest.mark.parametrize(
    "given",
    [
        {"created": NOW, "expires": NOW + 60},
        {"created": NOW, "expires": NOW + 10_000},
        {"created": NOW},
        {"expires": NOW + 60},
    ],
)
def test_a_signature_goes_stale_when_it_says(given: dict[str, int]) -> None:
    parameters, policy = SignatureParameters(**given), Policy(skew_s=7)
    end = checks.stale_at(parameters, policy)
    assert end is not None
    checks.check_times(parameters, policy, end - 1)
    with pytest.raises(StaleError):
        checks.check_times(parameters, policy, end)
    assert checks.stale_at(SignatureParameters(), policy) is None


def test_a_clock_without_a_value_refuses() -> None:
    nan: Any = float("nan")
    with pytest.raises(StaleError):
        checks.check_times(FULL, Policy(), nan)


ALL = ("@method", "@target-uri", "@authority")


@pytest.mark.parametrize(
    ("covered", "policy", "enough"),
    [
        (ALL, {}, True),
        ((*reversed(ALL), "date", '"host";bs'), {}, True),
        (ALL[1:], {}, False),
        (ALL[:2], {}, False),
        (("@method", "@path", "@authority"), {}, False),
        ((*ALL[:2], '"@authority";req'), {}, False),
        (ALL, {"also_cover": ("date",)}, False),
        ((), {"cover": ()}, True),
        (("date",), {"cover": ("date",)}, True),
        (("date",), {"cover": ("date",), "also_cover": ("host",)}, False),
        ((*ALL, "date"), {"also_cover": ("date",)}, True),
        ((*ALL, '"date";bs'), {"also_cover": ("date",)}, False),
        (ALL, {"profile": V10}, False),
        (V10.request, {"profile": V10}, True),
        ((*V10.request, "date"), {"profile": V10}, False),
        (tuple(reversed(V10.request)), {"profile": V10}, False),
    ],
)
def test_coverage_of_requests(
    covered: tuple[str, ...], policy: dict[str, Any], enough: bool
) -> None:
    arguments = (request(), named_components(covered), Policy(**policy))
    if enough:
        checks.check_coverage(*arguments)
    else:
        check_raises(
            ProtocolError, Code.SIG_COVERAGE, checks.check_coverage, *arguments
        )


BOUND = ("@status", '"@method";req', '"@target-uri";req', '"@authority";req')


@pytest.mark.parametrize(
    ("asked", "covered", "policy", "enough"),
    [
        ((), BOUND, {}, True),
        ((), BOUND[1:], {}, False),
        ((), BOUND[:3], {}, False),
        ((("Signature", "a=:YQ==:"),), BOUND, {}, False),
        ((("Signature", "a=:YQ==:"),), (*BOUND, '"signature";req'), {}, True),
        ((("Content-Digest", "x"),), BOUND, {}, False),
        ((("Content-Digest", "x"),), (*BOUND, '"content-digest";req'), {}, True),
        ((), ("@status",), {"require_request": False}, True),
        ((), ("date",), {"require_request": False}, False),
    ],
)
def test_coverage_of_responses(
    asked: tuple[tuple[str, str], ...],
    covered: tuple[str, ...],
    policy: dict[str, Any],
    enough: bool,
) -> None:
    view = MessageView(ResponseMessage(status=200), request=request(*asked))
    arguments = (view, named_components(covered), Policy(**policy))
    if enough:
        checks.check_coverage(*arguments)
    else:
        check_raises(
            ProtocolError, Code.SIG_COVERAGE, checks.check_coverage, *arguments
        )


RIGHT = ("Content-Digest", encode_digest(b"content"))
WRONG = ("Content-Digest", encode_digest(b"another"))


@pytest.mark.parametrize(
    ("fields", "content", "covered", "policy", "result"),
    [
        ((RIGHT,), b"content", ("content-digest",), {}, {"sha-256"}),
        ((RIGHT,), b"content", ('"content-digest";bs',), {}, {"sha-256"}),
        ((RIGHT,), b"content", ('"content-digest";sf',), {}, {"sha-256"}),
        ((RIGHT,), None, ("content-digest",), {}, {"sha-256"}),
        ((WRONG,), b"content", ("content-digest",), {}, Code.DIGEST_MISMATCH),
        (
            (WRONG,),
            b"content",
            ("content-digest",),
            {"require_digest": False},
            Code.DIGEST_MISMATCH,
        ),
        ((RIGHT,), b"", ("content-digest",), {}, Code.DIGEST_MISMATCH),
        ((), b"", (), {}, set()),
        ((RIGHT,), b"", (), {}, set()),
        ((), b"content", (), {}, Code.DIGEST_MISSING),
        ((), None, (), {}, Code.DIGEST_MISSING),
        ((), b"content", ("content-digest",), {}, Code.DIGEST_MISSING),
        ((RIGHT,), b"content", (), {}, Code.SIG_COVERAGE),
        (
            (RIGHT,),
            b"content",
            ('"content-digest";key="sha-256"',),
            {},
            Code.SIG_COVERAGE,
        ),
        ((RIGHT,), b"content", ('"content-digest";tr',), {}, Code.SIG_COVERAGE),
        ((RIGHT,), b"content", ('"content-digest";req',), {}, Code.SIG_COVERAGE),
        ((RIGHT,), None, (), {}, Code.SIG_COVERAGE),
        ((RIGHT,), b"x", (), {"require_digest": False}, set()),
        (
            (("Content-Digest", "md5=:YQ==:"),),
            b"content",
            ("content-digest",),
            {},
            Code.DIGEST_MISSING,
        ),
    ],
)
def test_digests(
    fields: tuple[tuple[str, str], ...],
    content: bytes | None,
    covered: tuple[str, ...],
    policy: dict[str, Any],
    result: object,
) -> None:
    view, components = request(*fields, content=content), named_components(covered)
    found = outcome(
        lambda: set(checks.check_digests(view, components, Policy(**policy)))
    )
    assert found == result


@pytest.mark.parametrize(
    ("policy", "ours"),
    [
        ({}, True),
        ({"authorities": frozenset({"grace.example"})}, True),
        ({"authorities": frozenset({"ada.example"})}, False),
        ({"authorities": frozenset()}, False),
        ({"target_uris": frozenset({TARGET})}, True),
        ({"target_uris": frozenset({f"{TARGET}/"})}, False),
        (
            {
                "target_uris": frozenset({TARGET}),
                "authorities": frozenset({"ada.example"}),
            },
            False,
        ),
    ],
)
def test_targets(policy: dict[str, Any], ours: bool) -> None:
    if ours:
        checks.check_target(request(), Policy(**policy))
    else:
        check_raises(
            ProtocolError,
            Code.SIG_BINDING,
            checks.check_target,
            request(),
            Policy(**policy),
        )


@pytest.mark.parametrize(
    ("keyid", "right"),
    [
        ("did:sage:web:a.example:ada#k", True),
        ("did:sage:web:a.example:ada", True),
        ("did:sage:web:a.example:eve#k", False),
        ("anybody", False),
        (None, False),
    ],
)
def test_senders(keyid: str | None, right: bool) -> None:
    arguments = (request(("X-SAGE-DID", "did:sage:web:a.example:ada")), keyid)
    checks.check_sender(request(), keyid)
    if right:
        checks.check_sender(*arguments)
    else:
        check_raises(ProtocolError, Code.SIG_BINDING, checks.check_sender, *arguments)
