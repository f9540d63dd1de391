"""The encryption around PKCS#8: others read it, and its cost is bounded."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as other
from hypothesis import given
from hypothesis import strategies as st

from sage import _crypto
from sage.errors import Code, ConfigError, DecodeError, UsageError
from sage.identity.pbes2 import encrypt_info, require_bounded_cost
from sage.limits import PBKDF2_ITERATIONS_MAX

KEY = _crypto.ed25519_load_private(bytes(range(32)))
INFO = _crypto.pkcs8_encode(KEY)
PBES2 = bytes.fromhex("06092a864886f70d01050d")
PBKDF2 = bytes.fromhex("06092a864886f70d01050c")


def element(tag: int, *parts: bytes) -> bytes:
    """Short lengths are enough here."""
    content = b"".join(parts)
    assert len(content) < 128
    return bytes([tag, len(content)]) + content


def with_cost(*cost: bytes, scheme: bytes = PBES2, kdf: bytes = PBKDF2) -> bytes:
    derivation = element(0x30, kdf, element(0x30, *cost))
    return element(0x30, element(0x30, scheme, element(0x30, derivation)))


def integer(value: int) -> bytes:
    return element(2, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


SALT = element(4, bytes(8))


@pytest.mark.parametrize("iterations", [1, 127, 128, 255, 1000, 32768, 70_000])
def test_cryptography_reads_it(iterations: int) -> None:
    der = encrypt_info(INFO, b"pass", entropy=os.urandom, iterations=iterations)
    require_bounded_cost(der)
    loaded = other.load_der_private_key(der, b"pass")
    assert _crypto.private_bytes(loaded) == bytes(range(32))  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        _crypto.pkcs8_load(der, b"wrong")


@pytest.mark.parametrize("drawn", [b"", bytes(15), bytes(17), "x" * 16, 16, None])
def test_randomness_that_is_none(drawn: Any) -> None:
    with pytest.raises(UsageError):
        encrypt_info(INFO, b"pass", entropy=lambda size: drawn, iterations=1)


@given(info=st.binary(max_size=1000))
def test_any_length_is_encoded_right(info: bytes) -> None:
    der = encrypt_info(info, b"p", entropy=os.urandom, iterations=1)
    require_bounded_cost(der)
    header = 2 + (der[1] & 0x7F if der[1] >= 0x80 else 0)
    assert len(der) == header + (int.from_bytes(der[2:header], "big") or der[1])


@pytest.mark.parametrize("count", [1, 2048, PBKDF2_ITERATIONS_MAX])
def test_costs_that_are_paid(count: int) -> None:
    require_bounded_cost(with_cost(SALT, integer(count)))


@pytest.mark.parametrize("count", [0, -1, PBKDF2_ITERATIONS_MAX + 1, 2**31, 2**200])
def test_costs_that_are_not(count: int) -> None:
    with pytest.raises(DecodeError) as caught:
        require_bounded_cost(with_cost(SALT, integer(count)))
    assert caught.value.code is Code.KEY_MALFORMED


SCRYPT = bytes.fromhex("06092b06010401da47040b")


def test_a_structure_without_its_end() -> None:
    der = encrypt_info(INFO, b"pass", entropy=os.urandom, iterations=1000)
    for cut in range(1, len(der)):
        with pytest.raises(DecodeError):
            require_bounded_cost(der[:-cut])


@pytest.mark.parametrize(
    "der",
    [
        with_cost(SALT, integer(1), scheme=PBKDF2),
        with_cost(SALT, integer(1), kdf=SCRYPT),
        with_cost(integer(1), SALT),
        with_cost(SALT),
        with_cost(SALT, integer(1))[:-1],
        with_cost(SALT, integer(1)).replace(b"\x30", b"\x31", 1),
        # A length that is not the shortest form of itself.
        b"\x30\x81" + with_cost(SALT, integer(1))[1:],
        b"\x30\x80" + with_cost(SALT, integer(1))[2:] + b"\0\0",
        b"\x30\xff" + b"\xff" * 127,
        b"",
        b"\x30",
    ],
)
def test_another_structure(der: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        require_bounded_cost(der)
    assert caught.value.code is Code.KEY_MALFORMED


@given(data=st.binary(max_size=60), cut=st.integers(0, 60))
def test_any_bytes_are_a_documented_error(data: bytes, cut: int) -> None:
    for der in (data, with_cost(SALT, integer(1))[:cut] + data):
        try:
            require_bounded_cost(der)
        except DecodeError as exc:
            assert exc.code is Code.KEY_MALFORMED  # noqa: PT017


@given(place=st.integers(0, 1000), change=st.integers(1, 255))
def test_no_change_makes_the_library_spend_more(place: int, change: int) -> None:
    der = bytearray(encrypt_info(INFO, b"p", entropy=os.urandom, iterations=1000))
    der[place % len(der)] ^= change
    started = time.process_time()
    try:
        require_bounded_cost(bytes(der))
    except DecodeError:
        return
    with contextlib.suppress(DecodeError, ConfigError):
        _crypto.pkcs8_load(bytes(der), b"p")
    # 10,000,000 iterations at worst.
    assert time.process_time() - started < 20
