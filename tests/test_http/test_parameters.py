"""The parameters of a signature: their types, their order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from sage.errors import Code, DecodeError, UsageError
from sage.http.parameters import (
    SignatureParameters,
    encode_parameters,
    read_parameters,
)

ORDER = ("keyid", "alg", "created", "expires", "nonce", "tag")


def test_they_are_written_in_the_order_of_the_profile() -> None:
    parameters = SignatureParameters(
        created=0, expires=999_999_999_999_999, tag="t", keyid='k"\\', nonce=""
    )
    assert encode_parameters(parameters, ORDER) == (
        ';keyid="k\\"\\\\";created=0;expires=999999999999999;nonce="";tag="t"'
    )
    assert encode_parameters(parameters, ("tag", "created")) == ';tag="t";created=0'
    assert encode_parameters(SignatureParameters(), ORDER) == ""


def test_what_is_read_is_what_was_given() -> None:
    given = {"created": 1, "nonce": "n", "unknown": Decimal("1.5")}
    assert read_parameters(given) == SignatureParameters(created=1, nonce="n")


@pytest.mark.parametrize(
    "wrong",
    [
        {"created": -1},
        {"created": True},
        {"created": "1"},
        {"created": Decimal("1.0")},
        {"expires": 1.0},
        {"keyid": 1},
        {"alg": True},
        {"nonce": b"n"},
        {"tag": object()},
    ],
)
def test_wrong_types(wrong: dict[str, Any]) -> None:
    with pytest.raises(DecodeError) as caught:
        read_parameters(wrong)
    assert caught.value.code is Code.SIG_MALFORMED


@pytest.mark.parametrize(
    "wrong",
    [
        {"created": -1},
        {"created": 10**15},
        {"created": True},
        {"created": 1.0},
        {"created": "1"},
        {"nonce": "ä"},
        {"nonce": "a\nb"},
        {"nonce": b"n"},
        {"keyid": 1},
    ],
)
def test_what_cannot_be_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        encode_parameters(SignatureParameters(**wrong), ORDER)
