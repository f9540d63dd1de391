"""The algorithms of RFC 9421's registry, on its own signatures."""

from __future__ import annotations

import pytest

from sage.errors import AuthenticationError, Code
from sage.http.algorithms import HTTP_ALGORITHMS
from sage.http.signature_input import parse_signatures

from .conftest import RFC_CASES, rfc_case


def test_the_names() -> None:
    assert set(HTTP_ALGORITHMS) == {
        "ecdsa-p256-sha256",
        "ecdsa-p384-sha384",
        "ed25519",
        "es256k",
        "hmac-sha256",
        "rsa-pss-sha512",
        "rsa-v1_5-sha256",
    }
    never = [name for name, a in HTTP_ALGORITHMS.items() if a.sign is None]
    assert never == ["rsa-v1_5-sha256"]


@pytest.mark.parametrize("case_id", RFC_CASES)
def test_the_signatures_of_appendix_b(case_id: str) -> None:
    case = rfc_case(case_id)
    (signature,) = parse_signatures(case["signature"]).values()
    base = case["signature_base"].encode()
    case["key"].verify(base, signature)
    for wrong_base, wrong in (
        (base + b" ", signature),
        (base, signature[:-1] + bytes([signature[-1] ^ 1])),
        (base, signature[:-1]),
        (base, b""),
    ):
        with pytest.raises(AuthenticationError) as caught:
            case["key"].verify(wrong_base, wrong)
        assert caught.value.code in (Code.SIG_BAD, Code.SIG_MALFORMED)
