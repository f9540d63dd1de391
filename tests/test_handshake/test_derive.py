"""HKDF by whichever engine is at work, as `cryptography` computes it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sage import _crypto
from sage.handshake.derive import HASH_BYTES, expand, extract, hkdf


@given(salt=st.binary(max_size=100), ikm=st.binary(max_size=200), info=st.binary())
def test_hkdf(salt: bytes, ikm: bytes, info: bytes) -> None:
    prk = extract(salt, ikm)
    assert prk == extract(bytearray(salt), memoryview(ikm))
    assert prk == _crypto.hkdf_extract(salt, ikm)
    key = expand(prk, info)
    assert key == _crypto.hkdf_expand(prk, info, HASH_BYTES)
    both = hkdf(salt, ikm, info)
    assert both == key == hkdf(memoryview(salt), bytearray(ikm), info)
    assert type(prk) is type(key) is type(both) is bytearray  # the owner can wipe them
